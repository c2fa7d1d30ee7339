package publisher_test

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/broker/brokertest"
	"github.com/kefuhq/kefu/publisher"
	"github.com/kefuhq/kefu/schema"
)

// cancellation is the order that stands for an id.
func cancellation(
	t testing.TB, js jetstream.JetStream, id string,
) (c schema.Cancellation, header nats.Header) {
	t.Helper()
	s, err := js.Stream(t.Context(), "KV_KEFU_STATE")
	require.NoError(t, err)
	m, err := s.GetLastMsgForSubject(t.Context(), schema.CancelSubject(app, id))
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(m.Data, &c))
	return c, m.Header
}

func TestACancellationIsAboutWhatWasAcceptedBefore(t *testing.T) {
	t.Parallel()
	conn := brokertest.New(t, app)
	p := newPublisher(t, conn.JS, publisher.WithDefaults(publisher.WithSource("shop")))
	for _, id := range []string{"before", "after"} {
		if id == "after" {
			require.NoError(t, p.Cancel(t.Context(), app, "order-7"))
		}
		_, err := p.Publish(t.Context(), app, text("oAlice", "hi"), publisher.WithID(id))
		require.NoError(t, err)
	}
	c, header := cancellation(t, conn.JS, "order-7")
	require.Zero(t, c.Generation)
	require.Equal(t, "shop", c.By)
	require.Equal(t, "8784h0m0s", header.Get("Nats-TTL"))
	stored := queued(t, conn)
	require.True(t, stored[0].Time.Before(c.At))
	require.True(t, stored[1].Time.After(c.At))

	t.Run("and is kept as long as is asked for", func(t *testing.T) {
		require.NoError(t,
			newPublisher(t, conn.JS).Cancel(t.Context(), app, "order-8",
				publisher.WithKeep(90*time.Minute), nil))
		c, header := cancellation(t, conn.JS, "order-8")
		require.Equal(t, "1h30m0s", header.Get("Nats-TTL"))
		require.Equal(t, "its producer", c.By)
	})
}

func TestACancellationOutlivesLostAnswersAndTheBroker(t *testing.T) {
	t.Parallel()
	b := brokertest.Start(t, app)
	for _, what := range []string{`"config":`, `"seq":`} {
		e := losing(1, what)
		require.NoError(t, newPublisher(t, e.connect(t, b.URL())).Cancel(t.Context(), app, "a"))
		require.Equal(t, 1, e.count())
	}
	conn := b.Connect()
	p := newPublisher(t, conn.JS)
	b.Stop()
	done := make(chan error, 1)
	go func() { done <- p.Cancel(t.Context(), app, "b") }()
	b.Start()
	require.NoError(t, brokertest.Await(t, done, "the cancellation"))
	_, _ = cancellation(t, b.Connect().JS, "b")
}

func TestWhatCannotBeCancelledSaysWhy(t *testing.T) {
	t.Parallel()
	b := brokertest.Start(t, app)
	conn := b.Connect()
	user := func(name string, allow ...string) *server.User {
		return &server.User{Username: name, Password: name, Permissions: &server.Permissions{
			Publish:   &server.SubjectPermission{Allow: append(allow, "kefu.send.wx1.>")},
			Subscribe: &server.SubjectPermission{Allow: []string{"_INBOX_" + name + ".>"}},
		}}
	}
	const info, write = "$JS.API.STREAM.INFO.KEFU_SEND_wx1", "$KV.KEFU_STATE.cancel.wx1.*"
	as := protectedBroker(t, &server.Options{Users: []*server.User{
		{Username: "admin", Password: "admin"},
		user("none"), user("half", info), user("all", info, write),
	}})
	for _, cfg := range broker.Streams(brokertest.Spec(app)) {
		_, err := as("admin").CreateStream(t.Context(), cfg)
		require.NoError(t, err)
	}
	for name, row := range map[string]struct {
		js        jetstream.JetStream
		app, id   string
		opts      []publisher.CancelOption
		spoil     func(*publisher.Publisher)
		want      error
		text      string
		retryable bool
	}{
		"an unknown app": {js: conn.JS, app: "wxTypo", id: "a", want: publisher.ErrUnknownApp,
			text: "no app wxTypo here"},
		"a bad appid": {js: conn.JS, app: "wx1.*", id: "a", text: "appid: must be"},
		"a bad id": {js: conn.JS, app: app, id: "订单",
			text: "id: must be printable ASCII"},
		"no id": {js: conn.JS, app: app, text: "id: empty"},
		"to be kept for none": {js: conn.JS, app: app, id: "a",
			opts: []publisher.CancelOption{publisher.WithKeep(0)}, text: "keep: must be"},
		"a closed publisher": {
			js: conn.JS, app: app, id: "a", want: publisher.ErrClosed,
			spoil: func(p *publisher.Publisher) { _ = p.Close() },
		},
		"a closed connection": {
			js: b.Connect().JS, app: app, id: "a", want: publisher.ErrNotQueued,
			spoil: func(p *publisher.Publisher) { p.Conn().Close() },
		},
		"a missing permission to ask": {
			js: as("none"), app: app, id: "a", want: publisher.ErrForbidden,
			text: "may not publish to " + info,
		},
		"a missing permission to write": {
			js: as("half"), app: app, id: "a", want: publisher.ErrForbidden,
			text: "may not publish to " + strings.TrimSuffix(write, "*"),
		},
		"no answer to the question": {
			js: losing(-1, `"config":`).connect(t, b.URL()), app: app, id: "a",
			want: publisher.ErrNotQueued, text: "not cancelled: ", retryable: true,
		},
		"no answer to the order": {
			js: losing(-1, `"seq":`).connect(t, b.URL()), app: app, id: "a",
			want: publisher.ErrOutcomeOpen, text: "cancelling it again is safe", retryable: true,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPublisher(t, row.js, publisher.WithTimeout(3*time.Second))
			if row.spoil != nil {
				row.spoil(p)
			}
			err := p.Cancel(t.Context(), row.app, row.id, row.opts...)
			var e *publisher.Error
			require.ErrorAs(t, err, &e)
			require.Equal(t, row.id, e.ID)
			require.Equal(t, row.retryable, e.Retryable())
			require.ErrorContains(t, err, row.text)
			if row.want != nil {
				require.ErrorIs(t, err, row.want)
			} else {
				var field *schema.FieldError
				require.ErrorAs(t, err, &field)
			}
		})
	}
	t.Run("and nothing but the permissions of the package comment is needed", func(t *testing.T) {
		t.Parallel()
		require.NoError(t, newPublisher(t, as("all")).Cancel(t.Context(), app, "a"))
	})
	t.Run("at the latest when its context ends", func(t *testing.T) {
		t.Parallel()
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		require.ErrorIs(t, newPublisher(t, conn.JS).Cancel(ctx, app, "a"), context.Canceled)
	})
}
