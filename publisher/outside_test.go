package publisher_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/kefuhq/kefu/internal/broker/brokertest"
	"github.com/kefuhq/kefu/publisher"
	"github.com/kefuhq/kefu/schema"
)

// shop copies the program of another module to where it may be changed, and returns what runs a
// command there.
func shop(t *testing.T) (run func(args ...string) (out string, err error)) {
	t.Helper()
	dir := t.TempDir()
	require.NoError(t, os.CopyFS(dir, os.DirFS(filepath.Join("testdata", "shop"))))
	root, err := filepath.Abs("..")
	require.NoError(t, err)
	mod := filepath.Join(dir, "go.mod")
	text, err := os.ReadFile(mod)
	require.NoError(t, err)
	require.NoError(t,
		os.WriteFile(mod, []byte(strings.Replace(string(text), "../../..", root, 1)), 0o600))
	sum, err := os.ReadFile(filepath.Join(root, "go.sum"))
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "go.sum"), sum, 0o600))
	return func(args ...string) (string, error) {
		cmd := exec.CommandContext(t.Context(), args[0], args[1:]...)
		cmd.Dir = dir
		// What the program needs, kefu has: nothing is fetched.
		cmd.Env = append(os.Environ(), "GOFLAGS=-mod=mod", "GOPROXY=off", "GOWORK=off")
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
}

func TestAProgramOfAnotherModule(t *testing.T) {
	t.Parallel()
	run := shop(t)
	t.Run("tests itself with the fake", func(t *testing.T) {
		out, err := run("go", "test", "./...")
		require.NoError(t, err, out)
	})
	t.Run("publishes, waits and cancels at a broker", func(t *testing.T) {
		b := brokertest.Start(t, app)
		conn := b.Connect()
		work(t, conn)
		out, err := run("go", "build", "-o", "shop", ".")
		require.NoError(t, err, out)
		out, err = run("./shop", b.URL(), app)
		require.NoError(t, err, out)
		require.Equal(t, "4711 shipped\n4712 paid\n", out)
		c, _ := cancellation(t, conn.JS, "order-4712-unpaid")
		require.Equal(t, "shop", c.By)
	})
	t.Run("waits while the queue is full", func(t *testing.T) {
		b := brokertest.Start(t, app)
		conn := b.Connect()
		send(t, conn, func(c *jetstream.StreamConfig) { c.MaxMsgs = 1 })
		_, err := newPublisher(t, conn.JS).Publish(t.Context(), app, text("oBob", "hi"),
			publisher.WithID("first"))
		require.NoError(t, err)
		tries := make(chan *nats.Msg, 100)
		_, err = conn.NC.ChanSubscribe(schema.LiveSubject(app, "oAlice").String(), tries)
		require.NoError(t, err)
		require.NoError(t, conn.NC.Flush())
		done := make(chan string, 1)
		go func() {
			out, _ := run("./shop", b.URL(), app)
			done <- out
		}()
		brokertest.Await(t, tries, "the first try")
		brokertest.Await(t, tries, "the second, after it was refused")
		work(t, conn)
		require.Equal(t, "4711 shipped\n4712 paid\n",
			brokertest.Await(t, done, "the program to end"))
	})
}

// The documentation shows what is tried here.
func TestTheExampleIsTheProgram(t *testing.T) {
	t.Parallel()
	const begin, end = "// queue is what the shop needs", "\nfunc Example"
	program, err := os.ReadFile(filepath.Join("testdata", "shop", "notifier.go"))
	require.NoError(t, err)
	example, err := os.ReadFile(filepath.Join("publishertest", "example_test.go"))
	require.NoError(t, err)
	_, want, found := strings.Cut(string(program), begin)
	require.True(t, found)
	_, shown, found := strings.Cut(string(example), begin)
	require.True(t, found)
	shown, _, found = strings.Cut(shown, end)
	require.True(t, found)
	require.Equal(t, strings.TrimSpace(want), strings.TrimSpace(shown))
}
