package publisher_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/kefuhq/kefu/internal/broker/brokertest"
	"github.com/kefuhq/kefu/publisher"
	"github.com/kefuhq/kefu/schema"
)

// calls are all that a publisher can be asked for, with a context.
func calls(p *publisher.Publisher) map[string]func(context.Context) error {
	return map[string]func(context.Context) error{
		"Publish": func(ctx context.Context) error {
			_, err := p.Publish(ctx, app, text("oAlice", "hi"))
			return err
		},
		"Publish of JSON": func(ctx context.Context) error {
			_, err := p.Publish(ctx, app, raw("oAlice", "hi"))
			return err
		},
		"PublishBatch of few": func(ctx context.Context) error {
			_, err := p.PublishBatch(ctx, app, crowd(3))
			return err
		},
		"PublishBatch of many": func(ctx context.Context) error {
			results, err := p.PublishBatch(ctx, app, crowd(2500))
			for _, r := range results {
				if r.Err == nil {
					return fmt.Errorf("%s was accepted", r.ID)
				}
			}
			return err
		},
		"Wait": func(ctx context.Context) error {
			_, err := p.Wait(ctx, publisher.Accepted{AppID: app, ID: "a"})
			return err
		},
		"Cancel": func(ctx context.Context) error { return p.Cancel(ctx, app, "a") },
		"Receipt": func(ctx context.Context) error {
			_, err := p.Receipt(ctx, app, "a")
			return err
		},
	}
}

func TestAClosedPublisherStoresNothingAndSaysSo(t *testing.T) {
	t.Parallel()
	conn := brokertest.New(t, app)
	p := newPublisher(t, conn.JS)
	watch(t, p)
	require.NoError(t, p.Close())
	require.NoError(t, p.Close(), "twice is once")
	for name, call := range calls(p) {
		err := call(t.Context())
		require.ErrorIs(t, err, publisher.ErrClosed, name)
		require.NotErrorIs(t, err, publisher.ErrOutcomeOpen, name)
		if strings.HasPrefix(name, "Publish") {
			require.ErrorIs(t, err, publisher.ErrNotQueued, name)
		}
	}
	require.Empty(t, queued(t, conn))
	require.Zero(t, consumers(t, conn))
}

func TestClosingAfterTheConnectionIsNoError(t *testing.T) {
	t.Parallel()
	conn := brokertest.New(t, app)
	p := newPublisher(t, conn.JS)
	conn.Close()
	require.NoError(t, p.Close())
}

func TestClosingEndsWhatIsUnderWay(t *testing.T) {
	t.Parallel()
	t.Run("a publish that was not answered is open", func(t *testing.T) {
		t.Parallel()
		b := brokertest.Start(t, app)
		conn := b.Connect()
		p := newPublisher(t, losing(-1, `"seq":`).connect(t, b.URL()))
		done := make(chan error, 1)
		go func() {
			_, err := p.Publish(t.Context(), app, text("oAlice", "hi"))
			done <- err
		}()
		eventually(conn, 1)
		require.NoError(t, p.Close())
		err := brokertest.Await(t, done, "the publish to end")
		require.ErrorIs(t, err, publisher.ErrOutcomeOpen)
		require.ErrorIs(t, err, publisher.ErrClosed)
	})
	t.Run("everybody who waits for a receipt is told", func(t *testing.T) {
		t.Parallel()
		conn := brokertest.New(t, app)
		p := newPublisher(t, conn.JS)
		const callers = 50
		done := make(chan error, callers)
		for i := range callers {
			go func() {
				r, err := publishAndWait(t.Context(), p, text("oAlice", "hi"),
					publisher.WithID(fmt.Sprint(i)))
				if r.ID != fmt.Sprint(i) {
					err = errors.New("the id is lost")
				}
				done <- err
			}()
		}
		eventually(conn, callers)
		require.NoError(t, p.Close())
		for range callers {
			require.ErrorIs(t, brokertest.Await(t, done, "the wait to end"), publisher.ErrClosed)
		}
		require.Len(t, queued(t, conn), callers)
		require.Zero(t, consumers(t, conn))
	})
}

// The broker has made the consumer, and its answer to that has not come: nobody else can delete it.
func TestClosingDeletesAConsumerThatIsBeingMade(t *testing.T) {
	t.Parallel()
	b := brokertest.Start(t, app)
	conn := b.Connect()
	lost := losing(1, "consumer_create_response")
	p := newPublisher(t, lost.connect(t, b.URL()))
	done := make(chan error, 1)
	go func() {
		_, err := p.Wait(t.Context(), publisher.Accepted{AppID: app, ID: "a"})
		done <- err
	}()
	isLost := func() bool { return lost.count() == 1 }
	require.Eventually(t, isLost, brokertest.Patience, time.Millisecond)
	require.Equal(t, 1, consumers(t, conn))
	require.NoError(t, p.Close())
	require.ErrorIs(t, brokertest.Await(t, done, "the wait to end"), publisher.ErrClosed)
	require.Zero(t, consumers(t, conn))
}

func TestNilIsRefusedNotPanickedOver(t *testing.T) {
	t.Parallel()
	conn := brokertest.New(t, app)
	_, err := publisher.New(nil)
	require.Error(t, err)
	p := newPublisher(t, conn.JS, nil, publisher.WithDefaults(nil))
	for name, call := range calls(p) {
		require.Error(t, call(nil), "%s without a context", name)
	}
	bodies := []schema.Body{
		nil, (*schema.Text)(nil), (*schema.Image)(nil), (*schema.Voice)(nil), (*schema.Video)(nil),
		(*schema.Music)(nil),
		(*schema.News)(nil), (*schema.WxCard)(nil), (*schema.MPNews)(nil),
		(*schema.MPNewsArticle)(nil), (*schema.MsgMenu)(nil),
		(*schema.MiniProgramPage)(nil), (*schema.Link)(nil),
	}
	require.Len(t, bodies, 1+len(schema.MsgTypes()), "one of each type")
	for _, body := range bodies {
		var field *schema.FieldError
		_, err := p.Publish(t.Context(), app, &schema.Packet{ToUser: "oAlice", Body: body})
		require.ErrorAs(t, err, &field)
		require.Equal(t, &schema.FieldError{Field: "msgtype", Rule: "missing"}, field)
	}
	publish := func(packet json.Marshaler) error {
		_, err := p.Publish(t.Context(), app, packet)
		return err
	}
	wait := func(a publisher.Accepted) error {
		_, err := p.Wait(t.Context(), a)
		return err
	}
	_, emptyBatch := p.PublishBatch(t.Context(), app, make([]publisher.Intent, 2))
	for name, err := range map[string]error{
		"no packet":       publish(nil),
		"no typed packet": publish((*schema.Packet)(nil)),
		"no JSON":         publish(json.RawMessage(nil)),
		"nothing to wait": wait(publisher.Accepted{AppID: app}),
		"nowhere to wait": wait(publisher.Accepted{ID: "a"}),
		"empty intents":   emptyBatch,
	} {
		var field *schema.FieldError
		require.ErrorAs(t, err, &field, name)
	}
	require.Empty(t, queued(t, conn))
	_, err = p.Publish(t.Context(), app, text("oAlice", "hi"), nil, publisher.WithID("a"))
	require.NoError(t, err)
}

func TestABatchTellsEveryReason(t *testing.T) {
	t.Parallel()
	conn := brokertest.New(t)
	send(t, conn, func(c *jetstream.StreamConfig) { c.MaxMsgs = 30 })
	intents := crowd(100)
	intents[3].Packet = text("not an openid!", "hi")
	intents[40].Packet = text("oUser40", "")
	intents[41].Packet = text("oUser41", "")
	results, err := newPublisher(t, conn.JS).PublishBatch(t.Context(), app, intents)
	require.ErrorIs(t, err, publisher.ErrQueueFull)
	var (
		field *schema.FieldError
		api   *jetstream.APIError
	)
	require.ErrorAs(t, err, &field)
	require.ErrorAs(t, err, &api)
	for _, r := range results {
		if r.Err != nil {
			require.ErrorIs(t, err, r.Err)
		}
	}
	require.ErrorContains(t, err, "70 of 100 intents were not accepted; 1: touser: ")
	require.ErrorContains(t, err, "; 67: the queue of app wx1 is full")
	require.ErrorContains(t, err, "; 2: text.content: missing")
	require.NotContains(t, err.Error(), "not an openid!")
}
