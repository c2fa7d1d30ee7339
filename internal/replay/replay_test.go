package replay

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"golang.org/x/time/rate"

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

// stepTask is the first step of a replay, as a worker that has written it down would carry it out.
func (b *bed) stepTask(w *Work, r Request) job.Task {
	b.t.Helper()
	j, err := job.Read(b.t.Context(), b.conn, b.submit(r))
	b.NoError(err)
	part := job.Part{Job: j.ID, AppID: app}
	c, err := w.Choose(b.t.Context(), j.Order, part, nil)
	b.NoError(err)
	b.NotNil(c.Step, c.Result)
	return job.Task{
		Order: j.Order, Part: part, Step: job.Step{N: 1, Body: c.Step},
		Pace: rate.NewLimiter(rate.Inf, 0),
	}
}

func TestAStepThatIsCarriedOutAgainCountsAndSendsNothingTwice(t *testing.T) {
	t.Parallel()
	sent := Life{Generation: 2, Ended: true, Same: true}
	for what, c := range map[string]struct {
		before func(b *bed, items []Item) // what the worker that was lost had done
		known  Ledger
		want   []int // published, left, messages in the queue in the end
	}{
		"nothing was done": {func(*bed, []Item) {}, remembering{}, []int{3, 0, 3}},
		"one was published": {
			func(b *bed, items []Item) { b.handOver(items[0]) }, remembering{}, []int{3, 0, 3},
		},
		"one was published and taken out": {
			func(b *bed, items []Item) {
				b.handOver(items[0])
				b.NoError(b.box.Delete(b.t.Context(), items[0].Seq))
			}, remembering{}, []int{3, 0, 3},
		},
		"one was published, taken out and sent": {
			func(b *bed, items []Item) { b.NoError(b.box.Delete(b.t.Context(), items[0].Seq)) },
			remembering{"order-000": sent}, []int{3, 0, 2},
		},
		"one was published and sent": {
			func(*bed, []Item) {}, remembering{"order-000": sent}, []int{3, 0, 2},
		},
		"one was discarded before it was published": {
			func(b *bed, items []Item) { b.NoError(b.box.Delete(b.t.Context(), items[0].Seq)) },
			remembering{}, []int{2, 0, 2},
		},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			b := newBed(t, 1000)
			b.known = Known{Ledger: remembering{}, Remembered: time.Hour}
			b.buryMany(3)
			w := b.work()
			task := b.stepTask(w, Request{})
			items := b.items()
			c.before(b, items)
			b.known.Ledger = c.known
			task.Again = true
			r, err := w.Carry(t.Context(), t.Context(), task)
			b.NoError(err)
			b.Equal(c.want, []int{r.Published, r.Left, len(b.queued())})
			b.Equal(items[2].Seq, r.Cursor)
			b.Empty(b.ids())
		})
	}
}

// handOver publishes the message of a letter, as a replay that is cut off then.
func (b *bed) handOver(item Item) {
	b.t.Helper()
	msg, err := again(Options{}, &item, time.Now())
	b.NoError(err)
	_, err = b.conn.Outbox.PublishWait(b.t.Context(), msg)
	b.NoError(err)
}

func TestAStepOfWhichNothingMoreIsToBeBegunCountsWhatWas(t *testing.T) {
	t.Parallel()
	b := newBed(t, 1000)
	b.buryMany(3)
	w := b.work()
	task := b.stepTask(w, Request{})
	items := b.items()
	b.handOver(items[1])
	b.handOver(items[2])
	b.NoError(b.box.Delete(t.Context(), items[2].Seq))
	task.Again = true
	begin, end := context.WithCancel(t.Context())
	end()
	r, err := w.Carry(t.Context(), begin, task)
	b.NoError(err)
	b.Equal(job.Result{Published: 2}, r, "the cursor stays: the first is chosen again")
	b.Equal([]string{"order-000"}, b.ids())
	b.Len(b.queued(), 2)
}

func TestAReplaySendsNothingThatWasDiscardedMeanwhile(t *testing.T) {
	t.Parallel()
	b := newBed(t, 10_000)
	b.buryMany(100)
	w := b.work()
	task := b.stepTask(w, Request{})
	_, err := b.box.Discard(t.Context(), Filter{}, deadletter.DiscardOptions{Limit: 40})
	b.NoError(err)
	r, err := w.Carry(t.Context(), t.Context(), task)
	b.NoError(err)
	b.Equal([]int{60, 0}, []int{r.Published, r.Left})
	b.Equal(deadletter.NoteTakenOut, r.Notes[0].Text)
	b.Equal(40, r.Notes[0].Count)
	b.Len(b.queued(), 60)
	b.Empty(b.ids())
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

func TestAReplayMayMoveLettersToAnotherLane(t *testing.T) {
	t.Parallel()
	b := newBed(t, 1000)
	b.bury(letter("live"), letter("bulk", bulk("c")), letter("nobody", bulk("c"),
		func(l *schema.Letter) { l.OpenID = "" }))
	s := b.replay(Filter{IDs: []string{"live"}}, Options{Lane: schema.LaneBulk})
	b.Equal(1, s.Published)
	b.Equal("kefu.again."+app+".bulk.replay", b.queued()[0].Subject)
	b.Empty(b.envelopes()[0].Before, "its campaign is another one")
	s = b.replay(Filter{}, Options{Lane: schema.LaneLive})
	b.Equal([]int{1, 1, 0}, counts(s))
	b.Equal(string(refuseNoRecipient), s.Notes[0].Text)
	subject, err := wire.ParseSubject(b.queued()[1].Subject)
	b.NoError(err)
	b.Equal(wire.Subject{Subject: schema.LiveSubject(app, openid), Again: true}, subject)
}

func TestAReplayTellsHowTheLifeBeforeEndedIfThatIsCounted(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		died   time.Duration // ago
		change func(l *schema.Letter)
		ledger Ledger
		newIDs bool
		want   string
	}{
		{"there is no ledger", 0, nil, nil, false, "dead recipient"},
		{
			"the ledger knows", 0, nil,
			remembering{"a": {Generation: 1, Ended: true}}, false, "dead recipient",
		},
		{"the ledger has forgotten", 2 * marksLate, nil, remembering{}, false, "dead recipient"},
		{"the ledger does not know yet", 0, nil, remembering{}, false, ""},
		{
			"it may have been sent", 2 * marksLate,
			func(l *schema.Letter) { l.Reason, l.PossibleDuplicate = schema.ReasonUnknown, true },
			remembering{}, false, "dead unknown possible_duplicate",
		},
		{
			"under an id of its own, as its id went on", 0, nil,
			remembering{"a": {Generation: 2, Ended: true}}, true, "",
		},
		{
			"under an id of its own, which it never had", 0,
			func(l *schema.Letter) { l.Reason = schema.ReasonIDReuse },
			remembering{"a": {Generation: 2, Ended: true}}, true, "dead id-reuse",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			b := newBed(t, 100)
			l := letter("a")
			l.Reason, l.PublishedAt, l.DiedAt = schema.ReasonRecipient, time.Now(),
				time.Now().Add(-c.died)
			if c.change != nil {
				c.change(l)
			}
			b.bury(l)
			b.known.Ledger = c.ledger
			b.Equal(1, b.replay(Filter{}, Options{NewIDs: c.newIDs}).Published)
			b.Equal(c.want, b.envelopes()[0].Before)
		})
	}
}

func TestAStatusHasEveryFieldBeforeAWorkerHasBegun(t *testing.T) {
	t.Parallel()
	b := newBed(t, 10)
	b.bury(letter("a"))
	s, err := Read(t.Context(), b.conn, b.submit(Request{}))
	b.NoError(err)
	body, err := json.Marshal(s)
	b.NoError(err)
	var fields map[string]any
	b.NoError(json.Unmarshal(body, &fields))
	for _, name := range []string{"job", "kind", "state", "app", "chosen", "published", "sent",
		"dead", "left", "rate", "by", "started_at", "finished_at"} {
		b.Contains(fields, name)
	}
	b.Equal([]any{"planned", nil, nil, 1.0},
		[]any{fields["state"], fields["started_at"], fields["finished_at"], fields["chosen"]})
	var read Status
	b.NoError(json.Unmarshal(body, &read))
	b.Equal(s, read)
}
