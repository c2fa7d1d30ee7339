package root_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/broker/brokertest"
	"github.com/kefuhq/kefu/internal/ledger"
	"github.com/kefuhq/kefu/schema"
)

func TestAWorkerThatProvisionsNeedsTwoRightsMore(t *testing.T) {
	t.Parallel()
	more := strings.Replace(roles(t), `"$JS.API.STREAM.CREATE.KEFU_RATE"`,
		`"$JS.API.STREAM.CREATE.*", "$JS.API.STREAM.UPDATE.*"`, 1)
	g := newGuarded(t, more)
	g.config = strings.Replace(g.config, "provision: false, ", "", 1)
	g.wiretap("kefu.>", "$JS.>", "$KV.>")
	stop := g.worker()
	g.say("worker started", 1)
	stop()
	g.config = strings.Replace(g.config, "defaults: {", "defaults: {queue: {messages: 7}, ", 1)
	g.everything()
	g.Empty(g.forbidden())
	g.True(g.published("$JS.API.STREAM.UPDATE.*"))
}

func TestAWorkerThatMayNotAskForAMessageTakesARepeatForOne(t *testing.T) {
	t.Parallel()
	const right = `"$JS.API.STREAM.MSG.GET.*"`
	rights := roles(t)
	require.Contains(t, rights, right)
	g := newGuarded(t, strings.Replace(rights, right, "", 1))
	g.do("provisioner", "setup")
	stop := g.worker()
	g.say("worker started", 1)
	g.publishAgain("purged")
	conn, err := broker.Connect(t.Context(), broker.Options{URL: g.url("admin")})
	g.NoError(err)
	defer conn.Close()
	g.Eventually(func() bool {
		n, err := conn.Count(t.Context(), schema.SendStream(rightsApp), "")
		return err == nil && n == 0
	}, brokertest.Patience, 10*time.Millisecond)
	stop()
	g.NotContains(g.log(), "permission")
	r, err := conn.Count(t.Context(), schema.StreamReceipt, "kefu.receipt."+rightsApp+".sent")
	g.NoError(err)
	g.Zero(r)
}

func TestAWorkerSaysWhichRightIsMissing(t *testing.T) {
	t.Parallel()
	const right = `"$JS.API.STREAM.CREATE.KEFU_RATE"`
	rights := roles(t)
	require.Contains(t, rights, right)
	g := newGuarded(t, strings.Replace(rights, right, "", 1))
	g.do("provisioner", "setup")
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan int, 1)
	go func() { ended <- g.run(ctx, "worker", "worker", g) }()
	g.say("no permission for publish to $JS.API.STREAM.CREATE.KEFU_RATE\"", 1)
	cancel()
	brokertest.Await(t, ended, "the worker's end")
}

// publishAgain publishes an intent that the ledger takes for one that waits in the queue, as after
// a purge.
func (g *guarded) publishAgain(id string) {
	g.t.Helper()
	conn, err := broker.Connect(g.t.Context(), broker.Options{URL: g.url("admin")})
	g.NoError(err)
	defer conn.Close()
	queue, err := conn.JS.Stream(g.t.Context(), schema.SendStream(rightsApp))
	g.NoError(err)
	l, err := ledger.Open(g.t.Context(), conn, ledger.Options{Worker: "gone", Keep: time.Hour})
	g.NoError(err)
	defer l.Close()
	m := nats.NewMsg("kefu.send." + rightsApp + ".bulk.spring")
	m.Header.Set(schema.HeaderMsgID, id)
	m.Data = []byte(`{"touser":"alice","msgtype":"text","text":{"content":"hi"}}`)
	const missing = 1 << 40 // no queue ever gets there
	mark := ledger.Mark{
		Key: ledger.KeyOf(rightsApp, id), Seq: missing,
		Stream: queue.CachedInfo().Created.UnixNano(), Body: ledger.BodyOf(m.Data),
		Generation: 1,
	}
	for _, kind := range []ledger.Kind{ledger.Start, ledger.Clear} {
		mark.Kind = kind
		l.Write(mark, nil)
	}
	g.NoError(l.Drain(g.t.Context()))
	_, err = conn.Outbox.PublishWait(g.t.Context(), m)
	g.NoError(err)
}
