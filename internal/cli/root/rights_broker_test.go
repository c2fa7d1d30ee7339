package root_test

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"github.com/kefuhq/kefu/internal/broker/brokertest"
	"github.com/kefuhq/kefu/internal/cli"
	"github.com/kefuhq/kefu/internal/cli/clitest"
	"github.com/kefuhq/kefu/internal/cli/root"
	"github.com/kefuhq/kefu/internal/sandbox"
)

// guarded is a broker with the users of deploy/nats-roles.conf, and admin, who may do all.
type guarded struct {
	*require.Assertions
	t   *testing.T
	s   *server.Server
	api *sandbox.Sandbox

	users  []*server.User
	config string // of the workers
	taps   map[string]*tap

	mu         sync.Mutex
	violations []string
	used       map[string]bool // subjects that were published to
	output     strings.Builder
}

func newGuarded(t *testing.T, rights string) *guarded {
	t.Helper()
	g := &guarded{Assertions: require.New(t), t: t, used: make(map[string]bool),
		taps: make(map[string]*tap)}
	file := filepath.Join(t.TempDir(), "nats.conf")
	g.NoError(os.WriteFile(file, []byte(rights), 0o600))
	o, err := server.ProcessConfigFile(file)
	g.NoError(err)
	o.Host, o.Port, o.NoSigs, o.JetStream, o.StoreDir = "127.0.0.1", server.RANDOM_PORT,
		true, true, t.TempDir()
	kefu := slices.IndexFunc(o.Accounts, func(a *server.Account) bool { return a.Name == "KEFU" })
	o.Users = append(o.Users,
		&server.User{Username: "admin", Password: "secret", Account: o.Accounts[kefu]})
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
	g.config = fmt.Sprintf(
		"wechat: {base_url: %q}\nworker: {provision: false, listen: '127.0.0.1:0'}\n"+
			"defaults: {retry: {first: 100ms}}\napps: [{appid: %s, secret_env: S}]\n", url, rightsApp)
	return g
}

// url returns where a user logs in: past a tap.
func (g *guarded) url(user string) string {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.taps[user] == nil {
		g.taps[user] = newTap(g.t, strings.TrimPrefix(g.s.ClientURL(), "nats://"))
	}
	return "nats://" + user + ":secret@" + g.taps[user].listener.Addr().String()
}

// run runs a command line as a user, until ctx ends.
func (g *guarded) run(ctx context.Context, user, line string, out io.Writer) int {
	file := filepath.Join(g.t.TempDir(), "kefu.yaml")
	if err := os.WriteFile(file, []byte(g.config), 0o600); err != nil {
		return -1
	}
	return root.Run(ctx, clitest.Args(line), cli.Process{
		In: strings.NewReader(""), Out: out, Err: out, Search: []string{file},
		Hangups: clitest.NoHangups,
		Environ: []string{"S=x", "KEFU_NATS_URL=" + g.url(user)},
	})
}

// do runs a command line that ends well.
func (g *guarded) do(user, line string) {
	g.t.Helper()
	g.Equal(cli.ExitDone, g.run(g.t.Context(), user, line, g), g.log())
}

// worker starts one and returns how to stop it.
func (g *guarded) worker() (stop func()) {
	ctx, cancel := context.WithCancel(g.t.Context())
	ended := make(chan int, 1)
	go func() { ended <- g.run(ctx, "worker", "worker", g) }()
	return func() {
		g.t.Helper()
		cancel()
		g.Equal(cli.ExitDone, brokertest.Await(g.t, ended, "the worker's end"), g.log())
	}
}

// wiretap notes to which of some subjects is published. An inbox must not be among them: the broker
// would go on delivering to one that its owner has left.
func (g *guarded) wiretap(subjects ...string) {
	nc, err := nats.Connect(g.url("admin"))
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

// allowed returns the subjects that a user may publish to.
func (g *guarded) allowed(user string) []string {
	at := slices.IndexFunc(g.users, func(u *server.User) bool { return u.Username == user })
	return g.users[at].Permissions.Publish.Allow
}

// published tells whether anybody published to one of these subjects.
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

// log returns what the commands have printed.
func (g *guarded) log() string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.output.String()
}

// Write takes what the workers log.
func (g *guarded) Write(p []byte) (int, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.output.Write(p)
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
