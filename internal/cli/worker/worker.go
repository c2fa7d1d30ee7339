// Package worker is `kefu worker`: the daemon that takes intents from the queue and sends them.
package worker

import (
	"context"
	"log/slog"
	"os"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/cli"
	"github.com/kefuhq/kefu/internal/console"
	"github.com/kefuhq/kefu/internal/daemon"
	"github.com/kefuhq/kefu/internal/wiring"
)

// worker is the command.
type worker struct {
	streams  *cli.Streams
	settings *cli.Settings
	build    cli.Build
	hangups  func() (<-chan os.Signal, func())
	level    slog.LevelVar
}

// New returns the command.
func New(env *cli.Env) *cobra.Command {
	w := &worker{
		streams: env.Streams, settings: env.Settings, build: env.Build, hangups: env.Hangups,
	}
	cmd := &cobra.Command{
		Use:     "worker",
		Short:   "Run the worker: take intents from the queue and send them",
		GroupID: cli.GroupRun,
		Long: `Takes send-intents from the queues of the configured apps and sends them, until it is
told to stop. Start as many as you like against one broker. With nats.url: embedded it also runs the
broker, stored on disk, listening for producers.

SIGHUP, or a change of the configuration file, has it take over apps and their settings: new apps
are taken up, the others go on under their new settings, an app that is missing is given up and its
queue kept, unread. A configuration with a mistake changes nothing; one that cannot be taken over
just now, as while the broker is away, is tried again. Other sections take effect at the next start.
Secrets are read anew by themselves.

SIGTERM or Ctrl-C: what is under way is finished (worker.grace), the rest given back, exit code 0;
exit code 1 when the grace period was too short, in which case nothing is lost either. A second
signal ends the process at once.`,
		Example: `  kefu worker --config /etc/kefu/kefu.yaml
  KEFU_NATS_URL=nats://nats:4222 kefu worker --log-level debug`,
		Args: cli.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return w.run(cmd.Context()) },
	}
	cli.AddLogFlags(cmd, &w.level)
	return cmd
}

func (w *worker) run(ctx context.Context) error {
	hup, stop := w.hangups() // from the start: it ends a process that does not expect it
	defer stop()
	sink := w.streams.BufferErr()
	defer sink.Close()
	cfg, err := w.settings.ConfigWithSecrets()
	if err != nil {
		return err
	}
	if err := cfg.RequireApps(); err != nil {
		return err
	}
	log := w.streams.Logger(&w.level)
	d := &daemon.Daemon{
		Config: cfg, Secret: wiring.ConfiguredSecret, Log: log, Dropped: sink.Dropped,
		Version: w.build.Version, Load: w.settings.Reload, Hangups: hup,
	}
	options, err := wiring.BrokerOptions(cfg)
	if err != nil && !cfg.NATS.IsEmbedded() {
		return err
	}
	if cfg.NATS.IsEmbedded() {
		// Every write reaches the disk before it is acknowledged: this broker has no second copy
		// anywhere.
		e, err := broker.StartEmbedded(broker.EmbeddedOptions{
			Listen: cfg.NATS.Listen, Dir: cfg.NATS.StoreDir, SyncAlways: true, Log: log,
		})
		if err != nil {
			return err
		}
		defer e.Close()
		log.Info("embedded broker", "url", e.URL(), "store", cfg.NATS.StoreDir)
		options = broker.Options{InProcess: e.Server}
	}
	return w.runAll(ctx, d, options)
}

// runAll runs the worker, and the console where console.listen is set.
func (w *worker) runAll(ctx context.Context, d *daemon.Daemon, options broker.Options) error {
	run := func(ctx context.Context) error {
		return cli.AddressInUse(d.Run(ctx, options), d.Config.Worker.Listen, "worker.listen")
	}
	if d.Config.Console.Listen == "" {
		return run(ctx)
	}
	listener, err := console.Bind(d.Config.Console.Listen)
	if err != nil {
		return cli.AddressInUse(err, d.Config.Console.Listen, "console.listen")
	}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return run(ctx) })
	group.Go(func() error {
		o := console.Configured(d.Config, w.settings.Actor(), d.Log)
		return console.Beside(ctx, listener, options, o)
	})
	return group.Wait()
}
