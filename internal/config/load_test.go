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

// given is the input of one test: the text of the file, the environment and the flags.
type given struct {
	file    string
	environ []string
	flags   map[string]any
}

// load writes the file into an empty folder and loads it. It returns the warnings and the problems
// without that folder.
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

// loaded returns a configuration that must be valid.
func loaded(t *testing.T, g given) *Config {
	t.Helper()
	cfg, _, problems := load(t, g)
	require.Empty(t, problems)
	return cfg
}

// invalidCases are configurations that are refused, each with its only problem.
type invalidCases []struct {
	name string
	given
	problem string
}

func (cases invalidCases) run(t *testing.T) {
	t.Helper()
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			_, _, problems := load(t, c.given)
			require.Equal(t, []string{c.problem}, problems)
			require.NotContains(t, strings.Join(problems, "\n"), "hunter2")
		})
	}
}

// validCases are configurations that load, each with what it must come to.
type validCases []struct {
	name string
	given
	check func(t *testing.T, cfg *Config)
}

func (cases validCases) run(t *testing.T) {
	t.Helper()
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			c.check(t, loaded(t, c.given))
		})
	}
}

// warningCases are configurations that load with warnings, or without any.
type warningCases []struct {
	name string
	given
	warnings []string
}

func (cases warningCases) run(t *testing.T) {
	t.Helper()
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			_, warnings, problems := load(t, c.given)
			require.Empty(t, problems)
			require.Equal(t, c.warnings, warnings)
		})
	}
}

func TestDefaults(t *testing.T) {
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
	require.Equal(t, Console{}, cfg.Console)
	require.Equal(t, Settings{
		Token:       TokenSource{Kind: TokenStable},
		Rate:        Rate{PerSecond: 100, Burst: 20, PerDay: 500_000, LiveReserve: 0.2},
		Concurrency: 128, LiveShards: 4,
		Retry:       Retry{Attempts: 6, First: time.Second, Cap: 5 * time.Minute},
		OnUnknown:   schema.PolicyResend,
		ExpireAfter: 48 * time.Hour, HoldBack: 30 * time.Second, DuplicateWindow: 10 * time.Minute,
		Queue: Queue{Messages: 5_000_000, Bytes: 4 << 30, Campaign: 10_000},
		Limits: schema.Limits{
			NewsArticles: 10, TextBytes: 2048, VideoThumb: schema.PresenceRequired,
		},
		KFAccounts: KFAccounts{Most: 10, Nickname: NicknameDocument},
	}, cfg.Defaults)
}

func TestPrecedenceOfTheSources(t *testing.T) {
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

func TestInvalidFlags(t *testing.T) {
	t.Parallel()
	invalidCases{
		{"a flag that is no key", given{flags: map[string]any{"worker.concurency": 0}},
			`flag: unknown key worker.concurency, did you mean worker.concurrency?`},
		{"a flag for any app", given{flags: map[string]any{"apps[].appid": "wx1"}},
			"flag: apps[].appid names no app: number it, as in apps[0]"},
		{"a secret in a flag", given{flags: map[string]any{"apps[0].secret": "hunter2"}},
			"flag: apps[0].secret is not a key: a secret never stands in the configuration; " +
				"put it into a file only kefu can read and name that in secret_file"},
	}.run(t)
}

func TestTheOrderInWhichFilesAreSearched(t *testing.T) {
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

func TestTheFileIsNamedAsItWasFound(t *testing.T) {
	t.Chdir(t.TempDir())
	require.NoError(t,
		os.WriteFile(filepath.Clean("kefu.yaml"), []byte("worker: {grace: x}"), 0o600))
	_, _, err := Load(Source{})
	require.EqualError(t, err,
		`kefu.yaml:1: worker.grace: "x" is not a duration such as 30s, 10m or 48h`)
}

func TestAllProblemsAreReportedFromTopToBottom(t *testing.T) {
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
