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
	"github.com/kefuhq/kefu/internal/job"
	"github.com/kefuhq/kefu/internal/ledger"
	"github.com/kefuhq/kefu/internal/pool"
	"github.com/kefuhq/kefu/internal/wechat"
	"github.com/kefuhq/kefu/internal/wiring"
	"github.com/kefuhq/kefu/worker"
)

// apiClients holds the clients of the API by app. It outlives a configuration: an app that a new
// configuration does not change keeps its connections and its token.
type apiClients struct {
	hc     *http.Client
	api    config.WeChat // as at the start
	secret wiring.Secrets
	ration wechat.Ration
	byKey  map[clientKey]*wechat.Client
}

// clientKey is what a client depends on.
type clientKey struct {
	appID string
	token config.TokenSource
}

func newAPIClients(
	cfg *config.Config, secret wiring.Secrets, ration wechat.Ration,
) (*apiClients, error) {
	hc, err := wiring.HTTPClient(cfg.WeChat, cfg.Worker.Concurrency)
	return &apiClients{
		hc: hc, api: cfg.WeChat, secret: secret, ration: ration,
		byKey: make(map[clientKey]*wechat.Client),
	}, err
}

// client returns the client of one app.
func (c *apiClients) client(app config.App) *wechat.Client {
	key := clientKey{app.AppID, app.Token}
	if app.Token.Kind == config.TokenStable { // it depends on where the secret is read
		key.token = config.TokenSource{Kind: config.TokenStable, Path: app.SecretFile,
			URL: app.SecretEnv}
	}
	client := c.byKey[key]
	if client == nil {
		tokens := wiring.TokenSource(c.hc, c.api, app, c.secret, c.ration)
		client = wechat.NewClient(c.hc, c.api.BaseURL, tokens)
		c.byKey[key] = client
	}
	return client
}

// workerConfig returns the settings of the engine.
func workerConfig(
	cfg *config.Config, clients *apiClients, version string, log *slog.Logger,
	metrics prometheus.Registerer, pseudonyms broker.Pseudonyms,
	works func(*ledger.Ledger) map[job.Kind]job.Work,
) worker.Config {
	host, _ := os.Hostname() // for people; the worker's name is unique without it
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
		Apps:        clients.apps(cfg),
		Works:       works,
	}
}

// apps returns the apps of a configuration as the engine takes them.
func (c *apiClients) apps(cfg *config.Config) (out []worker.App) {
	for _, app := range cfg.Apps {
		out = append(out, worker.App{
			ID:     app.AppID,
			Sender: c.client(app),
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
