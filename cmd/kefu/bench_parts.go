package main

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
)

// The processes that a load test is made of. They are for `kefu bench` alone: each says a line of JSON when it is at work, and ends when
// its input does, so that none is left behind when the test is killed.

func newBenchBrokerCmd(c *cli) *cobra.Command {
	var options broker.EmbeddedOptions
	cmd := &cobra.Command{
		Use: "broker", Short: "The broker of a load test", Hidden: true, Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, stop := c.untilInputEnds(cmd.Context())
			defer stop()
			e, err := broker.StartEmbedded(options)
			if err != nil {
				return err
			}
			defer e.Close()
			if err := c.hello(bench.Hello{URL: e.URL()}); err != nil {
				return err
			}
			<-ctx.Done()
			return nil
		},
	}
	options.Listen = "127.0.0.1:0"
	cmd.Flags().StringVar(&options.Dir, "dir", "", "`folder` of its files")
	cmd.Flags().BoolVar(&options.SyncAlways, "sync-always", false, "write to the disk before acknowledging")
	return cmd
}

func newBenchWorkerCmd(c *cli) *cobra.Command {
	var level slog.LevelVar
	var profile string
	cmd := &cobra.Command{
		Use: "worker", Short: "A worker of a load test", Hidden: true, Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, stop := c.untilInputEnds(cmd.Context())
			defer stop()
			return profiled(profile, func() error { return c.benchWorker(ctx, &level) })
		},
	}
	c.addLogFlags(cmd, &level)
	addProfileFlag(cmd, &profile)
	return cmd
}

// benchWorker is `kefu worker` but for its beginning and its end.
func (c *cli) benchWorker(ctx context.Context, level *slog.LevelVar) error {
	cfg, err := c.config()
	if err != nil {
		return err
	}
	options, err := brokerOptions(cfg)
	if err != nil {
		return err
	}
	sink := newLogSink(c.err)
	defer sink.Close()
	c.err = sink
	var silent error
	run := &daemonRun{
		cfg: cfg, listenName: "worker.listen", secret: configuredSecret, log: c.logger(level), sink: sink,
		started: func(string) { silent = c.hello(bench.Hello{}) },
	}
	if err := run.run(ctx, options); err != nil {
		return err
	}
	return silent
}

func newBenchLoopCmd(c *cli) *cobra.Command {
	var loop bench.Loop
	var url, profile string
	cmd := &cobra.Command{
		Use: "loop", Short: "The bare loop of a load test", Hidden: true, Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, stop := c.untilInputEnds(cmd.Context())
			defer stop()
			conn, err := broker.Connect(ctx, broker.Options{URL: url, Name: "kefu bench loop", FirstWait: 10 * time.Second})
			if err != nil {
				return err
			}
			defer conn.Close()
			loop.Conn = conn
			return profiled(profile, func() error {
				return loop.Run(ctx, func() error { return c.hello(bench.Hello{}) })
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

// untilInputEnds is a context that ends with ctx or with the standard input.
func (c *cli) untilInputEnds(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	go func() { // a read cannot be called off: it ends with the process at the latest
		_, _ = io.Copy(io.Discard, c.in)
		cancel()
	}()
	return ctx, cancel
}

func (c *cli) hello(h bench.Hello) error { return json.NewEncoder(c.out).Encode(h) }

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
