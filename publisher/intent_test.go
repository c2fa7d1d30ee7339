package publisher_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

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
