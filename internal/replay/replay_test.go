package replay

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/broker/brokertest"
	"github.com/kefuhq/kefu/internal/deadletter"
	"github.com/kefuhq/kefu/internal/job"
	"github.com/kefuhq/kefu/internal/ledger"
	"github.com/kefuhq/kefu/internal/wire"
	"github.com/kefuhq/kefu/schema"
)

func (b *bed) buryMany(n int, change ...func(*schema.Letter)) {
	b.t.Helper()
	for i := range n {
		b.bury(letter(fmt.Sprintf("order-%03d", i), change...))
	}
}

func TestAReplaySendsAgainAndEmptiesTheBox(t *testing.T) {
	t.Parallel()
	b := newBed(t, 1000)
	b.buryMany(100)
	b.bury(letter("other", of(schema.ReasonExpired)))
	s := b.replay(Filter{Reasons: []schema.Reason{schema.ReasonExhausted}, OpenID: openid},
		Options{})
	b.Equal([]int{100, 0, 0}, counts(s))
	b.Equal([]any{100, job.StateDone, app, "ann@desk"}, []any{s.Chosen, s.State, s.App, s.By})
	b.False(s.StartedAt.Before(s.OrderedAt))
	b.False(s.FinishedAt.Before(s.StartedAt))
	b.Equal([]string{"other"}, b.ids())

	b.Len(b.queued(), 100)
	for i, env := range b.envelopes() { // one recipient: in the order in which they died
		b.Equal(fmt.Sprintf("order-%03d", i), env.ID)
		b.Equal(2, env.Generation)
	}
	entries := b.audited()
	b.Len(entries, 2)
	b.Equal("begins as job "+s.Job, entries[0].Detail)
	b.Equal("job "+s.Job+" is done: replayed 100, left 0", entries[1].Detail)
	for _, e := range entries {
		b.Contains(e.Filter, "reason=exhausted openid=#")
		b.Equal([]any{100, "replay", app, "ann@desk"}, []any{e.Count, e.Verb, e.AppID, e.Actor})
	}
	entry, err := b.conn.LastJob(t.Context(), "job."+s.Job+".order")
	b.NoError(err)
	b.NotContains(string(entry.Value), openid, "an order that is carried out names nobody")
}

func TestAReplayLeavesWhatCannotBeSent(t *testing.T) {
	t.Parallel()
	b := newBed(t, 1000)
	b.bury(
		letter("no-subject", of(schema.ReasonInvalid),
			func(l *schema.Letter) { l.Subject = "kefu.send." + app + ".live.ö" }),
		letter("typo", of(schema.ReasonInvalid), header("Kefu-Expire-At", "x")),
		letter("late", header("Kefu-Expires-At", "2020-01-01T00:00:00Z")),
		letter("reused", of(schema.ReasonIDReuse)),
		letter("good", bulk("c")),
	)
	s := b.replay(Filter{}, Options{})
	b.Equal([]int{1, 4, 0}, counts(s))
	b.Equal(5, s.Chosen)
	b.Len(s.Notes, 4)
	b.Equal([]string{"no-subject", "typo", "late", "reused"}, b.ids())

	s = b.replay(Filter{IDs: []string{"late", "reused"}},
		Options{NewIDs: true, ExpiresIn: time.Hour})
	b.Equal([]int{2, 0, 0}, counts(s))
	b.Equal([]string{"no-subject", "typo"}, b.ids())
	b.Equal("reused~7", b.envelopes()[2].ID)
	b.WithinDuration(time.Now().Add(time.Hour), b.envelopes()[1].ExpiresAt, brokertest.Patience)
}

func TestAReplayTellsTwoLettersOfOneIDApart(t *testing.T) {
	t.Parallel()
	b := newBed(t, 1000)
	other := func(l *schema.Letter) { l.Sequence = 8; wire.SetPacket(l, []byte("another")) }
	b.bury(letter("a", of(schema.ReasonInvalid)), letter("a", of(schema.ReasonInvalid), other),
		letter("good"))
	s := b.replay(Filter{IDs: []string{"a"}}, Options{})
	b.Equal([]int{1, 1, 0}, counts(s))
	b.Equal(string(refuseSameID), s.Notes[0].Text)
	b.Len(b.ids(), 2, "the second must not vanish as a repeat of the first")

	b.bury(letter("good")) // something to do, or there is no job
	s = b.replay(Filter{}, Options{})
	b.Equal(string(refuseContinued), s.Notes[0].Text, "the first one's message is in the queue")

	b.consume()
	b.known.Ledger = remembering{"a": {Generation: 2, Ended: true}}
	s = b.replay(Filter{IDs: []string{"a"}}, Options{NewIDs: true})
	b.Equal([]int{1, 0, 0}, counts(s))
	b.Equal("another", string(b.queued()[0].Data))
	b.Equal("a~8", b.envelopes()[0].ID)
}

func TestAReplayWithoutALedgerTakesNoAnswerForAnothers(t *testing.T) {
	t.Parallel()
	b := newBed(t, 1000)
	// the same packet under the same id, a month later
	again := func(l *schema.Letter) { l.Sequence = 8 }
	b.bury(letter("a"), letter("a", again))
	b.Equal([]int{1, 1, 0}, counts(b.replay(Filter{}, Options{})))
	b.consume()
	b.Equal([]int{1, 0, 0}, counts(b.replay(Filter{}, Options{})), "within the broker's window")
	b.Len(b.queued(), 1, "published, and not taken for the first")
	b.Empty(b.ids())
}

// fill publishes what fills a queue of one message.
func (b *bed) fill() {
	b.t.Helper()
	_, err := b.conn.Outbox.PublishWait(b.t.Context(), &nats.Msg{
		Subject: "kefu.send." + app + ".bulk.c", Data: []byte("x"),
		Header: nats.Header{schema.HeaderMsgID: {"first"}},
	})
	b.NoError(err)
}

// open waits until a step is under way.
func (b *bed) open() {
	b.t.Helper()
	b.Eventually(func() bool {
		steps, err := job.OpenSteps(b.t.Context(), b.conn)
		return err == nil && len(steps) > 0
	}, brokertest.Patience, time.Millisecond)
}

func TestAReplayWaitsForAFullQueue(t *testing.T) {
	t.Parallel()
	b := newBed(t, 1)
	b.bury(letter("a"))
	b.fill()
	id := b.submit(Request{})
	b.worker()
	b.open()
	b.Equal([]string{"a"}, b.ids(), "the letter stays until the queue has the message")
	b.consume()
	b.Equal([]int{1, 0, 0}, counts(b.ended(id)))
	b.Empty(b.ids())
}

func TestAReplayBeforeAFullQueueCanBeAborted(t *testing.T) {
	t.Parallel()
	b := newBed(t, 1)
	b.bury(letter("a"))
	b.fill()
	id := b.submit(Request{})
	b.worker()
	b.open()
	_, err := Tell(t.Context(), b.conn, id, job.Abort, "ben@desk")
	b.NoError(err)
	s := b.ended(id)
	b.Equal([]int{0, 1, 0}, counts(s))
	b.Equal(job.StateAborted, s.State)
	b.Equal([]string{"a"}, b.ids())
	b.Len(b.queued(), 1)
	told := b.audited()[1]
	b.Equal([]any{"ben@desk", "job " + id + ": abort"}, []any{told.Actor, told.Detail})
}

func TestAReplayIsPausedAndGoesOn(t *testing.T) {
	t.Parallel()
	b := newBed(t, 1000)
	b.buryMany(20)
	id := b.submit(Request{Rate: 20})
	b.worker()
	b.until(id, func(s Status) bool { return s.Published >= 3 })
	_, err := Tell(t.Context(), b.conn, id, job.Pause, "ben@desk")
	b.NoError(err)
	b.Eventually(func() bool {
		steps, err := job.OpenSteps(t.Context(), b.conn)
		return err == nil && len(steps) == 0
	}, brokertest.Patience, time.Millisecond)
	s, err := Read(t.Context(), b.conn, id)
	b.NoError(err)
	b.Equal(job.StatePaused, s.State)
	b.Less(s.Published, 20)
	b.Len(b.queued(), s.Published, "what was published is counted")
	b.Len(b.ids(), 20-s.Published)

	_, err = Tell(t.Context(), b.conn, id, job.Resume, "ben@desk")
	b.NoError(err)
	b.Equal([]int{20, 0, 0}, counts(b.ended(id)))
	b.Len(b.queued(), 20)
}

func TestAReplayKeepsItsRate(t *testing.T) {
	t.Parallel()
	b := newBed(t, 1000)
	b.buryMany(12)
	id := b.submit(Request{Rate: 20}) // one each 50 ms
	b.worker()
	s := b.ended(id)
	b.Equal([]int{12, 0, 0}, counts(s))
	b.GreaterOrEqual(s.FinishedAt.Sub(s.StartedAt), 550*time.Millisecond)
}

func TestAReplayEndsAtItsLimit(t *testing.T) {
	t.Parallel()
	b := newBed(t, 1000)
	b.bury(letter("a"), letter("b", of(schema.ReasonIDReuse)), letter("c"), letter("d"))
	b.worker()
	b.Equal([]int{2, 1, 0}, counts(b.ended(b.submit(Request{Limit: 2}))))
	id := b.submit(Request{Rate: 1})
	b.bury(letter("later"))
	b.Equal([]int{1, 1, 0}, counts(b.ended(id)))
	b.Equal([]string{"b", "later"}, b.ids(), "what died after the plan is not of it")
}

func TestAReplayHaltsWhenNothingGoesThrough(t *testing.T) {
	t.Parallel()
	b := newBed(t, 1000)
	s, err := b.conn.JS.Stream(t.Context(), schema.SendStream(app))
	b.NoError(err)
	cfg := s.CachedInfo().Config
	cfg.MaxMsgSize = 10
	_, err = b.conn.JS.UpdateStream(t.Context(), cfg)
	b.NoError(err)
	b.buryMany(50)
	id := b.submit(Request{})
	b.worker()
	halted := b.until(id, func(s Status) bool { return s.State == job.StateHalted })
	b.Equal([]int{0, 0, 0}, counts(halted))
	b.Contains(halted.Halted, "20 letters in a row")
	b.Contains(halted.Halted, fmt.Sprint(broker.CodeTooLarge))
	b.Len(b.ids(), 50)

	cfg.MaxMsgSize = -1
	_, err = b.conn.JS.UpdateStream(t.Context(), cfg)
	b.NoError(err)
	_, err = Tell(t.Context(), b.conn, id, job.Resume, "ann@desk")
	b.NoError(err)
	b.Equal([]int{50, 0, 0}, counts(b.ended(id)))
}

func TestAReplayHaltsWhenTheFirstLettersDieAgain(t *testing.T) {
	t.Parallel()
	for what, c := range map[string]struct {
		ends   ledger.JobCounts
		counts bool
		after  int
		halts  bool
	}{
		"all are dead":               {ledger.JobCounts{Dead: 5}, true, 5, true},
		"one was sent":               {ledger.JobCounts{Dead: 500, Sent: 1}, true, 5, false},
		"nobody counts":              {ledger.JobCounts{Dead: 5}, false, 5, false},
		"it is to go on in any case": {ledger.JobCounts{Dead: 5}, true, 0, false},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			b := newBed(t, 1000)
			b.ends = func(_, appID string) (ledger.JobCounts, bool) {
				if len(b.queuedIDs()) < 5 {
					return ledger.JobCounts{}, c.counts
				}
				return c.ends, c.counts
			}
			b.buryMany(20)
			id := b.submit(Request{Options: Options{HaltAfter: c.after}})
			b.worker()
			s := b.until(id, func(s Status) bool {
				return s.State == job.StateHalted || !s.FinishedAt.IsZero()
			})
			if !c.halts {
				b.Equal([]int{20, 0, 0}, counts(s))
				return
			}
			b.Equal("the first 5 of "+app+" died again", s.Halted)
			b.Equal(5, s.Published)
			b.Len(b.ids(), 15)
			_, err := Tell(t.Context(), b.conn, id, job.Resume, "ann@desk")
			b.NoError(err)
			b.Equal([]int{20, 0, 0}, counts(b.ended(id)))
		})
	}
}

func TestAReplayGoesOnAfterTheBrokerWasAway(t *testing.T) {
	t.Parallel()
	server := brokertest.Bare(t)
	b := newBedOn(t, server.Connect(), 1000)
	b.buryMany(30)
	id := b.submit(Request{Rate: 20})
	b.worker()
	b.until(id, func(s Status) bool { return s.Published >= 2 })
	server.Restart()
	b.Equal([]int{30, 0, 0}, counts(b.ended(id)))
	b.Empty(b.ids())
	b.Len(b.queued(), 30)
}

// failing is a ledger that cannot be read once.
type failing struct {
	remembering
	reads int
}

func (f *failing) Read(context.Context) error {
	if f.reads++; f.reads == 2 { // the first is the plan's
		return errors.New("the ledger does not answer")
	}
	return nil
}

func TestAReplayGoesOnAfterTheLedgerCouldNotBeRead(t *testing.T) {
	t.Parallel()
	b := newBed(t, 1000)
	f := &failing{remembering: remembering{}}
	b.known.Ledger = f
	b.buryMany(10)
	b.Equal([]int{10, 0, 0}, counts(b.replay(Filter{}, Options{})))
	b.Greater(f.reads, 2)
}

func TestADiscardLeavesWhatAReplayHasInHand(t *testing.T) {
	t.Parallel()
	b := newBed(t, 1)
	b.bury(letter("a"), letter("b", of(schema.ReasonExpired)))
	b.fill()
	id := b.submit(Request{Filter: Filter{IDs: []string{"a"}}})
	b.worker()
	b.open()
	result, err := b.box.Discard(t.Context(), Filter{}, deadletter.DiscardOptions{
		InHand: func(ctx context.Context, made time.Time) (map[uint64]bool, error) {
			return InHand(ctx, b.conn, made)
		},
	})
	b.NoError(err)
	b.Equal([]int{1, 1}, []int{result.Discarded, result.Left})
	b.Equal([]string{"a"}, b.ids())
	b.consume()
	b.Equal([]int{1, 0, 0}, counts(b.ended(id)))
}

func TestTwoReplaysOfTheSameLettersSendEachOnce(t *testing.T) {
	t.Parallel()
	b := newBed(t, 10_000)
	const n = 300
	b.buryMany(n)
	first, second := b.submit(Request{Rate: 400}), b.submit(Request{Rate: 100})
	b.worker()
	one, two := b.ended(first), b.ended(second)
	b.Equal(n, one.Published+two.Published)
	b.Positive(one.Published)
	b.Positive(two.Published)
	for _, s := range []Status{one, two} {
		b.Equal(n, s.Chosen)
		b.Equal(n, s.Published+s.Left+s.Gone)
		b.Zero(s.Left)
	}
	b.Len(b.queued(), n)
	b.Empty(b.ids())
}

func TestLettersThatWereImportedAfterTheirReplayAreNotSentTwice(t *testing.T) {
	t.Parallel()
	b := newBed(t, 1000)
	b.bury(letter("a"), letter("b"))
	a := b.items()[0].Letter
	b.replay(Filter{IDs: []string{"a"}}, Options{})
	msg, err := deadletter.Message(&a)
	b.NoError(err)
	msg.Header.Set(schema.HeaderMsgID, "another")
	_, err = b.conn.Outbox.PublishWait(t.Context(), msg)
	b.NoError(err)
	s := b.replay(Filter{}, Options{})
	b.Equal([]int{1, 1, 0}, counts(s))
	b.Equal(string(refuseContinued), s.Notes[0].Text)
	b.Equal([]string{"a", "b"}, b.queuedIDs())
}

func TestAReplayOfABoxThatWasMadeAnewEnds(t *testing.T) {
	t.Parallel()
	b := newBed(t, 1000)
	b.bury(letter("a"))
	id := b.submit(Request{})
	b.NoError(b.conn.JS.DeleteStream(t.Context(), schema.StreamDead))
	brokertest.Provision(t, b.conn, brokertest.Spec(app))
	b.bury(letter("b"))
	b.worker()
	s := b.ended(id)
	b.Equal([]int{0, 0, 1}, counts(s))
	b.Equal([]string{"b"}, b.ids())
}
