package config

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestConflictingValues(t *testing.T) {
	t.Parallel()
	app := func(rest string) string { return "apps: [{appid: wx1, secret_env: S, " + rest + "}]" }
	invalidCases{
		{"the API over http", given{file: "wechat: {base_url: 'http://sandbox:8091'}"},
			`kefu.yaml:1: wechat.base_url: "http://sandbox:8091" is not https: the access token ` +
				`would cross the network in clear text; ` +
				`http is for this machine only (wechat.allow_http: true lifts this on a test ` +
				`network)`},
		{"a certificate without its key", given{file: "nats: {tls: {cert_file: /c}}"},
			"kefu.yaml:1: nats.tls.cert_file: needs nats.tls.key_file as well"},
		{"a key without its certificate", given{file: "nats: {tls: {key_file: /k}}"},
			"kefu.yaml:1: nats.tls.key_file: needs nats.tls.cert_file as well"},
		{"copies of an embedded broker", given{file: "nats: {url: embedded, replicas: 3}"},
			"kefu.yaml:1: nats.replicas: 3 is not possible with an embedded broker, which is one " +
				"server"},
		{"a console for everybody", given{file: "console: {listen: '0.0.0.0:8090'}"},
			`kefu.yaml:1: console.listen: "0.0.0.0:8090" can be reached from other machines: set ` +
				`console.token_file, or listen on 127.0.0.1`},
		{"a cap below the first wait", given{file: "defaults: {retry: {first: 10s, cap: 5s}}"},
			`kefu.yaml:1: defaults.retry.cap: "5s" is shorter than retry.first, 10s`},
		{"an app's first wait above the inherited cap", given{file: app("retry: {first: 10m}")},
			`kefu.yaml:1: apps[0].retry.cap: "5m" is shorter than retry.first, 10m`},
		{"a token server over http",
			given{file: app("token: 'url:http://u:hunter2@tokens.example/t?k=hunter2'")},
			`kefu.yaml:1: apps[0].token: "http://REDACTED@tokens.example/t?REDACTED" is not ` +
				`https: the access token would cross the network in clear text; ` +
				`http is for this machine only (wechat.allow_http: true lifts this on a test ` +
				`network)`},
	}.run(t)
}

func TestValuesThatDoNotConflict(t *testing.T) {
	t.Parallel()
	validCases{
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
	}.run(t)
}

func TestWarningsOfTheChecks(t *testing.T) {
	t.Parallel()
	warningCases{
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
	}.run(t)
}
