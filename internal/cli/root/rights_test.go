package root_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/broker/brokertest"
	"github.com/kefuhq/kefu/internal/cli"
	"github.com/kefuhq/kefu/internal/cli/clitest"
	"github.com/kefuhq/kefu/internal/cli/root"
	"github.com/kefuhq/kefu/internal/ledger"
	"github.com/kefuhq/kefu/internal/sandbox"
	"github.com/kefuhq/kefu/publisher"
	"github.com/kefuhq/kefu/schema"
)

const rightsApp = "wx0000000000000001"

var rightsBlock = regexp.MustCompile("(?s)```\n(authorization \\{\n.*?\n\\}\n)```")

// rightsOf is the configuration of a nats-server that a README shows.
func rightsOf(t *testing.T, readme string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "..", readme))
	require.NoError(t, err)
	m := rightsBlock.FindSubmatch(text)
	require.NotNil(t, m, "%s shows no rights", readme)
	return string(m[1])
}

// guarded is a broker with the users of the README.
type guarded struct {
	*require.Assertions
	t   *testing.T
	s   *server.Server
	api *sandbox.Sandbox

	users  []*server.User
	config string // of the workers

	mu         sync.Mutex
	violations []string
	used       map[string]bool // subjects that were published to
	output     strings.Builder
}

func (g *guarded) Noticef(string, ...any) {}
func (g *guarded) Warnf(string, ...any)   {}
func (g *guarded) Fatalf(string, ...any)  {}
func (g *guarded) Debugf(string, ...any)  {}
func (g *guarded) Tracef(string, ...any)  {}

// Errorf takes what the server logs: a client need not notice what it may not do.
func (g *guarded) Errorf(format string, args ...any) {
	if line := fmt.Sprintf(format, args...); strings.Contains(line, "Violation") {
		g.mu.Lock()
		g.violations = append(g.violations, line)
		g.mu.Unlock()
	}
}

// Write takes what the workers log.
func (g *guarded) Write(p []byte) (int, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.output.Write(p)
}

func (g *guarded) forbidden() []string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Clone(g.violations)
}

// say waits until the commands have printed something so often.
func (g *guarded) say(what string, times int) {
	g.t.Helper()
	g.Eventually(func() bool { return strings.Count(g.log(), what) >= times }, brokertest.Patience,
		10*time.Millisecond, what)
}

// log is what the commands have printed.
func (g *guarded) log() string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.output.String()
}

// published says whether anybody published to one of these subjects.
func (g *guarded) published(subjects string) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	for s := range g.used {
		if server.SubjectMatchesFilter(s, subjects) {
			return true
		}
	}
	return false
}

func newGuarded(t *testing.T, rights string) *guarded {
	t.Helper()
	g := &guarded{Assertions: require.New(t), t: t, used: make(map[string]bool)}
	file := filepath.Join(t.TempDir(), "nats.conf")
	g.NoError(os.WriteFile(file, []byte(rights), 0o600))
	o, err := server.ProcessConfigFile(file)
	g.NoError(err)
	o.Host, o.Port, o.NoSigs, o.JetStream, o.StoreDir = "127.0.0.1", server.RANDOM_PORT, true, true, t.TempDir()
	g.users = o.Users
	g.s, err = server.NewServer(o)
	g.NoError(err)
	g.s.SetLogger(g, false, false)
	g.s.Start()
	t.Cleanup(func() { g.s.Shutdown(); g.s.WaitForShutdown() })
	g.True(g.s.ReadyForConnections(brokertest.Patience))

	g.api = sandbox.New(sandbox.Options{Apps: map[string]string{rightsApp: "x"}})
	url, err := g.api.Listen("127.0.0.1:0")
	g.NoError(err)
	t.Cleanup(func() { g.NoError(g.api.Close()) })
	g.config = fmt.Sprintf("wechat: {base_url: %q}\nworker: {provision: false, listen: '127.0.0.1:0'}\n"+
		"defaults: {retry: {first: 100ms}}\napps: [{appid: %s, secret_env: S}]\n", url, rightsApp)
	return g
}

// url is where a user of the README logs in.
func (g *guarded) url(user string) string {
	return strings.Replace(g.s.ClientURL(), "nats://", "nats://"+user+":secret@", 1)
}

// run runs a command line as a user, until ctx ends.
func (g *guarded) run(ctx context.Context, user, line string) int {
	file := filepath.Join(g.t.TempDir(), "kefu.yaml")
	if err := os.WriteFile(file, []byte(g.config), 0o600); err != nil {
		return -1
	}
	return root.Run(ctx, clitest.Args(line), cli.Process{
		In: strings.NewReader(""), Out: g, Err: g, Search: []string{file},
		Hangups: clitest.NoHangups,
		Environ: []string{"S=x", "KEFU_NATS_URL=" + g.url(user)},
	})
}

// operator runs a command of an operator.
func (g *guarded) operator(line string) {
	g.t.Helper()
	g.Equal(cli.ExitDone, g.run(g.t.Context(), "operator", line), g.log())
}

// worker starts one and returns how to stop it.
func (g *guarded) worker() (stop func()) {
	ctx, cancel := context.WithCancel(g.t.Context())
	ended := make(chan int, 1)
	go func() { ended <- g.run(ctx, "worker", "worker") }()
	return func() {
		g.t.Helper()
		cancel()
		g.Equal(cli.ExitDone, brokertest.Await(g.t, ended, "the worker's end"), g.log())
	}
}

// wiretap notes to which of some subjects is published. An inbox must not be among them: the broker
// would go on delivering to one that its owner has left.
func (g *guarded) wiretap(subjects ...string) {
	nc, err := nats.Connect(g.url("operator"))
	g.NoError(err)
	g.t.Cleanup(nc.Close)
	for _, subject := range subjects {
		_, err = nc.Subscribe(subject, func(m *nats.Msg) {
			g.mu.Lock()
			g.used[m.Subject] = true
			g.mu.Unlock()
		})
		g.NoError(err)
	}
	g.NoError(nc.Flush())
}

// allowed are the subjects that a user may publish to.
func (g *guarded) allowed(user string) []string {
	at := slices.IndexFunc(g.users, func(u *server.User) bool { return u.Username == user })
	return g.users[at].Permissions.Publish.Allow
}

func TestTheRightsInTheREADMEAreEnoughAndNoneTooMany(t *testing.T) {
	t.Parallel()
	shown := rightsOf(t, "README.md")
	require.Equal(t, shown, rightsOf(t, "README.zh-CN.md"))
	for name, rights := range map[string]string{"as they stand": shown, "stream by stream": narrowed(shown)} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := newGuarded(t, rights)
			g.wiretap("$JS.>", "$KV.>")
			g.producerWithoutQueue()
			g.operator("setup")
			g.wiretap("kefu.>")
			g.everything()
			g.batch()
			g.Empty(g.forbidden())
			if rights != shown {
				return
			}
			for _, allowed := range slices.Concat(g.allowed("worker"), g.allowed("shop")) {
				if strings.Contains(allowed, ".CONSUMER.INFO.") {
					continue // asked only when the broker says nothing for a while
				}
				g.True(g.published(allowed), "nobody needs %s", allowed)
			}
		})
	}
}

// narrowed gives the rights to consumers for the streams that the README names.
func narrowed(rights string) string {
	return regexp.MustCompile(`"(\$JS\.API\.CONSUMER\.[A-Z.]+)\.>"`).ReplaceAllString(rights,
		`"$1.KEFU_SEND_`+rightsApp+
			`.>", "$1.KEFU_LATER.>", "$1.KEFU_LEDGER.>", "$1.KV_KEFU_STATE.>"`)
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
	ends("later", schema.StateSent, publisher.WithSendAt(time.Now().Add(1500*time.Millisecond)))
	g.restOfPublisher(p)
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

// counted checks that the workers have stored what a campaign counts.
func (g *guarded) counted(campaign string, sent int) {
	g.t.Helper()
	conn, err := broker.Connect(g.t.Context(), broker.Options{URL: g.url("operator")})
	g.NoError(err)
	defer conn.Close()
	since, err := ledger.CountedSince(g.t.Context(), conn)
	g.NoError(err)
	g.NotZero(since)
	counts, err := ledger.ReadCounts(g.t.Context(), conn, ledger.CampaignOf(rightsApp, campaign))
	g.NoError(err)
	g.Equal(sent, counts.Sent)
}

// publishAgain publishes an intent that the ledger takes for one that waits in the queue, as after
// a purge.
func (g *guarded) publishAgain(id string) {
	g.t.Helper()
	conn, err := broker.Connect(g.t.Context(), broker.Options{URL: g.url("operator")})
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

// shop connects as the producer of the README.
func (g *guarded) shop() (*nats.Conn, jetstream.JetStream) {
	g.t.Helper()
	nc, err := nats.Connect(g.url("shop"), nats.CustomInboxPrefix("_INBOX_shop"),
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

// A producer reads the receipts of its own apps and of no others.
func TestAProducerReadsNoReceiptsOfOtherApps(t *testing.T) {
	t.Parallel()
	const other = "wx0000000000000002"
	g := newGuarded(t, rightsOf(t, "README.md"))
	g.operator("setup")
	operator, err := nats.Connect(g.url("operator"))
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
	inbox, err := nc.Subscribe("_INBOX_shop.>", func(m *nats.Msg) {
		heard <- m.Subject + " " + string(m.Data)
	})
	g.NoError(err)
	ask := func(name, subject, body string) {
		g.NoError(nc.PublishRequest("$JS.API."+subject, "_INBOX_shop.answer."+name, []byte(body)))
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

func TestAWorkerThatProvisionsNeedsTwoRightsMore(t *testing.T) {
	t.Parallel()
	more := strings.Replace(rightsOf(t, "README.md"), `"$JS.API.STREAM.CREATE.KEFU_RATE"`,
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
	rights := rightsOf(t, "README.md")
	require.Contains(t, rights, right)
	g := newGuarded(t, strings.Replace(rights, right, "", 1))
	g.operator("setup")
	stop := g.worker()
	g.say("worker started", 1)
	g.publishAgain("purged")
	conn, err := broker.Connect(t.Context(), broker.Options{URL: g.url("operator")})
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
	rights := rightsOf(t, "README.md")
	require.Contains(t, rights, right)
	g := newGuarded(t, strings.Replace(rights, right, "", 1))
	g.operator("setup")
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan int, 1)
	go func() { ended <- g.run(ctx, "worker", "worker") }()
	g.say("no permission for publish to $JS.API.STREAM.CREATE.KEFU_RATE\"", 1)
	cancel()
	brokertest.Await(t, ended, "the worker's end")
}
