package doctor_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/kefuhq/kefu/internal/apps"
	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/broker/brokertest"
	"github.com/kefuhq/kefu/internal/config"
	"github.com/kefuhq/kefu/internal/doctor"
	"github.com/kefuhq/kefu/internal/pool"
	"github.com/kefuhq/kefu/internal/sandbox"
	"github.com/kefuhq/kefu/internal/wiring"
)

// What no finding may show.
const (
	secret      = "CANARYSECRET"
	tokenPrefix = "CANARYTOKEN_"
)

// ward is a sound installation with one app, wx1, to plant a fault in.
type ward struct {
	*require.Assertions
	t *testing.T

	server *server.Server
	admin  *broker.Conn // may do everything; nil without JetStream
	api    *sandbox.Sandbox

	secretFile string
	root       string // holds proc and sys
	url        string // of the broker
	base       string // of the API
	set        map[string]any
	environ    map[string]string
	wait       time.Duration // for the broker
}

// inVain is for how long a broker is waited for that does not take the user.
const inVain = 3 * time.Second

// newWard sets one up. Settings are of the configuration, options of the broker.
func newWard(t *testing.T, set map[string]any, options func(*server.Options)) *ward {
	t.Helper()
	w := &ward{Assertions: require.New(t), t: t, root: t.TempDir(), set: map[string]any{},
		environ: map[string]string{}, wait: brokertest.Patience}
	for key, value := range set {
		w.set[key] = value
	}
	w.secretFile = w.write(t.TempDir(), "wx1.secret", secret+"\n")
	w.write(w.root, "proc/self/limits", "Limit                 Soft Limit      Hard Limit\n"+
		"Max open files        65536           65536           files     \n")
	w.write(w.root, "proc/meminfo", "MemTotal:       16384000 kB\nMemFree:         1024 kB\n")

	w.api = sandbox.New(sandbox.Options{Apps: map[string]string{"wx1": secret},
		TokenPrefix: tokenPrefix})
	base, err := w.api.Listen("127.0.0.1:0")
	w.NoError(err)
	t.Cleanup(func() { w.NoError(w.api.Close()) })
	w.base = base

	o := &server.Options{Host: "127.0.0.1", Port: server.RANDOM_PORT, NoSigs: true, NoLog: true,
		HTTPHost: "127.0.0.1", HTTPPort: server.RANDOM_PORT, JetStream: true, StoreDir: t.TempDir(),
		JetStreamMaxStore: 1 << 60, SyncAlways: true}
	if options != nil {
		options(o)
	}
	w.start(o)
	return w
}

// start starts the broker, with its streams and a worker.
func (w *ward) start(o *server.Options) {
	w.t.Helper()
	s, err := server.NewServer(o)
	w.NoError(err)
	w.server = s
	s.Start()
	w.t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	w.True(s.ReadyForConnections(brokertest.Patience))
	w.url = s.ClientURL()
	if !o.JetStream {
		return
	}
	w.admin, err = broker.Connect(w.t.Context(), broker.Options{InProcess: s, Name: "test",
		URL: login(o)})
	w.NoError(err)
	w.t.Cleanup(w.admin.Close)
	cfg := w.config()
	brokertest.Provision(w.t, w.admin, wiring.BrokerSpec(cfg))
	_, err = w.admin.JS.CreateStream(w.t.Context(), broker.RateStream(1))
	w.NoError(err)
	alive, err := json.Marshal(pool.Worker{Name: "w1", Host: "elsewhere", PID: 1, Version: "v1",
		Apps: []string{"wx1"}})
	w.NoError(err)
	w.save(broker.PutState("pool.worker.w1", alive, 0))
}

// login returns an address with the last user of a broker, who may do everything.
func login(o *server.Options) string {
	if o.Username != "" {
		return fmt.Sprintf("nats://%s:%s@127.0.0.1", o.Username, o.Password)
	}
	if n := len(o.Users); n > 0 {
		return fmt.Sprintf("nats://%s:%s@127.0.0.1", o.Users[n-1].Username, o.Users[n-1].Password)
	}
	return "nats://127.0.0.1"
}

func (w *ward) write(dir, name, text string) string {
	w.t.Helper()
	path := filepath.Join(dir, name)
	w.NoError(os.MkdirAll(filepath.Dir(path), 0o700))
	w.NoError(os.WriteFile(path, []byte(text), 0o600))
	return path
}

func (w *ward) save(m *nats.Msg) {
	w.t.Helper()
	w.NoError(w.admin.SaveState(w.t.Context(), m))
}

// publish stores a message.
func (w *ward) publish(subject, body string) {
	w.t.Helper()
	_, err := w.admin.JS.Publish(w.t.Context(), subject, []byte(body))
	w.NoError(err)
}

// reset changes a stream.
func (w *ward) reset(stream string, change func(*jetstream.StreamConfig)) {
	w.t.Helper()
	s, err := w.admin.JS.Stream(w.t.Context(), stream)
	w.NoError(err)
	cfg := s.CachedInfo().Config
	change(&cfg)
	_, err = w.admin.JS.UpdateStream(w.t.Context(), cfg)
	w.NoError(err)
}

// config loads the configuration as a command does.
func (w *ward) config() *config.Config {
	w.t.Helper()
	flags := map[string]any{"nats.url": w.url, "wechat.base_url": w.base, "apps[0].appid": "wx1",
		"apps[0].secret_file": w.secretFile}
	for key, value := range w.set {
		flags[key] = value
	}
	cfg, _, err := config.Load(config.Source{Flags: flags, Search: []string{}})
	w.NoError(err)
	return cfg
}

// examine has the doctor look, and sees that nothing secret is said.
func (w *ward) examine() []doctor.Finding {
	w.t.Helper()
	cfg := w.config()
	o := doctor.Options{Config: cfg, Apps: cfg.Apps, Advice: apps.Advice, Root: w.root,
		Getenv: func(name string) string { return w.environ[name] },
		Wait:   w.wait}
	if address := w.server.MonitorAddr(); address != nil {
		o.Monitor = []string{"http://" + address.String()}
	}
	findings := doctor.Examine(w.t.Context(), o)
	for _, f := range findings {
		w.NotEmpty(f.Check)
		w.NotEmpty(f.Text, f.Check)
		w.Contains([]doctor.State{doctor.OK, doctor.Warning, doctor.Error, doctor.Skipped}, f.State)
		w.NotContains(f.Text+f.Fix, "CANARY")
		if f.State == doctor.Warning || f.State == doctor.Error {
			w.NotEmpty(f.Fix, f.Text)
		}
	}
	return findings
}

// of returns the findings of some states.
func of(findings []doctor.Finding, states ...doctor.State) (some []doctor.Finding) {
	for _, f := range findings {
		for _, s := range states {
			if f.State == s {
				some = append(some, f)
			}
		}
	}
	return some
}
