package campaign

import (
	"context"
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/time/rate"

	"github.com/kefuhq/kefu/internal/broker/brokertest"
	"github.com/kefuhq/kefu/internal/job"
	"github.com/kefuhq/kefu/internal/wire"
	"github.com/kefuhq/kefu/schema"
)

// many are the openids of n recipients.
func many(n int) (openIDs []string) {
	for i := range n {
		openIDs = append(openIDs, fmt.Sprint("o", i+1))
	}
	return openIDs
}

func (b *bed) tell(id string, c job.Command) {
	b.t.Helper()
	_, err := job.Tell(b.t.Context(), b.conn, id, c)
	b.NoError(err)
}

// noted says whether a job has left so many for a reason.
func noted(text string, n int) func(job.Job) bool {
	return func(j job.Job) bool {
		all := j.Notes()
		return len(all) == 1 && all[0].Text == text && all[0].Count == n
	}
}

func TestWhatIsNotToBeFedNow(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	early, expired, quietly, free := terms(), terms(), terms(), terms()
	early.Campaign, early.SendAt = "early", time.Now().Add(time.Hour)
	quietly.Campaign = "quietly"
	local := time.Now().In(beijing)
	sinceMidnight := local.Sub(time.Date(local.Year(), local.Month(), local.Day(), 0, 0, 0, 0,
		beijing)).Truncate(time.Minute)
	quietly.Quiet = Quiet{From: (sinceMidnight + day - time.Hour) % day,
		Until: (sinceMidnight + time.Hour) % day}
	expired.Campaign, expired.ExpiresAt = "expired", time.Now().Add(-time.Second)
	free.Campaign = "free"
	before := []string{b.order(early, "o1"), b.order(quietly, "o2")}
	late := b.order(expired, "o3", "o4")
	last := b.order(free, "o5")
	b.worker()
	b.until(last, fed(1))
	b.until(late, noted(noteExpired, 2))
	b.Equal([]string{"o5"}, b.queued())
	for _, id := range before {
		b.Zero(b.job(id).Counts().Published)
	}
}

func TestTheFirstSendsDecideWhetherTheRestIsFed(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	b.end(ends{})
	o := terms()
	o.Halt = Halt{Share: 0.5}
	id := b.order(o, many(firstSends+50)...)
	b.worker()
	b.until(id, fed(firstSends))
	b.end(ends{dead: firstSends/2 + 1})
	j := b.until(id, func(j job.Job) bool { return j.State() == job.StateHalted })
	b.Contains(j.Halted(), "101 of the first 101 messages have died, more than 50 %")
	b.Equal(firstSends, j.Counts().Published)
	b.tell(id, job.Resume)
	b.until(id, fed(firstSends+50))
	b.Len(b.queued(), firstSends+50)
}

func TestNoMoreIsQueuedThanThereIsRoomFor(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	b.app.Room.Most = 3
	id := b.order(terms(), many(8)...)
	b.worker()
	b.until(id, fed(3))
	b.taken("o1", "o2")
	b.until(id, fed(5))
	b.tell(id, job.Pause)
	b.taken("o3", "o4", "o5")
	b.Empty(b.queued())
	b.Equal(5, b.job(id).Counts().Published)
	b.tell(id, job.Resume)
	b.until(id, fed(8))
	b.Equal([]string{"o6", "o7", "o8"}, b.queued())
}

func TestAPauseEndsTheWaitForAFullQueue(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	b.full(3)
	id := b.order(terms(), many(8)...)
	b.worker()
	b.Eventually(func() bool { return len(b.queued()) == 3 }, brokertest.Patience,
		time.Millisecond)
	b.tell(id, job.Pause)
	b.until(id, fed(3))
	b.full(100)
	b.tell(id, job.Resume)
	b.until(id, fed(8))
	b.ElementsMatch(many(8), b.queued())
}

func TestAWorkerThatIsKilledFeedsNobodyTwice(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	const rows = 600
	o := terms()
	o.PerSecond = 1500
	id := b.order(o, many(rows)...)
	for n := 1; b.job(id).Counts().Published < rows; n++ {
		stop, kill := b.runner()
		b.until(id, func(j job.Job) bool { return j.Counts().Published >= min(n*150, rows) })
		if n%2 == 0 {
			stop()
		} else {
			kill()
		}
	}
	b.Len(b.queued(), rows, "none is there twice")
	b.Equal(rows, b.job(id).Counts().Published)
	b.Zero(b.job(id).Counts().Left)
}

// task is the first step of a campaign, with all of its rows.
func (b *bed) task(id string, chosen time.Time, again bool) job.Task {
	b.t.Helper()
	j := b.job(id)
	body, err := json.Marshal(step{Rows: j.Counts().Chosen, At: chosen})
	b.NoError(err)
	return job.Task{Order: j.Order, Part: job.Part{Job: id, AppID: app}, Again: again,
		Step: job.Step{N: 1, Body: body}, Pace: rate.NewLimiter(rate.Inf, 0)}
}

func TestAStepThatIsDoneAgainFeedsTheSame(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	b.app.Remembered = time.Hour
	id := b.order(terms(), many(20)...)
	work := b.work(b.conn)
	for _, again := range []bool{false, true} {
		r, err := work.Carry(t.Context(), t.Context(), b.task(id, time.Now(), again))
		b.NoError(err)
		b.Equal(20, r.Published)
		b.Equal(cursor{1, 20}, cursorAt(r.Cursor))
		b.Equal(many(20), b.queued())
	}
	// Nothing would recognise what it has fed before.
	r, err := work.Carry(t.Context(), t.Context(), b.task(id, time.Now().Add(-time.Hour), true))
	b.NoError(err)
	b.Contains(r.Halt, "up to 20 recipients behind the 0 that are done may have got their message")
	b.Zero(r.Published)
	r, err = work.Carry(t.Context(), t.Context(), b.task(id, time.Now().Add(-time.Hour), false))
	b.NoError(err)
	b.Empty(r.Halt, "it was not begun before")
}

func TestRowsThatArePastAreNotWaitedFor(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	id := b.order(terms(), many(3)...)
	n, err := Forget(t.Context(), b.conn, app, "o2", false)
	b.NoError(err)
	b.Equal(1, n)
	b.worker()
	b.until(id, func(j job.Job) bool { return fed(2)(j) && noted(noteForgotten, 1)(j) })
	b.Equal([]string{"o1", "o3"}, b.queued())

	gone := terms()
	gone.Campaign = "gone"
	gone.SendAt = time.Now().Add(time.Hour)
	id = b.order(gone, "o1")
	b.NoError(purgeUpload(t.Context(), b.conn, app, id))
	r, err := b.work(b.conn).Carry(t.Context(), t.Context(), b.task(id, time.Now(), false))
	b.NoError(err)
	b.Equal(ErrNoRows.Error(), r.Halt)
}

func TestAStepEndsInTheMiddleWhenItsTimeIsOver(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	id := b.order(terms(), many(5)...)
	task := b.task(id, time.Now(), false)
	task.Pace = rate.NewLimiter(rate.Every(time.Hour), 2) // two rows, and then a long wait
	begin, end := context.WithCancel(t.Context())
	defer end()
	ended := make(chan job.Result, 1)
	go func() {
		r, _ := b.work(b.conn).Carry(context.WithoutCancel(t.Context()), begin, task)
		ended <- r
	}()
	b.Eventually(func() bool { return len(b.queued()) == 2 }, brokertest.Patience,
		time.Millisecond)
	end()
	r := brokertest.Await(t, ended, "the end of the step")
	b.Equal(2, r.Published)
	b.Equal(cursor{1, 2}, cursorAt(r.Cursor))
	b.Equal([]string{"o1", "o2"}, b.queued())
}

func TestAForgottenPersonStandsInNoChunk(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	second, other := terms(), terms()
	second.Campaign, other.Campaign = "second", "other"
	first := b.order(terms(), "o1", "o2")
	b.order(second, "o2")
	b.order(other, "o3", "o22")
	n, err := Forget(t.Context(), b.conn, app, "o2", true)
	b.NoError(err)
	b.Equal(2, n, "it is only looked")
	n, err = Forget(t.Context(), b.conn, app, "o2", false)
	b.NoError(err)
	b.Equal(2, n)
	n, err = Forget(t.Context(), b.conn, app, "o2", false)
	b.NoError(err)
	b.Zero(n)
	rows, err := readRows(t.Context(), b.conn, app, first, 1)
	b.NoError(err)
	b.Equal([]chunkRow{{2, "o1", packetFor("o1")}, {3, "", []byte{}}}, rows)
	b.Equal(3, b.stored())
	s, err := lastChunk(t.Context(), b.conn, wire.ChunkSubject(app, first, 1))
	b.NoError(err)
	b.Equal("sale", s.Header.Get(headerCampaign))
	n, err = Forget(t.Context(), b.conn, "wx2", "o1", false)
	b.NoError(err)
	b.Zero(n, "in another app")
}

func TestTwoPersonsMayBeForgottenAtOnce(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	id := b.order(terms(), many(20)...)
	done := make(chan error, 10)
	for _, openID := range many(10) {
		go func() {
			n, err := Forget(context.WithoutCancel(t.Context()), b.conn, app, openID, false)
			if err == nil && n != 1 {
				err = fmt.Errorf("%s stood in %d rows", openID, n)
			}
			done <- err
		}()
	}
	for range 10 {
		b.NoError(brokertest.Await(t, done, "the end of a removal"))
	}
	rows, err := readRows(t.Context(), b.conn, app, id, 1)
	b.NoError(err)
	for i, row := range rows {
		b.Equal(i < 10, row.OpenID == "", row.Line)
	}
}

func TestAChunkThatCannotBeReadIsSaid(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	b.order(terms(), "o1")
	m := schema.SendStream(app) // any text will do
	_, err := b.conn.JS.Publish(t.Context(), wire.ChunkSubject(app, "later", 1), []byte(m))
	b.NoError(err)
	n, err := Forget(t.Context(), b.conn, app, "o1", false)
	b.ErrorIs(err, errNoChunk)
	b.ErrorContains(err, "kefu.campaign."+app+".later.1 may still name the person")
	b.Equal(1, n)
}

func TestAStepThatAFullQueueEndsIsCutWhereNothingWasTakenBehind(t *testing.T) {
	t.Parallel()
	over, end := context.WithCancel(t.Context())
	end()
	offers := func(rows ...int) (out []offer) {
		for _, n := range rows {
			out = append(out, offer{before: job.Result{Published: n, Cursor: cursor{1, n}.number()}})
		}
		return out
	}
	for _, row := range []struct {
		name  string
		full  []offer // of 5 rows, those that were refused
		again bool
		cut   int // where the step ends; -1: it has to be done again
	}{
		{"all were taken", nil, false, 5},
		{"the last were refused", offers(4, 3), false, 3},
		{"all were refused", offers(2, 0, 1, 4, 3), false, 0},
		{"one in the middle was refused", offers(2), false, -1},
		{"the last ones and one before them", offers(4, 1), false, -1},
		{"the last were refused, maybe not the first time", offers(4, 3), true, -1},
	} {
		c := carrying{sum: job.Result{Published: 5, Cursor: cursor{1, 5}.number()}, full: row.full,
			task: job.Task{Again: row.again}}
		err := c.settle(over, t.Context())
		if row.cut < 0 {
			require.ErrorIs(t, err, errFull, row.name)
			continue
		}
		require.NoError(t, err, row.name)
		require.Equal(t, row.cut, c.sum.Published, row.name)
		require.Equal(t, cursor{1, row.cut}, cursorAt(c.sum.Cursor), row.name)
	}
}
