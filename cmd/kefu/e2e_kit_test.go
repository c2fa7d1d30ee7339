package main_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
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

	"github.com/kefuhq/kefu/internal/sandbox"
	"github.com/kefuhq/kefu/schema"
)

// The end-to-end tests run the real binary as a user would: a worker process
// with its embedded broker, the sandbox over HTTP, and a plain NATS client.

const (
	app          = "wx0000000000000001"
	canarySecret = "CANARY-APPSECRET-0123456789"
	canaryToken  = "CANARY_TOKEN_"
)

// binary builds kefu once for all tests.
var binary = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "kefu-e2e-")
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "kefu")
	out, err := exec.Command("go", "build", "-o", path, ".").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("go build: %w\n%s", err, out)
	}
	return path, nil
})

func TestMain(m *testing.M) {
	code := m.Run()
	if path, err := binary(); err == nil {
		_ = os.RemoveAll(filepath.Dir(path)) // the temporary folder's own clean-up would get it some day
	}
	os.Exit(code)
}

// stage is one installation: a folder with a configuration, a sandbox, and the
// worker process when it runs.
type stage struct {
	*require.Assertions
	t       *testing.T
	dir     string
	api     *sandbox.Sandbox
	nats    string
	probes  string
	process *exec.Cmd
	exited  chan error
	output  *transcript // of every process of this stage
	conn    *nats.Conn
	js      jetstream.JetStream
}

// transcript collects output from several processes.
type transcript struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (t *transcript) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.buf.Write(p)
}

func (t *transcript) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.buf.String()
}

// newStage writes a configuration; extra lines go to its defaults section.
func newStage(t *testing.T, extra ...string) *stage {
	t.Helper()
	r := require.New(t)
	s := &stage{Assertions: r, t: t, dir: t.TempDir(), output: &transcript{}, nats: freeAddress(r), probes: freeAddress(r)}
	s.api = sandbox.New(sandbox.Options{Apps: map[string]string{app: canarySecret}, TokenPrefix: canaryToken})
	url, err := s.api.Listen("127.0.0.1:0")
	r.NoError(err)
	t.Cleanup(func() { r.NoError(s.api.Close()) })
	r.NoError(os.WriteFile(filepath.Join(s.dir, "secret"), []byte(canarySecret+"\n"), 0o600))
	config := fmt.Sprintf(`nats:
  url: embedded
  listen: %s
  store_dir: %s
wechat:
  base_url: %s
worker:
  listen: %s
  grace: 10s
apps:
  - appid: %s
    name: 旗舰店
    secret_file: %s
defaults:
  rate: {per_second: 5000, burst: 500}
  retry: {attempts: 6, first: 100ms, cap: 1s}
`, s.nats, filepath.Join(s.dir, "data"), url, s.probes, app, filepath.Join(s.dir, "secret"))
	for _, line := range extra {
		config += "  " + line + "\n"
	}
	r.NoError(os.WriteFile(s.config(), []byte(config), 0o600))
	t.Cleanup(s.checkCanaries)
	return s
}

func (s *stage) config() string { return filepath.Join(s.dir, "kefu.yaml") }

func freeAddress(r *require.Assertions) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	r.NoError(err)
	defer func() { r.NoError(l.Close()) }()
	return l.Addr().String()
}

// start runs `kefu worker` and returns when it is ready.
func (s *stage) start() {
	s.t.Helper()
	path, err := binary()
	s.NoError(err)
	s.process = exec.Command(path, "worker", "--config", s.config(), "--log-level", "debug")
	s.process.Stdout, s.process.Stderr = s.output, s.output
	s.NoError(s.process.Start())
	s.exited = make(chan error, 1)
	process := s.process
	go func() { s.exited <- process.Wait() }()
	s.t.Cleanup(func() { _ = process.Process.Kill() }) // in case the test failed before it stopped it
	s.Eventually(func() bool {
		select {
		case err := <-s.exited:
			s.exited <- err
			s.FailNow("the worker ended", s.output.String())
		default:
		}
		resp, err := http.Get("http://" + s.probes + "/readyz")
		if err != nil {
			return false
		}
		_ = resp.Body.Close()
		return resp.StatusCode == http.StatusOK
	}, 20*time.Second, 20*time.Millisecond, "the worker did not get ready:\n%s", s.output)
	if s.conn == nil {
		s.conn, err = nats.Connect("nats://"+s.nats, nats.MaxReconnects(-1), nats.ReconnectWait(50*time.Millisecond))
		s.NoError(err)
		s.t.Cleanup(s.conn.Close)
		s.js, err = jetstream.New(s.conn)
		s.NoError(err)
	}
}

// stop ends the worker with a signal and returns its exit error.
func (s *stage) stop(sig os.Signal) error {
	s.t.Helper()
	s.NoError(s.process.Process.Signal(sig))
	select {
	case err := <-s.exited:
		return err
	case <-time.After(30 * time.Second):
		s.FailNow("the worker does not end", s.output.String())
		return nil
	}
}

// kefu runs a command to its end.
func (s *stage) kefu(args ...string) (stdout string, code int) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), 120*time.Second)
	defer cancel()
	return s.kefuContext(ctx, args...)
}

func (s *stage) kefuContext(ctx context.Context, args ...string) (stdout string, code int) {
	s.t.Helper()
	path, err := binary()
	s.NoError(err)
	cmd := exec.CommandContext(ctx, path, append([]string{"--config", s.config()}, args...)...)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGINT) }
	cmd.WaitDelay = 10 * time.Second
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = io.MultiWriter(&out, s.output), s.output
	err = cmd.Run()
	if cmd.ProcessState == nil {
		s.NoError(err)
	}
	return out.String(), cmd.ProcessState.ExitCode()
}

// publish sends raw bytes as a plain NATS client does, and waits for JetStream's word.
func (s *stage) publish(subject, packet string, header ...string) *jetstream.PubAck {
	s.t.Helper()
	m := nats.NewMsg(subject)
	m.Data = []byte(packet)
	for i := 0; i+1 < len(header); i += 2 {
		m.Header.Set(header[i], header[i+1])
	}
	ack, err := s.js.PublishMsg(s.t.Context(), m)
	s.NoError(err)
	return ack
}

// receipts collects what is published on the app's receipts from now on.
func (s *stage) receipts() func(n int) []schema.Receipt {
	s.t.Helper()
	ch := make(chan schema.Receipt, 100000)
	_, err := s.conn.Subscribe("kefu.receipt."+app+".*", func(m *nats.Msg) {
		var r schema.Receipt
		if json.Unmarshal(m.Data, &r) == nil {
			ch <- r
		}
	})
	s.NoError(err)
	s.NoError(s.conn.Flush())
	return func(n int) []schema.Receipt {
		s.t.Helper()
		var got []schema.Receipt
		for range n {
			select {
			case r := <-ch:
				got = append(got, r)
			case <-time.After(45 * time.Second):
				s.FailNow("receipts are missing", "%d of %d came\n%s", len(got), n, tail(s.output.String()))
			}
		}
		return got
	}
}

// letters reads every dead letter of the app.
func (s *stage) letters() []schema.Letter {
	s.t.Helper()
	var out []schema.Letter
	s.eachMessage(schema.StreamDead, func(m jetstream.Msg) {
		var l schema.Letter
		s.NoError(json.Unmarshal(m.Data(), &l))
		out = append(out, l)
	})
	return out
}

func (s *stage) eachMessage(stream string, f func(jetstream.Msg)) {
	s.t.Helper()
	c, err := s.js.OrderedConsumer(s.t.Context(), stream, jetstream.OrderedConsumerConfig{})
	s.NoError(err)
	for left := c.CachedInfo().NumPending; left > 0; left-- {
		m, err := c.Next(jetstream.FetchMaxWait(5 * time.Second))
		s.NoError(err)
		f(m)
	}
}

// queued is the number of intents in the app's queue.
func (s *stage) queued() uint64 {
	s.t.Helper()
	stream, err := s.js.Stream(s.t.Context(), schema.SendStream(app))
	s.NoError(err)
	return stream.CachedInfo().State.Msgs
}

// posts counts the messages that the API processed, by openid.
func (s *stage) posts() map[string]int {
	return s.api.CountBy(sandbox.ByOpenID, sandbox.Filter{Call: "send"})
}

// checkCanaries looks for token and secret in everything that left a process:
// output, metrics, and all that is stored at the broker.
func (s *stage) checkCanaries() {
	for _, canary := range []string{canarySecret, canaryToken} {
		s.NotContains(s.output.String(), canary, "a secret was printed or logged")
	}
	if s.process == nil {
		return
	}
	if s.process.ProcessState == nil {
		if resp, err := http.Get("http://" + s.probes + "/metrics"); err == nil {
			body, err := io.ReadAll(resp.Body)
			_ = resp.Body.Close()
			s.NoError(err)
			s.NotContains(string(body), canaryToken)
			s.NotContains(string(body), canarySecret)
		}
		_ = s.process.Process.Kill()
		s.Error(<-s.exited, "it was killed")
	}
	s.NoError(filepath.WalkDir(filepath.Join(s.dir, "data"), func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		for _, canary := range []string{canarySecret, canaryToken} {
			s.False(bytes.Contains(content, []byte(canary)), "a secret is stored in %s", path)
		}
		return nil
	}))
}

func tail(text string) string {
	lines := strings.Split(text, "\n")
	return strings.Join(lines[max(0, len(lines)-40):], "\n")
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
