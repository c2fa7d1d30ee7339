package campaign

import (
	"encoding/json"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kefuhq/kefu/internal/job"
	"github.com/kefuhq/kefu/internal/ledger"
	"github.com/kefuhq/kefu/internal/notes"
	"github.com/kefuhq/kefu/schema"
)

func TestOutcomesSince(t *testing.T) {
	t.Parallel()
	const day = 24 * time.Hour
	now := time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)
	ago := func(d time.Duration) time.Time { return now.Add(-d) }
	for _, row := range []struct {
		name          string
		started, made time.Time
		keep          time.Duration
		want          time.Time
	}{
		{"all receipts are kept", ago(3 * day), ago(30 * day), 3 * day, time.Time{}},
		{"the first have gone", ago(3*day + 1), ago(30 * day), 3 * day, ago(3 * day)},
		{"they are kept for ever", ago(300 * day), ago(301 * day), 0, time.Time{}},
		{"their stream was made anew", ago(2 * day), ago(day), 3 * day, ago(day)},
		{"long ago, and the first have gone", ago(9 * day), ago(8 * day), 3 * day, ago(3 * day)},
	} {
		require.Equal(t, row.want, outcomesSince(row.started, row.made, row.keep, now), row.name)
	}
}

func TestReceiptsOfOtherCampaignsAreNotDecoded(t *testing.T) {
	t.Parallel()
	of := receiptOf("double-11")
	encoded := func(r schema.Receipt) []byte {
		data, err := json.Marshal(r)
		require.NoError(t, err)
		return data
	}
	own := schema.Receipt{ID: "a", Lane: schema.LaneBulk, Campaign: "double-11"}
	got, ok := of(encoded(own))
	require.True(t, ok)
	require.Equal(t, own, got)
	for _, r := range []schema.Receipt{
		{ID: "double-11", Lane: schema.LaneBulk, Campaign: "double-12"},
		{ID: "a", Lane: schema.LaneLive, Campaign: "double-11"},
	} {
		_, ok := of(encoded(r))
		require.False(t, ok)
	}
	_, ok = of([]byte(`no receipt of "double-11"`))
	require.False(t, ok)
}

func TestForeignReceiptsCostNothing(t *testing.T) { // not parallel: it counts allocations
	of := receiptOf("double-11")
	data, err := json.Marshal(schema.Receipt{ID: "a", Lane: schema.LaneBulk, Campaign: "double-12"})
	require.NoError(t, err)
	require.Zero(t, testing.AllocsPerRun(100, func() { of(data) }))
}

// TestASumAlwaysComesOut makes accounts whose parts were read at different moments, in every state.
func TestASumAlwaysComesOut(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(1, 2))
	up := func(n int) int { return r.IntN(max(n, 0) + 1) }
	states := make(map[State]int)
	for range 20_000 {
		a := account{stream: up(300), cancelled: r.IntN(4) == 0, rate: float64(up(3))}
		rec := &a.record
		if r.IntN(4) > 0 { // of a file
			rec.Rows = up(1000)
			rec.Invalid = up(rec.Rows / 4)
			rec.Repeated = up(rec.Rows / 4)
			rec.SkipClosed = up(rec.Rows / 4)
			rec.Stored = rec.Rows - rec.Invalid - rec.Repeated - rec.SkipClosed
		}
		switch {
		case rec.Rows > 0 && r.IntN(5) > 0:
			rec.Upload = "u"
			if r.IntN(4) > 0 {
				rec.OrderedAt = time.Now()
			}
		case rec.Rows > 0: // of an earlier version
			rec.Next = up(rec.Rows)
			rec.Published, rec.Duplicates = up(rec.Next), 0
			if r.IntN(2) == 0 {
				rec.FinishedAt = time.Now()
			}
		}
		if !rec.OrderedAt.IsZero() {
			a.job = randomJob(r, rec.Stored)
			if r.IntN(4) == 0 { // it is forgotten by now
				rec.end(*a.job)
				a.job = nil
			}
		}
		a.counts = ledger.Counts{Sent: up(rec.Rows), Cancelled: up(rec.Rows / 3),
			Dead: map[schema.Reason]int{schema.ReasonRecipient: up(rec.Rows / 3)}}
		if r.IntN(4) == 0 { // nothing of it has come to the queue
			a.stream, a.counts = 0, ledger.Counts{}
		}
		if rec.Rows == 0 {
			a.waits = up(20)
		}
		s := a.status(time.Now())
		states[s.State]++
		sum := s.Invalid + s.Repeated + s.Queued + s.Open + s.Sent + s.Cancelled
		for _, n := range s.Dead {
			sum += n
		}
		require.Equal(t, s.Rows, sum, "%+v: %+v", a, s)
		for _, n := range []int{s.Queued, s.Open, s.Cancelled} {
			require.GreaterOrEqual(t, n, 0, "%+v: %+v", a, s)
		}
	}
	for _, state := range []State{StateUploading, StatePlanned, StateFeeding, StatePaused,
		StateHalted, StatePublished, StateDone, StateCancelled} {
		require.NotZero(t, states[state], state)
	}
}

func TestWhatWaitsOfACampaignThatWasPublishedStraightIsOpen(t *testing.T) {
	t.Parallel()
	s := account{record: Record{AppID: app, Campaign: "x"}, waits: 3}.status(time.Now())
	require.Equal(t, []any{StatePublished, 3, 0, 3}, []any{s.State, s.Rows, s.Queued, s.Open})
	s = account{record: Record{AppID: app, Campaign: "x"}, waits: 1, stream: 2,
		counts: ledger.Counts{Sent: 4}}.status(time.Now())
	require.Equal(t, []any{StatePublished, 7, 2, 1}, []any{s.State, s.Rows, s.Queued, s.Open})
}

func TestACampaignIsGoneAfterTwoSearchesThatFoundNothing(t *testing.T) {
	t.Parallel()
	now := time.Now()
	var s search
	s.after(true, false, now)
	require.Equal(t, lookQuietly, s.next.Sub(now), "something of it waits")
	for range 10 {
		s.after(true, false, now)
	}
	require.Equal(t, lookSeldom, s.next.Sub(now), "it waits for long")
	s.after(false, false, now)
	require.Equal(t, lookNext, s.next.Sub(now), "there is more to look through")
	s.after(false, true, now)
	require.Equal(t, emptyFor, s.next.Sub(now), "nothing was found, once")
	require.False(t, s.gone)
	s.after(false, true, now)
	require.True(t, s.gone)
}

// randomJob is a job that has come somewhere with some rows.
func randomJob(r *rand.Rand, rows int) *job.Job {
	j := &job.Job{Order: job.Order{Apps: map[string]int{app: rows}, Want: job.WantRun}}
	j.Want = []job.Want{job.WantRun, job.WantRun, job.WantPause, job.WantAbort}[r.IntN(4)]
	if r.IntN(5) == 0 {
		return j
	}
	p := job.Part{AppID: app}
	p.Published = r.IntN(rows + 1)
	if p.Left = r.IntN(rows - p.Published + 1); p.Left > 0 {
		p.Notes = notes.List{{Text: []string{noteExpired, noteForgotten}[r.IntN(2)], Count: p.Left}}
	}
	if r.IntN(4) == 0 {
		p.Halted = "too many have died"
	}
	p.Done = p.Published+p.Left == rows && r.IntN(2) == 0
	j.Parts = []job.Part{p}
	return j
}

func TestWhereACampaignStands(t *testing.T) {
	t.Parallel()
	ordered := Record{Upload: "u", Rows: 10, Stored: 10, OrderedAt: time.Now()}
	running := func(p job.Part, want job.Want) *job.Job {
		return &job.Job{Order: job.Order{Apps: map[string]int{app: 10}, Want: want},
			Parts: []job.Part{p}}
	}
	expired := notes.List{{Text: noteExpired, Count: 4}}
	for _, row := range []struct {
		name string
		a    account
		// the state, and how many are queued, open, sent, dead and cancelled
		state                               State
		queued, open, sent, dead, cancelled int
	}{
		{"a file that is uploaded", account{record: Record{Upload: "u"}}, StateUploading,
			0, 0, 0, 0, 0},
		{"an order on its way", account{record: ordered}, StatePlanned, 10, 0, 0, 0, 0},
		{"fed in part", account{record: ordered, stream: 2,
			job:    running(job.Part{Published: 6}, job.WantRun),
			counts: ledger.Counts{Sent: 3}}, StateFeeding, 6, 1, 3, 0, 0},
		{"paused", account{record: ordered, stream: 2,
			job:    running(job.Part{Published: 6}, job.WantPause),
			counts: ledger.Counts{Sent: 4}}, StatePaused, 6, 0, 4, 0, 0},
		{"halted", account{record: ordered,
			job:    running(job.Part{Published: 6, Halted: "why"}, job.WantRun),
			counts: ledger.Counts{Dead: map[schema.Reason]int{schema.ReasonRejected: 6}}},
			StateHalted, 4, 0, 0, 6, 0},
		{"all of it fed", account{record: ordered, stream: 1,
			job:    running(job.Part{Published: 10}, job.WantRun),
			counts: ledger.Counts{Sent: 7}}, StatePublished, 1, 2, 7, 0, 0},
		{"some rows forgotten", account{record: ordered,
			job:    running(job.Part{Published: 8, Left: 2, Done: true}, job.WantRun),
			counts: ledger.Counts{Sent: 8}}, StateDone, 0, 0, 8, 0, 2},
		{"the rest expired", account{record: ordered,
			job:    running(job.Part{Published: 6, Left: 4, Notes: expired, Done: true}, job.WantRun),
			counts: ledger.Counts{Sent: 6}}, StateDone, 0, 0, 6, 4, 0},
		{"cancelled, and its queue is being swept", account{record: ordered, stream: 2, cancelled: true,
			job:    running(job.Part{Published: 6}, job.WantAbort),
			counts: ledger.Counts{Sent: 3, Cancelled: 1}}, StateCancelled, 2, 0, 3, 0, 5},
		{"published straight", account{stream: 2, counts: ledger.Counts{Sent: 3}},
			StatePublished, 2, 0, 3, 0, 0},
	} {
		s := row.a.status(time.Now())
		dead := 0
		for _, n := range s.Dead {
			dead += n
		}
		require.Equal(t, row.state, s.State, row.name)
		require.Equal(t, []int{row.queued, row.open, row.sent, row.dead, row.cancelled},
			[]int{s.Queued, s.Open, s.Sent, dead, s.Cancelled}, row.name)
	}
}

func TestWhoWaitsForAnOperatorHasNoTimeLeft(t *testing.T) {
	t.Parallel()
	for state, known := range map[State]bool{
		StateFeeding: true, StatePublished: true, StatePaused: false, StateHalted: false,
	} {
		s := Status{State: state, Queued: 10, Rate: 2}
		s.forecast(time.Now())
		require.Equal(t, known, !s.ETA.IsZero(), state)
	}
}
