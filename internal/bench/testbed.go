package bench

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/gate"
	"github.com/kefuhq/kefu/internal/sandbox"
	"github.com/kefuhq/kefu/schema"
)

// testbed is what one run stands on: a broker and a sandbox of its own.
type testbed struct {
	bench       *Bench
	load        *Load
	dir         string
	server      *process // nil: a broker that was there
	url         string   // of the broker
	conn        *broker.Conn
	sandbox     *sandbox.Sandbox
	api         string
	madeStreams bool // streams
}

// secret of every app; the sandbox takes any.
const secret = "bench"

// Settings that both the streams and the workers' configuration say.
const (
	ledgerKeep      = 72 * time.Hour
	duplicateWindow = 10 * time.Minute
	queueMessages   = 50_000_000
)

func (b *Bench) newTestbed(ctx context.Context, l *Load) (_ *testbed, err error) {
	bed := &testbed{bench: b, load: l, url: b.NATS}
	defer func() {
		if err != nil {
			_ = bed.close() // the first error says more
		}
	}()
	if bed.dir, err = os.MkdirTemp("", "kefu-bench-"); err != nil {
		return nil, err
	}
	if bed.url == "" {
		args := []string{"bench", "broker", "--dir", filepath.Join(bed.dir, "broker")}
		if l.SyncAlways {
			args = append(args, "--sync-always")
		}
		if bed.server, err = b.start(ctx, "broker", args...); err != nil {
			return nil, err
		}
		bed.url = bed.server.hello.URL
	}
	if bed.conn, err = broker.Connect(ctx,
		broker.Options{URL: bed.url, Name: "kefu bench", FirstWait: 10 * time.Second}); err != nil {
		return nil, err
	}
	if err := bed.provision(ctx); err != nil {
		return nil, err
	}
	bed.sandbox = sandbox.New(sandbox.Options{Latency: l.Latency, Keep: l.mostSends()})
	for _, rule := range l.rules() {
		bed.sandbox.Add(rule)
	}
	if bed.api, err = bed.sandbox.Listen("127.0.0.1:0"); err != nil {
		return nil, err
	}
	for i := range l.HeldApps {
		if err := gate.Pause(ctx, bed.conn, l.app(l.SlowApps+l.FailingApps+i), "held by kefu bench",
			"kefu bench"); err != nil {
			return nil, err
		}
	}
	return bed, nil
}

// mostSends returns how many sends the sandbox must remember, retries included.
func (l *Load) mostSends() int {
	n := l.Backlog + l.LiveBacklog + int(l.Rate*l.Duration.Seconds())
	return max(4*n, sandbox.DefaultKeep)
}

func (b *testbed) provision(ctx context.Context) error {
	spec := broker.Spec{Replicas: b.bench.Replicas, LedgerKeep: ledgerKeep}
	for _, id := range b.load.appIDs() {
		spec.Apps = append(spec.Apps, broker.AppSpec{
			AppID: id, LiveShards: b.load.Shards, DuplicateWindow: duplicateWindow,
			QueueMessages: queueMessages, QueueBytes: -1,
		})
	}
	if b.server == nil {
		// A broker with queues in it is somebody's: a load would land among their intents.
		names, err := b.streams(ctx)
		if err != nil {
			return err
		}
		if len(names) > 0 {
			return fmt.Errorf("the broker holds %s: a load test needs one without kefu's "+
				"streams, which it makes and removes", names[0])
		}
	}
	plan, err := broker.NewPlan(ctx, b.conn.JS, spec)
	if err != nil {
		return err
	}
	b.madeStreams = true
	_, err = plan.Apply(ctx, b.conn.JS, false)
	return err
}

// configure writes the workers' configuration and returns the file's path.
func (b *testbed) configure() (string, error) {
	l := b.load
	secretFile := filepath.Join(b.dir, "secret")
	if err := os.WriteFile(secretFile, []byte(secret+"\n"), 0o600); err != nil {
		return "", err
	}
	appConcurrency := l.AppConcurrency
	if appConcurrency == 0 {
		appConcurrency = l.Concurrency
	}
	var y strings.Builder
	fmt.Fprintf(&y, "nats: {url: %q, replicas: %d}\n", b.url, max(b.bench.Replicas, 1))
	fmt.Fprintf(&y, "wechat: {base_url: %q}\n", b.api)
	// Everything is there already, with queues larger than a configuration allows.
	fmt.Fprintf(&y,
		"worker: {concurrency: %d, receipts: %s, ledger: {mode: %s, keep: %s}, "+
			"listen: \"127.0.0.1:0\", provision: false}\n",
		l.Concurrency, l.Receipts, l.Ledger, ledgerKeep)
	fmt.Fprintf(&y,
		"defaults:\n  rate: {per_second: %g, burst: %d, per_day: 0}\n  concurrency: %d\n"+
			"  live_shards: %d\n  duplicate_window: %s\n  queue: {messages: %d}\n",
		l.PerSecond, l.Burst, appConcurrency, l.Shards, duplicateWindow, queueMessages)
	y.WriteString("apps:\n")
	for _, id := range l.appIDs() {
		fmt.Fprintf(&y, "  - {appid: %s, secret_file: %q}\n", id, secretFile)
	}
	path := filepath.Join(b.dir, "kefu.yaml")
	return path, os.WriteFile(path, []byte(y.String()), 0o600)
}

// queued returns what waits in the queues of some apps.
func (b *testbed) queued(ctx context.Context, apps []string) (int, error) {
	sum := 0
	for _, id := range apps {
		n, err := b.stored(ctx, schema.SendStream(id))
		if err != nil {
			return 0, err
		}
		sum += n
	}
	return sum, nil
}

func (b *testbed) stored(ctx context.Context, stream string) (int, error) {
	s, err := b.conn.JS.Stream(ctx, stream)
	if err != nil {
		return 0, fmt.Errorf("look at %s: %w", stream, err)
	}
	return int(s.CachedInfo().State.Msgs), nil
}

// healthy returns the apps that must get everything delivered.
func (l *Load) healthy() []string {
	return l.appIDs()[l.troubled():l.Apps]
}

// close takes everything away. On a broker that was there it removes the streams that it made.
func (b *testbed) close() error {
	var errs []error
	if b.conn != nil {
		if b.server == nil && b.madeStreams {
			errs = append(errs, b.unprovision())
		}
		b.conn.Close()
	}
	if b.sandbox != nil {
		errs = append(errs, b.sandbox.Close())
	}
	if b.server != nil {
		errs = append(errs, b.server.stop())
	}
	if b.dir != "" {
		errs = append(errs, os.RemoveAll(b.dir))
	}
	return errors.Join(errs...)
}

// streams returns the names of kefu's streams that the broker holds.
func (b *testbed) streams(ctx context.Context) ([]string, error) {
	var out []string
	names := b.conn.JS.StreamNames(ctx)
	for name := range names.Name() {
		if strings.HasPrefix(name, "KEFU_") || strings.HasPrefix(name, "KV_KEFU_") {
			out = append(out, name)
		}
	}
	if err := names.Err(); err != nil && !errors.Is(err, jetstream.ErrEndOfData) {
		return nil, fmt.Errorf("list the broker's streams: %w", err)
	}
	return out, nil
}

// unprovision removes them: there was none before.
func (b *testbed) unprovision() error {
	// also when the run was interrupted
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	names, err := b.streams(ctx)
	errs := []error{err}
	for _, name := range names {
		if err := b.conn.JS.DeleteStream(ctx, name); err != nil &&
			!errors.Is(err, jetstream.ErrStreamNotFound) {
			errs = append(errs, fmt.Errorf("remove %s: %w", name, err))
		}
	}
	return errors.Join(errs...)
}
