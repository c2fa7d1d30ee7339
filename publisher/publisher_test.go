package publisher_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
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

const traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

func TestAnIntentIsStoredAsTheContractSays(t *testing.T) {
	t.Parallel()
	conn := brokertest.New(t, app)
	p := newPublisher(t, conn.JS,
		publisher.WithDefaults(publisher.WithSource("shop"),
			publisher.WithUnknown(schema.PolicyResend)))
	sendAt := time.Date(2026, 12, 24, 9, 0, 0, 0, time.FixedZone("CST", 8*3600))
	packet := raw("oAlice", "你好 <b>")

	a, err := p.Publish(t.Context(), app, packet,
		publisher.WithID("order 4711"), publisher.WithSendAt(sendAt),
		publisher.WithExpiresAt(sendAt.Add(time.Hour)),
		publisher.WithUnknown(schema.PolicyPark), publisher.WithTraceparent(traceparent))
	require.NoError(t, err)
	require.Equal(t,
		publisher.Accepted{ID: "order 4711", AppID: app, Stream: "KEFU_SEND_wx1", Seq: 1, At: a.At},
		a)

	stored := queued(t, conn)
	require.Len(t, stored, 1)
	require.Equal(t, []byte(packet), stored[0].Data, "byte for byte")
	require.Equal(t, nats.Header{
		"Nats-Msg-Id":     {"order 4711"},
		"Kefu-Send-At":    {"2026-12-24T01:00:00Z"},
		"Kefu-Expires-At": {"2026-12-24T02:00:00Z"},
		"Kefu-Unknown":    {"park"}, // the call's option goes before the publisher's
		"Kefu-Source":     {"shop"},
		"traceparent":     {traceparent},
	}, stored[0].Header)
	_, err = schema.ParseEnvelope(stored[0].Header)
	require.NoError(t, err)
}

func TestTheLaneIsLiveUnlessACampaignIsNamed(t *testing.T) {
	t.Parallel()
	conn := brokertest.New(t, app)
	p := newPublisher(t, conn.JS)
	_, err := p.Publish(t.Context(), app, text("oAlice", "hi"))
	require.NoError(t, err)
	_, err = p.Publish(t.Context(), app, text("oBob", "sale"), publisher.WithBulk("spring-sale"))
	require.NoError(t, err)

	stored := queued(t, conn)
	require.Len(t, stored, 2)
	live, err := schema.ParseSubject(stored[0].Subject)
	require.NoError(t, err)
	require.Equal(t, schema.LaneLive, live.Lane)
	require.Equal(t, "oAlice", live.Key)
	require.Equal(t, "kefu.send.wx1.bulk.spring-sale", stored[1].Subject)
	require.Equal(t, `{"touser":"oBob","msgtype":"text","text":{"content":"sale"}}`,
		string(stored[1].Data))
}

func TestExpiresInCountsFromTheCall(t *testing.T) {
	t.Parallel()
	conn := brokertest.New(t, app)
	p := newPublisher(t, conn.JS)
	before := time.Now()
	_, err := p.Publish(t.Context(), app, text("oAlice", "hi"), publisher.WithExpiresIn(time.Hour))
	require.NoError(t, err)
	e, err := schema.ParseEnvelope(queued(t, conn)[0].Header)
	require.NoError(t, err)
	require.WithinRange(t, e.ExpiresAt, before.Add(time.Hour), time.Now().Add(time.Hour))
}

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

func TestWhatBreaksARuleIsRefusedBeforeItLeaves(t *testing.T) {
	t.Parallel()
	conn := brokertest.New(t, app)
	p := newPublisher(t, conn.JS)
	soon := time.Now().Add(time.Hour)
	secret := "oSecretPerson"
	for _, row := range []struct {
		when  string
		appID string
		json  string
		opts  []publisher.PublishOption
		field string
	}{
		{when: "the packet is no JSON", json: secret, field: "packet"},
		{when: "there is no packet", json: ``, field: "packet"},
		{when: "a field is missing", json: `{"touser":"` + secret + `","msgtype":"text","text":{}}`,
			field: "text.content"},
		{when: "a text is too long", json: string(raw(secret, strings.Repeat("a", 2049))),
			field: "text.content"},
		{when: "the recipient is no openid", json: string(raw("oAlice.>", "hi")), field: "touser"},
		{when: "the appid is none", appID: "wx1.*", field: "appid"},
		{when: "the id is empty", opts: []publisher.PublishOption{publisher.WithID("")},
			field: "id"},
		{when: "the id is no ASCII", opts: []publisher.PublishOption{publisher.WithID("订单")},
			field: "Nats-Msg-Id"},
		{when: "the campaign has a dot",
			opts: []publisher.PublishOption{publisher.WithBulk("spring.sale")}, field: "campaign"},
		{when: "the campaign is empty", opts: []publisher.PublishOption{publisher.WithBulk("")},
			field: "campaign"},
		{when: "the source has a blank",
			opts: []publisher.PublishOption{publisher.WithSource("my shop")}, field: "Kefu-Source"},
		{when: "the policy is unheard of",
			opts: []publisher.PublishOption{publisher.WithUnknown("hope")}, field: "Kefu-Unknown"},
		{when: "it expires at once", opts: []publisher.PublishOption{publisher.WithExpiresIn(0)},
			field: "Kefu-Expires-At"},
		{when: "it expires before it is due",
			opts: []publisher.PublishOption{publisher.WithSendAt(soon),
				publisher.WithExpiresAt(soon)}, field: "Kefu-Send-At"},
	} {
		t.Run(row.when, func(t *testing.T) {
			t.Parallel()
			appID, body := app, json.RawMessage(row.json)
			if row.appID != "" {
				appID = row.appID
			}
			if row.field != "packet" && row.json == "" {
				body = raw(secret, "hi")
			}
			_, err := p.Publish(t.Context(), appID, body, row.opts...)
			var field *schema.FieldError
			require.ErrorAs(t, err, &field)
			require.Equal(t, row.field, field.Field)
			require.NotContains(t, err.Error(), secret)
		})
	}
	t.Cleanup(func() { require.Empty(t, queued(t, conn)) })
}

func TestLimitsAreThePublishersOwn(t *testing.T) {
	t.Parallel()
	conn := brokertest.New(t, app)
	p := newPublisher(t, conn.JS, publisher.WithLimits(schema.Limits{TextBytes: 3}))
	_, err := p.Publish(t.Context(), app, text("oAlice", "four"))
	var field *schema.FieldError
	require.ErrorAs(t, err, &field)
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

func TestAPublisherNeedsATimeout(t *testing.T) {
	t.Parallel()
	conn := brokertest.New(t)
	_, err := publisher.New(conn.JS, publisher.WithTimeout(0))
	require.Error(t, err)
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
