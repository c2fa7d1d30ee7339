package main

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/config"
	"github.com/kefuhq/kefu/internal/gate"
	"github.com/kefuhq/kefu/internal/pool"
	"github.com/kefuhq/kefu/internal/wechat"
	"github.com/kefuhq/kefu/worker"
)

// brokerSpec is what the JetStream objects have to be for a configuration.
func brokerSpec(cfg *config.Config) broker.Spec {
	spec := broker.Spec{Replicas: cfg.NATS.Replicas, LedgerKeep: cfg.Worker.Ledger.Keep}
	for _, app := range cfg.Apps {
		spec.Apps = append(spec.Apps, broker.AppSpec{
			AppID:           app.AppID,
			LiveShards:      app.LiveShards,
			DuplicateWindow: app.DuplicateWindow,
			QueueMessages:   app.Queue.Messages,
			QueueBytes:      int64(app.Queue.Bytes),
		})
	}
	return spec
}

// secrets says how an app's AppSecret is read.
type secrets func(config.App) (wechat.Secret, error)

// configuredSecret reads it from where the configuration says, each time: a
// replaced file is picked up without a restart.
func configuredSecret(app config.App) (wechat.Secret, error) {
	text, err := app.ReadSecret()
	return wechat.NewSecret(text), err
}

// wiring makes the worker's apps of a configuration, again and again while it changes.
type wiring struct {
	hc     *http.Client
	api    config.WeChat // as at the start
	secret secrets
	ration wechat.Ration

	clients map[clientKey]*wechat.Client // an app that did not change keeps its connections and its token
}

type clientKey struct {
	appID string
	token config.TokenSource
}

func newWiring(cfg *config.Config, secret secrets, ration wechat.Ration) (*wiring, error) {
	hc, err := wechat.NewHTTPClient(wechat.HTTPOptions{
		Timeout: cfg.WeChat.Timeout, CAFile: cfg.WeChat.CAFile, IdlePerHost: cfg.Worker.Concurrency,
	})
	return &wiring{hc: hc, api: cfg.WeChat, secret: secret, ration: ration, clients: make(map[clientKey]*wechat.Client)}, err
}

// client is the API as one app.
func (w *wiring) client(app config.App) *wechat.Client {
	key := clientKey{app.AppID, app.Token}
	if app.Token.Kind == config.TokenStable {
		key.token = config.TokenSource{Kind: config.TokenStable, Path: app.SecretFile, URL: app.SecretEnv} // where its secret is read
	}
	c := w.clients[key]
	if c == nil {
		c = wechat.NewClient(w.hc, w.api.BaseURL, tokenSource(w.hc, w.api, app, w.secret, w.ration))
		w.clients[key] = c
	}
	return c
}

// workerConfig wires the worker of a configuration.
func workerConfig(cfg *config.Config, w *wiring, log *slog.Logger, metrics prometheus.Registerer, pseudonyms broker.Pseudonyms) worker.Config {
	host, _ := os.Hostname() // a name for people; without one the rest of it is enough
	return worker.Config{
		Process: pool.Worker{
			Name: pool.NewName(host), Host: host, PID: os.Getpid(), Version: readBuildInfo().Version, Started: time.Now().UTC(),
		},
		Concurrency: cfg.Worker.Concurrency,
		Grace:       cfg.Worker.Grace,
		Receipts:    worker.Receipts(cfg.Worker.Receipts),
		Ledger:      cfg.Worker.Ledger.Mode == config.LedgerFull,
		LedgerKeep:  cfg.Worker.Ledger.Keep,
		Pseudonyms:  pseudonyms,
		Log:         log,
		Metrics:     metrics,
		Apps:        w.apps(cfg),
	}
}

// apps are the apps of a configuration.
func (w *wiring) apps(cfg *config.Config) (out []worker.App) {
	for _, app := range cfg.Apps {
		out = append(out, worker.App{
			ID:     app.AppID,
			Name:   app.Label(),
			Sender: w.client(app),
			Rate: gate.Rate{
				PerSecond: app.Rate.PerSecond, Burst: app.Rate.Burst,
				PerDay: int64(app.Rate.PerDay), LiveReserve: app.Rate.LiveReserve,
			},
			Concurrency: app.Concurrency,
			Retry:       worker.Retry(app.Retry),
			OnUnknown:   app.OnUnknown,
			ExpireAfter: app.ExpireAfter,
			HoldBack:    app.HoldBack,
			Limits:      app.Limits,
			MostLater:   app.Queue.Messages,
		})
	}
	return out
}

// tokenSource is where an app's access token comes from. Without a ration no refresh is forced.
func tokenSource(hc *http.Client, api config.WeChat, app config.App, secret secrets, ration wechat.Ration) wechat.TokenSource {
	switch app.Token.Kind {
	case config.TokenFile:
		return wechat.NewFileToken(app.Token.Path)
	case config.TokenURL:
		return wechat.NewURLToken(hc, app.Token.URL)
	default:
		return wechat.NewStableToken(hc, api.BaseURL, app.AppID, func() (wechat.Secret, error) { return secret(app) }).
			Rationed(ration)
	}
}

// newRegistry is a metrics registry with the process's own figures.
func newRegistry() *prometheus.Registry {
	reg := prometheus.NewRegistry()
	build := readBuildInfo()
	info := prometheus.NewGauge(prometheus.GaugeOpts{
		Namespace: "kefu", Name: "build_info", Help: "1; its labels say which kefu this is.",
		ConstLabels: prometheus.Labels{"version": build.Version, "go": build.Go},
	})
	info.Set(1)
	reg.MustRegister(info, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return reg
}

// provision brings the JetStream objects in line with the configuration, as
// far as nothing is lost by it, and says what differs otherwise.
func provision(ctx context.Context, conn *broker.Conn, cfg *config.Config, log *slog.Logger) error {
	plan, err := broker.NewPlan(ctx, conn.JS, brokerSpec(cfg))
	if err != nil {
		return err
	}
	if !cfg.Worker.Provision {
		for _, c := range plan.Changes {
			if c.Kind == broker.Create {
				return fmt.Errorf("%s is missing: run kefu setup, or set worker.provision", c.Stream)
			}
			log.Warn("the broker differs from the configuration", told(c)...)
		}
		return nil
	}
	left, err := plan.Apply(ctx, conn.JS, false)
	if err != nil {
		return err
	}
	for _, c := range left {
		log.Warn("left as it is, because messages would be lost or stranded; kefu setup tells more", told(c)...)
	}
	return nil
}

// told is a difference for the log.
func told(c broker.Change) []any {
	attrs := []any{"change", c.String()}
	if c.Why != "" {
		attrs = append(attrs, "why", c.Why)
	}
	return attrs
}
