package config

import (
	"testing"
)

func TestWarningsOfUnknownVariables(t *testing.T) {
	t.Parallel()
	warningCases{
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
	}.run(t)
}

func TestInvalidVariables(t *testing.T) {
	t.Parallel()
	invalidCases{
		{"a secret in a variable of ours", given{environ: []string{"KEFU_APPS_0_SECRET=hunter2"}},
			"KEFU_APPS_0_SECRET: a secret is not a setting: name the variable it is in with " +
				"secret_env"},
	}.run(t)
}
