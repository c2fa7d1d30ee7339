// Package daemon runs a worker as a process: it connects, brings the broker's objects in line,
// wires the engine to the configuration, follows the configuration while it changes, and answers
// probes.
package daemon

import (
	"context"
	"log/slog"
	"os"
	"sync"

	"github.com/coreos/go-systemd/v22/daemon"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/config"
	"github.com/kefuhq/kefu/internal/gate"
	"github.com/kefuhq/kefu/internal/ops"
	"github.com/kefuhq/kefu/internal/wiring"
	"github.com/kefuhq/kefu/worker"
)

// Daemon is the life of a worker process, from the connection to the end.
type Daemon struct {
	Config  *config.Config
	Secret  wiring.Secrets
	Version string // of this program
	Log     *slog.Logger
	Dropped func() int64 // how many lines of Log found no reader; nil when none can be dropped

	Load    func() (*config.Config, error) // the configuration anew; nil: it is not followed
	Hangups <-chan os.Signal               // each asks for that

	// Started is called once, when intents are being taken.
	Started func(opsURL string)

	mu     sync.Mutex
	worker *worker.Worker // nil until there is a broker
}

// Run ends with ctx. A probes' address that is in use ends it at once.
func (d *Daemon) Run(ctx context.Context, options broker.Options) error {
	registry := newRegistry(d.Version, d.Dropped)
	// The probes come first: a worker that waits for its broker is alive and not ready.
	probes, err := ops.Listen(d.Config.Worker.Listen, ops.Handler(d.troubles, registry))
	if err != nil {
		return err
	}
	defer func() { _ = probes.Close() }() // it only answered questions
	// The port may have been the system's choice.
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
	if err := d.provisionPatiently(ctx, conn); err != nil {
		return err
	}
	w, api, err := d.newWorker(ctx, conn, registry)
	if err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { tellSystemd(daemon.SdNotifyStopping) })
	defer stop()
	var following sync.WaitGroup
	defer following.Wait()
	return w.Run(ctx, func() {
		if d.Load != nil {
			r := newReloader(d.Config, d.Log, registry)
			r.load, r.apply = d.Load, func(ctx context.Context, cfg *config.Config) error {
				return d.takeOver(ctx, conn, w, api, cfg)
			}
			following.Go(func() { r.run(ctx, d.Hangups) })
		}
		tellSystemd(daemon.SdNotifyReady)
		if d.Started != nil {
			d.Started(probes.URL)
		}
	})
}

// tellSystemd tells the state of the process. Nobody listens outside systemd.
func tellSystemd(state string) { _, _ = daemon.SdNotify(false, state) }

// newWorker wires the engine to the configuration.
func (d *Daemon) newWorker(
	ctx context.Context, conn *broker.Conn, metrics prometheus.Registerer,
) (*worker.Worker, *clients, error) {
	pseudonyms, err := conn.Pseudonyms(ctx)
	if err != nil {
		return nil, nil, err
	}
	api, err := newClients(d.Config, d.Secret, gate.NewRefreshRation(conn, d.Log))
	if err != nil {
		return nil, nil, err
	}
	w, err := worker.New(workerConfig(d.Config, api, d.Version, d.Log, metrics, pseudonyms), conn)
	if err != nil {
		return nil, nil, err
	}
	d.mu.Lock()
	d.worker = w
	d.mu.Unlock()
	return w, api, nil
}

// takeOver brings the apps of another configuration to the worker; everything else stays as it was
// at the start.
func (d *Daemon) takeOver(
	ctx context.Context, conn *broker.Conn, w *worker.Worker, api *clients, cfg *config.Config,
) error {
	next := *d.Config
	next.Apps, next.Defaults = cfg.Apps, cfg.Defaults
	if err := provision(ctx, conn, &next, d.Log); err != nil {
		return err
	}
	return w.Reconfigure(ctx, api.apps(&next))
}

func (d *Daemon) troubles() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.worker == nil {
		return []string{"starting: there is no broker yet"}
	}
	return d.worker.Troubles()
}
