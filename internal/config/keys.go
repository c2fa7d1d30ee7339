package config

import (
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/kefuhq/kefu/schema"
)

// Key is one row of the reference: everything about a setting.
type Key struct {
	Path string `json:"key"` // nats.url; of an app: apps[].name
	// text, choice, integer, number, boolean, duration, size, address, url, file, folder, token
	Type    string `json:"type"`
	Default string `json:"default,omitempty"` // as it would be written in the file
	Allowed string `json:"allowed,omitempty"` // in words: "1..64", "all, failures, off"
	Unit    string `json:"unit,omitempty"`
	Env     string `json:"env"` // of an app: for the first one
	Doc     string `json:"doc"`

	ofEachApp bool
}

// OfEachApp reports whether the key is one of defaults, listed once more for apps.
func (k Key) OfEachApp() bool { return k.ofEachApp }

// row binds one key to the field of T that holds it.
type row[T any] struct {
	path    string
	initial string
	field   func(*T) any // pointer to the field
	rule    rule
	unit    string
	doc     string
}

// configKeys are the keys outside of defaults and apps.
var configKeys = []row[Config]{
	{"nats.url", "nats://127.0.0.1:4222", func(c *Config) any { return &c.NATS.URL }, natsURL, "",
		"Where the broker is: one address, or those of all nodes of a cluster separated by " +
			"commas (a node that is cut off forgets the others); embedded runs it inside this " +
			"process."},
	{"nats.listen", "127.0.0.1:4222", func(c *Config) any { return &c.NATS.Listen }, address, "",
		"Where an embedded broker listens for producers; port 0 picks one."},
	{"nats.store_dir", "./data", func(c *Config) any { return &c.NATS.StoreDir }, folder, "",
		"Folder in which an embedded broker keeps what is queued."},
	{"nats.creds_file", "", func(c *Config) any { return &c.NATS.CredsFile }, secretFile, "",
		"NATS credentials file (JWT and seed) to connect with."},
	{"nats.tls.ca_file", "", func(c *Config) any { return &c.NATS.TLS.CAFile }, file, "",
		"PEM file of the authorities that may have signed the broker's certificate; empty for " +
			"the system's."},
	{"nats.tls.cert_file", "", func(c *Config) any { return &c.NATS.TLS.CertFile }, file, "",
		"PEM file of the client certificate to show to the broker."},
	{"nats.tls.key_file", "", func(c *Config) any { return &c.NATS.TLS.KeyFile }, secretFile, "",
		"PEM file of the key of that certificate."},
	{"nats.replicas", "1", func(c *Config) any { return &c.NATS.Replicas }, between(1, 5), "copies",
		"Copies of each JetStream object; 3 in a cluster survives the loss of one server."},

	{"wechat.base_url", "https://api.weixin.qq.com",
		func(c *Config) any { return &c.WeChat.BaseURL }, web, "",
		"Where the API is. Plain http is for a sandbox on this machine only."},
	{"wechat.timeout", "10s", func(c *Config) any { return &c.WeChat.Timeout },
		between(100*time.Millisecond, time.Minute), "",
		"For one whole call, from connecting to the last byte of the answer."},
	{"wechat.ca_file", "", func(c *Config) any { return &c.WeChat.CAFile }, file, "",
		"PEM file of an authority to trust besides the system's, for a proxy that opens TLS."},
	{"wechat.allow_http", "false", func(c *Config) any { return &c.WeChat.AllowHTTP }, boolean, "",
		"Lets base_url and token servers be plain http on other machines, where anyone between " +
			"can read the access token: for test networks."},

	{"worker.concurrency", "256", func(c *Config) any { return &c.Worker.Concurrency },
		between(1, 65536), "calls",
		"Calls in flight in this process."},
	{"worker.grace", "30s", func(c *Config) any { return &c.Worker.Grace },
		between(0, 10*time.Minute), "",
		"How long calls in flight may take to end once the process is told to stop; keep it " +
			"below what the supervisor grants."},
	{"worker.receipts", "all", func(c *Config) any { return &c.Worker.Receipts },
		oneOf(ReceiptsAll, ReceiptsFailures, ReceiptsOff), "",
		"Which outcomes are published as receipts."},
	{"worker.ledger.mode", "full", func(c *Config) any { return &c.Worker.Ledger.Mode },
		oneOf(LedgerFull, LedgerOff), "",
		"The guard against double sends; off trades it for speed."},
	{"worker.ledger.keep", "72h", func(c *Config) any { return &c.Worker.Ledger.Keep },
		between(time.Hour, 30*24*time.Hour), "",
		"How long an intent's id is remembered."},
	{"worker.provision", "true", func(c *Config) any { return &c.Worker.Provision }, boolean, "",
		"Create JetStream objects at start; false only checks them, for a worker with least " +
			"privilege."},
	{"worker.listen", "127.0.0.1:8080",
		func(c *Config) any { return &c.Worker.Listen }, address, "",
		"Where probes and metrics are served, nothing else; port 0 picks one."},

	{"console.listen", "", func(c *Config) any { return &c.Console.Listen }, addressOrNone, "",
		"Where the operators' web page is served, such as 127.0.0.1:8090, by kefu console and by " +
			"kefu worker; empty: by kefu console only, there. An address that other machines " +
			"reach needs console.token_file."},
	{"console.token_file", "", func(c *Config) any { return &c.Console.TokenFile }, secretFile, "",
		"File with the token that signs in to the web page, 16 characters or more; without one " +
			"the page only shows."},
	{"console.origin", "", func(c *Config) any { return &c.Console.Origin }, webOrigin, "",
		"The page as browsers see it behind a proxy, such as https://kefu.example.com."},
}

// settingsKeys are the keys of defaults, and of each app under the same names.
var settingsKeys = []row[Settings]{
	{"token", "stable", func(s *Settings) any { return &s.Token }, token, "",
		"Where the access token comes from: the stable token endpoint, a file, or the URL of a " +
			"central token server answering {\"access_token\",\"expires_in\"}; the latter two " +
			"are never refreshed by kefu."},
	{"rate.per_second", "100", func(s *Settings) any { return &s.Rate.PerSecond },
		between(0.01, 100000.0), "calls/s",
		"Calls per second of one app over the whole pool."},
	{"rate.burst", "20", func(s *Settings) any { return &s.Rate.Burst }, between(1, 10000), "calls",
		"Calls that may follow each other at once after a pause."},
	{"rate.per_day", "500000", func(s *Settings) any { return &s.Rate.PerDay },
		between(0, 1_000_000_000), "calls/day",
		"Calls per day of one app, Beijing time; 0 for no limit of our own."},
	{"rate.live_reserve", "0.2", func(s *Settings) any { return &s.Rate.LiveReserve },
		between(0.0, 0.9), "share",
		"Share of the rate's burst, and of the calls in flight while these are slow, that " +
			"campaigns leave to live intents."},
	{"concurrency", "128", func(s *Settings) any { return &s.Concurrency },
		between(1, 65536), "calls",
		"Calls in flight of one app in one process, at most."},
	{"live_shards", "4", func(s *Settings) any { return &s.LiveShards }, between(1, 64), "shards",
		"Shares of the live lane that workers divide among themselves; fixed once the app has a " +
			"queue."},
	{"retry.attempts", "6", func(s *Settings) any { return &s.Retry.Attempts },
		between(1, 20), "attempts",
		"Attempts in all, the first one included, before the dead letter."},
	{"retry.first", "1s", func(s *Settings) any { return &s.Retry.First },
		between(100*time.Millisecond, time.Hour), "",
		"Wait before the second attempt; each further wait is about four times longer."},
	{"retry.cap", "5m", func(s *Settings) any { return &s.Retry.Cap },
		between(100*time.Millisecond, 24*time.Hour), "",
		"The longest wait between two attempts."},
	{"on_unknown", "resend", func(s *Settings) any { return &s.OnUnknown },
		oneOf(schema.PolicyResend, schema.PolicyPark), "",
		"What to do when the request left and no usable answer came: once more (possibly a " +
			"duplicate), or a dead letter at once."},
	{"expire_after", "48h", func(s *Settings) any { return &s.ExpireAfter },
		between(time.Second, 30*24*time.Hour), "",
		"An intent without Kefu-Expires-At is not sent later than this after publishing, or " +
			"after its Kefu-Send-At; 48h is WeChat's reply window."},
	{"hold_back", "30s", func(s *Settings) any { return &s.HoldBack },
		between(0, 10*time.Minute), "",
		"How long a retry may hold back the recipient's later intents to keep their order; 0s " +
			"for never."},
	{"duplicate_window", "10m", func(s *Settings) any { return &s.DuplicateWindow },
		between(time.Second, 24*time.Hour), "",
		"How long the broker itself recognises a repeated id."},
	{"queue.messages", "5000000", func(s *Settings) any { return &s.Queue.Messages },
		between[int64](1, 1_000_000_000), "intents",
		"Intents that may wait in one app's queue; what exceeds it is refused at publishing."},
	{"queue.bytes", "4GiB", func(s *Settings) any { return &s.Queue.Bytes },
		between[Size](1<<20, 16<<40), "",
		"Bytes that may wait in one app's queue; what exceeds it is refused at publishing. A " +
			"nats-server counts them against its max_file_store, used or not."},
	{"queue.campaign", "10000", func(s *Settings) any { return &s.Queue.Campaign },
		between(1, 1_000_000), "intents",
		"Intents of one campaign that are fed into the queue at a time, at most; about a second's " +
			"worth of the app's rate is fed where that is less. What is not fed yet can be paused " +
			"and cancelled at once."},
	{"limits.news_articles", "10", func(s *Settings) any { return &s.Limits.NewsArticles },
		between(1, 100), "articles",
		"Articles of one news message, at most; today's API takes 1."},
	{"limits.text_bytes", "2048", func(s *Settings) any { return &s.Limits.TextBytes },
		between(1, 65536), "bytes",
		"Bytes of UTF-8 of one text message, at most."},
	{"limits.video_thumb", string(schema.PresenceRequired), func(s *Settings) any {
		return &s.Limits.VideoThumb
	}, oneOf(schema.PresenceRequired, schema.PresenceOptional), "",
		"Whether a video must have a thumb_media_id, as today's page says; the API's older page " +
			"had none."},
	{"limits.kfaccounts", "10", func(s *Settings) any { return &s.KFAccounts.Most },
		between(1, 1000), "kfaccounts",
		"Kfaccounts that one app may have; kefu kfaccount add refuses one more. The API document " +
			"says 10, today's page 100."},
	{"limits.nickname", "document", func(s *Settings) any { return &s.KFAccounts.Nickname },
		oneOf(NicknameDocument, NicknameToday), "",
		"How long a kfaccount's nickname may be: 6 Chinese or 12 Latin characters as in the API " +
			"document, or 16 as on today's page."},
}

// appKeys are the keys an app has besides its settings.
var appKeys = []row[App]{
	{"appid", "", func(a *App) any { return &a.AppID }, appid, "",
		"The account's AppID, as WeChat shows it."},
	{"name", "", func(a *App) any { return &a.Name }, label, "",
		"What people call the account."},
	{"kind", string(schema.KindOfficialAccount), func(a *App) any { return &a.Limits.Kind },
		oneOf(schema.KindOfficialAccount, schema.KindMiniProgram), "",
		"What the account is. A mini program may also send msgtype link, and miniprogrampage " +
			"without an appid."},
	{"secret_file", "", func(a *App) any { return &a.SecretFile }, secretFile, "",
		"File with the AppSecret, read again whenever it is needed, so that it can be replaced " +
			"without a restart."},
	{"secret_env", "", func(a *App) any { return &a.SecretEnv }, variable, "",
		"Environment variable with the AppSecret, instead of secret_file."},
}

const (
	envPrefix    = "KEFU_"
	envFile      = "KEFU_CONFIG" // names the file; not a key
	defaultsPath = "defaults."
	appsPath     = "apps."
)

// Keys returns the reference: every key in the order of the file, those of defaults once more for
// apps.
func Keys() []Key {
	var keys []Key
	for _, r := range configKeys {
		keys = append(keys, r.key(""))
	}
	for _, r := range settingsKeys {
		keys = append(keys, r.key(defaultsPath))
	}
	for _, r := range appKeys {
		keys = append(keys, r.key("apps[]."))
	}
	for _, r := range settingsKeys {
		k := r.key("apps[].")
		k.Default, k.Doc, k.ofEachApp = "",
			"For this app, instead of "+defaultsPath+r.path+".", true
		keys = append(keys, k)
	}
	return keys
}

func (r row[T]) key(prefix string) Key {
	path := prefix + r.path
	return Key{
		Path: path, Type: r.rule.kind, Default: r.initial, Allowed: r.rule.allowed,
		Unit: r.unit, Doc: r.doc,
		Env: envName(strings.Replace(path, "apps[]", "apps.0", 1)),
	}
}

// envName returns the variable of a key: KEFU_NATS_STORE_DIR for nats.store_dir.
func envName(key string) string {
	return envPrefix + strings.ToUpper(strings.ReplaceAll(key, ".", "_"))
}

// catalog indexes the tables. Keys are written with apps[] for any app.
type catalog struct {
	leaves map[string]bool     // nats.url, apps[].rate.burst
	groups map[string][]string // nats -> url, listen, …; "" -> nats, wechat, …
	env    map[string]string   // KEFU_NATS_URL -> nats.url; those of apps are matched by pattern
	order  []string            // the leaves in the order of Keys
}

// known returns the catalog. It is built once, since the tables never change.
var known = sync.OnceValue(func() catalog {
	c := catalog{leaves: map[string]bool{}, groups: map[string][]string{}, env: map[string]string{}}
	for _, k := range Keys() {
		c.leaves[k.Path] = true
		c.order = append(c.order, k.Path)
		if !strings.HasPrefix(k.Path, "apps[]") {
			c.env[k.Env] = k.Path
		}
		for path := k.Path; path != ""; {
			parent, name := split(path)
			if !slices.Contains(c.groups[parent], name) {
				c.groups[parent] = append(c.groups[parent], name)
			}
			path = parent
		}
	}
	return c
})

// split cuts the last name off a key.
func split(key string) (parent, name string) {
	if dot := strings.LastIndexByte(key, '.'); dot >= 0 {
		return key[:dot], key[dot+1:]
	}
	return "", key
}
