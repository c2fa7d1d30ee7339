// Package config is the configuration of kefu: one tree of small structs, loaded strictly, with
// every problem found at once.
//
// A value comes from the first of these that has it: a flag, an environment variable, the file, the
// default. Every key is one row of the tables in keys.go: its default, what is allowed, its unit
// and what it means. The reference for people ([Keys]), the example file ([WriteExample]), the
// names of the environment variables, the checks and the printing all loop over those rows, so a
// new key is a field here and a row there, and nothing else.
//
// The tree holds no secret: an app names the file or the variable its AppSecret is in, and
// [App.ReadSecret] reads it there.
//
// The package uses no configuration library. Errors have to name the line, say what to do and come
// all at once, so the YAML nodes and the rows are needed with any library: decoding by struct tags
// knows no lines and words its errors differently. What remains is to merge the sources, which are
// flat maps of texts by key. With koanf for that, the package had 1899 lines of code and the module
// eight more requirements; without it, the package has 1864.
//
//	cfg, warnings, err := config.Load(config.Source{File: "kefu.yaml", Environ: os.Environ()})
//	if err != nil {
//		return err // a line for each problem: "kefu.yaml:12: worker.grace: …"
//	}
//	app, ok := cfg.App("wx0000000000000001")
//	fmt.Println(app.Rate.PerSecond) // the app's own value, or that of defaults
package config

import (
	"time"

	"github.com/kefuhq/kefu/schema"
)

// Config is the whole configuration, checked and complete: a field that no source sets has its
// default.
type Config struct {
	NATS     NATS
	WeChat   WeChat
	Worker   Worker
	Console  Console
	Defaults Settings // for every app that does not say otherwise
	Apps     []App    // in the order of the file, settings resolved

	file    string
	origins map[string]origin
}

// Embedded is the nats.url that means: run the broker inside this process.
const Embedded = "embedded"

// NATS says where the broker is and how to reach it.
type NATS struct {
	URL       string // addresses, separated by commas, or [Embedded]; print it with RedactURL
	Listen    string // host:port where an embedded broker listens for producers
	StoreDir  string // folder of an embedded broker's streams
	CredsFile string // credentials file (JWT and seed); empty for none
	TLS       TLS
	Replicas  int // copies of each JetStream object, 1..5
}

// IsEmbedded reports whether the broker runs inside this process.
func (n NATS) IsEmbedded() bool { return n.URL == Embedded }

// TLS names the files of a TLS connection; all empty means the system's trust and no client
// certificate.
type TLS struct {
	CAFile   string
	CertFile string // together with KeyFile or not at all
	KeyFile  string
}

// WeChat says where the API is.
type WeChat struct {
	BaseURL   string        // without a slash at the end
	Timeout   time.Duration // for one whole call
	CAFile    string        // PEM file trusted besides the system's; empty for none
	AllowHTTP bool          // lets URLs that carry a token be plain http on other hosts
}

// Receipts says which outcomes are published as receipts.
type Receipts string

// What worker.receipts may be.
const (
	ReceiptsAll      Receipts = "all"
	ReceiptsFailures Receipts = "failures"
	ReceiptsOff      Receipts = "off"
)

// LedgerMode says whether the guard against double sends is on.
type LedgerMode string

// What worker.ledger.mode may be.
const (
	LedgerFull LedgerMode = "full"
	LedgerOff  LedgerMode = "off"
)

// Worker sets up the daemon.
type Worker struct {
	Concurrency int           // calls in flight in this process
	Grace       time.Duration // for calls in flight when the process is told to stop
	Receipts    Receipts
	Ledger      Ledger
	Provision   bool   // create JetStream objects at start; false only checks them
	Listen      string // host:port of probes and metrics
}

// Ledger sets up the memory of what was started and settled.
type Ledger struct {
	Mode LedgerMode
	Keep time.Duration
}

// Console sets up the operators' web page.
type Console struct {
	Listen    string // host:port; empty: a worker serves none, kefu console is at ConsoleAddress
	TokenFile string // file with the token that signs in; empty only on a loopback address
	Origin    string // as browsers see it behind a proxy, such as https://kefu.example.com
}

// ConsoleAddress is where kefu console and kefu dev serve the page when nothing else is said.
const ConsoleAddress = "127.0.0.1:8090"

// Address returns where kefu console and kefu dev serve the page.
func (c Console) Address() string {
	if c.Listen == "" {
		return ConsoleAddress
	}
	return c.Listen
}

// Settings are the keys of defaults, any of which an app may set for itself.
type Settings struct {
	Token           TokenSource
	Rate            Rate
	Concurrency     int // of the process's slots, at most
	LiveShards      int // 1..64, fixed once the app has a queue
	Retry           Retry
	OnUnknown       schema.UnknownPolicy // schema.PolicyResend or schema.PolicyPark
	ExpireAfter     time.Duration        // from publishing
	HoldBack        time.Duration        // of later messages by a retry, at most; 0: never
	DuplicateWindow time.Duration
	Queue           Queue
	Limits          schema.Limits
	KFAccounts      KFAccounts
}

// Rate is the budget of calls of one app over the whole pool.
type Rate struct {
	PerSecond   float64
	Burst       int
	PerDay      int     // 0 for no limit of our own
	LiveReserve float64 // share of burst and slow calls that bulk leaves to live, 0..0.9
}

// Retry says how often and how late an intent is tried again.
type Retry struct {
	Attempts int           // in all, the first one included
	First    time.Duration // wait before the second attempt; each further one is four times longer
	Cap      time.Duration // the longest wait
}

// Queue bounds one app's queue; what exceeds it is refused at publishing, never dropped.
type Queue struct {
	Messages int64
	Bytes    Size
	Campaign int // intents of one stored campaign, at most
}

// KFAccounts bounds what the commands do to an app's kfaccounts; the API's own bounds have changed
// with time.
type KFAccounts struct {
	Most     int // an app has
	Nickname Nickname
}

// Nickname says how long the nickname of a kfaccount may be.
type Nickname string

// What limits.nickname may be.
const (
	NicknameDocument Nickname = "document"
	NicknameToday    Nickname = "today"
)

// App is one WeChat account with its settings resolved. Limits.Kind is its kind of account.
type App struct {
	AppID      string
	Name       string // shown to people; may be empty
	SecretFile string // one of SecretFile and SecretEnv; none when the token is a file's or URL's
	SecretEnv  string
	Settings

	lookup func(string) (string, bool)
}

// Label returns what people call the app: its name, else its appid.
func (a App) Label() string {
	if a.Name != "" {
		return a.Name
	}
	return a.AppID
}

// App returns the app with this appid and its resolved settings; false when none is configured.
func (c *Config) App(appid string) (App, bool) {
	for _, a := range c.Apps {
		if a.AppID == appid {
			return a, true
		}
	}
	return App{}, false
}

// File returns the name of the file that was read; empty when there was none.
func (c *Config) File() string { return c.file }

// Origin returns where the value of a key comes from: "default", "kefu.yaml:12",
// "KEFU_WORKER_LISTEN" or "flag". The path of an app's key is written apps[0].rate.burst. A key
// that the app does not set has the origin of the default that it inherits.
func (c *Config) Origin(path string) string {
	key := internal(path)
	if o, ok := c.origins[key]; ok {
		return o.String()
	}
	if _, rest, ok := cutApp(key); ok {
		return c.origins["defaults."+rest].String()
	}
	return origin{}.String()
}

// RequireApps returns an *[Error] when no app is configured. A worker needs one; `kefu dev` does
// not, since it makes one up.
func (c *Config) RequireApps() error {
	if len(c.Apps) > 0 {
		return nil
	}
	return &Error{Problems: []Problem{{
		File: c.file, Key: "apps",
		Text: "no app is configured: add one with its appid and secret_file",
	}}}
}

// Remembered returns for how long the workers recognise an intent of the app that is published
// again.
func (c *Config) Remembered(app App) time.Duration {
	if c.Worker.Ledger.Mode == LedgerOff {
		return app.DuplicateWindow
	}
	return c.Worker.Ledger.Keep
}
