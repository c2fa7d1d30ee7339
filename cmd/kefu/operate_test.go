package main

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
	"github.com/kefuhq/kefu/internal/deadletter"
	"github.com/kefuhq/kefu/internal/wire"
	"github.com/kefuhq/kefu/schema"
)

// The tests of the operators' commands run command lines against a broker with the queues of two apps, one of them configured.

const (
	recipient = "oABCDEFGHIJKLMNOPQRSTUVWXYZ0"
	masked    = "oABC…Z0"
)

type operation struct {
	*require.Assertions
	t    *testing.T
	conn *broker.Conn
	file string
}

func newOperation(t *testing.T) *operation {
	t.Helper()
	b := brokertest.Start(t, "wx1", "wx2")
	return &operation{
		Assertions: require.New(t), t: t, conn: b.Connect(),
		file: fmt.Sprintf("nats: {url: %q}\napps:\n  - {appid: wx1, name: 旗舰店, secret_env: S}\n", b.URL()),
	}
}

// kefu runs a command line of words without blanks in them.
func (o *operation) kefu(line string, change ...func(*try)) result {
	o.t.Helper()
	c := try{args: args(line), file: o.file, environ: []string{"S=x", "NO_COLOR=1"}}
	for _, f := range change {
		f(&c)
	}
	return kefu(o.t, c)
}

// answering is a user at a terminal.
func answering(answer string) func(*try) {
	return func(c *try) { c.width, c.stdin = 200, answer+"\n" }
}

// decode reads the JSON of a command that went well.
func decode[T any](o *operation, r result) T {
	o.t.Helper()
	o.Equal(exitDone, r.code, r.err)
	var v T
	o.NoError(json.Unmarshal([]byte(r.out), &v), r.out)
	return v
}

func (o *operation) publish(m *nats.Msg) broker.Ack {
	o.t.Helper()
	ack, err := o.conn.Outbox.PublishWait(o.t.Context(), m)
	o.NoError(err)
	return ack
}

// send queues an intent as a producer would.
func (o *operation) send(appID, id string) broker.Ack {
	o.t.Helper()
	m := nats.NewMsg("kefu.send." + appID + ".live." + recipient)
	m.Data = []byte(packetFor(recipient))
	if id != "" {
		m.Header.Set(schema.HeaderMsgID, id)
	}
	ack, err := o.conn.JS.PublishMsg(o.t.Context(), m) // the outbox would give it an id
	o.NoError(err)
	return broker.Ack{Stream: ack.Stream, Seq: ack.Sequence}
}

func packetFor(openid string) string {
	return `{"touser":"` + openid + `","msgtype":"text","text":{"content":"您好, 138"},"extra":{"phone":13812345678}}`
}

// died is when the letters of these tests died, if they say nothing else.
var died = time.Date(2026, 11, 20, 8, 0, 0, 0, time.UTC)

func deadLetter(id string, change ...func(*schema.Letter)) *schema.Letter {
	l := &schema.Letter{
		ID: id, AppID: "wx1", Generation: 1, Lane: schema.LaneLive, OpenID: recipient, Source: "shop",
		Reason: schema.ReasonExhausted, Detail: "the API was busy six times", Subject: "kefu.send.wx1.live." + recipient, Sequence: 7,
		PublishedAt: time.Now().Add(-time.Minute).UTC(), DiedAt: died, Worker: "worker-1",
		Headers: map[string][]string{"Nats-Msg-Id": {id}, "X-To": {"for " + recipient}},
	}
	l.SetPacket([]byte(packetFor(recipient)))
	for _, f := range change {
		f(l)
	}
	return l
}

func diedOf(reason schema.Reason, errcode int, errmsg string) func(*schema.Letter) {
	return func(l *schema.Letter) {
		l.Reason, l.Errcode, l.Errmsg, l.RID = reason, &errcode, errmsg, "rid-1"
		l.Attempts = []schema.Attempt{{Number: 1, At: died.Add(-time.Second), DurationMS: 12, Outcome: "recipient", Errcode: &errcode, Errmsg: errmsg, Worker: "worker-1"}}
		l.FirstAt, l.LastAt = l.Attempts[0].At, l.Attempts[0].At
	}
}

func ofCampaign(name string) func(*schema.Letter) {
	return func(l *schema.Letter) {
		l.Lane, l.Campaign, l.Subject = schema.LaneBulk, name, "kefu.send."+l.AppID+".bulk."+name
	}
}

func ofApp(appID string) func(*schema.Letter) {
	return func(l *schema.Letter) { l.AppID, l.Subject = appID, strings.Replace(l.Subject, "wx1", appID, 1) }
}

func (o *operation) bury(letters ...*schema.Letter) {
	o.t.Helper()
	for _, l := range letters {
		m, err := deadletter.Message(l)
		o.NoError(err)
		o.publish(m)
	}
}

// boxed is how many letters there are.
func (o *operation) boxed() (n int) {
	o.t.Helper()
	o.NoError(deadletter.Open(o.conn).List(o.t.Context(), deadletter.Filter{}, func(deadletter.Item) error { n++; return nil }))
	return n
}

func (o *operation) queued(appID string) (messages []broker.Stored) {
	o.t.Helper()
	o.NoError(o.conn.Scan(o.t.Context(), schema.SendStream(appID), broker.ScanOptions{}, func(s broker.Stored) error {
		messages = append(messages, s)
		return nil
	}))
	return messages
}

// audited are the entries of the audit as "verb filter: detail".
func (o *operation) audited() (entries []string) {
	o.t.Helper()
	o.NoError(o.conn.Scan(o.t.Context(), wire.StreamAudit, broker.ScanOptions{}, func(s broker.Stored) error {
		o.NotContains(string(s.Data), recipient)
		var e broker.AuditEntry
		o.NoError(json.Unmarshal(s.Data, &e))
		o.NotEmpty(e.Actor)
		entries = append(entries, strings.TrimSpace(e.Verb+" "+e.Filter)+": "+e.Detail)
		return nil
	}))
	return entries
}

// revealed is how many were shown each time that recipients were.
func (o *operation) revealed() (counts []int) {
	o.t.Helper()
	o.NoError(o.conn.Scan(o.t.Context(), wire.StreamAudit, broker.ScanOptions{}, func(s broker.Stored) error {
		var e broker.AuditEntry
		o.NoError(json.Unmarshal(s.Data, &e))
		if e.Verb == "reveal" {
			counts = append(counts, e.Count)
		}
		return nil
	}))
	return counts
}
