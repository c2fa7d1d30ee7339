package root_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/broker/brokertest"
	"github.com/kefuhq/kefu/internal/campaign"
	"github.com/kefuhq/kefu/internal/cli"
	"github.com/kefuhq/kefu/internal/ledger"
	"github.com/kefuhq/kefu/internal/sandbox"
	"github.com/kefuhq/kefu/publisher"
	"github.com/kefuhq/kefu/schema"
)

const rightsApp = "wx0000000000000001"

var passwords = regexp.MustCompile(`\$[A-Z]+_PASSWORD`)

// roles returns the configuration of a nats-server that deploy has for the roles.
func roles(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "..", "deploy", "nats-roles.conf"))
	require.NoError(t, err)
	return passwords.ReplaceAllString(string(text), "secret")
}

func TestTheRightsOfWorkersAndProducersAreEnoughAndNoneTooMany(t *testing.T) {
	t.Parallel()
	shown := roles(t)
	for name, rights := range map[string]string{"as they stand": shown,
		"stream by stream": narrowed(shown)} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := newGuarded(t, rights)
			g.wiretap("$JS.>", "$KV.>")
			g.producerWithoutQueue()
			g.do("provisioner", "setup")
			g.wiretap("kefu.>")
			g.everything()
			g.batch()
			g.do("viewer", "audit --verb setup")
			g.tail()
			g.Empty(g.forbidden())
			if rights != shown {
				return
			}
			for _, user := range []string{"worker", "shop"} {
				for _, right := range g.allowed(user) {
					if !seldomNeeded(right) {
						g.True(g.published(right), "nobody needs %s", right)
					}
				}
			}
		})
	}
}

// narrowed gives the rights to consumers for the streams that RIGHTS.md names.
func narrowed(rights string) string {
	return regexp.MustCompile(`"(\$JS\.API\.CONSUMER\.[A-Z.]+)\.>"`).ReplaceAllString(rights,
		`"$1.KEFU_SEND_`+rightsApp+
			`.>", "$1.KEFU_LATER.>", "$1.KEFU_LEDGER.>", "$1.KV_KEFU_STATE.>", "$1.KV_KEFU_JOB.>"`)
}

// everything has two workers do what workers do, one after the other and side by side.
func (g *guarded) everything() {
	stopFirst := g.worker()
	p, leave := g.producer()
	defer leave()
	ends := func(user string, want schema.State, options ...publisher.PublishOption) {
		g.t.Helper()
		a, err := p.Publish(g.t.Context(), rightsApp,
			&schema.Packet{ToUser: user, Body: &schema.Text{Content: "hi"}}, options...)
		g.NoError(err)
		r, err := p.Wait(g.t.Context(), a)
		g.NoError(err)
		g.Equal(want, r.State, r.Errmsg)
	}
	for user, errcode := range map[string]int{"busy": -1, "gone": 45015, "stale": 40001} {
		g.api.Add(sandbox.Rule{Call: sandbox.CallSend, OpenID: user, Errcode: errcode, Times: 1})
	}
	ends("alice", schema.StateSent)
	ends("alice", schema.StateSent, publisher.WithBulk("spring"))
	ends("busy", schema.StateSent)
	ends("stale", schema.StateSent)
	ends("gone", schema.StateDead)
	g.do("operator", "dead replay --openid gone --yes")
	ends("later", schema.StateSent, publisher.WithSendAt(time.Now().Add(1500*time.Millisecond)))
	g.restOfPublisher(p)
	g.campaign("summer")
	g.publishAgain("purged")
	g.Eventually(func() bool {
		r, err := p.Receipt(g.t.Context(), rightsApp, "purged")
		return err == nil && r.State == schema.StateSent
	}, brokertest.Patience, 10*time.Millisecond)

	before := strings.Count(g.log(), "worker started")
	stopSecond := g.worker()
	g.say("worker started", before+1)
	stopFirst()
	for i := range 8 { // in every shard, whoever reads it now
		ends(fmt.Sprint("user", i), schema.StateSent)
	}
	stopSecond()
	g.counted("spring", 2)
}

// campaign has an operator start a campaign, and waits until the workers have sent it.
func (g *guarded) campaign(name string) {
	g.t.Helper()
	dir := g.t.TempDir()
	for file, text := range map[string]string{
		"users.csv":   "openid\nalice\nbob\n",
		"packet.json": `{"msgtype":"text","text":{"content":"hi"}}`,
	} {
		g.NoError(os.WriteFile(filepath.Join(dir, file), []byte(text), 0o600))
	}
	g.do("operator", fmt.Sprintf("campaign start %s %s/users.csv --template %s/packet.json",
		name, dir, dir))
	conn, err := broker.Connect(g.t.Context(), broker.Options{URL: g.url("viewer")})
	g.NoError(err)
	defer conn.Close()
	g.Eventually(func() bool {
		s, err := campaign.ReadStatus(g.t.Context(), conn, rightsApp, name)
		return err == nil && s.State == campaign.StateDone && s.Sent == 2
	}, brokertest.Patience, 10*time.Millisecond)
}

// tail has a viewer follow the receipts.
func (g *guarded) tail() {
	g.t.Helper()
	ctx, interrupt := context.WithCancel(g.t.Context())
	ended := make(chan int, 1)
	go func() { ended <- g.run(ctx, "viewer", "tail --since 1h -o ndjson", g) }()
	g.say(`"id":"purged","appid"`, 1)
	interrupt()
	g.Equal(cli.ExitDone, brokertest.Await(g.t, ended, "the end of kefu tail"), g.log())
}

// counted checks that the workers have stored what a campaign counts.
func (g *guarded) counted(campaign string, sent int) {
	g.t.Helper()
	conn, err := broker.Connect(g.t.Context(), broker.Options{URL: g.url("viewer")})
	g.NoError(err)
	defer conn.Close()
	since, err := ledger.CountedSince(g.t.Context(), conn)
	g.NoError(err)
	g.NotZero(since)
	counts, err := ledger.ReadCounts(g.t.Context(), conn, ledger.CampaignOf(rightsApp, campaign))
	g.NoError(err)
	g.Equal(sent, counts.Sent)
}
