package clitest

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/broker/brokertest"
	"github.com/kefuhq/kefu/internal/cli"
	"github.com/kefuhq/kefu/internal/deadletter"
	"github.com/kefuhq/kefu/internal/ledger"
	"github.com/kefuhq/kefu/internal/replay"
	"github.com/kefuhq/kefu/internal/replay/replaytest"
	"github.com/kefuhq/kefu/internal/wire"
	"github.com/kefuhq/kefu/schema"
)

// The recipient of what these tests send, in full and as people are shown it.
const (
	Recipient = "oABCDEFGHIJKLMNOPQRSTUVWXYZ0"
	Masked    = "oABC…Z0"
)

// Operation is a broker with the queues of two apps, wx1 and wx2, of which wx1 is configured.
type Operation struct {
	*require.Assertions
	T    *testing.T
	Conn *broker.Conn
	File string // the configuration
}

// NewOperation starts the broker.
func NewOperation(t *testing.T) *Operation {
	t.Helper()
	b := brokertest.Start(t, "wx1", "wx2")
	return &Operation{
		Assertions: require.New(t), T: t, Conn: b.Connect(),
		File: fmt.Sprintf("nats: {url: %q}\napps:\n  - {appid: wx1, name: 旗舰店, secret_env: S}\n",
			b.URL()),
	}
}

// Kefu runs a command line of words without blanks in them.
func (o *Operation) Kefu(line string, change ...func(*Try)) Result {
	o.T.Helper()
	c := Try{Args: Args(line), File: o.File, Environ: []string{"S=x", "NO_COLOR=1"}}
	for _, f := range change {
		f(&c)
	}
	return Run(o.T, c)
}

// Answering makes the user one who answers at a terminal.
func Answering(answer string) func(*Try) {
	return func(c *Try) { c.Width, c.Stdin = 200, answer+"\n" }
}

// Decode reads the JSON of a command that went well.
func Decode[T any](o *Operation, r Result) T {
	o.T.Helper()
	o.Equal(cli.ExitDone, r.Code, r.Err)
	var v T
	o.NoError(json.Unmarshal([]byte(r.Out), &v), r.Out)
	return v
}

// Publish publishes a message and waits until it is stored.
func (o *Operation) Publish(m *nats.Msg) broker.Ack {
	o.T.Helper()
	ack, err := o.Conn.Outbox.PublishWait(o.T.Context(), m)
	o.NoError(err)
	return ack
}

// Send queues an intent as a producer would.
func (o *Operation) Send(appID, id string) broker.Ack {
	o.T.Helper()
	m := nats.NewMsg("kefu.send." + appID + ".live." + Recipient)
	m.Data = []byte(PacketFor(Recipient))
	if id != "" {
		m.Header.Set(schema.HeaderMsgID, id)
	}
	ack, err := o.Conn.JS.PublishMsg(o.T.Context(), m) // the outbox would give it an id
	o.NoError(err)
	return broker.Ack{Stream: ack.Stream, Seq: ack.Sequence}
}

// PacketFor returns a packet for a recipient.
func PacketFor(openid string) string {
	return `{"touser":"` + openid +
		`","msgtype":"text","text":{"content":"您好, 138"},"extra":{"phone":13812345678}}`
}

// Died is when the letters of these tests died, if they say nothing else.
var Died = time.Date(2026, 11, 20, 8, 0, 0, 0, time.UTC)

// DeadLetter returns a letter of wx1, with some changes.
func DeadLetter(id string, change ...func(*schema.Letter)) *schema.Letter {
	l := &schema.Letter{
		ID: id, AppID: "wx1", Generation: 1, Lane: schema.LaneLive, OpenID: Recipient,
		Source: "shop",
		Reason: schema.ReasonExhausted, Detail: "the API was busy six times",
		Subject: "kefu.send.wx1.live." + Recipient, Sequence: 7,
		PublishedAt: time.Now().Add(-time.Minute).UTC(), DiedAt: Died, Worker: "worker-1",
		Headers: map[string][]string{"Nats-Msg-Id": {id}, "X-To": {"for " + Recipient}},
	}
	wire.SetPacket(l, []byte(PacketFor(Recipient)))
	for _, f := range change {
		f(l)
	}
	return l
}

// DiedOf changes a letter to one whose last attempt had that answer.
func DiedOf(reason schema.Reason, errcode int, errmsg string) func(*schema.Letter) {
	return func(l *schema.Letter) {
		l.Reason, l.Errcode, l.Errmsg, l.RID = reason, &errcode, errmsg, "rid-1"
		l.Attempts = []schema.Attempt{{Number: 1, At: Died.Add(-time.Second), DurationMS: 12,
			Outcome: "recipient", Errcode: &errcode, Errmsg: errmsg, Worker: "worker-1"}}
		l.FirstAt, l.LastAt = l.Attempts[0].At, l.Attempts[0].At
	}
}

// OfCampaign changes a letter to one of a campaign.
func OfCampaign(name string) func(*schema.Letter) {
	return func(l *schema.Letter) {
		l.Lane, l.Campaign, l.Subject = schema.LaneBulk, name, "kefu.send."+l.AppID+".bulk."+name
	}
}

// OfApp changes a letter to one of another app.
func OfApp(appID string) func(*schema.Letter) {
	return func(l *schema.Letter) {
		l.AppID, l.Subject = appID, strings.Replace(l.Subject, "wx1", appID, 1)
	}
}

// Bury puts letters into the box.
func (o *Operation) Bury(letters ...*schema.Letter) {
	o.T.Helper()
	for _, l := range letters {
		m, err := deadletter.Message(l)
		o.NoError(err)
		o.Publish(m)
	}
}

// Boxed returns how many letters there are.
func (o *Operation) Boxed() (n int) {
	o.T.Helper()
	o.NoError(deadletter.Open(o.Conn).List(o.T.Context(), deadletter.Filter{},
		func(deadletter.Item) error { n++; return nil }))
	return n
}

// Queued returns the messages in an app's queue.
func (o *Operation) Queued(appID string) (messages []broker.Stored) {
	o.T.Helper()
	o.NoError(o.Conn.Scan(o.T.Context(), schema.SendStream(appID), broker.ScanOptions{},
		func(s broker.Stored) error {
			messages = append(messages, s)
			return nil
		}))
	return messages
}

// Audited returns the entries of the audit as "verb filter: detail".
func (o *Operation) Audited() (entries []string) {
	o.T.Helper()
	o.NoError(o.Conn.Scan(o.T.Context(), wire.StreamAudit, broker.ScanOptions{},
		func(s broker.Stored) error {
			o.NotContains(string(s.Data), Recipient)
			var e broker.AuditEntry
			o.NoError(json.Unmarshal(s.Data, &e))
			o.NotEmpty(e.Actor)
			entries = append(entries, strings.TrimSpace(e.Verb+" "+e.Filter)+": "+e.Detail)
			return nil
		}))
	return entries
}

// Revealed returns, for each time that recipients were shown, how many.
func (o *Operation) Revealed() (counts []int) {
	o.T.Helper()
	o.NoError(o.Conn.Scan(o.T.Context(), wire.StreamAudit, broker.ScanOptions{},
		func(s broker.Stored) error {
			var e broker.AuditEntry
			o.NoError(json.Unmarshal(s.Data, &e))
			if e.Verb == "reveal" {
				counts = append(counts, e.Count)
			}
			return nil
		}))
	return counts
}

// Replayer starts a worker that carries out the replays of both apps. It sends nothing: what a
// replay publishes stays in the queue.
func (o *Operation) Replayer() (stop func()) {
	o.T.Helper()
	app := replay.App{ExpireAfter: 48 * time.Hour}
	return replaytest.Start(o.T, o.Conn, replay.Settings{
		Apps: map[string]replay.App{"wx1": app, "wx2": {}}, Remembered: 72 * time.Hour,
	})
}

// ReadsOf returns how many requests to read a stream have been made since, or consumers to read it
// with.
func (o *Operation) ReadsOf(stream string) func() int {
	o.T.Helper()
	var subs []*nats.Subscription
	for _, subject := range []string{
		"$JS.API.DIRECT.GET." + stream, "$JS.API.CONSUMER.CREATE." + stream + ".>",
	} {
		sub, err := o.Conn.NC.SubscribeSync(subject)
		o.NoError(err)
		subs = append(subs, sub)
	}
	o.NoError(o.Conn.NC.Flush())
	return func() (reads int) {
		o.NoError(o.Conn.NC.Flush())
		for _, sub := range subs {
			n, _, err := sub.Pending() // a callback might not have run yet
			o.NoError(err)
			reads += n
		}
		return reads
	}
}

// Story writes a history of an id of wx1 into the ledger, as a worker of that name.
func (o *Operation) Story(id, worker string, marks ...ledger.Mark) {
	o.T.Helper()
	l, err := ledger.Open(o.T.Context(), o.Conn, ledger.Options{Worker: worker, Keep: time.Hour})
	o.NoError(err)
	defer l.Close()
	for _, m := range marks {
		m.Key, m.Body = ledger.KeyOf("wx1", id), ledger.BodyOf([]byte(PacketFor(Recipient)))
		done := make(chan error, 1)
		l.Write(m, func(_ ledger.Standing, err error) { done <- err })
		o.NoError(<-done)
	}
}

// Receipt publishes a receipt as a worker does.
func (o *Operation) Receipt(r schema.Receipt) {
	o.T.Helper()
	body, err := json.Marshal(r)
	o.NoError(err)
	m := nats.NewMsg(schema.ReceiptSubject(r.AppID, r.State))
	m.Data = body
	m.Header.Set(schema.HeaderMsgID, wire.ReceiptMsgID(r.AppID, r.ID, r.Generation))
	o.Publish(m)
}

// Wait puts an intent into KEFU_LATER as a worker does.
func (o *Operation) Wait(id string, until time.Time) {
	o.T.Helper()
	env := wire.Envelope{Envelope: schema.Envelope{ID: id}, Generation: 1, Attempt: 2,
		PublishedAt: time.Now().UTC()}
	o.Publish(&nats.Msg{
		Subject: wire.LaterWaitSubject("wx1", "unique-"+id),
		Data:    []byte(PacketFor(Recipient)),
		Header: func() nats.Header {
			h := nats.Header(env.Header())
			h.Set(schema.HeaderMsgID, wire.MovedMsgID("wx1", id, 1, 2, 0, 1))
			h.Set("Nats-Schedule", "@at "+until.UTC().Format(time.RFC3339Nano))
			h.Set("Nats-Schedule-Target", wire.LaterDueSubject("wx1"))
			h.Set(wire.HeaderTarget, "kefu.again.wx1.live."+Recipient)
			h.Set(wire.HeaderHop, "0")
			return h
		}(),
	})
}
