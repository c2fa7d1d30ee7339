package config

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestInvalidFiles(t *testing.T) {
	t.Parallel()
	invalidCases{
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
			"kefu.yaml:1: console: is a group of keys (listen, token_file, origin), not a single value " +
				"or a list"},
		{"a group for a value", given{file: "worker: {grace: {a: 1}}"},
			"kefu.yaml:1: worker.grace: takes one value, not a group or a list"},
		{"one app without a list",
			given{file: "apps: {appid: wx1}"},
			`kefu.yaml:1: apps: is a list: start each app with "- appid: …"`},
		{"an empty entry", given{file: "apps:\n  -\n"}, "kefu.yaml:2: apps[0]: is empty"},
		{"a merge key", given{file: "worker:\n  <<: {grace: 1s}"},
			"kefu.yaml:2: worker.<<: merge keys are not read: what apps share belongs under " +
				"defaults"},
		{"two documents", given{file: "worker: {}\n---\nnats: {}\n"},
			"kefu.yaml: holds more than one YAML document"},
		{"a list at the top", given{file: "- a"},
			"kefu.yaml:1: is not a group of keys (nats, wechat, worker, console, defaults, apps)"},
		{"no YAML", given{file: "worker: {\n"},
			"kefu.yaml:1: is not YAML: did not find expected node content"},
	}.run(t)
}

func TestValidFiles(t *testing.T) {
	t.Parallel()
	validCases{
		{"an empty file", given{file: "\n"}, func(t *testing.T, cfg *Config) {
			require.NotEmpty(t, cfg.File())
		}},
		{"a file of comments", given{file: "# nothing\n"}, func(t *testing.T, cfg *Config) {
			require.Equal(t, 1, cfg.NATS.Replicas)
		}},
		{"keys without a value keep the default",
			given{file: "worker:\nnats:\n  replicas:\napps:\n"},
			func(t *testing.T, cfg *Config) { require.Equal(t, 1, cfg.NATS.Replicas) }},
		{"a value used again by its anchor",
			given{file: "defaults: {retry: &r {attempts: 2}}\n" +
				"apps: [{appid: wx1, secret_env: S, retry: *r}]"},
			func(t *testing.T, cfg *Config) { require.Equal(t, 2, cfg.Apps[0].Retry.Attempts) }},
	}.run(t)
}
