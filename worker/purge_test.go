package worker

import (
	"testing"
	"time"

	"github.com/kefuhq/kefu/internal/ledger"
	"github.com/kefuhq/kefu/internal/pool"
	"github.com/kefuhq/kefu/internal/wire"
	"github.com/kefuhq/kefu/schema"
)

// repeat publishes an intent once more, as a producer does that the broker does
// not know any more to have published it.
func (b *bed) repeat(id, text, touser string, header ...string) {
	b.t.Helper()
	s, err := b.conn.JS.Stream(b.t.Context(), schema.SendStream(appID))
	b.NoError(err)
	cfg := s.CachedInfo().Config
	window := cfg.Duplicates
	cfg.Duplicates = 100 * time.Millisecond // the least that the broker takes
	_, err = b.conn.JS.UpdateStream(b.t.Context(), cfg)
	b.NoError(err)
	b.Eventually(func() bool {
		return !b.publish(bulk+"c1", id, text, touser, header...).Duplicate
	}, patience, 10*time.Millisecond)
	cfg.Duplicates = window
	_, err = b.conn.JS.UpdateStream(b.t.Context(), cfg)
	b.NoError(err)
}

// purge takes everything out of the app's queue.
func (b *bed) purge() {
	b.t.Helper()
	s, err := b.conn.JS.Stream(b.t.Context(), schema.SendStream(appID))
	b.NoError(err)
	b.NoError(s.Purge(b.t.Context()))
}

// heldBefore publishes an intent that a worker which is gone had begun and, for a
// hold, given back.
func (b *bed) heldBefore(id string) {
	b.t.Helper()
	b.publish(bulk+"c1", id, id, "u0")
	begun, back := b.first(id, id, "u0", ledger.Start), b.first(id, id, "u0", ledger.Clear)
	begun.Attempt, back.Generation = 1, 1
	b.mark("dead-one", begun, back)
}

func TestARepeatGoesOnWhenTheFirstWasPurged(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		kind []ledger.Kind // of the marks that the first has, by a worker that is gone
		want schema.Receipt
	}{
		{
			"while it was held", []ledger.Kind{ledger.Start, ledger.Clear},
			schema.Receipt{State: schema.StateSent, Attempts: 1},
		},
		{
			"when its call had begun", []ledger.Kind{ledger.Start},
			schema.Receipt{State: schema.StateSent, Attempts: 2, PossibleDuplicate: true},
		},
		{
			"when its burial had begun",
			[]ledger.Kind{ledger.Start, ledger.Dying(schema.ReasonRejected)},
			schema.Receipt{State: schema.StateDead, Reason: schema.ReasonRejected, Attempts: 1},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			b := newBed(t)
			b.publish(bulk+"c1", "first", "first", "u0")
			for _, kind := range c.kind {
				m := b.first("first", "first", "u0", kind)
				m.Generation = 1
				if m.Attempt = 1; kind == ledger.Clear {
					m.Attempt = 0
				}
				b.mark("dead-one", m)
			}
			b.purge()
			b.repeat("first", "first", "u0")
			stop := b.start()
			r := b.receiptOf("first")
			b.Equal(c.want, schema.Receipt{State: r.State, Reason: r.Reason, Attempts: r.Attempts,
				PossibleDuplicate: r.PossibleDuplicate})
			b.await(func() bool { return b.queued() == 0 })
			b.NoError(stop())
			b.Equal(c.want.State == schema.StateSent, b.posts("first") == 1)
		})
	}
}

func TestARepeatOfWhatIsQueuedIsAcknowledged(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	b.heldBefore("first")
	b.repeat("first", "first", "u0")
	stop := b.start()
	b.Equal(1, b.receiptOf("first").Attempts)
	b.await(func() bool { return b.queued() == 0 })
	b.NoError(stop())
	b.Equal(1, b.posts("first"))
}

func TestARepeatThatTakesThePlaceOfAPurgedOneWaitsForItsOwnTime(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	b.heldBefore("first")
	b.purge()
	b.repeat("first", "first", "u0", "Kefu-Send-At",
		time.Now().Add(30*time.Minute).UTC().Format(time.RFC3339Nano))
	stop := b.start()
	b.await(func() bool { return b.queued() == 0 })
	b.NoError(stop())
	b.Zero(b.posts("first"))
	n, err := b.conn.Count(t.Context(), wire.StreamLater, wire.LaterWaitFilter(appID))
	b.NoError(err)
	b.EqualValues(1, n)
}

func TestAPurgedMessageInHandIsNotSentBesideItsRepeat(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	calls, end := b.answersLate()
	b.publish(bulk+"c1", "first", "first", "u0")
	stop := b.start()
	<-calls
	b.purge()
	b.repeat("first", "first", "u0")
	b.publish(bulk+"c1", "other", "other", "u1")
	<-calls // of the other: the repeat came before it
	b.Eventually(func() bool {
		events, err := ledger.History(t.Context(), b.conn, ledger.KeyOf(appID, "first"))
		return err == nil && events[len(events)-1].Mark.Kind == ledger.Start && len(events) > 2
	}, patience, 10*time.Millisecond)
	close(end)
	for range 2 {
		b.Equal(schema.StateSent, b.receipt().State)
	}
	b.await(func() bool { return b.queued() == 0 })
	b.NoError(stop())
	b.Equal(1, b.posts("first"))
}

func TestWhileAnEarlierVersionWorksARepeatIsTakenForOne(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	old, err := pool.Join(t.Context(), b.conn, pool.Worker{Name: pool.NewName("old")}, nil)
	b.NoError(err)
	defer old.Leave(t.Context())
	b.heldBefore("first")
	b.purge()
	b.repeat("first", "first", "u0")
	stop := b.start()
	b.await(func() bool { return b.queued() == 0 })
	b.NoError(stop())
	b.Zero(b.posts("first"))
}
