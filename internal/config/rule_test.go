package config

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestInvalidValues(t *testing.T) {
	t.Parallel()
	app := func(rest string) string { return "apps: [{appid: wx1, secret_env: S, " + rest + "}]" }
	invalidCases{
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
			`kefu.yaml:1: defaults.queue.bytes: "lots" is not a size such as 4GiB, 512MB or ` +
				`1048576`},
		{"no boolean", given{file: "worker: {provision: sometimes}"},
			`kefu.yaml:1: worker.provision: "sometimes" is not one of true, false`},
		{"no port", given{file: "worker: {listen: 127.0.0.1}"},
			`kefu.yaml:1: worker.listen: "127.0.0.1" is not an address such as 127.0.0.1:8080`},
		{"no such port", given{file: "worker: {listen: ':70000'}"},
			`kefu.yaml:1: worker.listen: ":70000" has no port within 0..65535`},
		{"no broker's address", given{file: "nats: {url: localhost}"},
			`kefu.yaml:1: nats.url: "localhost" is not embedded and not an address such as ` +
				`nats://127.0.0.1:4222`},
		{"a broker's address with a password",
			given{file: "nats: {url: 'nats://a:hunter2@h:4222,http://x'}"},
			`kefu.yaml:1: nats.url: "nats://REDACTED@h:4222,http://x" is not embedded and not an ` +
				`address such as nats://127.0.0.1:4222`},
		{"no folder",
			given{file: "nats: {store_dir: ''}"}, `kefu.yaml:1: nats.store_dir: "" is not a path`},
		{"a value from a flag", given{flags: map[string]any{"worker.concurrency": 0}},
			`flag: worker.concurrency: "0" is not within 1..65536`},
		{"no URL of the API", given{file: "wechat: {base_url: api.weixin.qq.com}"},
			`kefu.yaml:1: wechat.base_url: "api.weixin.qq.com" is not a URL such as ` +
				`https://api.weixin.qq.com`},
		{"an API URL with a query",
			given{file: "wechat: {base_url: 'https://h/?access_token=hunter2'}"},
			`kefu.yaml:1: wechat.base_url: "https://h/?REDACTED" is more than scheme, host and ` +
				`path`},
		{"an AppSecret in place of its variable",
			given{file: "apps: [{appid: wx1, secret_env: 0123456789abcdef0123456789abcdef}]"},
			"kefu.yaml:1: apps[0].secret_env: the value looks like an AppSecret itself: put that " +
				"into a file only kefu can read, and the file's path here"},
		{"an AppSecret in place of its file",
			given{file: "apps: [{appid: wx1, secret_file: a123456789abcdef0123456789abcdef}]"},
			"kefu.yaml:1: apps[0].secret_file: the value looks like an AppSecret itself: put " +
				"that into a file only kefu can read, and the file's path here"},
		{"no variable's name", given{file: "apps: [{appid: wx1, secret_env: 'hunter 2'}]"},
			"kefu.yaml:1: apps[0].secret_env: the value is not the name of an environment " +
				"variable"},
		{"an access token in place of its source", given{file: app("token: 72_hunter2")},
			"kefu.yaml:1: apps[0].token: the value is not one of stable, file:PATH, " +
				"url:https://HOST/PATH"},
		{"a name that plays with the terminal", given{file: app(`name: "a\u202eb"`)},
			`kefu.yaml:1: apps[0].name: "a\u202eb" is not up to 64 printable characters`},
		{"an appid that would break a subject",
			given{file: "apps: [{appid: 'wx.1', secret_env: S}]"},
			`kefu.yaml:1: apps[0].appid: "wx.1" is not 1 to 128 of the characters A-Z a-z 0-9 _ -`},
	}.run(t)
}

func TestValidValues(t *testing.T) {
	t.Parallel()
	validCases{
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
	}.run(t)
}
