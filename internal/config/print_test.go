package config

import (
	"bytes"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
)

func TestWhatIsPrintedLoadsAsTheSame(t *testing.T) {
	t.Parallel()
	before := loaded(t, given{file: `
worker: {receipts: off, provision: false}
nats: {url: "nats://a:4222,nats://b:4222"}
defaults: {rate: {live_reserve: 0.35}, queue: {bytes: 512MB}, expire_after: 90m}
apps:
  - {appid: wx1, name: "名字: # \"quoted\"", secret_env: S, rate: {burst: 3}}
  - {appid: "123", token: "file:/t", kind: miniprogram, limits: {video_thumb: optional}}
`})
	var out bytes.Buffer
	require.NoError(t, before.Print(&out, false))
	after := loaded(t, given{file: out.String()})

	require.Equal(t, before.NATS, after.NATS)
	require.Equal(t, before.WeChat, after.WeChat)
	require.Equal(t, before.Worker, after.Worker)
	require.Equal(t, before.Console, after.Console)
	require.Equal(t, before.Defaults, after.Defaults)
	require.Len(t, after.Apps, len(before.Apps))
	for i := range before.Apps {
		before.Apps[i].lookup, after.Apps[i].lookup = nil, nil
		require.Equal(t, before.Apps[i], after.Apps[i])
	}
	require.NotContains(t, out.String(), "100\n    burst: 3",
		"an app shows only what it does not inherit")
}

func TestPrintSaysWhereValuesComeFrom(t *testing.T) {
	t.Parallel()
	cfg := loaded(t, given{
		file:    "defaults:\n  live_shards: 8\napps: [{appid: wx1, secret_env: S}]",
		environ: []string{"KEFU_WORKER_GRACE=5s"},
		flags:   map[string]any{"worker.listen": ":0"},
	})
	var out bytes.Buffer
	require.NoError(t, cfg.Print(&out, true))
	require.Contains(t, out.String(), "grace: 5s # KEFU_WORKER_GRACE\n")
	require.Contains(t, out.String(), "listen: :0 # flag\n")
	require.Regexp(t, `live_shards: 8 # \S+kefu\.yaml:2\n`, out.String())
	require.Contains(t, out.String(), "timeout: 10s # default\n")

	out.Reset()
	found, err := cfg.PrintApp(&out, "wx1", true)
	require.NoError(t, err)
	require.True(t, found)
	require.Regexp(t, `(?m)^live_shards: 8 # \S+kefu\.yaml:2$`, out.String())
	require.Contains(t, out.String(), "concurrency: 128 # default\n")
	require.Contains(t, out.String(), "kind: official # default\n")
	require.NotContains(t, out.String(), "\nname:")

	found, err = cfg.PrintApp(&out, "wx9", false)
	require.NoError(t, err)
	require.False(t, found)
}

func TestPrintShowsNoCredentials(t *testing.T) {
	t.Parallel()
	cfg := loaded(t, given{
		file: "nats: {url: 'nats://u:hunter2@h:4222'}\n" +
			"apps: [{appid: wx1, secret_env: S, token: 'url:https://u:hunter2@h/t?k=hunter2'}]",
		environ: []string{"S=hunter2"},
	})
	var out bytes.Buffer
	require.NoError(t, cfg.Print(&out, true))
	_, err := cfg.PrintApp(&out, "wx1", true)
	require.NoError(t, err)
	require.NotContains(t, out.String(), "hunter2")
	require.Contains(t, out.String(), "nats://REDACTED@h:4222")
}

func TestTheTreeHasTypedValues(t *testing.T) {
	t.Parallel()
	cfg := loaded(t, given{file: "apps: [{appid: '123', secret_env: S, rate: {per_second: 1.5}}]"})
	tree, err := cfg.Tree()
	require.NoError(t, err)
	top, ok := tree.(map[string]any)
	require.True(t, ok)
	require.Equal(t, map[string]any{"listen": "", "token_file": "", "origin": ""}, top["console"])
	require.Equal(t, []any{map[string]any{"appid": "123", "secret_env": "S",
		"rate": map[string]any{"per_second": 1.5}}}, top["apps"])

	app, err := cfg.AppTree("123")
	require.NoError(t, err)
	require.Subset(t, app, map[string]any{"appid": "123", "live_shards": 4, "on_unknown": "resend"})
	app, err = cfg.AppTree("124")
	require.NoError(t, err)
	require.Nil(t, app)
}

func TestTheExampleIsTheDefaults(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	require.NoError(t, WriteExample(&out))
	example := loaded(t, given{file: out.String()})
	defaults := loaded(t, given{})
	require.Equal(t, defaults.NATS, example.NATS)
	require.Equal(t, defaults.WeChat, example.WeChat)
	require.Equal(t, defaults.Worker, example.Worker)
	require.Equal(t, defaults.Console, example.Console)
	require.Equal(t, defaults.Defaults, example.Defaults)
	require.Len(t, example.Apps, 1)
	require.Equal(t, "旗舰店", example.Apps[0].Name)
	for line := range strings.Lines(out.String()) {
		require.LessOrEqual(t, utf8.RuneCountInString(strings.TrimSuffix(line, "\n")), 100, line)
	}
}
