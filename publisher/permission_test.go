package publisher_test

import (
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/broker/brokertest"
	"github.com/kefuhq/kefu/publisher"
)

// protectedBroker starts a broker with users, each of them without a password, and returns how to
// connect as one.
func protectedBroker(t testing.TB, o *server.Options) func(user string) jetstream.JetStream {
	t.Helper()
	o.Host, o.Port = "127.0.0.1", server.RANDOM_PORT
	o.JetStream, o.StoreDir = true, t.TempDir()
	o.NoSigs, o.NoLog = true, true
	s, err := server.NewServer(o)
	require.NoError(t, err)
	s.Start()
	require.True(t, s.ReadyForConnections(brokertest.Patience))
	t.Cleanup(func() {
		s.Shutdown()
		s.WaitForShutdown()
	})
	return func(user string) jetstream.JetStream {
		nc, err := nats.Connect(s.ClientURL(), nats.UserInfo(user, user),
			nats.CustomInboxPrefix("_INBOX_"+user),
			nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}))
		require.NoError(t, err)
		t.Cleanup(nc.Close)
		js, err := jetstream.New(nc)
		require.NoError(t, err)
		return js
	}
}

func TestPermissions(t *testing.T) {
	t.Parallel()
	producer := &server.Permissions{
		Publish:   &server.SubjectPermission{Allow: []string{"kefu.send.wx1.live.*"}},
		Subscribe: &server.SubjectPermission{Allow: []string{"_INBOX_producer.>"}},
	}
	campaigner := &server.Permissions{
		Publish:   &server.SubjectPermission{Allow: []string{"kefu.send.wx1.bulk.sale"}},
		Subscribe: &server.SubjectPermission{Allow: []string{"_INBOX_campaigner.>"}},
	}
	deaf := &server.Permissions{
		Publish:   &server.SubjectPermission{Allow: []string{"kefu.send.>"}},
		Subscribe: &server.SubjectPermission{Allow: []string{"elsewhere"}},
	}
	curious := &server.Permissions{
		Publish: &server.SubjectPermission{Allow: []string{
			"kefu.send.wx1.live.*", "$JS.API.CONSUMER.CREATE.KEFU_RECEIPT.>",
			"$JS.API.CONSUMER.MSG.NEXT.KEFU_RECEIPT.*", "$JS.API.CONSUMER.DELETE.KEFU_RECEIPT.*",
		}},
		Subscribe: &server.SubjectPermission{Allow: []string{"_INBOX_curious.>"}},
	}
	as := protectedBroker(t, &server.Options{Users: []*server.User{
		{Username: "admin", Password: "admin"},
		{Username: "producer", Password: "producer", Permissions: producer},
		{Username: "campaigner", Password: "campaigner", Permissions: campaigner},
		{Username: "curious", Password: "curious", Permissions: curious},
		{Username: "deaf", Password: "deaf", Permissions: deaf},
	}})
	admin := as("admin")
	for _, cfg := range broker.Streams(brokertest.Spec(app)) {
		_, err := admin.CreateStream(t.Context(), cfg)
		require.NoError(t, err)
	}
	p := newPublisher(t, as("producer"))

	t.Run("to publish and to hear answers are enough", func(t *testing.T) {
		t.Parallel()
		_, err := p.Publish(t.Context(), app, text("oAlice", "hi"))
		require.NoError(t, err)
	})
	t.Run("that are missing are said soon, and name no openid", func(t *testing.T) {
		t.Parallel()
		_, err := p.Publish(t.Context(), "wx2", text("oAlice", "hi"))
		require.ErrorIs(t, err, publisher.ErrForbidden)
		require.ErrorContains(t, err,
			"this connection may not publish to the live queue of app wx2")
	})
	t.Run("to publish to a campaign are enough for that campaign", func(t *testing.T) {
		t.Parallel()
		p := newPublisher(t, as("campaigner"))
		done, err := p.PublishCampaign(t.Context(), app, sale, followers(1500))
		require.NoError(t, err)
		require.Equal(t, 1500, stored(done))
		_, err = p.PublishCampaign(t.Context(), app, publisher.Campaign{Name: "other"},
			followers(1500))
		require.ErrorIs(t, err, publisher.ErrForbidden)
		require.ErrorContains(t, err, "may not publish to the bulk queue of app wx1")
	})
	t.Run("to read receipts are four in all", func(t *testing.T) {
		t.Parallel()
		p := newPublisher(t, as("curious"))
		w := watch(t, p)
		a, err := p.Publish(t.Context(), app, text("oAlice", "hi"))
		require.NoError(t, err)
		settle(t, admin, sent(a.ID))
		r, err := w.Wait(t.Context(), a.ID)
		require.NoError(t, err)
		require.Equal(t, sent(a.ID), r)
		r, err = p.Receipt(t.Context(), app, a.ID)
		require.NoError(t, err)
		require.Equal(t, sent(a.ID), r)
	})
	t.Run("to hear answers are needed", func(t *testing.T) {
		t.Parallel()
		js := as("deaf")
		p := newPublisher(t, js, publisher.WithTimeout(700*time.Millisecond))
		require.NoError(t, js.Conn().Flush(),
			"the refusal comes before the answer to this, and so before the call")
		_, err := p.Publish(t.Context(), app, text("oAlice", "hi"))
		require.ErrorIs(t, err, publisher.ErrOutcomeOpen)
		require.ErrorContains(t, err, "may not subscribe to its inbox")
	})
}
