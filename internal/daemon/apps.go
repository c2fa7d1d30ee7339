package daemon

import (
	"log/slog"
	"net/http"
	"os"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/config"
	"github.com/kefuhq/kefu/internal/gate"
	"github.com/kefuhq/kefu/internal/pool"
	"github.com/kefuhq/kefu/internal/wechat"
	"github.com/kefuhq/kefu/internal/wiring"
	"github.com/kefuhq/kefu/worker"
)

// clients makes the worker's apps of a configuration, again and again while it changes.
type clients struct {
	hc     *http.Client
	api    config.WeChat // as at the start
	secret wiring.Secrets
	ration wechat.Ration

	// An app that did not change keeps its connections and its token.
	made map[clientKey]*wechat.Client
}

type clientKey struct {
	appID string
	token config.TokenSource
}

func newClients(cfg *config.Config, secret wiring.Secrets, ration wechat.Ration) (*clients, error) {
	hc, err := wiring.HTTPClient(cfg.WeChat, cfg.Worker.Concurrency)
	return &clients{
		hc: hc, api: cfg.WeChat, secret: secret, ration: ration,
		made: make(map[clientKey]*wechat.Client),
	}, err
}

// of is the API as one app.
func (c *clients) of(app config.App) *wechat.Client {
	key := clientKey{app.AppID, app.Token}
	if app.Token.Kind == config.TokenStable { // where its secret is read
		key.token = config.TokenSource{Kind: config.TokenStable, Path: app.SecretFile,
			URL: app.SecretEnv}
	}
	client := c.made[key]
	if client == nil {
		tokens := wiring.TokenSource(c.hc, c.api, app, c.secret, c.ration)
		client = wechat.NewClient(c.hc, c.api.BaseURL, tokens)
		c.made[key] = client
	}
	return client
}

// workerConfig wires the worker of a configuration.
func workerConfig(
	cfg *config.Config, c *clients, version string, log *slog.Logger, metrics prometheus.Registerer,
	pseudonyms broker.Pseudonyms,
) worker.Config {
	host, _ := os.Hostname() // a name for people; without one the rest of it is enough
	return worker.Config{
		Process: pool.Worker{
			Name: pool.NewName(host), Host: host, PID: os.Getpid(), Version: version,
			Started: time.Now().UTC(),
		},
		Concurrency: cfg.Worker.Concurrency,
		Grace:       cfg.Worker.Grace,
		Receipts:    worker.Receipts(cfg.Worker.Receipts),
		Ledger:      cfg.Worker.Ledger.Mode == config.LedgerFull,
		LedgerKeep:  cfg.Worker.Ledger.Keep,
		Pseudonyms:  pseudonyms,
		Log:         log,
		Metrics:     metrics,
		Apps:        c.apps(cfg),
	}
}

// apps are the apps of a configuration.
func (c *clients) apps(cfg *config.Config) (out []worker.App) {
	for _, app := range cfg.Apps {
		out = append(out, worker.App{
			ID:     app.AppID,
			Sender: c.of(app),
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
