package publisher_test

import (
	"bytes"
	"context"
	"errors"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/kefuhq/kefu/internal/broker/brokertest"
	"github.com/kefuhq/kefu/publisher"
	"github.com/kefuhq/kefu/schema"
)

func TestAnAppThatHasAnsweredOnceIsWaitedFor(t *testing.T) {
	t.Parallel()
	conn := brokertest.New(t, app)
	p := newPublisher(t, conn.JS)
	_, err := p.Publish(t.Context(), app, text("oAlice", "hi"))
	require.NoError(t, err)
	require.NoError(t, conn.JS.DeleteStream(t.Context(), schema.SendStream(app)))

	const longerThanAnElection = 2500 * time.Millisecond
	ctx, cancel := context.WithTimeout(t.Context(), longerThanAnElection)
	defer cancel()
	_, err = p.Publish(ctx, app, text("oAlice", "hi"))
	// Not queued or, if time was over between a try and the answer to it, open.
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.NotErrorIs(t, err, publisher.ErrUnknownApp)

	done := make(chan error, 1)
	go func() {
		_, err := p.Publish(t.Context(), app, text("oAlice", "hi"))
		done <- err
	}()
	brokertest.Provision(t, conn, brokertest.Spec(app))
	require.NoError(t, brokertest.Await(t, done, "the publish"))
}

func TestAnAnswerThatIsLostCostsOneRepeatAndNoSecondIntent(t *testing.T) {
	t.Parallel()
	b := brokertest.Start(t, app)
	for name, opts := range map[string][]publisher.PublishOption{
		"with an id made here": nil,
		"with a given id":      {publisher.WithID("a")},
	} {
		t.Run(name, func(t *testing.T) {
			e := losing(1, `"seq":`)
			p := newPublisher(t, e.connect(t, b.URL()))
			conn := b.Connect()
			before := len(queued(t, conn))
			a, err := p.Publish(t.Context(), app, text("oAlice", "hi"), opts...)
			require.NoError(t, err)
			require.Equal(t, 1, e.count())
			require.Equal(t, opts != nil, a.Duplicate,
				"an id made here cannot have been there before")
			stored := queued(t, conn)
			require.Len(t, stored, before+1)
			require.Equal(t, stored[before].Seq, a.Seq)
		})
	}
}

func TestABrokerThatRestartsIsWaitedFor(t *testing.T) {
	t.Parallel()
	b := brokertest.Start(t, app)
	conn := b.Connect()
	p := newPublisher(t, conn.JS)
	back := brokertest.Reconnected(t, conn)
	b.Stop()
	done := make(chan error, 1)
	go func() {
		_, err := p.Publish(t.Context(), app, text("oAlice", "hi"))
		done <- err
	}()
	b.Start()
	brokertest.Await(t, back, "the connection")
	require.NoError(t, brokertest.Await(t, done, "the publish"))
	require.Len(t, queued(t, conn), 1)
}

func TestTimeIsOver(t *testing.T) {
	t.Parallel()
	t.Run("before the broker answered: the same id settles what is open", func(t *testing.T) {
		t.Parallel()
		b := brokertest.Start(t, app)
		conn := b.Connect()
		p := newPublisher(t, losing(-1, `"seq":`).connect(t, b.URL()))
		ctx, cancel := context.WithCancelCause(t.Context())
		why := errors.New("the user went away")
		go func() {
			eventually(conn, 1)
			cancel(why)
		}()
		a, err := p.Publish(ctx, app, text("oAlice", "hi"))
		require.ErrorIs(t, err, publisher.ErrOutcomeOpen)
		require.ErrorIs(t, err, why)
		require.NotErrorIs(t, err, publisher.ErrNotQueued)
		require.ErrorContains(t, err, "publishing it again under this id is safe")
		require.NotEmpty(t, a.ID)

		again, err := newPublisher(t, conn.JS).Publish(t.Context(), app, text("oAlice", "hi"),
			publisher.WithID(a.ID))
		require.NoError(t, err)
		require.True(t, again.Duplicate)
	})
	t.Run("before anything was sent: it is not queued", func(t *testing.T) {
		t.Parallel()
		b := brokertest.Start(t, app)
		conn := b.Connect()
		p := newPublisher(t, conn.JS)
		b.Stop()
		require.Eventually(t, func() bool { return !conn.NC.IsConnected() }, brokertest.Patience,
			time.Millisecond)
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		defer cancel()
		_, err := p.Publish(ctx, app, text("oAlice", "hi"))
		require.ErrorIs(t, err, publisher.ErrNotQueued)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.NotErrorIs(t, err, publisher.ErrOutcomeOpen)
	})
	t.Run("before the call: nothing is sent", func(t *testing.T) {
		t.Parallel()
		conn := brokertest.New(t, app)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_, err := newPublisher(t, conn.JS).Publish(ctx, app, text("oAlice", "hi"))
		require.ErrorIs(t, err, publisher.ErrNotQueued)
		require.ErrorIs(t, err, context.Canceled)
		require.Empty(t, queued(t, conn))
	})
	t.Run("without a deadline, by the publisher's own", func(t *testing.T) {
		t.Parallel()
		b := brokertest.Start(t, app)
		p := newPublisher(t, losing(-1, `"seq":`).connect(t, b.URL()),
			publisher.WithTimeout(700*time.Millisecond))
		_, err := p.Publish(t.Context(), app, text("oAlice", "hi"))
		require.ErrorIs(t, err, publisher.ErrOutcomeOpen)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.ErrorContains(t, err, "after 700ms")
	})
	t.Run("because the connection is closed", func(t *testing.T) {
		t.Parallel()
		conn := brokertest.New(t, app)
		p := newPublisher(t, conn.JS)
		conn.Close()
		_, err := p.Publish(t.Context(), app, text("oAlice", "hi"))
		require.ErrorIs(t, err, publisher.ErrNotQueued)
		require.ErrorIs(t, err, nats.ErrConnectionClosed)
	})
}

func TestAQueueThatWasFullMayHoldTheRepeat(t *testing.T) {
	t.Parallel()
	b := brokertest.Start(t, app)
	conn := b.Connect()
	send(t, conn, func(c *jetstream.StreamConfig) { c.MaxMsgs = 1 })
	_, err := newPublisher(t, conn.JS).Publish(t.Context(), app, text("oAlice", "hi"),
		publisher.WithID("first"))
	require.NoError(t, err)
	stream, err := conn.JS.Stream(t.Context(), schema.SendStream(app))
	require.NoError(t, err)
	slow := &ear{lose: func(payload []byte) bool {
		// It is heard when there was room for the repeat.
		if bytes.Contains(payload, []byte("exceeded")) {
			_ = stream.Purge(context.Background())
			eventually(conn, 1)
		}
		return false
	}}
	_, err = newPublisher(t, slow.connect(t, b.URL())).Publish(t.Context(), app, text("oBob", "hi"),
		publisher.WithID("second"))
	require.Equal(t, []string{"second"}, ids(queued(t, conn)))
	require.ErrorIs(t, err, publisher.ErrOutcomeOpen)
	require.ErrorIs(t, err, publisher.ErrQueueFull)
}
