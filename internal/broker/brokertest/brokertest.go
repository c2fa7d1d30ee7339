// Package brokertest gives a test a real broker of its own: nats-server in this
// process, its files in the test's folder, every JetStream object in place.
//
//	conn := brokertest.New(t, "wx1")
//
// A test that needs the broker to go away and come back starts a Broker.
package brokertest

import (
	"context"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kefuhq/kefu/internal/broker"
)

// Patience is how long a test waits for what must happen: never reached but by
// a test that fails.
const Patience = time.Minute

// Keep is for how long the ledger of Spec remembers.
const Keep = time.Hour

// New starts a broker with the streams of some apps and connects to it. All
// ends with the test.
func New(t testing.TB, apps ...string) *broker.Conn {
	t.Helper()
	return Start(t, apps...).Connect()
}

// Spec is what New provisions.
func Spec(apps ...string) broker.Spec {
	spec := broker.Spec{Replicas: 1, LedgerKeep: Keep}
	for _, id := range apps {
		spec.Apps = append(spec.Apps, App(id))
	}
	return spec
}

// App is an app with the settings of the contract.
func App(id string) broker.AppSpec {
	return broker.AppSpec{
		AppID: id, LiveShards: 4, DuplicateWindow: 10 * time.Minute, QueueMessages: 1_000_000,
		QueueBytes: 1 << 30,
	}
}

// Provision creates or updates what spec asks for, and fails the test when
// something cannot be had.
func Provision(t testing.TB, conn *broker.Conn, spec broker.Spec) {
	t.Helper()
	plan, err := broker.NewPlan(t.Context(), conn.JS, spec)
	require.NoError(t, err)
	left, err := plan.Apply(t.Context(), conn.JS, false)
	require.NoError(t, err)
	require.Empty(t, left)
}

// Broker is one that can be stopped and started again, on the same port and
// with the same files.
type Broker struct {
	t      testing.TB
	dir    string
	listen string
	saved  string

	mu       sync.Mutex
	embedded *broker.Embedded
}

// Start starts a broker with the streams of some apps.
func Start(t testing.TB, apps ...string) *Broker {
	t.Helper()
	b := Bare(t)
	conn, err := broker.Connect(t.Context(),
		broker.Options{URL: b.URL(), Name: "brokertest", FirstWait: Patience})
	require.NoError(t, err)
	defer conn.Close()
	Provision(t, conn, Spec(apps...))
	return b
}

// Bare starts a broker without any stream.
func Bare(t testing.TB) *Broker {
	t.Helper()
	b := &Broker{t: t, dir: t.TempDir(), listen: FreeAddress(t)}
	b.Start()
	t.Cleanup(b.Stop)
	return b
}

// URL is where it listens.
func (b *Broker) URL() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.embedded.URL()
}

// Embedded is the broker that runs now; nil while it is stopped.
func (b *Broker) Embedded() *broker.Embedded {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.embedded
}

// Connect makes a connection that ends with the test.
func (b *Broker) Connect() *broker.Conn {
	b.t.Helper()
	return b.ConnectWith(broker.Options{Name: b.t.Name()})
}

// ConnectWith is Connect with options; the address is filled in.
func (b *Broker) ConnectWith(o broker.Options) *broker.Conn {
	b.t.Helper()
	o.URL = b.URL()
	ctx, cancel := context.WithTimeout(b.t.Context(), Patience)
	defer cancel()
	conn, err := broker.Connect(ctx, o)
	require.NoError(b.t, err)
	b.t.Cleanup(conn.Close)
	return conn
}

// Start starts it (again).
func (b *Broker) Start() {
	b.t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.embedded != nil {
		return
	}
	// FreeAddress has listened there a moment ago. A process that another test has just forked
	// holds that listener, too, until it becomes another program.
	begin := time.Now()
	e, err := broker.StartEmbedded(broker.EmbeddedOptions{Listen: b.listen, Dir: b.dir})
	for errors.Is(err, broker.ErrAddressInUse) && time.Since(begin) < Patience {
		runtime.Gosched()
		e, err = broker.StartEmbedded(broker.EmbeddedOptions{Listen: b.listen, Dir: b.dir})
	}
	require.NoError(b.t, err)
	b.embedded = e
}

// Stop stops it; its files stay.
func (b *Broker) Stop() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.embedded != nil {
		b.embedded.Close()
		b.embedded = nil
	}
}

// Restart stops it and starts it again. Connections notice a moment later: see
// Reconnected.
func (b *Broker) Restart() {
	b.t.Helper()
	b.Stop()
	b.Start()
}

// Save stops it, keeps a copy of its files and starts it again.
func (b *Broker) Save() {
	b.t.Helper()
	b.Stop()
	b.saved = b.t.TempDir()
	require.NoError(b.t, os.CopyFS(filepath.Join(b.saved, "store"), os.DirFS(b.dir)))
	b.Start()
}

// Restore puts the files of Save in the place of its own, as a power failure
// does that loses what was not on the disk yet. Meanwhile runs before anybody
// else can reach the broker.
func (b *Broker) Restore(meanwhile ...func(*broker.Conn)) {
	b.t.Helper()
	b.Stop()
	require.NoError(b.t, os.RemoveAll(b.dir))
	require.NoError(b.t, os.CopyFS(b.dir, os.DirFS(filepath.Join(b.saved, "store"))))
	if len(meanwhile) > 0 {
		hidden := &Broker{t: b.t, dir: b.dir, listen: "127.0.0.1:0"}
		hidden.Start()
		conn := hidden.Connect()
		for _, f := range meanwhile {
			f(conn)
		}
		conn.Close()
		hidden.Stop()
	}
	b.Start()
}

// Reconnected returns a channel that is closed at the connection's next
// reconnect. It is to be called before the broker stops.
func Reconnected(t testing.TB, conn *broker.Conn) <-chan struct{} {
	ch := make(chan struct{})
	var once sync.Once
	t.Cleanup(conn.OnReconnect(func() { once.Do(func() { close(ch) }) }))
	return ch
}

// Await waits for a channel to be closed or to have a value, and returns it.
func Await[T any](t testing.TB, ch <-chan T, what string) T {
	t.Helper()
	select {
	case v := <-ch:
		return v
	case <-time.After(Patience):
		require.FailNow(t, "waited in vain for "+what)
		panic("not reached")
	}
}

// Overlap lets as many parallel tests run at once as suits a package whose tests
// spend most of their time waiting for leases and pauses, not computing. It is
// for TestMain, and leaves a larger -parallel as it is.
func Overlap() {
	flag.Parse()
	const atOnce = 6
	f := flag.Lookup("test.parallel")
	if n, err := strconv.Atoi(f.Value.String()); err == nil &&
		n == runtime.GOMAXPROCS(0) && n < atOnce {
		_ = f.Value.Set(strconv.Itoa(atOnce)) // a number always can be set
	}
}
