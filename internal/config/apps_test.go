package config

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kefuhq/kefu/schema"
)

func TestAppsInheritDefaults(t *testing.T) {
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

func TestInvalidApps(t *testing.T) {
	t.Parallel()
	app := func(rest string) string { return "apps: [{appid: wx1, secret_env: S, " + rest + "}]" }
	invalidCases{
		{"an app without appid",
			given{file: "apps:\n  - secret_env: S"}, "kefu.yaml:2: apps[0]: has no appid"},
		{"one appid twice",
			given{file: "apps:\n  - {appid: wx1, secret_env: S}\n  - {appid: wx1, secret_env: S}"},
			`kefu.yaml:3: apps[1].appid: "wx1" is the appid of apps[0] already`},
		{"an app without a secret", given{file: "apps:\n  - appid: wx1"},
			"kefu.yaml:2: apps[0]: has neither secret_file nor secret_env, and token stable " +
				"needs the AppSecret"},
		{"an app with two secrets", given{file: app("secret_file: /s")},
			"kefu.yaml:1: apps[0].secret_env: and secret_file are both given: one of them is " +
				"enough"},
		{"an empty entry, and a valid one after it",
			given{file: "apps:\n  -\n  - {appid: wx1, secret_env: S}"},
			"kefu.yaml:2: apps[0]: is empty"},
		{"apps numbered with a gap", given{environ: []string{"KEFU_APPS_7_APPID=wx1"}},
			"apps[7]: leaves a gap: apps are numbered from 0 without leaving one out"},
	}.run(t)
}

func TestRequireApps(t *testing.T) {
	t.Parallel()
	require.EqualError(t, loaded(t, given{}).RequireApps(),
		"apps: no app is configured: add one with its appid and secret_file")
}
