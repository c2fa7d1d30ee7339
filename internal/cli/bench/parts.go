package bench

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"os"
	"runtime/pprof"
	"time"

	"github.com/spf13/cobra"

	"github.com/kefuhq/kefu/internal/bench"
	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/cli"
	"github.com/kefuhq/kefu/internal/daemon"
	"github.com/kefuhq/kefu/internal/wiring"
)

// The processes that a load test is made of. They are for `kefu bench` alone: each says a line of
// JSON when it is at work, and ends when its input does, so that none is left behind when the test
// is killed.

func newBroker(env *cli.Env) *cobra.Command {
	var options broker.EmbeddedOptions
	cmd := &cobra.Command{
		Use: "broker", Short: "The broker of a load test", Hidden: true, Args: cli.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, stop := untilInputEnds(cmd.Context(), env.Streams.In)
			defer stop()
			e, err := broker.StartEmbedded(options)
			if err != nil {
				return err
			}
			defer e.Close()
			if err := hello(env.Streams, bench.Hello{URL: e.URL()}); err != nil {
				return err
			}
			<-ctx.Done()
			return nil
		},
	}
	options.Listen = "127.0.0.1:0"
	cmd.Flags().StringVar(&options.Dir, "dir", "", "`folder` of its files")
	cmd.Flags().BoolVar(&options.SyncAlways, "sync-always", false,
		"write to the disk before acknowledging")
	return cmd
}

func newWorker(env *cli.Env) *cobra.Command {
	var level slog.LevelVar
	var profile string
	cmd := &cobra.Command{
		Use: "worker", Short: "A worker of a load test", Hidden: true, Args: cli.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, stop := untilInputEnds(cmd.Context(), env.Streams.In)
			defer stop()
			return profiled(profile, func() error { return runWorker(ctx, env, &level) })
		},
	}
	cli.AddLogFlags(cmd, &level)
	addProfileFlag(cmd, &profile)
	return cmd
}

// runWorker is `kefu worker` but for its beginning and its end.
func runWorker(ctx context.Context, env *cli.Env, level *slog.LevelVar) error {
	cfg, err := env.Settings.Config()
	if err != nil {
		return err
	}
	options, err := wiring.BrokerOptions(cfg)
	if err != nil {
		return err
	}
	sink := env.Streams.BufferErr()
	defer sink.Close()
	var silent error
	d := &daemon.Daemon{
		Config: cfg, Secret: wiring.ConfiguredSecret, Log: env.Streams.Logger(level),
		Dropped: sink.Dropped, Version: env.Build.Version,
		Started: func(string) { silent = hello(env.Streams, bench.Hello{}) },
	}
	if err := d.Run(ctx, options); err != nil {
		return cli.AddressInUse(err, cfg.Worker.Listen, "worker.listen")
	}
	return silent
}

func newLoop(env *cli.Env) *cobra.Command {
	var loop bench.Loop
	var url, profile string
	cmd := &cobra.Command{
		Use: "loop", Short: "The bare loop of a load test", Hidden: true, Args: cli.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, stop := untilInputEnds(cmd.Context(), env.Streams.In)
			defer stop()
			conn, err := broker.Connect(ctx,
				broker.Options{URL: url, Name: "kefu bench loop", FirstWait: 10 * time.Second})
			if err != nil {
				return err
			}
			defer conn.Close()
			loop.Conn = conn
			return profiled(profile, func() error {
				return loop.Run(ctx, func() error { return hello(env.Streams, bench.Hello{}) })
			})
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&url, "nats", "", "`URL` of the broker")
	flags.StringVar(&loop.API, "api", "", "`URL` of the API")
	flags.StringSliceVar(&loop.Apps, "apps", nil, "`appids` whose queues it reads")
	flags.IntVar(&loop.Concurrency, "concurrency", 64, "calls in flight")
	addProfileFlag(cmd, &profile)
	return cmd
}

// untilInputEnds returns a context that ends with ctx or with the standard input.
func untilInputEnds(ctx context.Context, in io.Reader) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	go func() { // a read cannot be called off: it ends with the process at the latest
		_, _ = io.Copy(io.Discard, in)
		cancel()
	}()
	return ctx, cancel
}

func hello(s *cli.Streams, h bench.Hello) error { return json.NewEncoder(s.Out).Encode(h) }

func addProfileFlag(cmd *cobra.Command, profile *string) {
	cmd.Flags().StringVar(profile, "cpu-profile", "", "`file` for a CPU profile")
}

// profiled runs f and writes a CPU profile of it, if one is wanted.
func profiled(path string, f func() error) error {
	if path == "" {
		return f()
	}
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	if err := pprof.StartCPUProfile(file); err != nil {
		_ = file.Close()
		return err
	}
	err = f()
	pprof.StopCPUProfile()
	if closed := file.Close(); err == nil {
		err = closed
	}
	return err
}
