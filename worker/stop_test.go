package worker

import (
	"fmt"
	"testing"
	"time"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/gate"
	"github.com/kefuhq/kefu/internal/ledger"
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
	b.Eventually(func() bool { return b.posts("t") == 4 }, patience, time.Millisecond)
	stopped := make(chan error, 1)
	a := b.worker.apps[0]
	go func() { stopped <- stop() }()
	b.Eventually(func() bool { a.mu.Lock(); defer a.mu.Unlock(); return a.stopping }, patience, time.Millisecond)
	close(release)
	b.NoError(<-stopped)
	b.Equal(4, b.posts("t"), "only what was under way went out")
	b.Eventually(func() bool { return b.queued() == n-4 }, patience, time.Millisecond, "the broker takes acks in its own time")

	b.api.answer = nil
	stop = b.start()
	for range n {
		r := b.receipt()
		b.Equal(schema.Sent, r.State)
		b.Equal(1, r.Attempts)
		b.False(r.PossibleDuplicate)
	}
	b.Equal(n, b.posts("t"), "each once over both lives")
	b.NoError(stop())
}

func TestAGracePeriodThatIsTooShortLosesNothing(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	b.grace = 100 * time.Millisecond
	b.api.hang = true
	stop := b.start()
	b.publish(live+"user1", "one", "hello", "user1")
	b.Eventually(func() bool { return b.posts("hello") == 1 }, patience, time.Millisecond)
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
	b.Equal(schema.Sent, b.receiptOf("good").State, "the others are not affected")
	r := b.receiptOf("bad")
	b.Equal(schema.Unknown, r.Reason)
	b.True(r.PossibleDuplicate)
	b.Equal(2, b.posts("boom"))
	b.NoError(stop())
}

func TestWhatKilledTheWorkerThreeTimesIsPoison(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	b.publish(bulk+"c", "bad", "hello", "user1")
	l, err := ledger.Open(t.Context(), b.conn, ledger.Options{Worker: "dead-one", Keep: time.Hour})
	b.NoError(err)
	marked := make(chan struct{}, 2)
	for range 2 { // two workers before were handed it and died
		l.Write(ledger.Mark{Key: ledger.KeyOf(appID, "bad"), Seq: 1, Kind: ledger.Suspect}, func(ledger.Standing, error) { marked <- struct{}{} })
		<-marked
	}
	l.Close()
	b.handOut()
	stop := b.start()
	r := b.receiptOf("bad")
	b.Equal(schema.Poison, r.Reason)
	b.Zero(b.posts("hello"))
	b.NoError(stop())
}

// handOut has the bulk lane's consumer hand its next message out once, in vain.
func (b *bed) handOut() {
	b.t.Helper()
	c, err := b.conn.JS.CreateOrUpdateConsumer(b.t.Context(), schema.SendStream(appID), broker.BulkConsumer(appID, maxAckPending))
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
	b.Eventually(func() bool { return b.posts("hello") == 1 }, patience, time.Millisecond)
	b.ErrorIs(stop(), ErrUnclean)
	b.api.hang = false
	stop = b.start()
	r := b.receiptOf("one")
	b.Equal(schema.Sent, r.State)
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
	b.Eventually(func() bool { return b.worker.apps[0].holding() == 0 }, patience, time.Millisecond, "it is given back")
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
		b.Equal(schema.Sent, r.State)
		ends[r.ID]++
	}
	for i := range n {
		b.Equal(1, b.posts(fmt.Sprintf("t%d", i)), "no second post by this worker")
	}
	b.Eventually(func() bool { return b.queued() == 0 }, patience, 10*time.Millisecond)
	b.NoError(stop())
}
