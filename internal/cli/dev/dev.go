// Package dev is `kefu dev`: broker, fake WeChat API and worker in one process.
package dev

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/kefuhq/kefu/internal/apps"
	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/cli"
	"github.com/kefuhq/kefu/internal/config"
	"github.com/kefuhq/kefu/internal/console"
	"github.com/kefuhq/kefu/internal/daemon"
	"github.com/kefuhq/kefu/internal/sandbox"
	"github.com/kefuhq/kefu/internal/sandbox/phone"
	"github.com/kefuhq/kefu/internal/wechat"
)

// dev is the command.
type dev struct {
	streams  *cli.Streams
	settings *cli.Settings
	version  string

	data    string
	sandbox string
	nats    string
	probes  string
	console string
	latency sandbox.Latency
	level   slog.LevelVar
}

// New returns the command.
func New(env *cli.Env) *cobra.Command {
	d := &dev{streams: env.Streams, settings: env.Settings, version: env.Build.Version}
	cmd := &cobra.Command{
		Use:     "dev",
		Short:   "Run everything in one process: broker, fake WeChat API, worker and console",
		GroupID: cli.GroupRun,
		Long: `Runs a broker, the fake WeChat API (see kefu sandbox), a worker and the operators' web
page (see kefu console) in one process, so that everything can be tried on a machine that has
nothing else: publish with any NATS client or kefu send, and watch what becomes of it. Nothing
reaches WeChat. Ctrl-C stops it; what was queued is forgotten unless --data names a folder to keep
it in.

A configuration file is not needed. If there is one, its apps and their settings are used, but never
their secrets.`,
		Example: `  kefu dev
  kefu dev --latency 20ms..80ms
  kefu dev --data ./dev-data --nats-listen 127.0.0.1:4333`,
		Args: cli.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return d.run(cmd.Context()) },
	}
	flags := cmd.Flags()
	flags.StringVar(&d.data, "data", "",
		"`folder` that keeps the queues; without it they end with the process")
	flags.StringVar(&d.nats, "nats-listen", "",
		"`address` where the broker listens (default nats.listen, 127.0.0.1:4222)")
	flags.StringVar(&d.sandbox, "sandbox-listen", "127.0.0.1:8091",
		"`address` of the fake API; port 0 picks a free one")
	flags.StringVar(&d.probes, "probes-listen", "",
		"`address` of probes and metrics (default worker.listen, 127.0.0.1:8080)")
	flags.StringVar(&d.console, "console-listen", "",
		"`address` of the operators' web page (default console.listen, 127.0.0.1:8090)")
	cli.LatencyVar(flags, &d.latency)
	cli.FormerNames(flags, map[string]string{
		"nats": "nats-listen", "sandbox": "sandbox-listen", "probes": "probes-listen",
	})
	cli.AddLogFlags(cmd, &d.level)
	return cmd
}

func (d *dev) run(ctx context.Context) error {
	loaded, err := d.settings.Config()
	if err != nil {
		return err
	}
	if err := d.checkAddresses(); err != nil {
		return err
	}
	cfg, log := d.own(loaded), d.streams.LoggerForPeople(&d.level)
	e, err := broker.StartEmbedded(broker.EmbeddedOptions{
		Listen: cfg.NATS.Listen, Dir: d.data, Log: log,
	})
	if errors.Is(err, broker.ErrAddressInUse) {
		return fmt.Errorf("%w: choose another address with --nats-listen; "+
			"port 0 picks a free one", err)
	}
	if err != nil {
		return err
	}
	defer e.Close()
	box := sandbox.New(sandbox.Options{Latency: d.latency, Log: slog.New(slog.DiscardHandler)})
	phone.Attach(box)
	cfg.WeChat.BaseURL, err = box.Listen(d.sandbox)
	if err != nil {
		return cli.AddressInUse(err, d.sandbox, "--sandbox-listen")
	}
	defer func() { _ = box.Close() }() // nothing of it outlives the process
	listener, err := console.Bind(cfg.Console.Listen)
	if err != nil {
		return cli.AddressInUse(err, cfg.Console.Listen, "--console-listen")
	}
	secret := func(config.App) (wechat.Secret, error) { return wechat.NewSecret("sandbox"), nil }
	worker := &daemon.Daemon{
		Config: cfg, Log: log, Version: d.version, Secret: secret,
		Started: func(probes string) {
			d.announce(cfg, loaded.NATS.URL, addresses{
				console: "http://" + listener.Addr().String(), nats: e.URL(), probes: probes,
			})
		},
	}
	options := broker.Options{InProcess: e.Server}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		return cli.AddressInUse(worker.Run(ctx, options), cfg.Worker.Listen, "--probes-listen")
	})
	group.Go(func() error {
		page := console.Configured(cfg, d.settings.Actor(), log)
		page.Secret = secret
		page.Trusted = page.Token == nil // nothing is real, and only this machine reaches it
		return console.Beside(ctx, listener, options, page)
	})
	if err := group.Wait(); err != nil {
		return err
	}
	d.streams.Notef("stopped")
	return nil
}

// addresses are where the parts of this process are.
type addresses struct{ console, nats, probes string }

func (d *dev) checkAddresses() error {
	for flag, address := range map[string]string{
		"--nats-listen": d.nats, "--sandbox-listen": d.sandbox, "--probes-listen": d.probes,
		"--console-listen": d.console,
	} {
		if address == "" {
			continue
		}
		if err := cli.CheckAddress(flag, address); err != nil {
			return err
		}
	}
	return nil
}

// own returns the configuration of this process: the one that was loaded, with what the flags say
// and an app to try it with.
func (d *dev) own(loaded *config.Config) *config.Config {
	cfg := *loaded
	if d.nats != "" {
		cfg.NATS.Listen = d.nats
	}
	if d.probes != "" {
		cfg.Worker.Listen = d.probes
	}
	if d.console != "" {
		cfg.Console.Listen = d.console
	}
	cfg.Console.Listen = cfg.Console.Address()
	cfg.Apps = slices.Clone(loaded.Apps)
	if len(cfg.Apps) == 0 {
		cfg.Apps = []config.App{{AppID: apps.DevAppID, Name: "dev", Settings: cfg.Defaults}}
	}
	for i := range cfg.Apps {
		// Whatever the file says, no real secret is read and no real token server asked.
		cfg.Apps[i].Token = config.TokenSource{Kind: config.TokenStable}
	}
	return &cfg
}

// announce says what is running and what to try. usual is the broker where a command goes that is
// given no flags.
func (d *dev) announce(cfg *config.Config, usual string, at addresses) {
	nats, probes := at.nats, at.probes
	api := cfg.WeChat.BaseURL
	self := invocation()
	if usual != nats && (!cfg.NATS.IsEmbedded() || d.nats != "") {
		// Or it would go to another broker, perhaps a real one.
		self = "KEFU_NATS_URL=" + nats + " " + self
	}
	app := cfg.Apps[0].AppID
	_ = d.streams.Printf(`kefu dev is running; nothing reaches WeChat.

  phone     %s   (what users receive; answer as they would)
  console   %s
  broker    %s
  API       %s   (fake: its page says how to script it)
  probes    %s/readyz  %s/metrics
  app       %s

Try in another terminal:

  %s send --openid user1 --text '你好, kefu' --wait
  curl -s '%s/sandbox/received?newest=1'
  curl -s %s/sandbox/rules -d '{"call":"send","openid":"user2","times":1,"errcode":45015}'
  %s send --openid user2 --text 'too late' --wait
  %s dead list
  nats -s %s pub --jetstream kefu.send.%s.live.user1 '{"touser":"user1","msgtype":"text","text":{"content":"hi"}}'

Ctrl-C stops it.

`, api+phone.Path, at.console, nats, api, probes, probes, app, self, api, api, self, self, nats, app)
}

// invocation returns how the user started this program.
func invocation() string {
	if path, err := os.Executable(); err == nil && strings.Contains(path, "go-build") {
		return "go run ./cmd/kefu"
	}
	return "kefu"
}
