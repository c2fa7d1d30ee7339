package publisher_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/kefuhq/kefu/internal/broker/brokertest"
	"github.com/kefuhq/kefu/publisher"
	"github.com/kefuhq/kefu/schema"
)

func TestARepeatOfAnIDIsAnsweredAsDuplicate(t *testing.T) {
	t.Parallel()
	conn := brokertest.New(t, app)
	p := newPublisher(t, conn.JS)
	first, err := p.Publish(t.Context(), app, text("oAlice", "hi"), publisher.WithID("a"))
	require.NoError(t, err)
	require.False(t, first.Duplicate)
	second, err := p.Publish(t.Context(), app, text("oAlice", "hi"), publisher.WithID("a"))
	require.NoError(t, err)
	require.True(t, second.Duplicate)
	require.Equal(t, first.Seq, second.Seq)
	require.Len(t, queued(t, conn), 1)
}

func TestWithoutAnIDEachCallIsAnIntentOfItsOwn(t *testing.T) {
	t.Parallel()
	conn := brokertest.New(t, app)
	p := newPublisher(t, conn.JS)
	a, err := p.Publish(t.Context(), app, text("oAlice", "hi"))
	require.NoError(t, err)
	b, err := p.Publish(t.Context(), app, text("oAlice", "hi"))
	require.NoError(t, err)
	require.NotEqual(t, a.ID, b.ID)
	require.Equal(t, []string{a.ID, b.ID}, ids(queued(t, conn)))
}

func TestAPacketThatIsTooLarge(t *testing.T) {
	t.Parallel()
	conn := brokertest.New(t, app)
	p := newPublisher(t, conn.JS, publisher.WithLimits(schema.Limits{TextBytes: 1 << 20}))
	long := strings.Repeat("a", schema.MaxPacket)

	t.Run("is refused here", func(t *testing.T) {
		for _, packet := range []json.Marshaler{text("oAlice", long), raw("oAlice", long)} {
			_, err := p.Publish(t.Context(), app, packet)
			require.ErrorIs(t, err, publisher.ErrTooLarge)
			var field *schema.FieldError
			require.ErrorAs(t, err, &field)
			require.Equal(t, "packet", field.Field)
		}
	})
	t.Run("or by a stream that takes less", func(t *testing.T) {
		send(t, conn, func(c *jetstream.StreamConfig) { c.MaxMsgSize = 1000 })
		a, err := p.Publish(t.Context(), app, text("oAlice", long[:2000]))
		require.ErrorIs(t, err, publisher.ErrTooLarge)
		require.ErrorContains(t, err, a.ID)
	})
}

func TestAPacketThatTheServerDoesNotTake(t *testing.T) {
	t.Parallel()
	nc := protectedBroker(t, &server.Options{MaxPayload: 1024})("any")
	p := newPublisher(t, nc)
	_, err := p.Publish(t.Context(), app, text("oAlice", strings.Repeat("a", 2000)))
	require.ErrorIs(t, err, publisher.ErrTooLarge)
	require.ErrorIs(t, err, nats.ErrMaxPayload)
}

func TestAFullQueueRefusesAndKeepsWhatItHas(t *testing.T) {
	t.Parallel()
	conn := brokertest.New(t, app)
	send(t, conn, func(c *jetstream.StreamConfig) { c.MaxMsgs = 2 })
	p := newPublisher(t, conn.JS)
	for _, id := range []string{"a", "b"} {
		_, err := p.Publish(t.Context(), app, text("oAlice", "hi"), publisher.WithID(id))
		require.NoError(t, err)
	}
	_, err := p.Publish(t.Context(), app, text("oAlice", "hi"), publisher.WithID("c"))
	require.ErrorIs(t, err, publisher.ErrQueueFull)
	require.ErrorContains(t, err, "the queue of app wx1 is full")
	var refusal *jetstream.APIError
	require.ErrorAs(t, err, &refusal)

	again, err := p.Publish(t.Context(), app, text("oAlice", "hi"), publisher.WithID("a"))
	require.NoError(t, err, "a repeat needs no room")
	require.True(t, again.Duplicate)
	require.Equal(t, []string{"a", "b"}, ids(queued(t, conn)))

	send(t, conn, func(c *jetstream.StreamConfig) { c.MaxMsgs = 3 })
	_, err = p.Publish(t.Context(), app, text("oAlice", "hi"), publisher.WithID("c"))
	require.NoError(t, err)
}

func TestAnUnknownAppIsSaidAtOnce(t *testing.T) {
	t.Parallel()
	conn := brokertest.New(t, app)
	p := newPublisher(t, conn.JS)
	began := time.Now()
	_, err := p.Publish(t.Context(), "wxTypo", text("oAlice", "hi"))
	require.ErrorIs(t, err, publisher.ErrUnknownApp)
	require.ErrorContains(t, err, "no app wxTypo here")
	require.Less(t, time.Since(began), 12*time.Second)
}

func TestAPublisherNeedsATimeout(t *testing.T) {
	t.Parallel()
	conn := brokertest.New(t)
	_, err := publisher.New(conn.JS, publisher.WithTimeout(0))
	require.Error(t, err)
}
