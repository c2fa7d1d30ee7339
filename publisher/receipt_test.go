package publisher_test

import (
	"context"
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/broker/brokertest"
	"github.com/kefuhq/kefu/publisher"
	"github.com/kefuhq/kefu/schema"
)

// settle publishes a receipt as a worker does.
func settle(t testing.TB, js jetstream.JetStream, r schema.Receipt) {
	t.Helper()
	require.NoError(t, storeReceipt(js, r))
}

func storeReceipt(js jetstream.JetStream, r schema.Receipt) error {
	data, err := json.Marshal(r)
	if err != nil {
		return err
	}
	_, err = js.Publish(context.Background(), schema.ReceiptSubject(r.AppID, r.State), data)
	return err
}

func sent(id string) schema.Receipt {
	return schema.Receipt{ID: id, AppID: app, Generation: 1, State: schema.StateSent,
		Lane: schema.LaneLive, Attempts: 1}
}

// work settles everything in the app's queue as sent until the test ends.
func work(t testing.TB, conn *broker.Conn) {
	t.Helper()
	c, err := conn.JS.CreateConsumer(t.Context(), schema.SendStream(app),
		jetstream.ConsumerConfig{AckPolicy: jetstream.AckExplicitPolicy})
	require.NoError(t, err)
	run, err := c.Consume(func(m jetstream.Msg) {
		settle(t, conn.JS, sent(m.Headers().Get(schema.HeaderMsgID)))
		_ = m.Ack()
	})
	require.NoError(t, err)
	t.Cleanup(func() {
		run.Stop()
		<-run.Closed()
	})
}

func watch(t testing.TB, p *publisher.Publisher) *publisher.Watcher {
	t.Helper()
	w, err := p.Watch(t.Context(), app)
	require.NoError(t, err)
	t.Cleanup(w.Close)
	return w
}

// wait waits in the background.
func wait(ctx context.Context, w *publisher.Watcher, id string) <-chan schema.Receipt {
	ch := make(chan schema.Receipt, 1)
	go func() {
		if r, err := w.Wait(ctx, id); err == nil {
			ch <- r
		}
	}()
	return ch
}

func consumers(t testing.TB, conn *broker.Conn) int {
	t.Helper()
	s, err := conn.JS.Stream(t.Context(), schema.StreamReceipt)
	require.NoError(t, err)
	return s.CachedInfo().State.Consumers
}

func TestWaitTellsHowItEnded(t *testing.T) {
	t.Parallel()
	conn := brokertest.New(t, app)
	p := newPublisher(t, conn.JS)
	work(t, conn)

	r, err := publishAndWait(t.Context(), p, text("oAlice", "hi"), publisher.WithID("a"))
	require.NoError(t, err)
	require.Equal(t, sent("a"), r)
	r, err = publishAndWait(t.Context(), p, raw("oAlice", "hi"))
	require.NoError(t, err)
	require.Equal(t, schema.StateSent, r.State)

	t.Run("also of one that was published and had ended before", func(t *testing.T) {
		r, err := publishAndWait(t.Context(), p, text("oAlice", "hi"), publisher.WithID("a"))
		require.NoError(t, err)
		require.Equal(t, sent("a"), r)
	})
	t.Run("with one consumer at the broker, which goes with the publisher", func(t *testing.T) {
		require.Equal(t, 1, consumers(t, conn))
		require.NoError(t, p.Close())
		require.Zero(t, consumers(t, conn))
	})
}

func TestWaitWithoutAWorker(t *testing.T) {
	t.Parallel()
	conn := brokertest.New(t, app)
	p := newPublisher(t, conn.JS)
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	r, err := publishAndWait(ctx, p, text("oAlice", "hi"), publisher.WithID("a"))
	require.ErrorIs(t, err, publisher.ErrNoReceipt)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.ErrorContains(t, err, "does it publish them")
	require.Equal(t, schema.Receipt{ID: "a", AppID: app}, r)
	require.Len(t, queued(t, conn), 1)
}

func TestWaitOfARepeat(t *testing.T) {
	t.Parallel()
	conn := brokertest.New(t, app) // without a worker: nothing ends any more
	p := newPublisher(t, conn.JS)
	died := sent("dead")
	died.State, died.Reason = schema.StateDead, schema.ReasonExhausted
	died.PublishedAt = time.Now().Add(-time.Hour).UTC()
	settle(t, conn.JS, sent("gone"))
	settle(t, conn.JS, died)
	t.Run("that the broker has forgotten, of one that was sent", func(t *testing.T) {
		t.Parallel()
		r, err := publishAndWait(t.Context(), p, text("oAlice", "hi"), publisher.WithID("gone"))
		require.NoError(t, err)
		require.Equal(t, sent("gone"), r)
	})
	t.Run("of one that died: it lives again, and its end is still to come", func(t *testing.T) {
		t.Parallel()
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		_, err := publishAndWait(ctx, p, text("oAlice", "hi"), publisher.WithID("dead"))
		require.ErrorIs(t, err, publisher.ErrNoReceipt)
	})
}

func TestWaitOfABadIntent(t *testing.T) {
	t.Parallel()
	conn := brokertest.New(t, app)
	_, err := publishAndWait(t.Context(), newPublisher(t, conn.JS), text("oAlice", ""))
	var field *schema.FieldError
	require.ErrorAs(t, err, &field)
}

func TestAWatcherKnowsWhatCameBeforeItWasAsked(t *testing.T) {
	t.Parallel()
	conn := brokertest.New(t, app)
	p := newPublisher(t, conn.JS)
	w := watch(t, p)

	asked := wait(t.Context(), w, "b")
	settle(t, conn.JS, sent("a"))
	settle(t, conn.JS, sent("b"))
	require.Equal(t, "b", brokertest.Await(t, asked, "a receipt").ID)
	r, err := w.Wait(t.Context(), "a")
	require.NoError(t, err)
	require.Equal(t, sent("a"), r)

	t.Run("and not what is another app's", func(t *testing.T) {
		other := sent("c")
		other.AppID = "wx2"
		settle(t, conn.JS, other)
		settle(t, conn.JS, sent("d"))
		_, err := w.Wait(t.Context(), "d")
		require.NoError(t, err)
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		_, err = w.Wait(ctx, "c")
		require.ErrorIs(t, err, publisher.ErrNoReceipt)
	})
	t.Run("and the newest of several", func(t *testing.T) {
		replayed := sent("a")
		replayed.Generation = 2
		settle(t, conn.JS, replayed)
		settle(t, conn.JS, sent("e"))
		_, err := w.Wait(t.Context(), "e")
		require.NoError(t, err)
		r, err := w.Wait(t.Context(), "a")
		require.NoError(t, err)
		require.Equal(t, 2, r.Generation)
	})
	t.Run("whoever asks, however many", func(t *testing.T) {
		one, two := wait(t.Context(), w, "f"), wait(t.Context(), w, "f")
		settle(t, conn.JS, sent("f"))
		brokertest.Await(t, one, "the first to know")
		brokertest.Await(t, two, "the second to know")
	})
}

func TestAWatcherThatForgotLooksItUp(t *testing.T) {
	t.Parallel()
	conn := brokertest.New(t, app)
	w := watch(t, newPublisher(t, conn.JS))
	w.Remember(3)
	for i := range 10 {
		settle(t, conn.JS, sent(fmt.Sprintf("id-%d", i)))
	}
	for i := 9; i >= 0; i-- {
		id := fmt.Sprintf("id-%d", i)
		r, err := w.Wait(t.Context(), id)
		require.NoError(t, err)
		require.Equal(t, sent(id), r)
	}
}

func TestAWatcherOutlivesTheBroker(t *testing.T) {
	t.Parallel()
	b := brokertest.Start(t, app)
	conn := b.Connect()
	w := watch(t, newPublisher(t, conn.JS))
	early := wait(t.Context(), w, "a")
	back := brokertest.Reconnected(t, conn)
	b.Restart()
	settle(t, b.Connect().JS, sent("a")) // perhaps before the watcher is back
	brokertest.Await(t, back, "the connection")
	require.Equal(t, sent("a"), brokertest.Await(t, early, "the receipt"))
}

func TestAWatcherOutlivesItsConsumer(t *testing.T) {
	t.Parallel()
	conn := brokertest.New(t, app)
	w := watch(t, newPublisher(t, conn.JS))
	s, err := conn.JS.Stream(t.Context(), schema.StreamReceipt)
	require.NoError(t, err)
	for name := range s.ConsumerNames(t.Context()).Name() {
		require.NoError(t, s.DeleteConsumer(t.Context(), name))
	}
	settle(t, conn.JS, sent("a"))
	ctx, cancel := context.WithTimeout(t.Context(), brokertest.Patience)
	defer cancel()
	r, err := w.Wait(ctx, "a")
	require.NoError(t, err)
	require.Equal(t, sent("a"), r)
}

func TestAWaitEndsWithWhatItNeeds(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		end  func(*publisher.Publisher, *broker.Conn)
		want []error
	}{
		"its publisher": {
			func(p *publisher.Publisher, _ *broker.Conn) { _ = p.Close() },
			[]error{publisher.ErrClosed},
		},
		"its connection": {
			func(_ *publisher.Publisher, c *broker.Conn) { c.Close() },
			[]error{publisher.ErrUnreadable, nats.ErrConnectionClosed},
		},
		"its publisher, while the broker is away": {
			func(p *publisher.Publisher, c *broker.Conn) {
				_ = c.NC.ForceReconnect()
				_ = p.Close()
			},
			[]error{publisher.ErrClosed},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			conn := brokertest.New(t, app)
			p := newPublisher(t, conn.JS)
			w := watch(t, p)
			done := make(chan error, 1)
			go func() {
				_, err := w.Wait(t.Context(), "a")
				done <- err
			}()
			require.Eventually(t, func() bool { return p.Waiting(app) == 1 }, brokertest.Patience,
				time.Millisecond)
			row.end(p, conn)
			err := brokertest.Await(t, done, "the wait to end")
			for _, want := range row.want {
				require.ErrorIs(t, err, want)
			}
			var e *publisher.Error
			require.ErrorAs(t, err, &e)
			require.Equal(t, "a", e.ID)
			require.False(t, e.Retryable())
		})
	}
}

func TestWaitFindsWhatEndedBeforeItWasAsked(t *testing.T) {
	t.Parallel()
	conn := brokertest.New(t, app)
	p := newPublisher(t, conn.JS)
	a, err := p.Publish(t.Context(), app, text("oAlice", "hi"))
	require.NoError(t, err)
	settle(t, conn.JS, sent("other"))
	settle(t, conn.JS, sent(a.ID))
	r, err := p.Wait(t.Context(), a)
	require.NoError(t, err)
	require.Equal(t, sent(a.ID), r)

	t.Run("by its id alone, whatever became of it", func(t *testing.T) {
		died := sent("dead")
		died.State, died.Reason = schema.StateDead, schema.ReasonExhausted
		died.PublishedAt = time.Now().Add(-time.Hour).UTC()
		settle(t, conn.JS, died)
		for _, p := range []*publisher.Publisher{p, newPublisher(t, conn.JS)} {
			r, err := p.Wait(t.Context(), publisher.Accepted{AppID: app, ID: "dead"})
			require.NoError(t, err)
			require.Equal(t, died, r)
		}
	})
	t.Run("and what ends later", func(t *testing.T) {
		p := newPublisher(t, conn.JS)
		a, err := p.Publish(t.Context(), app, text("oAlice", "hi"))
		require.NoError(t, err)
		done := make(chan schema.Receipt, 1)
		go func() {
			if r, err := p.Wait(t.Context(), a); err == nil {
				done <- r
			}
		}()
		require.Eventually(t, func() bool { return p.Waiting(app) == 1 }, brokertest.Patience,
			time.Millisecond)
		settle(t, conn.JS, sent(a.ID))
		require.Equal(t, sent(a.ID), brokertest.Await(t, done, "the receipt"))
	})
}

func TestWatchingThatCannotBegin(t *testing.T) {
	t.Parallel()
	t.Run("because there is no stream of receipts", func(t *testing.T) {
		t.Parallel()
		conn := brokertest.Bare(t).Connect()
		_, err := newPublisher(t, conn.JS).Watch(t.Context(), app)
		require.ErrorIs(t, err, jetstream.ErrStreamNotFound)
	})
	t.Run("because the appid is none", func(t *testing.T) {
		t.Parallel()
		conn := brokertest.New(t, app)
		_, err := newPublisher(t, conn.JS).Watch(t.Context(), "*")
		var field *schema.FieldError
		require.ErrorAs(t, err, &field)
	})
	t.Run("because time is over", func(t *testing.T) {
		t.Parallel()
		b := brokertest.Start(t, app)
		p := newPublisher(t, losing(-1, "").connect(t, b.URL()))
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		_, err := p.Watch(ctx, app)
		require.ErrorIs(t, err, context.DeadlineExceeded)
	})
}

func TestReceiptFindsTheNewestOfAnID(t *testing.T) {
	t.Parallel()
	conn := brokertest.New(t, app)
	p := newPublisher(t, conn.JS)
	_, err := p.Receipt(t.Context(), app, "a")
	require.ErrorIs(t, err, publisher.ErrNoReceipt)

	dead := schema.Receipt{ID: "a", AppID: app, Generation: 1, State: schema.StateDead,
		Reason: schema.ReasonExhausted, Lane: schema.LaneLive}
	replayed := sent("a")
	replayed.Generation = 2
	for _, r := range []schema.Receipt{sent("b"), dead, sent(`"a"`), replayed, sent("c")} {
		settle(t, conn.JS, r)
	}
	r, err := p.Receipt(t.Context(), app, "a")
	require.NoError(t, err)
	require.Equal(t, replayed, r)
	r, err = p.Receipt(t.Context(), app, `"a"`)
	require.NoError(t, err)
	require.Equal(t, sent(`"a"`), r)
	_, err = p.Receipt(t.Context(), app, "d")
	require.ErrorIs(t, err, publisher.ErrNoReceipt)
	require.Zero(t, consumers(t, conn))
}
