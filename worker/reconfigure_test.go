package worker

import (
	"testing"

	"github.com/kefuhq/kefu/internal/broker/brokertest"
	"github.com/kefuhq/kefu/internal/gate"
	"github.com/kefuhq/kefu/schema"
)

func TestAnAppThatIsGivenUpTroublesTheWorkerNoMore(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	stop := b.start()
	b.NoError(b.conn.JS.DeleteStream(t.Context(), schema.StreamDead))
	b.publish(live+"user1", "one", "hello", "somebody else")
	b.publish(live+"user2", "two", "hello", "somebody else")
	b.await(func() bool {
		return b.worker.troubles.countRefused(schema.StreamDead, 0) == 2 &&
			len(b.worker.Troubles()) == 1
	})
	b.NoError(b.worker.Reconfigure(t.Context(), nil))
	b.await(func() bool { return len(b.worker.Troubles()) == 0 },
		"no letter of this worker waits any more")
	b.EqualValues(2, b.queued(), "the intents wait for whoever takes the app up")
	b.NoError(stop())
}

func TestAppsAreAddedChangedAndRemovedWhileTheWorkerRuns(t *testing.T) {
	t.Parallel()
	const other = "wx0000000000000002"
	b := newBed(t)
	b.api.answer = func(text string, _ int) error {
		if text == "busy" {
			return apiError(-1)
		}
		return nil
	}
	stop := b.start()
	b.publish(live+"user1", "one", "hello", "user1")
	b.Equal(schema.StateSent, b.receiptOf("one").State)

	second := b.app
	second.ID = other
	b.ErrorContains(b.worker.Reconfigure(t.Context(), []App{b.app, second}),
		"the queue of app "+other)
	b.Len(b.worker.current(), 1, "what cannot be taken up changes nothing")

	brokertest.Provision(t, b.conn, brokertest.Spec(other))
	changed := b.app
	changed.Retry.Attempts, changed.Rate = 1, gate.Rate{PerSecond: 1000, Burst: 10}
	b.NoError(b.worker.Reconfigure(t.Context(), []App{changed, second}))
	b.publish("kefu.send."+other+".live.user2", "two", "hello", "user2")
	b.Equal(schema.StateSent, b.receiptOf("two").State, "a new app's intents are sent")
	b.publish(live+"user1", "three", "busy", "user1")
	r := b.receiptOf("three")
	b.Equal(schema.ReasonExhausted, r.Reason, "an app that stays goes by its new settings")
	b.Equal(1, r.Attempts)

	b.NoError(b.worker.Reconfigure(t.Context(), []App{changed}))
	b.await(func() bool { return len(b.worker.current()) == 1 })
	b.await(func() bool { return len(b.worker.pool.Claims()) == 4 },
		"its shards are another's to take")
	b.publish("kefu.send."+other+".live.user2", "four", "hello", "user2")
	b.publish(live+"user1", "five", "hello", "user1")
	b.Equal(schema.StateSent, b.receiptOf("five").State, "the others go on")
	s, err := b.conn.JS.Stream(t.Context(), schema.SendStream(other))
	b.NoError(err)
	b.EqualValues(1, s.CachedInfo().State.Msgs, "what is queued stays, unread")

	b.NoError(b.worker.Reconfigure(t.Context(), []App{changed, second}))
	b.Equal(schema.StateSent, b.receiptOf("four").State, "until the app is back")
	b.NoError(stop())
	b.ErrorIs(b.worker.Reconfigure(t.Context(), []App{changed}), ErrNotRunning)
}
