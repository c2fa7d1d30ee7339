// Package stage sets up one installation of kefu for an end-to-end test: a folder with a
// configuration, the sandbox in place of WeChat, and workers that are processes of the real binary,
// which a test may stop, kill or freeze.
//
//	s := stage.New(t, stage.Options{})
//	s.Start()
//	s.Publish(stage.Live+"oUser1", `{"touser":"oUser1",…}`)
//	s.Equal(schema.StateSent, s.Receipts()(1)[0].State)
//	s.NoError(s.Stop(syscall.SIGTERM))
//
// At its end every test looks for the app's secret and its access tokens in all that left a
// process: output, metrics, and the broker's files.
package stage

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/kefuhq/kefu/internal/broker/brokertest"
	"github.com/kefuhq/kefu/internal/sandbox"
	"github.com/kefuhq/kefu/schema"
)

// The app of a stage that names none, and where its intents go.
const (
	App  = "wx0000000000000001"
	Live = "kefu.send." + App + ".live."
	Bulk = "kefu.send." + App + ".bulk."
)

// What may never leave a process.
const (
	CanarySecret = "CANARY-APPSECRET-0123456789"
	CanaryToken  = "CANARY_TOKEN_"
)

// Patience is how long a test waits for what must happen: never reached but by a test that fails,
// on a machine that may be busy with something else.
const Patience = 90 * time.Second

// Options of a stage. The zero value is one app, one worker with its broker inside, and a sandbox
// that accepts everything.
type Options struct {
	Apps     []string // appids; empty: App
	NATS     []string // further lines of the configuration's section nats
	WeChat   []string // likewise
	Worker   []string // likewise
	Defaults []string // likewise; what is here replaces the stage's own line of the same key
	Broker   string   // URL of a broker of the test's; "": the worker's own, embedded
	API      string   // where the worker looks for the API; "": the sandbox
	Crash    bool     // the binary of crash tests, which obeys FAILPOINT
	Unread   bool     // what workers print goes into a pipe that is full and that nobody reads
	Sandbox  sandbox.Options
}

// Stage is one installation.
type Stage struct {
	*require.Assertions
	T      *testing.T
	Dir    string
	API    *sandbox.Sandbox
	APIURL string
	NATS   string // address of the broker
	Output *Transcript
	Conn   *nats.Conn // the test's own, from the first Start on
	JS     jetstream.JetStream

	options Options
	wechat  []string // of UseAPI
	probes  string   // of a worker that cannot say where it put them
	worker  *Process
}

// Transcript collects the output of several processes.
type Transcript struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (t *Transcript) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.buf.Write(p)
}

func (t *Transcript) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.buf.String()
}

// Tail returns the end of the transcript, for the message of a test that fails.
func (t *Transcript) Tail() string {
	lines := strings.Split(t.String(), "\n")
	return strings.Join(lines[max(0, len(lines)-40):], "\n")
}

// New makes a stage; nothing but the sandbox runs yet.
func New(t *testing.T, o Options) *Stage {
	t.Helper()
	r := require.New(t)
	if len(o.Apps) == 0 {
		o.Apps = []string{App}
	}
	s := &Stage{Assertions: r, T: t, Dir: t.TempDir(), Output: &Transcript{}, options: o}
	s.NATS = s.FreeAddress()
	s.probes = "127.0.0.1:0"
	if o.Unread {
		s.probes = s.FreeAddress()
	}
	if o.Sandbox.Apps == nil {
		o.Sandbox.Apps = make(map[string]string)
		for _, id := range o.Apps {
			o.Sandbox.Apps[id] = CanarySecret
		}
	}
	o.Sandbox.TokenPrefix = CanaryToken
	s.API = sandbox.New(o.Sandbox)
	var err error
	s.APIURL, err = s.API.Listen("127.0.0.1:0")
	r.NoError(err)
	t.Cleanup(func() { r.NoError(s.API.Close()) })
	r.NoError(os.WriteFile(filepath.Join(s.Dir, "secret"), []byte(CanarySecret+"\n"), 0o600))
	s.Configure("")
	t.Cleanup(s.checkCanaries)
	return s
}

// Configure writes the configuration anew, with further text at its end.
func (s *Stage) Configure(more string) {
	s.T.Helper()
	var b strings.Builder
	section := func(name string, own []string, further []string) {
		fmt.Fprintf(&b, "%s:\n", name)
		for _, line := range own {
			key, _, _ := strings.Cut(line, ":")
			replaced := false
			for _, f := range further {
				replaced = replaced || strings.HasPrefix(f, key+":")
			}
			if !replaced {
				fmt.Fprintf(&b, "  %s\n", line)
			}
		}
		for _, line := range further {
			fmt.Fprintf(&b, "  %s\n", line)
		}
	}
	if s.options.Broker == "" {
		section("nats", []string{"url: embedded", "listen: " + s.NATS,
			fmt.Sprintf("store_dir: %q", s.store())}, s.options.NATS)
	} else {
		section("nats", []string{fmt.Sprintf("url: %q", s.options.Broker)}, s.options.NATS)
	}
	api := s.options.API
	if api == "" {
		api = s.APIURL
	}
	section("wechat", []string{"base_url: " + api}, slices.Concat(s.options.WeChat, s.wechat))
	section("worker", []string{"listen: " + s.probes, "grace: 10s"}, s.options.Worker)
	section("defaults", []string{"rate: {per_second: 5000, burst: 500}",
		"retry: {attempts: 6, first: 100ms, cap: 1s}"}, s.options.Defaults)
	b.WriteString("apps:\n")
	for i, id := range s.options.Apps {
		fmt.Fprintf(&b, "  - {appid: %s, name: 旗舰店%d, secret_file: %q}\n", id, i+1,
			filepath.Join(s.Dir, "secret"))
	}
	b.WriteString(more)
	s.NoError(os.WriteFile(s.Config(), []byte(b.String()), 0o600))
}

// Apps returns the appids of the stage.
func (s *Stage) Apps() []string { return s.options.Apps }

// UseBroker has workers that start from now on use a broker of the test's.
func (s *Stage) UseBroker(url string) {
	s.T.Helper()
	s.options.Broker = url
	s.Configure("")
}

// UseAPI has workers that start from now on look for the API at another URL, with further lines of
// the section wechat in the place of those of the call before.
func (s *Stage) UseAPI(url string, lines ...string) {
	s.T.Helper()
	s.options.API, s.wechat = url, lines
	s.Configure("")
}

// Config returns the path of the configuration.
func (s *Stage) Config() string { return filepath.Join(s.Dir, "kefu.yaml") }

func (s *Stage) store() string { return filepath.Join(s.Dir, "data") }

// FreeAddress returns an address of this machine where nothing listens.
func (s *Stage) FreeAddress() string {
	s.T.Helper()
	return brokertest.FreeAddress(s.T)
}

// Start runs `kefu worker` and returns when it is ready. env are variables like FAILPOINT=….
func (s *Stage) Start(env ...string) *Process {
	s.T.Helper()
	s.worker = s.Launch(env...)
	s.worker.Ready()
	s.Connect()
	return s.worker
}

// Connect connects the test to the broker of the workers, once.
func (s *Stage) Connect() {
	s.T.Helper()
	if s.options.Broker != "" {
		s.ConnectTo(s.options.Broker)
		return
	}
	s.ConnectTo("nats://" + s.NATS)
}

// ConnectTo is Connect by a way of the test's own. Only the first one counts.
func (s *Stage) ConnectTo(url string) {
	s.T.Helper()
	if s.Conn != nil {
		return
	}
	var err error
	s.Conn, err = nats.Connect(url, nats.MaxReconnects(-1), nats.ReconnectWait(50*time.Millisecond),
		nats.RetryOnFailedConnect(true),
		nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}))
	s.NoError(err)
	s.T.Cleanup(s.Conn.Close)
	s.JS, err = jetstream.New(s.Conn)
	s.NoError(err)
}

func (s *Stage) brokerURL() string {
	if s.options.Broker == "" {
		return "nats://" + s.NATS
	}
	return s.options.Broker
}

// Stop ends the worker that Start started last with a signal and returns its exit error.
func (s *Stage) Stop(sig os.Signal) error {
	s.T.Helper()
	return s.worker.Stop(sig)
}

// Worker returns the process that Start started last; nil before.
func (s *Stage) Worker() *Process { return s.worker }

// Kefu runs a command to its end.
func (s *Stage) Kefu(args ...string) (stdout string, code int) {
	s.T.Helper()
	ctx, cancel := context.WithTimeout(s.T.Context(), 2*Patience)
	defer cancel()
	return s.KefuContext(ctx, args...)
}

// KefuContext is Kefu for a command that is interrupted when ctx ends.
func (s *Stage) KefuContext(ctx context.Context, args ...string) (stdout string, code int) {
	s.T.Helper()
	return s.kefu(ctx, syscall.SIGINT, args...)
}

// KefuKilled is Kefu for a command that is killed when ctx ends.
func (s *Stage) KefuKilled(ctx context.Context, args ...string) (stdout string, code int) {
	s.T.Helper()
	return s.kefu(ctx, syscall.SIGKILL, args...)
}

func (s *Stage) kefu(ctx context.Context, end os.Signal, args ...string) (stdout string, code int) {
	s.T.Helper()
	cmd := exec.CommandContext(ctx, s.binary(),
		append([]string{"--config", s.Config()}, args...)...)
	cmd.Cancel = func() error { return cmd.Process.Signal(end) }
	cmd.WaitDelay = 10 * time.Second
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = io.MultiWriter(&out, s.Output), s.Output
	err := cmd.Run()
	if cmd.ProcessState == nil {
		s.NoError(err)
	}
	return out.String(), cmd.ProcessState.ExitCode()
}

// Publish sends raw bytes as a plain NATS client does, and waits for JetStream's word. header are
// names and values in turn.
func (s *Stage) Publish(subject, packet string, header ...string) *jetstream.PubAck {
	s.T.Helper()
	ack, err := s.Offer(subject, packet, header...)
	s.NoError(err)
	return ack
}

// Offer is Publish of what may be refused.
func (s *Stage) Offer(subject, packet string, header ...string) (*jetstream.PubAck, error) {
	m := nats.NewMsg(subject)
	m.Data = []byte(packet)
	for i := 0; i+1 < len(header); i += 2 {
		m.Header.Set(header[i], header[i+1])
	}
	return s.JS.PublishMsg(s.T.Context(), m)
}

// Receipts collects what is published on every app's receipts from now on.
func (s *Stage) Receipts() func(n int) []schema.Receipt {
	s.T.Helper()
	ch := make(chan schema.Receipt, 100000)
	_, err := s.Conn.Subscribe("kefu.receipt.>", func(m *nats.Msg) {
		var r schema.Receipt
		if json.Unmarshal(m.Data, &r) == nil {
			ch <- r
		}
	})
	s.NoError(err)
	s.NoError(s.Conn.Flush())
	return func(n int) []schema.Receipt {
		s.T.Helper()
		var got []schema.Receipt
		for range n {
			select {
			case r := <-ch:
				got = append(got, r)
			case <-time.After(Patience):
				s.FailNow("receipts are missing", "%d of %d came\n%s", len(got), n, s.Output.Tail())
			}
		}
		return got
	}
}

// checkCanaries looks for token and secret in everything that left a process.
func (s *Stage) checkCanaries() {
	check := func(what, text string) {
		for _, canary := range []string{CanarySecret, CanaryToken} {
			// Not NotContains, which would print all of it.
			s.False(strings.Contains(text, canary), "a secret stands in %s", what)
		}
	}
	check("the output of a process", s.Output.String())
	if s.worker == nil {
		return
	}
	if s.worker.Running() {
		if resp, err := http.Get(s.worker.Probes() + "/metrics"); err == nil {
			body, err := io.ReadAll(resp.Body)
			_ = resp.Body.Close()
			s.NoError(err)
			check("the metrics", string(body))
		}
		s.worker.Kill()
	}
	s.NoError(filepath.WalkDir(s.store(), func(path string, d os.DirEntry, err error) error {
		if os.IsNotExist(err) {
			return nil
		}
		if err != nil || d.IsDir() {
			return err
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		check(path, string(content))
		return nil
	}))
}
