package worker

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/gate"
	"github.com/kefuhq/kefu/internal/ledger"
	"github.com/kefuhq/kefu/internal/pool"
	"github.com/kefuhq/kefu/schema"
)

func TestStoppingGivesBackWhatWasNotStarted(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	b.app.Concurrency = 4
	release := make(chan struct{})
	b.api.answer = func(string, int) error { <-release; return nil }
	stop := b.start()
	const n = 40
	for i := range n {
		b.publish(bulk+"c", fmt.Sprintf("id%d", i), "t", "user1")
	}
	b.await(func() bool { return b.posts("t") == 4 })
	stopped := make(chan error, 1)
	a := b.worker.apps[0]
	go func() { stopped <- stop() }()
	b.await(func() bool { a.mu.Lock(); defer a.mu.Unlock(); return a.scheduler.stopping })
	close(release)
	b.NoError(<-stopped)
	b.Equal(4, b.posts("t"), "only what was under way went out")
	b.await(func() bool { return b.queued() == n-4 }, "the broker takes acks in its own time")

	b.api.answer = nil
	stop = b.start()
	for range n {
		r := b.receipt()
		b.Equal(schema.StateSent, r.State)
		b.Equal(1, r.Attempts)
		b.False(r.PossibleDuplicate)
	}
	b.Equal(n, b.posts("t"), "each once over both lives")
	b.NoError(stop())
}

// slowLedgerEnds is a ledger that has stored none of the marks that nobody waits
// for until it is asked to be done with all.
type slowLedgerEnds struct {
	intentLog
	mu     sync.Mutex
	marks  []ledger.Mark
	broken error // what it says then
}

func (s *slowLedgerEnds) Write(m ledger.Mark, done func(ledger.Standing, error)) {
	if done != nil {
		s.intentLog.Write(m, done)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.marks = append(s.marks, m)
}

func (s *slowLedgerEnds) Drain(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, m := range s.marks {
		s.intentLog.Write(m, nil)
	}
	if s.broken != nil {
		return s.broken
	}
	return s.intentLog.Drain(ctx)
}

func TestACleanStopEndsWhenTheLedgerKnowsAll(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	b.app.OnUnknown, b.app.HoldBack, b.app.Retry.First = schema.PolicyPark,
		30*time.Second, 10*time.Second
	release := make(chan struct{})
	b.api.answer = func(_ string, n int) error {
		if n == 1 {
			<-release
			return apiError(-1)
		}
		return nil
	}
	w := b.make()
	w.wrapLedger = func(l intentLog) intentLog { return &slowLedgerEnds{intentLog: l} }
	stop := b.run(w)
	b.await(func() bool { return b.worker.reads() == 4 })
	const n = 12
	for i := range n {
		to := fmt.Sprint("u", i)
		b.publish(live+to, to, "text "+to, to)
	}
	b.await(func() bool {
		b.api.mu.Lock()
		defer b.api.mu.Unlock()
		return len(b.api.order) == n
	})
	a := b.worker.current()[0]
	stopped := make(chan error, 1)
	go func() { stopped <- stop() }()
	b.await(a.isStopping)
	close(release)
	b.NoError(<-stopped)
	for i := range n {
		events, err := ledger.History(t.Context(), b.conn, ledger.KeyOf(appID, fmt.Sprint("u", i)))
		b.NoError(err)
		b.Equal(ledger.Clear.String(), events[len(events)-1].Mark.Kind.String())
	}

	stop = b.start()
	for range n {
		r := b.receipt()
		b.Equal(schema.StateSent, r.State)
		b.Equal(2, r.Attempts)
		b.False(r.PossibleDuplicate)
	}
	b.NoError(stop())
}

func TestAStopThatTheLedgerDoesNotLearnIsUnclean(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	w := b.make()
	w.wrapLedger = func(l intentLog) intentLog {
		return &slowLedgerEnds{intentLog: l, broken: context.DeadlineExceeded}
	}
	stop := b.run(w)
	b.await(func() bool { return b.worker.reads() == 4 })
	b.ErrorIs(stop(), ErrUnclean)
}

func TestAGracePeriodThatIsTooShortLosesNothing(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	b.grace = 100 * time.Millisecond
	b.api.hang = true
	stop := b.start()
	b.publish(live+"user1", "one", "hello", "user1")
	b.await(func() bool { return b.posts("hello") == 1 })
	b.ErrorIs(stop(), ErrUnclean)
	b.EqualValues(1, b.queued())
}

func TestAPanicInACallIsAnUnknownOutcome(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	b.api.answer = func(text string, _ int) error {
		if text == "boom" {
			panic("a bug")
		}
		return nil
	}
	stop := b.start()
	b.publish(live+"user1", "bad", "boom", "user1")
	b.publish(live+"user2", "good", "fine", "user2")
	b.Equal(schema.StateSent, b.receiptOf("good").State, "the others are not affected")
	r := b.receiptOf("bad")
	b.Equal(schema.ReasonUnknown, r.Reason)
	b.True(r.PossibleDuplicate)
	b.Equal(2, b.posts("boom"))
	b.NoError(stop())
}

func TestWhatKilledTheWorkerThreeTimesIsPoison(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name     string
		before   []ledger.Kind // by workers that were handed it and died
		state    schema.State
		reason   schema.Reason
		attempts int
		maybe    bool // it may have been sent
	}{
		{
			"never begun",
			[]ledger.Kind{ledger.Suspect, ledger.Suspect},
			schema.StateDead, schema.ReasonPoison, 0, false,
		},
		{
			"begun: it may have been sent, and the letter says so",
			[]ledger.Kind{ledger.Start, ledger.Suspect, ledger.Suspect},
			schema.StateDead, schema.ReasonPoison, 1, true,
		},
		{
			"begun in between",
			[]ledger.Kind{ledger.Suspect, ledger.Start, ledger.Suspect},
			schema.StateDead, schema.ReasonPoison, 1, true,
		},
		{
			"sent: that is its end",
			[]ledger.Kind{ledger.Start, ledger.Sent, ledger.Suspect, ledger.Suspect},
			schema.StateSent, "", 1, false,
		},
		{
			"its burial was begun: that is finished",
			[]ledger.Kind{
				ledger.Start, ledger.Dying(schema.ReasonRejected), ledger.Suspect, ledger.Suspect,
			},
			schema.StateDead, schema.ReasonRejected, 1, false,
		},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			b := newBed(t)
			b.publish(bulk+"c", "bad", "hello", "user1")
			for _, kind := range row.before {
				m := b.first("bad", "hello", "user1", kind)
				m.Attempt = 1
				b.mark("dead-one", m)
			}
			b.handOut()
			stop := b.start()
			r := b.receiptOf("bad")
			b.Equal(row.state, r.State)
			b.Equal(row.reason, r.Reason)
			b.Equal(row.attempts, r.Attempts)
			b.Equal(row.maybe, r.PossibleDuplicate)
			b.Zero(b.posts("hello"))
			b.await(func() bool { return b.queued() == 0 })
			b.NoError(stop())
			letters := kept[schema.Letter](b, schema.StreamDead)
			if row.state == schema.StateSent {
				b.Empty(letters)
				return
			}
			b.Len(letters, 1)
			b.Equal(row.maybe, letters[0].PossibleDuplicate)
			if row.maybe {
				b.Len(letters[0].Attempts, 1)
				b.Equal(outcomeUnknown, letters[0].Attempts[0].Outcome)
				b.Equal("dead-one", letters[0].Attempts[0].Worker)
				b.Contains(letters[0].Detail, "unknown outcome")
			}
		})
	}
}

func TestWhatIsInvalidNowMayHaveBeenSentBefore(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	b.publish(bulk+"c", "one", "", "user1") // as after a limit that was made smaller
	m := b.first("one", "", "user1", ledger.Start)
	m.Attempt = 1
	b.mark("dead-one", m)
	stop := b.start()
	r := b.receiptOf("one")
	b.Equal(schema.ReasonInvalid, r.Reason)
	b.True(r.PossibleDuplicate)
	b.Equal(1, r.Attempts)
	b.Zero(b.posts(""))
	b.NoError(stop())
	letters := kept[schema.Letter](b, schema.StreamDead)
	b.Len(letters, 1)
	b.Len(letters[0].Attempts, 1)
}

// panicking is a log that panics once, at a message.
type panicking struct {
	slog.Handler
	at   string
	once *sync.Once
}

func (p panicking) Handle(_ context.Context, r slog.Record) error {
	if r.Message == p.at {
		p.once.Do(func() { panic("a bug") })
	}
	return nil
}

func (p panicking) Enabled(context.Context, slog.Level) bool { return true }

// quotaPanics is a platform whose quota call ends in a bug of ours.
type quotaPanics struct{ *fakeAPI }

func (quotaPanics) RemainingSends(context.Context) (int64, error) { panic("a bug") }

func TestAPanicAfterTheAnswer(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name    string
		answer  error
		posts   int
		maybe   bool
		retries int
	}{
		{"what was accepted is sent: it is not called again", nil, 1, false, 0},
		{"any other answer that was forgotten is none", apiError(45009), 2, true, 1},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			b := newBed(t)
			b.api.answer = func(_ string, n int) error {
				if n == 1 {
					return row.answer
				}
				return nil
			}
			b.app.Sender = quotaPanics{b.api}
			w, err := New(Config{Process: pool.Worker{Name: pool.NewName("test")},
				Apps: []App{b.app}, Concurrency: 4, Grace: b.grace,
				Receipts: ReceiptsAll, Ledger: true, LedgerKeep: time.Hour,
				Log: slog.New(panicking{at: string(schema.StateSent), once: new(sync.Once)})},
				b.way)
			b.NoError(err)
			stop := b.run(w)
			b.publish(live+"user1", "one", "hello", "user1")
			r := b.receiptOf("one")
			b.Equal(schema.StateSent, r.State)
			b.Equal(row.posts, r.Attempts)
			b.Equal(row.maybe, r.PossibleDuplicate)
			b.Equal(row.posts, b.posts("hello"))
			b.await(func() bool { return b.queued() == 0 })
			b.NoError(stop())
		})
	}
}

// hookedLedger calls a function when a mark of a kind has been answered, before
// whoever waits for it learns that.
type hookedLedger struct {
	intentLog
	kind ledger.Kind
	once *sync.Once
	hook func()
}

func (h hookedLedger) Write(m ledger.Mark, done func(ledger.Standing, error)) {
	if m.Kind != h.kind {
		h.intentLog.Write(m, done)
		return
	}
	h.intentLog.Write(m, func(s ledger.Standing, err error) {
		h.once.Do(h.hook)
		done(s, err)
	})
}

func TestAHoldBeforeTheStartKeepsWhatWasLearned(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	b.publish(bulk+"c", "one", "hello", "user1")
	begun, over := b.first("one", "hello", "user1", ledger.Start),
		b.first("one", "hello", "user1", ledger.Clear)
	begun.Attempt, over.Attempt, over.Unknown = 1, 1, 1 // of unknown outcome, and given back
	b.mark("before", begun, over)
	b.handOut()
	b.NoError(gate.Pause(t.Context(), b.conn, appID, "until the test is ready", "test"))
	w := b.make()
	w.wrapLedger = func(l intentLog) intentLog {
		return hookedLedger{intentLog: l, kind: ledger.Suspect, once: new(sync.Once), hook: func() {
			b.worker.current()[0].gate.Hold(gate.Hold{Kind: gate.Upstream, Reason: "test"},
				gate.Permission{}, time.Time{}, time.Now())
		}}
	}
	stop := b.run(w)
	b.await(func() bool { return b.worker.reads() == 4 })
	b.NoError(gate.Resume(t.Context(), b.conn, appID))
	r := b.receiptOf("one")
	b.Equal(schema.StateSent, r.State)
	b.Equal(2, r.Attempts)
	b.True(r.PossibleDuplicate)
	b.NoError(stop())
}

// handOut has the bulk lane's consumer hand its next message out once, in vain.
func (b *bed) handOut() {
	b.t.Helper()
	c, err := b.conn.JS.CreateOrUpdateConsumer(b.t.Context(), schema.SendStream(appID),
		broker.BulkConsumer(appID, maxAckPending))
	b.NoError(err)
	m, err := c.Next()
	b.NoError(err)
	b.NoError(m.Nak())
}

func TestCutOffByTheEndOfGraceIsUnknown(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	b.publish(bulk+"c", "one", "hello", "user1")
	b.handOut() // as any hold or stop gives back
	b.grace = 100 * time.Millisecond
	b.api.hang = true
	stop := b.start()
	b.await(func() bool { return b.posts("hello") == 1 })
	b.ErrorIs(stop(), ErrUnclean)
	b.api.hang, b.grace = false, patience
	stop = b.start()
	r := b.receiptOf("one")
	b.Equal(schema.StateSent, r.State)
	b.Equal(2, b.posts("hello"))
	b.True(r.PossibleDuplicate, "the API was called twice")
	b.NoError(stop())
}

func TestAPanicThenAHoldKeepsTheUnknown(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	called := make(chan struct{}, 8)
	b.api.answer = func(_ string, n int) error {
		called <- struct{}{}
		switch n {
		case 1:
			return apiError(-1)
		case 2:
			panic("a bug")
		}
		return nil
	}
	stop := b.start()
	b.publish(bulk+"c", "one", "hello", "user1")
	<-called
	<-called
	b.NoError(gate.Pause(t.Context(), b.conn, appID, "test", "me"))
	b.await(func() bool { return b.worker.apps[0].holding() == 0 }, "it is given back")
	b.NoError(gate.Resume(t.Context(), b.conn, appID))
	b.True(b.receiptOf("one").PossibleDuplicate)
	b.NoError(stop())
}

func TestTheBrokerRestartsUnderTheWorker(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	stop := b.start()
	const n = 300
	for i := range n {
		b.publish(bulk+"c", fmt.Sprintf("id%d", i), fmt.Sprintf("t%d", i), "user1")
		if i == 100 {
			b.restartBroker()
		}
	}
	ends := map[string]int{}
	for len(ends) < n {
		r := b.receipt()
		b.Equal(schema.StateSent, r.State)
		ends[r.ID]++
	}
	for i := range n {
		b.Equal(1, b.posts(fmt.Sprintf("t%d", i)), "no second post by this worker")
	}
	b.Eventually(func() bool { return b.queued() == 0 }, patience, 10*time.Millisecond)
	b.NoError(stop())
}
