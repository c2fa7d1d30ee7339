package root_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/kefuhq/kefu/internal/broker/brokertest"
	"github.com/kefuhq/kefu/publisher"
	"github.com/kefuhq/kefu/schema"
)

// A producer reads the receipts of its own apps and of no others.
func TestAProducerReadsNoReceiptsOfOtherApps(t *testing.T) {
	t.Parallel()
	const other = "wx0000000000000002"
	g := newGuarded(t, roles(t))
	g.do("provisioner", "setup")
	operator, err := nats.Connect(g.url("admin"))
	g.NoError(err)
	defer operator.Close()
	boss, err := jetstream.New(operator)
	g.NoError(err)
	for _, app := range []string{rightsApp, other} {
		_, err := boss.Publish(t.Context(), "kefu.receipt."+app+".sent",
			fmt.Appendf(nil, `{"id":"a","appid":%q,"state":"sent"}`, app))
		g.NoError(err)
	}

	p, leave := g.producer()
	defer leave()
	r, err := p.Receipt(t.Context(), rightsApp, "a")
	g.NoError(err)
	g.Equal(rightsApp, r.AppID)
	g.Empty(g.forbidden())
	_, err = p.Receipt(t.Context(), other, "a")
	g.ErrorIs(err, publisher.ErrForbidden)
	_, err = p.Wait(t.Context(), publisher.Accepted{AppID: other, ID: "a"})
	g.ErrorIs(err, publisher.ErrForbidden)

	nc, _ := g.shop()
	defer nc.Close()
	heard := make(chan string, 100)
	inbox, err := nc.Subscribe("_INBOX.shop.>", func(m *nats.Msg) {
		heard <- m.Subject + " " + string(m.Data)
	})
	g.NoError(err)
	ask := func(name, subject, body string) {
		g.NoError(nc.PublishRequest("$JS.API."+subject, "_INBOX.shop.answer."+name, []byte(body)))
	}
	consumer := func(more string) string {
		return `{"stream_name":"KEFU_RECEIPT","config":{"name":"c","ack_policy":"none","deliver_policy":"all"` + more + `}}`
	}
	const own = "kefu.receipt." + rightsApp + ".*"
	attempts := map[string][2]string{
		"another-app": {"CONSUMER.CREATE.KEFU_RECEIPT.c.kefu.receipt." + other + ".*",
			consumer(`,"filter_subject":"kefu.receipt.` + other + `.*"`)},
		"all-apps": {"CONSUMER.CREATE.KEFU_RECEIPT.c.kefu.receipt.*.*",
			consumer(`,"filter_subject":"kefu.receipt.*.*"`)},
		"no-filter": {"CONSUMER.CREATE.KEFU_RECEIPT.c", consumer("")},
		"filter-in-body": {"CONSUMER.CREATE.KEFU_RECEIPT.c." + own,
			consumer(`,"filter_subject":"kefu.receipt.*.*"`)},
		"filters": {"CONSUMER.CREATE.KEFU_RECEIPT.c." + own,
			consumer(`,"filter_subjects":["kefu.receipt.*.*"]`)},
		"body-no-filter": {"CONSUMER.CREATE.KEFU_RECEIPT.c." + own, consumer("")},
		"durable": {"CONSUMER.DURABLE.CREATE.KEFU_RECEIPT.c",
			consumer(`,"durable_name":"c"`)},
		"ephemeral":      {"CONSUMER.CREATE.KEFU_RECEIPT", consumer("")},
		"names":          {"CONSUMER.NAMES.KEFU_RECEIPT", ""},
		"list":           {"CONSUMER.LIST.KEFU_RECEIPT", ""},
		"get":            {"STREAM.MSG.GET.KEFU_RECEIPT", `{"seq":2}`},
		"direct":         {"DIRECT.GET.KEFU_RECEIPT", `{"seq":2}`},
		"direct-subject": {"DIRECT.GET.KEFU_RECEIPT.kefu.receipt." + other + ".sent", ""},
	}
	for name, attempt := range attempts {
		ask(name, attempt[0], attempt[1])
	}
	eavesdrop, err := nc.SubscribeSync("kefu.receipt.>")
	g.NoError(err)
	g.NoError(nc.Flush())
	_, err = boss.Publish(t.Context(), "kefu.receipt."+other+".dead", []byte("{}"))
	g.NoError(err)
	// From a consumer that some attempt may have made.
	ask("pull", "CONSUMER.MSG.NEXT.KEFU_RECEIPT.c", `{"batch":10,"no_wait":true}`)

	g.NoError(nc.Flush())
	g.NoError(inbox.Drain())
	g.Eventually(func() bool { return !inbox.IsValid() }, brokertest.Patience, time.Millisecond)
	close(heard)
	for line := range heard {
		g.NotContains(line, other)
	}
	n, _, err := eavesdrop.Pending()
	g.NoError(err)
	g.Zero(n)
	stream, err := boss.Stream(t.Context(), schema.StreamReceipt)
	g.NoError(err)
	for info := range stream.ListConsumers(t.Context()).Info() {
		g.Equal(own, info.Config.FilterSubject, "of consumers for its own app there may be some")
		g.Empty(info.Config.FilterSubjects)
	}
}

// shop connects as the producer.
func (g *guarded) shop() (*nats.Conn, jetstream.JetStream) {
	g.t.Helper()
	nc, err := nats.Connect(g.url("shop"),
		nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}))
	g.NoError(err)
	js, err := jetstream.New(nc)
	g.NoError(err)
	return nc, js
}

func (g *guarded) producer() (p *publisher.Publisher, leave func()) {
	g.t.Helper()
	nc, js := g.shop()
	p, err := publisher.New(js)
	g.NoError(err)
	return p, func() {
		g.NoError(p.Close())
		nc.Close()
	}
}

// producerWithoutQueue has a producer publish before kefu is set up.
func (g *guarded) producerWithoutQueue() {
	g.t.Helper()
	p, leave := g.producer()
	defer leave()
	_, err := p.Publish(g.t.Context(), rightsApp,
		&schema.Packet{ToUser: "alice", Body: &schema.Text{Content: "hi"}})
	g.ErrorIs(err, publisher.ErrUnknownApp)
}

// restOfPublisher calls what has not been called yet.
func (g *guarded) restOfPublisher(p *publisher.Publisher) {
	g.t.Helper()
	ctx := g.t.Context()
	packet := json.RawMessage(`{"touser":"alice","msgtype":"text","text":{"content":"hi"}}`)
	a, err := p.Publish(ctx, rightsApp, packet, publisher.WithID("rights"))
	g.NoError(err)
	_, err = p.Wait(ctx, a)
	g.NoError(err)
	r, err := p.Receipt(ctx, rightsApp, a.ID)
	g.NoError(err)
	g.Equal(schema.StateSent, r.State)
	a, err = p.Publish(ctx, rightsApp, packet, publisher.WithID("rights"))
	g.NoError(err)
	r, err = p.Wait(ctx, a)
	g.NoError(err, "a repeat")
	g.Equal(schema.StateSent, r.State)
	a, err = p.Publish(ctx, rightsApp, packet,
		publisher.WithSendAt(time.Now().Add(1500*time.Millisecond)))
	g.NoError(err)
	g.NoError(p.Cancel(ctx, rightsApp, a.ID))
	r, err = p.Wait(ctx, a)
	g.NoError(err)
	g.Equal(schema.StateCancelled, r.State)
	for s, err := range p.Receipts(ctx, rightsApp, publisher.ReceiptsOptions{
		Since: time.Unix(0, 0), State: schema.StateCancelled, Progress: true,
	}) {
		g.NoError(err)
		g.Equal(a.ID, s.ID)
		break
	}
}

func (g *guarded) batch() {
	g.t.Helper()
	p, leave := g.producer()
	defer leave()
	packet := json.RawMessage(`{"touser":"alice","msgtype":"text","text":{"content":"hi"}}`)
	_, err := p.PublishBatch(g.t.Context(), rightsApp,
		slices.Repeat([]publisher.Intent{{Packet: packet}}, 100))
	g.NoError(err)
}
