package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kefuhq/kefu/schema"
)

// given is one configuration as a test writes it: a file's text, variables, flags.
type given struct {
	file    string
	environ []string
	flags   map[string]any
}

// load puts the file where nothing else is and loads it. The file's folder is cut from all
// messages.
func load(t *testing.T, g given) (*Config, []string, []string) {
	t.Helper()
	src := Source{Environ: g.environ, Flags: g.flags, Search: []string{}}
	folder := t.TempDir()
	if g.file != "" {
		src.File = filepath.Join(folder, "kefu.yaml")
		require.NoError(t, os.WriteFile(src.File, []byte(g.file), 0o600))
	}
	cfg, warnings, err := Load(src)
	local := func(s string) string {
		return strings.ReplaceAll(s, folder+string(filepath.Separator), "")
	}
	var warned, problems []string
	for _, w := range warnings {
		warned = append(warned, local(w.String()))
	}
	if err != nil {
		require.Nil(t, cfg)
		var invalid *Error
		require.ErrorAs(t, err, &invalid)
		for _, p := range invalid.Problems {
			problems = append(problems, local(p.String()))
		}
	}
	return cfg, warned, problems
}

// loaded is load for what must be fine.
func loaded(t *testing.T, g given) *Config {
	t.Helper()
	cfg, _, problems := load(t, g)
	require.Empty(t, problems)
	return cfg
}

func TestNothingConfiguredGivesTheDefaults(t *testing.T) {
	t.Parallel()
	cfg, warnings, problems := load(t, given{})
	require.Empty(t, problems)
	require.Empty(t, warnings)
	require.Empty(t, cfg.File())
	require.Empty(t, cfg.Apps)

	require.Equal(t, NATS{URL: "nats://127.0.0.1:4222", Listen: "127.0.0.1:4222",
		StoreDir: "./data", Replicas: 1}, cfg.NATS)
	require.Equal(t, WeChat{BaseURL: "https://api.weixin.qq.com", Timeout: 10 * time.Second},
		cfg.WeChat)
	require.Equal(t, Worker{
		Concurrency: 256, Grace: 30 * time.Second, Receipts: ReceiptsAll, Provision: true,
		Listen: "127.0.0.1:8080",
		Ledger: Ledger{Mode: LedgerFull, Keep: 72 * time.Hour},
	}, cfg.Worker)
	require.Equal(t, Console{Listen: "127.0.0.1:8090"}, cfg.Console)
	require.Equal(t, Settings{
		Token:       TokenSource{Kind: TokenStable},
		Rate:        Rate{PerSecond: 100, Burst: 20, PerDay: 500_000, LiveReserve: 0.2},
		Concurrency: 128, LiveShards: 4,
		Retry:       Retry{Attempts: 6, First: time.Second, Cap: 5 * time.Minute},
		OnUnknown:   schema.PolicyResend,
		ExpireAfter: 48 * time.Hour, HoldBack: 30 * time.Second, DuplicateWindow: 10 * time.Minute,
		Queue: Queue{Messages: 5_000_000, Bytes: 4 << 30},
		Limits: schema.Limits{
			NewsArticles: 10, TextBytes: 2048, VideoThumb: schema.PresenceRequired,
		},
		KFAccounts: KFAccounts{Most: 10, Nickname: NicknameDocument},
	}, cfg.Defaults)
}

func TestFlagsWinOverTheEnvironmentWinsOverTheFile(t *testing.T) {
	t.Parallel()
	file := "worker: {listen: '127.0.0.1:1', grace: 1s, concurrency: 1}\nnats: {store_dir: /file}\n"
	cfg := loaded(t, given{
		file: file,
		environ: []string{"KEFU_WORKER_LISTEN=127.0.0.1:2", "KEFU_WORKER_GRACE=2s",
			"KEFU_DEFAULTS_RATE_PER_SECOND=7.5", "KEFU_NATS_STORE_DIR="},
		flags: map[string]any{"worker.listen": "127.0.0.1:3", "defaults.hold_back": 3 * time.Second,
			"nats.replicas": 3,
			"apps[0].appid": "wx1", "apps[0].secret_env": "S"},
	})
	require.Equal(t, "127.0.0.1:3", cfg.Worker.Listen)
	require.Equal(t, 2*time.Second, cfg.Worker.Grace)
	require.Equal(t, 1, cfg.Worker.Concurrency)
	require.InDelta(t, 7.5, cfg.Defaults.Rate.PerSecond, 0)
	require.Equal(t, 3*time.Second, cfg.Defaults.HoldBack)
	require.Equal(t, 3, cfg.NATS.Replicas)
	require.Equal(t, "/file", cfg.NATS.StoreDir, "an empty variable counts as not set")

	require.Equal(t, "wx1", cfg.Apps[0].AppID)

	require.Equal(t, "flag", cfg.Origin("worker.listen"))
	require.Equal(t, "KEFU_WORKER_GRACE", cfg.Origin("worker.grace"))
	require.Regexp(t, `kefu\.yaml:1$`, cfg.Origin("worker.concurrency"))
	require.Equal(t, "default", cfg.Origin("wechat.timeout"))
}

func TestAnAppHasItsOwnSettingsOrThoseOfDefaults(t *testing.T) {
	t.Parallel()
	cfg := loaded(t, given{
		file: `
defaults:
  rate: {per_second: 50, burst: 5}
  retry: {attempts: 3}
apps:
  - {appid: wx1, name: 旗舰店, secret_env: WX1}
  - appid: wx2
    secret_env: WX2
    rate: {per_second: 200}
    retry: {cap: 2m}
    on_unknown: park
    queue: {bytes: 512MB}
    limits: {text_bytes: 600, video_thumb: optional}
    kind: miniprogram
`,
		environ: []string{"WX1=a", "WX2=b", "KEFU_APPS_1_CONCURRENCY=9"},
	})
	require.Len(t, cfg.Apps, 2)
	one, ok := cfg.App("wx1")
	require.True(t, ok)
	require.Equal(t, "旗舰店", one.Label())
	settings := cfg.Defaults
	settings.Limits.Kind = schema.KindOfficialAccount // a key of apps only
	require.Equal(t, settings, one.Settings)

	two, ok := cfg.App("wx2")
	require.True(t, ok)
	require.Equal(t, "wx2", two.Label())
	require.Equal(t, Rate{PerSecond: 200, Burst: 5, PerDay: 500_000, LiveReserve: 0.2}, two.Rate)
	require.Equal(t, Retry{Attempts: 3, First: time.Second, Cap: 2 * time.Minute}, two.Retry)
	require.Equal(t, schema.PolicyPark, two.OnUnknown)
	require.Equal(t, Size(512_000_000), two.Queue.Bytes)
	require.Equal(t, schema.Limits{NewsArticles: 10, TextBytes: 600,
		VideoThumb: schema.PresenceOptional, Kind: schema.KindMiniProgram}, two.Limits)
	require.Equal(t, 9, two.Concurrency)

	require.Regexp(t, `:9$`, cfg.Origin("apps[1].rate.per_second"))
	require.Regexp(t, `:3$`, cfg.Origin("apps[1].rate.burst"),
		"what an app inherits comes from where defaults has it")
	require.Equal(t, "KEFU_APPS_1_CONCURRENCY", cfg.Origin("apps[1].concurrency"))

	_, ok = cfg.App("wx3")
	require.False(t, ok)
	require.NoError(t, cfg.RequireApps())
}

func TestAppsCanComeFromTheEnvironmentAlone(t *testing.T) {
	t.Parallel()
	cfg := loaded(t, given{environ: []string{
		"KEFU_APPS_0_APPID=wx1", "KEFU_APPS_0_SECRET_ENV=WX1", "WX1=x",
		"KEFU_APPS_0_RETRY_FIRST=2s",
	}})
	require.Len(t, cfg.Apps, 1)
	require.Equal(t, "wx1", cfg.Apps[0].AppID)
	require.Equal(t, 2*time.Second, cfg.Apps[0].Retry.First)
}

func TestRequireAppsSaysWhatToDo(t *testing.T) {
	t.Parallel()
	require.EqualError(t, loaded(t, given{}).RequireApps(),
		"apps: no app is configured: add one with its appid and secret_file")
}

func TestEverythingWrongIsSaidAtOnceFromTopToBottom(t *testing.T) {
	t.Parallel()
	_, _, problems := load(t, given{
		file: `
apps:
  - appid: wx1
    secret: hunter2
    rate: {brst: 3}
worker:
  concurency: 3
  receipts: some
`,
		environ: []string{"KEFU_WORKER_GRACE=3"},
	})
	require.Equal(t, []string{
		"kefu.yaml:4: apps[0].secret is not a key: a secret never stands in the configuration; " +
			"put it into a file only kefu can read and name that in secret_file",
		"kefu.yaml:5: unknown key apps[0].rate.brst, did you mean apps[0].rate.burst?",
		"kefu.yaml:7: unknown key worker.concurency, did you mean worker.concurrency?",
		`kefu.yaml:8: worker.receipts: "some" is not one of all, failures, off`,
		`KEFU_WORKER_GRACE: worker.grace: "3" is not a duration such as 30s, 10m or 48h`,
	}, problems)
}

func TestWhatIsRefused(t *testing.T) {
	t.Parallel()
	app := func(rest string) string { return "apps: [{appid: wx1, secret_env: S, " + rest + "}]" }
	for _, c := range []struct {
		name string
		given
		problem string
	}{
		{"a key in the wrong group is recognised", given{file: "per_second: 5"},
			"kefu.yaml:1: unknown key per_second, did you mean defaults.rate.per_second?"},
		{"letters swapped",
			given{file: "natss:\n  url: x"}, "kefu.yaml:1: unknown key natss, did you mean nats?"},
		{"a key nothing resembles", given{file: "wechat: {frobnicate: 1}"},
			"kefu.yaml:1: unknown key wechat.frobnicate (known are base_url, timeout, ca_file, " +
				"allow_http)"},
		{"a path written as one name",
			given{file: "worker.grace: 5s"},
			"kefu.yaml:1: unknown key worker.grace, write it nested: one name per level"},
		{"a key given twice", given{file: "worker:\n  grace: 1s\n  grace: 2s"},
			"kefu.yaml:3: worker.grace: is given twice, first on line 2"},
		{"a value for a group", given{file: "console: 8090"},
			"kefu.yaml:1: console: is a group of keys (listen, token_file), not a single value " +
				"or a list"},
		{"a group for a value", given{file: "worker: {grace: {a: 1}}"},
			"kefu.yaml:1: worker.grace: takes one value, not a group or a list"},
		{"one app without a list",
			given{file: "apps: {appid: wx1}"},
			`kefu.yaml:1: apps: is a list: start each app with "- appid: …"`},
		{"an empty entry", given{file: "apps:\n  -\n"}, "kefu.yaml:2: apps[0]: is empty"},
		{"a merge key", given{file: "worker:\n  <<: {grace: 1s}"},
			"kefu.yaml:2: worker.<<: merge keys are not read: what apps share belongs under defaults"},
		{"two documents", given{file: "worker: {}\n---\nnats: {}\n"},
			"kefu.yaml: holds more than one YAML document"},
		{"a list at the top", given{file: "- a"},
			"kefu.yaml:1: is not a group of keys (nats, wechat, worker, console, defaults, apps)"},
		{"no YAML", given{file: "worker: {\n"},
			"kefu.yaml:1: is not YAML: did not find expected node content"},

		{"no duration", given{file: "wechat: {timeout: 10}"},
			`kefu.yaml:1: wechat.timeout: "10" is not a duration such as 30s, 10m or 48h`},
		{"too long a duration", given{file: "wechat: {timeout: 5m}"},
			`kefu.yaml:1: wechat.timeout: "5m" is not within 100ms..1m`},
		{"no whole number", given{file: "defaults: {live_shards: 1.5}"},
			`kefu.yaml:1: defaults.live_shards: "1.5" is not a whole number`},
		{"too many shards", given{file: "defaults: {live_shards: 65}"},
			`kefu.yaml:1: defaults.live_shards: "65" is not within 1..64`},
		{"no attempt", given{file: "defaults: {retry: {attempts: 0}}"},
			`kefu.yaml:1: defaults.retry.attempts: "0" is not within 1..20`},
		{"no number", given{file: "defaults: {rate: {per_second: fast}}"},
			`kefu.yaml:1: defaults.rate.per_second: "fast" is not a number`},
		{"not a number at all", given{file: "defaults: {rate: {per_second: NaN}}"},
			`kefu.yaml:1: defaults.rate.per_second: "NaN" is not a number`},
		{"no size", given{file: "defaults: {queue: {bytes: lots}}"},
			`kefu.yaml:1: defaults.queue.bytes: "lots" is not a size such as 4GiB, 512MB or 1048576`},
		{"no boolean", given{file: "worker: {provision: sometimes}"},
			`kefu.yaml:1: worker.provision: "sometimes" is not one of true, false`},
		{"no port", given{file: "worker: {listen: 127.0.0.1}"},
			`kefu.yaml:1: worker.listen: "127.0.0.1" is not an address such as 127.0.0.1:8080`},
		{"no such port", given{file: "worker: {listen: ':70000'}"},
			`kefu.yaml:1: worker.listen: ":70000" has no port within 0..65535`},
		{"no broker's address", given{file: "nats: {url: localhost}"},
			`kefu.yaml:1: nats.url: "localhost" is not embedded and not an address such as nats://127.0.0.1:4222`},
		{"a broker's address with a password",
			given{file: "nats: {url: 'nats://a:hunter2@h:4222,http://x'}"},
			`kefu.yaml:1: nats.url: "nats://REDACTED@h:4222,http://x" is not embedded and not an address such as nats://127.0.0.1:4222`},
		{"no folder",
			given{file: "nats: {store_dir: ''}"}, `kefu.yaml:1: nats.store_dir: "" is not a path`},
		{"a value from a flag", given{flags: map[string]any{"worker.concurrency": 0}},
			`flag: worker.concurrency: "0" is not within 1..65536`},
		{"a flag that is no key", given{flags: map[string]any{"worker.concurency": 0}},
			`flag: unknown key worker.concurency, did you mean worker.concurrency?`},
		{"a flag for any app", given{flags: map[string]any{"apps[].appid": "wx1"}},
			"flag: apps[].appid names no app: number it, as in apps[0]"},
		{"a secret in a flag", given{flags: map[string]any{"apps[0].secret": "hunter2"}},
			"flag: apps[0].secret is not a key: a secret never stands in the configuration; " +
				"put it into a file only kefu can read and name that in secret_file"},

		{"the API over http", given{file: "wechat: {base_url: 'http://sandbox:8091'}"},
			`kefu.yaml:1: wechat.base_url: "http://sandbox:8091" is not https: the access token would cross the network in clear text; ` +
				`http is for this machine only (wechat.allow_http: true lifts this on a test network)`},
		{"no URL of the API", given{file: "wechat: {base_url: api.weixin.qq.com}"},
			`kefu.yaml:1: wechat.base_url: "api.weixin.qq.com" is not a URL such as https://api.weixin.qq.com`},
		{"an API URL with a query",
			given{file: "wechat: {base_url: 'https://h/?access_token=hunter2'}"},
			`kefu.yaml:1: wechat.base_url: "https://h/?REDACTED" is more than scheme, host and path`},
		{"a certificate without its key", given{file: "nats: {tls: {cert_file: /c}}"},
			"kefu.yaml:1: nats.tls.cert_file: needs nats.tls.key_file as well"},
		{"a key without its certificate", given{file: "nats: {tls: {key_file: /k}}"},
			"kefu.yaml:1: nats.tls.key_file: needs nats.tls.cert_file as well"},
		{"copies of an embedded broker", given{file: "nats: {url: embedded, replicas: 3}"},
			"kefu.yaml:1: nats.replicas: 3 is not possible with an embedded broker, which is one " +
				"server"},
		{"a console for everybody", given{file: "console: {listen: '0.0.0.0:8090'}"},
			`kefu.yaml:1: console.listen: "0.0.0.0:8090" can be reached from other machines: set console.token_file, or listen on 127.0.0.1`},
		{"a cap below the first wait", given{file: "defaults: {retry: {first: 10s, cap: 5s}}"},
			`kefu.yaml:1: defaults.retry.cap: "5s" is shorter than retry.first, 10s`},
		{"an app's first wait above the inherited cap", given{file: app("retry: {first: 10m}")},
			`kefu.yaml:1: apps[0].retry.cap: "5m" is shorter than retry.first, 10m`},

		{"an app without appid",
			given{file: "apps:\n  - secret_env: S"}, "kefu.yaml:2: apps[0]: has no appid"},
		{"an appid that would break a subject",
			given{file: "apps: [{appid: 'wx.1', secret_env: S}]"},
			`kefu.yaml:1: apps[0].appid: "wx.1" is not 1 to 128 of the characters A-Z a-z 0-9 _ -`},
		{"one appid twice",
			given{file: "apps:\n  - {appid: wx1, secret_env: S}\n  - {appid: wx1, secret_env: S}"},
			`kefu.yaml:3: apps[1].appid: "wx1" is the appid of apps[0] already`},
		{"an app without a secret", given{file: "apps:\n  - appid: wx1"},
			"kefu.yaml:2: apps[0]: has neither secret_file nor secret_env, and token stable " +
				"needs the AppSecret"},
		{"an app with two secrets", given{file: app("secret_file: /s")},
			"kefu.yaml:1: apps[0].secret_env: and secret_file are both given: one of them is enough"},
		{"an AppSecret in place of its variable",
			given{file: "apps: [{appid: wx1, secret_env: 0123456789abcdef0123456789abcdef}]"},
			"kefu.yaml:1: apps[0].secret_env: the value looks like an AppSecret itself: put that " +
				"into a file only kefu can read, and the file's path here"},
		{"an AppSecret in place of its file",
			given{file: "apps: [{appid: wx1, secret_file: a123456789abcdef0123456789abcdef}]"},
			"kefu.yaml:1: apps[0].secret_file: the value looks like an AppSecret itself: put " +
				"that into a file only kefu can read, and the file's path here"},
		{"no variable's name", given{file: "apps: [{appid: wx1, secret_env: 'hunter 2'}]"},
			"kefu.yaml:1: apps[0].secret_env: the value is not the name of an environment variable"},
		{"an access token in place of its source", given{file: app("token: 72_hunter2")},
			"kefu.yaml:1: apps[0].token: the value is not one of stable, file:PATH, " +
				"url:https://HOST/PATH"},
		{"a token server over http",
			given{file: app("token: 'url:http://u:hunter2@tokens.example/t?k=hunter2'")},
			`kefu.yaml:1: apps[0].token: "http://REDACTED@tokens.example/t?REDACTED" is not https: the access token would cross the network in clear text; ` +
				`http is for this machine only (wechat.allow_http: true lifts this on a test network)`},
		{"a name that plays with the terminal", given{file: app(`name: "a\u202eb"`)},
			`kefu.yaml:1: apps[0].name: "a\u202eb" is not up to 64 printable characters`},
		{"apps numbered with a gap", given{environ: []string{"KEFU_APPS_7_APPID=wx1"}},
			"apps[7]: leaves a gap: apps are numbered from 0 without leaving one out"},
		{"a secret in a variable of ours", given{environ: []string{"KEFU_APPS_0_SECRET=hunter2"}},
			"KEFU_APPS_0_SECRET: a secret is not a setting: name the variable it is in with " +
				"secret_env"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			_, _, problems := load(t, c.given)
			require.Equal(t, []string{c.problem}, problems)
			require.NotContains(t, strings.Join(problems, "\n"), "hunter2")
		})
	}
}

func TestWhatIsAccepted(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		given
		check func(t *testing.T, cfg *Config)
	}{
		{"an empty file", given{file: "\n"}, func(t *testing.T, cfg *Config) {
			require.NotEmpty(t, cfg.File())
		}},
		{"a file of comments", given{file: "# nothing\n"}, func(t *testing.T, cfg *Config) {
			require.Equal(t, 1, cfg.NATS.Replicas)
		}},
		{"keys without a value keep the default",
			given{file: "worker:\nnats:\n  replicas:\napps:\n"},
			func(t *testing.T, cfg *Config) { require.Equal(t, 1, cfg.NATS.Replicas) }},
		{"off is a word, not a boolean",
			given{file: "worker: {receipts: off, ledger: {mode: off}}"},
			func(t *testing.T, cfg *Config) {
				require.Equal(t, ReceiptsOff, cfg.Worker.Receipts)
				require.Equal(t, LedgerOff, cfg.Worker.Ledger.Mode)
			}},
		{"digits in groups", given{file: "defaults: {queue: {messages: 1_000_000}}"},
			func(t *testing.T, cfg *Config) {
				require.EqualValues(t, 1_000_000, cfg.Defaults.Queue.Messages)
			}},
		{"a value used again by its anchor",
			given{
				file: "defaults: {retry: &r {attempts: 2}}\napps: [{appid: wx1, secret_env: S, retry: *r}]",
			},
			func(t *testing.T, cfg *Config) { require.Equal(t, 2, cfg.Apps[0].Retry.Attempts) }},
		{"a sandbox on this machine", given{file: "wechat: {base_url: 'http://127.0.0.1:8091/'}"},
			func(t *testing.T, cfg *Config) {
				require.Equal(t, "http://127.0.0.1:8091", cfg.WeChat.BaseURL)
			}},
		{"a sandbox elsewhere, said explicitly",
			given{file: "wechat: {base_url: 'http://sandbox:8091', allow_http: true}"},
			func(t *testing.T, cfg *Config) {
				require.Equal(t, "http://sandbox:8091", cfg.WeChat.BaseURL)
			}},
		{"a cluster", given{file: "nats: {url: 'nats://a:4222,tls://b:4222', replicas: 3}"},
			func(t *testing.T, cfg *Config) { require.False(t, cfg.NATS.IsEmbedded()) }},
		{"an embedded broker", given{file: "nats: {url: embedded}"},
			func(t *testing.T, cfg *Config) { require.True(t, cfg.NATS.IsEmbedded()) }},
		{"a token server needs no secret",
			given{file: "apps: [{appid: wx1, token: 'url:https://tokens.example/wx1'}]"},
			func(t *testing.T, cfg *Config) {
				require.Equal(t, TokenSource{Kind: TokenURL, URL: "https://tokens.example/wx1"},
					cfg.Apps[0].Token)
			}},
		{"a token file needs no secret",
			given{file: "apps: [{appid: wx1, token: 'file:/run/token'}]"},
			func(t *testing.T, cfg *Config) {
				require.Equal(t, TokenSource{Kind: TokenFile, Path: "/run/token"},
					cfg.Apps[0].Token)
			}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			c.check(t, loaded(t, c.given))
		})
	}
}

func TestWhatIsWarnedOf(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		given
		warnings []string
	}{
		{"a misspelled variable", given{environ: []string{"KEFU_NATS_REPLICA=3"}},
			[]string{"KEFU_NATS_REPLICA: is not a setting of kefu and has no effect, did you " +
				"mean KEFU_NATS_REPLICAS?"}},
		{"a variable of somebody else", given{environ: []string{"KEFU_HOME=/x", "OTHER=1"}},
			[]string{"KEFU_HOME: is not a setting of kefu and has no effect"}},
		{"the variables of a Kubernetes service", given{environ: []string{
			"KEFU_SERVICE_HOST=1", "KEFU_SERVICE_PORT=1", "KEFU_SERVICE_PORT_HTTP=1",
			"KEFU_PORT=tcp://1", "KEFU_PORT_8080_TCP=1",
			"KEFU_PORT_8080_TCP_ADDR=1", "KEFU_CONSOLE_SERVICE_HOST=1", "KEFU_CONSOLE_PORT=1",
		}}, []string{"KEFU_CONSOLE_PORT and 7 more: set by Kubernetes for a service of this " +
			"name, no settings of kefu (enableServiceLinks: false leaves them out)"}},
		{"the file's variable and an app's secret are no strangers", given{
			file:    "apps: [{appid: wx1, secret_env: KEFU_WX1_SECRET}]",
			environ: []string{"KEFU_WX1_SECRET=x", "KEFU_CONFIG="},
		}, nil},
		{"a secret's variable that is not there",
			given{file: "apps: [{appid: wx1, secret_env: WX1}]"},
			[]string{"kefu.yaml:1: apps[0].secret_env: the variable WX1 is not set"}},
		{"a file that is not there", given{file: "wechat: {ca_file: /nowhere/ca.pem}"},
			[]string{"kefu.yaml:1: wechat.ca_file: /nowhere/ca.pem: no such file"}},
		{"a password in the broker's address",
			given{file: "nats: {url: 'nats://a:b@h:4222,nats://a:b@i:4222'}"},
			[]string{"kefu.yaml:1: nats.url: holds a password or token: nats.creds_file keeps it " +
				"out of the configuration"}},
		{"credentials for an embedded broker that others can reach",
			given{file: "nats:\n  url: embedded\n  listen: :4222\n  creds_file: /nowhere\n"},
			[]string{
				"kefu.yaml:4: nats.creds_file: has no effect with an embedded broker",
				"kefu.yaml:3: nats.listen: can be reached from other machines, and an embedded " +
					"broker asks nobody who they are",
				"kefu.yaml:4: nats.creds_file: /nowhere: no such file",
			}},
		{"a host that is not WeChat's", given{file: "wechat: {base_url: 'https://proxy.example'}"},
			[]string{"kefu.yaml:1: wechat.base_url: is not a host of WeChat: proxy.example sees " +
				"every access token and message"}},
		{"WeChat's other hosts are fine",
			given{file: "wechat: {base_url: 'https://api2.weixin.qq.com'}"}, nil},
		{"http where it was allowed",
			given{file: "wechat: {base_url: 'http://sandbox:8091', allow_http: true}"},
			[]string{"kefu.yaml:1: wechat.base_url: is plain http: whoever is between can read " +
				"the access token"}},
		{"a memory shorter than an intent's life", given{file: "worker: {ledger: {keep: 24h}}"},
			[]string{"kefu.yaml: defaults.expire_after: 48h is longer than worker.ledger.keep, " +
				"24h: an intent that waits longer than that is no longer guarded against a " +
				"double send"}},
		{"a long window", given{file: "defaults: {duplicate_window: 2h}"},
			[]string{"kefu.yaml:1: defaults.duplicate_window: 2h of ids are held in the broker's " +
				"memory; the ledger recognises later repeats anyway"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			_, warnings, problems := load(t, c.given)
			require.Empty(t, problems)
			require.Equal(t, c.warnings, warnings)
		})
	}
}

func TestWhichFileIsRead(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	write := func(name, listen string) string {
		path := filepath.Join(folder, name)
		require.NoError(t, os.WriteFile(path, []byte("worker: {listen: '"+listen+"'}"), 0o600))
		return path
	}
	named, variable, first, second := write("named", ":1"), write("variable", ":2"),
		write("first", ":3"), write("second", ":4")
	absent := filepath.Join(folder, "absent")
	for _, c := range []struct {
		name   string
		src    Source
		listen string
	}{
		{"the one that was named",
			Source{
				File: named, Environ: []string{"KEFU_CONFIG=" + variable}, Search: []string{first},
			},
			":1"},
		{"else the one in KEFU_CONFIG",
			Source{Environ: []string{"KEFU_CONFIG=" + variable}, Search: []string{first}}, ":2"},
		{"else the first there is", Source{Search: []string{absent, second, first}}, ":4"},
		{"else none", Source{Search: []string{absent}}, "127.0.0.1:8080"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			cfg, warnings, err := Load(c.src)
			require.NoError(t, err)
			require.Empty(t, warnings)
			require.Equal(t, c.listen, cfg.Worker.Listen)
		})
	}

	_, _, err := Load(Source{File: absent})
	require.EqualError(t, err, absent+": no such file")
	_, _, err = Load(Source{Environ: []string{"KEFU_CONFIG=" + absent}})
	require.EqualError(t, err, absent+": no such file")
	_, _, err = Load(Source{File: folder})
	require.EqualError(t, err, folder+": cannot be read: is a directory")
}

func FuzzLoad(f *testing.F) {
	f.Add("worker: {grace: 1s}", "KEFU_WORKER_GRACE=2s")
	f.Add("apps: [{appid: wx1, secret: x}]", "KEFU_APPS_0_APPID=wx2")
	f.Add("a: &a [*a]\nnats: &n {tls: *n}\n", "KEFU_=")
	f.Add("? [a]\n: b\n", "KEFU_APPS_9999_NAME=x")
	f.Fuzz(func(t *testing.T, text, variable string) {
		path := filepath.Join(t.TempDir(), "kefu.yaml")
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
		cfg, _, err := Load(Source{File: path, Environ: []string{variable}})
		require.NotEqual(t, cfg == nil, err == nil, "either a configuration or an error")
	})
}
