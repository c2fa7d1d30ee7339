package main

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/cenkalti/backoff/v4"
	"github.com/coreos/go-systemd/v22/daemon"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/cobra"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/config"
	"github.com/kefuhq/kefu/internal/gate"
	"github.com/kefuhq/kefu/internal/ops"
	"github.com/kefuhq/kefu/worker"
)

// workerCmd is `kefu worker`.
type workerCmd struct {
	cli   *cli
	level slog.LevelVar
}

func newWorkerCmd(c *cli) *cobra.Command {
	w := &workerCmd{cli: c}
	cmd := &cobra.Command{
		Use:     "worker",
		Short:   "Run the worker: take intents from the queue and send them",
		GroupID: groupRun,
		Long: `Takes send-intents from the queues of the configured apps and sends them, until it is told to stop. Start as many as you
like against one broker. With nats.url: embedded it also runs the broker, stored on disk, listening for producers.

SIGHUP, or a change of the configuration file, has it take over apps and their settings: new apps are taken up, the others go
on under their new settings, an app that is missing is given up and its queue kept, unread. A configuration with a mistake
changes nothing; one that cannot be taken over just now, as while the broker is away, is tried again. Other sections take
effect at the next start. Secrets are read anew by themselves.

SIGTERM or Ctrl-C: what is under way is finished (worker.grace), the rest given back, exit code 0; exit code 1 when the
grace period was too short, in which case nothing is lost either. A second signal ends the process at once.`,
		Example: `  kefu worker --config /etc/kefu/kefu.yaml
  KEFU_NATS_URL=nats://nats:4222 kefu worker --log-level debug`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error { return w.run(cmd.Context()) },
	}
	c.addLogFlags(cmd, &w.level)
	return cmd
}

func (w *workerCmd) run(ctx context.Context) error {
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP) // from the start: it ends a process that does not expect it
	defer signal.Stop(hup)
	sink := newLogSink(w.cli.err)
	defer sink.Close()
	w.cli.err = sink // all of it in one order, the error that ends the command included
	w.cli.needsSecrets = true
	cfg, err := w.cli.config()
	if err != nil {
		return err
	}
	if err := cfg.RequireApps(); err != nil {
		return err
	}
	d := &daemonRun{cfg: cfg, listenName: "worker.listen", secret: configuredSecret, log: w.cli.logger(&w.level), sink: sink,
		load: w.cli.configAnew, hup: hup}
	options, err := brokerOptions(cfg)
	if err != nil && !cfg.NATS.IsEmbedded() {
		return err
	}
	if cfg.NATS.IsEmbedded() {
		// Every write reaches the disk before it is acknowledged: this broker has no
		// second copy anywhere.
		e, err := broker.StartEmbedded(broker.EmbeddedOptions{
			Listen: cfg.NATS.Listen, Dir: cfg.NATS.StoreDir, SyncAlways: true, Log: d.log,
		})
		if err != nil {
			return err
		}
		defer e.Close()
		d.log.Info("embedded broker", "url", e.URL(), "store", cfg.NATS.StoreDir)
		options = broker.Options{InProcess: e.Server}
	}
	return d.run(ctx, options)
}

// daemonRun is the life of a worker process, from the connection to the end.
type daemonRun struct {
	cfg    *config.Config
	secret secrets
	log    *slog.Logger

	sink       *logSink // of log; nil when it is written at once
	listenName string   // what sets the probes' address

	load func() (*config.Config, error) // the configuration anew; nil: it is not followed
	hup  <-chan os.Signal               // asks for that

	// started is called once, when intents are being taken.
	started func(opsURL string)

	mu     sync.Mutex
	worker *worker.Worker // nil until there is a broker
}

func (d *daemonRun) run(ctx context.Context, options broker.Options) error {
	registry := newRegistry()
	if d.sink != nil {
		registry.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{
			Namespace: "kefu", Name: "log_lines_dropped_total", Help: "Lines of the log that found no reader.",
		}, func() float64 { return float64(d.sink.dropped.Load()) }))
	}
	// The probes come first: a worker that waits for its broker is alive and not ready.
	probes, err := ops.Listen(d.cfg.Worker.Listen, ops.Handler(d.troubles, registry))
	if err != nil {
		return addressInUse(err, d.cfg.Worker.Listen, d.listenName)
	}
	defer func() { _ = probes.Close() }()               // it only answered questions
	d.log.Info("probes and metrics", "url", probes.URL) // the port may have been the system's choice
	options.Name, options.Log = "kefu worker", d.log
	conn, err := broker.Connect(ctx, options)
	if ctx.Err() != nil {
		d.log.Info("stopped before there was a broker")
		return nil
	}
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := d.provisionPatiently(ctx, conn); err != nil {
		return err
	}
	pseudonyms, err := conn.Pseudonyms(ctx)
	if err != nil {
		return err
	}
	wires, err := newWiring(d.cfg, d.secret, gate.NewRation(conn, d.log))
	if err != nil {
		return err
	}
	w, err := worker.New(workerConfig(d.cfg, wires, d.log, registry, pseudonyms), conn)
	if err != nil {
		return err
	}
	d.mu.Lock()
	d.worker = w
	d.mu.Unlock()
	stop := context.AfterFunc(ctx, func() { _, _ = daemon.SdNotify(false, daemon.SdNotifyStopping) })
	defer stop()
	var following sync.WaitGroup
	defer following.Wait()
	return w.Run(ctx, func() {
		if d.load != nil {
			r := newReloader(d.cfg, d.log, registry)
			r.load, r.apply = d.load, func(ctx context.Context, cfg *config.Config) error { return d.takeOver(ctx, conn, w, wires, cfg) }
			following.Go(func() { r.run(ctx, d.hup) })
		}
		_, _ = daemon.SdNotify(false, daemon.SdNotifyReady) // nobody listens outside systemd
		if d.started != nil {
			d.started(probes.URL)
		}
	})
}

// clusterPatience is how long a worker waits at its start for a broker that is there and does not answer: a cluster that is just
// starting has no leader yet.
const clusterPatience = 2 * time.Minute

func (d *daemonRun) provisionPatiently(ctx context.Context, conn *broker.Conn) error {
	wait := backoff.NewExponentialBackOff(backoff.WithInitialInterval(500*time.Millisecond), backoff.WithMaxInterval(5*time.Second),
		backoff.WithMaxElapsedTime(clusterPatience))
	said := false
	return backoff.Retry(func() error {
		err := provision(ctx, conn, d.cfg, d.log)
		var refused *jetstream.APIError
		passes := errors.Is(err, context.DeadlineExceeded) || errors.As(err, &refused) && refused.Code >= 500 && !errors.Is(err, broker.ErrNoRoom) // no leader, not enough nodes yet
		if err == nil || ctx.Err() != nil || !passes {
			return backoff.Permanent(err) // nil stays nil
		}
		if !said {
			said = true
			d.log.Warn("waiting for the broker", "error", err)
		}
		return err
	}, backoff.WithContext(wait, ctx))
}

// takeOver brings the apps of another configuration to the worker; everything else stays as it was at the start.
func (d *daemonRun) takeOver(ctx context.Context, conn *broker.Conn, w *worker.Worker, wires *wiring, cfg *config.Config) error {
	next := *d.cfg
	next.Apps, next.Defaults = cfg.Apps, cfg.Defaults
	if err := provision(ctx, conn, &next, d.log); err != nil {
		return err
	}
	return w.Reconfigure(ctx, wires.apps(&next))
}

func (d *daemonRun) troubles() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.worker == nil {
		return []string{"starting: there is no broker yet"}
	}
	return d.worker.Troubles()
}
