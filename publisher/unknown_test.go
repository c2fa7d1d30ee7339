package publisher_test

import (
	"context"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/kefuhq/kefu/internal/broker/brokertest"
	"github.com/kefuhq/kefu/publisher"
)

func TestAnUnknownAppIsSaidWithoutWaitingForAnElection(t *testing.T) {
	t.Parallel()
	conn := brokertest.New(t, app)
	for name, publish := range map[string]func(context.Context, *publisher.Publisher) error{
		"one": func(ctx context.Context, p *publisher.Publisher) error {
			_, err := p.Publish(ctx, "wxTypo", text("oAlice", "hi"))
			return err
		},
		"many": func(ctx context.Context, p *publisher.Publisher) error {
			_, err := p.PublishBatch(ctx, "wxTypo", crowd(3000))
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPublisher(t, conn.JS)
			p.Election(time.Hour)
			ctx, cancel := context.WithTimeout(t.Context(), brokertest.Patience)
			defer cancel()
			require.ErrorIs(t, publish(ctx, p), publisher.ErrUnknownApp)
		})
	}
	t.Run("and that is not remembered", func(t *testing.T) {
		t.Parallel()
		conn := brokertest.Bare(t).Connect()
		p := newPublisher(t, conn.JS)
		_, err := p.Publish(t.Context(), app, text("oAlice", "hi"))
		require.ErrorIs(t, err, publisher.ErrUnknownApp)
		send(t, conn, func(*jetstream.StreamConfig) {})
		_, err = p.Publish(t.Context(), app, text("oAlice", "hi"))
		require.NoError(t, err)
	})
}

// queueless is a broker that has no JetStream: what the publisher asks is answered by the test. It
// returns a connection of the test's and one of the publisher's.
func queueless(t *testing.T) (*nats.Conn, jetstream.JetStream) {
	t.Helper()
	s, err := server.NewServer(
		&server.Options{Host: "127.0.0.1", Port: server.RANDOM_PORT, NoSigs: true, NoLog: true})
	require.NoError(t, err)
	s.Start()
	require.True(t, s.ReadyForConnections(brokertest.Patience))
	t.Cleanup(func() {
		s.Shutdown()
		s.WaitForShutdown()
	})
	conns := [2]*nats.Conn{}
	for i := range conns {
		conns[i], err = nats.Connect(s.ClientURL())
		require.NoError(t, err)
		t.Cleanup(conns[i].Close)
	}
	js, err := jetstream.New(conns[1])
	require.NoError(t, err)
	return conns[0], js
}

// answers has the test answer what is sent to a subject.
func answers(t *testing.T, nc *nats.Conn, subject string, answer func(*nats.Msg) string) {
	t.Helper()
	_, err := nc.Subscribe(subject, func(m *nats.Msg) {
		if a := answer(m); a != "" {
			_ = m.Respond([]byte(a))
		}
	})
	require.NoError(t, err)
	require.NoError(t, nc.Flush())
}

const (
	inquiry = "$JS.API.STREAM.INFO.KEFU_SEND_wx1"
	exists  = `{"config":{"name":"KEFU_SEND_wx1"},"state":{}}`
	missing = `{"error":{"code":404,"err_code":10059,"description":"stream not found"}}`
	away    = `{"error":{"code":503,"err_code":10008,` +
		`"description":"JetStream system temporarily unavailable"}}`
)

func TestAQueueWithoutALeaderIsNoUnknownApp(t *testing.T) {
	t.Parallel()
	for name, said := range map[string][]string{
		"when the broker says that there is one":              {exists},
		"when it says nothing":                                {""},
		"when it cannot say at first":                         {away, "", exists},
		"when it says something that is no answer":            {"{}", "?", exists},
		"when it finds it missing after it has found it once": {exists, missing},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			nc, js := queueless(t)
			asked := make(chan struct{}, 100)
			answers(t, nc, inquiry, func(*nats.Msg) string {
				asked <- struct{}{}
				this := said[0]
				if len(said) > 1 {
					said = said[1:]
				}
				return this
			})
			p := newPublisher(t, js)
			p.Election(time.Nanosecond)
			done := make(chan error, 1)
			go func() {
				_, err := p.Publish(t.Context(), app, text("oAlice", "hi"))
				done <- err
			}()
			brokertest.Await(t, asked, "the question")
			answers(t, nc, "kefu.send.wx1.live.*",
				func(*nats.Msg) string { return `{"stream":"KEFU_SEND_wx1","seq":1}` })
			require.NoError(t, brokertest.Await(t, done, "the publish"))
		})
	}
}

func TestAnAppThatCannotBeAskedAboutIsUnknownAfterAnElection(t *testing.T) {
	t.Parallel()
	t.Run("because nobody listens", func(t *testing.T) {
		t.Parallel()
		_, js := queueless(t)
		p := newPublisher(t, js)
		p.Election(time.Nanosecond)
		_, err := p.Publish(t.Context(), app, text("oAlice", "hi"))
		require.ErrorIs(t, err, publisher.ErrUnknownApp)
	})
	t.Run("because this connection may not ask", func(t *testing.T) {
		t.Parallel()
		as := protectedBroker(t, &server.Options{Users: []*server.User{{
			Username: "producer", Password: "producer", Permissions: &server.Permissions{
				Publish: &server.SubjectPermission{Allow: []string{"kefu.send.wx1.live.*"}},
			},
		}}})
		p := newPublisher(t, as("producer"))
		p.Election(time.Nanosecond)
		ctx, cancel := context.WithTimeout(t.Context(), brokertest.Patience)
		defer cancel()
		_, err := p.Publish(ctx, app, text("oAlice", "hi"))
		require.ErrorIs(t, err, publisher.ErrUnknownApp)
	})
}
