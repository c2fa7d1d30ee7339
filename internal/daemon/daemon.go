// Package daemon runs a worker as a process: it connects, provisions the broker's objects, sets up
// the engine from the configuration, reloads the configuration when it changes, and answers probes.
package daemon

import (
	"context"
	"log/slog"
	"os"
	"sync"

	"github.com/coreos/go-systemd/v22/daemon"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/campaign"
	"github.com/kefuhq/kefu/internal/config"
	"github.com/kefuhq/kefu/internal/gate"
	"github.com/kefuhq/kefu/internal/ops"
	"github.com/kefuhq/kefu/internal/replay"
	"github.com/kefuhq/kefu/internal/wiring"
	"github.com/kefuhq/kefu/worker"
)

// Daemon is a worker process.
type Daemon struct {
	Config  *config.Config
	Secret  wiring.Secrets
	Version string // of this program
	Log     *slog.Logger
	Dropped func() int64 // how many lines of Log found no reader; nil when none can be dropped

	Load    func() (*config.Config, error) // loads the configuration again; nil: it never changes
	Hangups <-chan os.Signal               // each signal reloads the configuration

	// Started is called once, when the worker pulls intents.
	Started func(opsURL string)

	mu        sync.Mutex
	worker    *worker.Worker // nil until there is a broker
	replays   replay.Settings
	campaigns map[string]campaign.App
}

// Run runs the worker until ctx ends. It fails at once when the address of the probes is in use.
func (d *Daemon) Run(ctx context.Context, options broker.Options) error {
	registry := newRegistry(d.Version, d.Dropped)
	// The probes start first: a worker that waits for its broker is alive and not ready.
	probes, err := ops.Listen(d.Config.Worker.Listen, ops.Handler(d.troubles, registry))
	if err != nil {
		return err
	}
	defer func() { _ = probes.Close() }() // an error loses nothing
	// The system may have picked the port.
	d.Log.Info("probes and metrics", "url", probes.URL)
	options.Name, options.Log = "kefu worker", d.Log
	conn, err := broker.Connect(ctx, options)
	if ctx.Err() != nil {
		d.Log.Info("stopped before there was a broker")
		return nil
	}
	if err != nil {
		return err
	}
	defer conn.Close()
	return d.work(ctx, conn, registry, probes.URL)
}

// work runs the worker once there is a broker.
func (d *Daemon) work(
	ctx context.Context, conn *broker.Conn, metrics prometheus.Registerer, opsURL string,
) error {
	if err := d.provisionWithRetry(ctx, conn); err != nil {
		return err
	}
	w, clients, err := d.newWorker(ctx, conn, metrics)
	if err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { notifySystemd(daemon.SdNotifyStopping) })
	defer stop()
	var reloading sync.WaitGroup
	defer reloading.Wait()
	return w.Run(ctx, func() {
		if d.Load != nil {
			r := newReloader(d.Config, d.Log, metrics)
			r.load, r.apply = d.Load, func(ctx context.Context, cfg *config.Config) error {
				return d.reconfigure(ctx, conn, w, clients, cfg)
			}
			reloading.Go(func() { r.run(ctx, d.Hangups) })
		}
		notifySystemd(daemon.SdNotifyReady)
		if d.Started != nil {
			d.Started(opsURL)
		}
	})
}

// notifySystemd reports the state of the process. Without systemd it does nothing.
func notifySystemd(state string) { _, _ = daemon.SdNotify(false, state) }

// newWorker sets up the engine from the configuration.
func (d *Daemon) newWorker(
	ctx context.Context, conn *broker.Conn, metrics prometheus.Registerer,
) (*worker.Worker, *apiClients, error) {
	pseudonyms, err := conn.Pseudonyms(ctx)
	if err != nil {
		return nil, nil, err
	}
	clients, err := newAPIClients(d.Config, d.Secret, gate.NewRefreshRation(conn, d.Log))
	if err != nil {
		return nil, nil, err
	}
	d.setJobs(d.Config)
	cfg := workerConfig(d.Config, clients, d.Version, d.Log, metrics, pseudonyms, d.works(conn))
	w, err := worker.New(cfg, conn)
	if err != nil {
		return nil, nil, err
	}
	d.mu.Lock()
	d.worker = w
	d.mu.Unlock()
	return w, clients, nil
}

// reconfigure gives the worker the apps of another configuration. Everything else stays as it was
// at the start.
func (d *Daemon) reconfigure(
	ctx context.Context, conn *broker.Conn, w *worker.Worker, clients *apiClients,
	cfg *config.Config,
) error {
	next := *d.Config
	next.Apps, next.Defaults = cfg.Apps, cfg.Defaults
	if err := provision(ctx, conn, &next, d.Log); err != nil {
		return err
	}
	if err := w.Reconfigure(ctx, clients.apps(&next)); err != nil {
		return err
	}
	d.setJobs(&next)
	return nil
}

// troubles returns why the worker is not ready.
func (d *Daemon) troubles() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.worker == nil {
		return []string{"starting: there is no broker yet"}
	}
	return d.worker.Troubles()
}
