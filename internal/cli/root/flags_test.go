package root_test

import (
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"github.com/stretchr/testify/require"

	"github.com/kefuhq/kefu/internal/cli"
	"github.com/kefuhq/kefu/internal/cli/clitest"
	"github.com/kefuhq/kefu/internal/cli/root"
)

func TestEveryFlagIsDescribed(t *testing.T) {
	t.Parallel()
	eachCommand(root.New(cli.New(cli.Process{})), func(cmd *cobra.Command) {
		cmd.Flags().VisitAll(func(f *pflag.Flag) {
			require.NotEmpty(t, f.Usage, "%s --%s", cmd.CommandPath(), f.Name)
			for _, word := range []string{"secret", "password"} {
				require.NotEqual(t, word, f.Name,
					"a secret on a command line is in everybody's process list")
			}
		})
	})
}

// The flags that were renamed, and a value of each.
var renamedFlags = []struct{ command, former, today, value string }{
	{"send", "to", "openid", "oUser1"},
	{"send", "kf-account", "kfaccount", "test1@test"},
	{"typing", "to", "openid", "oUser1"},
	{"app probe", "wait", "timeout", "1m"},
	{"dead list", "text", "search", "busy"},
	{"dead replay", "text", "search", "busy"},
	{"dev", "nats", "nats-listen", "127.0.0.1:4333"},
	{"dev", "sandbox", "sandbox-listen", "127.0.0.1:0"},
	{"dev", "probes", "probes-listen", "127.0.0.1:0"},
	{"bench", "limit", "per-second", "300"},
	{"bench", "nats", "nats-url", "nats://127.0.0.1:4222"},
}

func TestRenamedFlagsAreUnderstoodUnderTheirFormerNames(t *testing.T) {
	t.Parallel()
	for _, f := range renamedFlags {
		path := clitest.Args(f.command)
		for _, spelling := range [][]string{
			{"--" + f.former, f.value}, {"--" + f.former + "=" + f.value}, {"--" + f.today, f.value},
		} {
			cmd, rest, err := root.New(cli.New(cli.Process{})).Find(append(path, spelling...))
			require.NoError(t, err)
			require.NoError(t, cmd.ParseFlags(rest))
			flag := cmd.Flags().Lookup(f.today)
			require.True(t, flag.Changed, "%s %s", f.command, spelling)
			require.Equal(t, f.value, flag.Value.String(), "%s %s", f.command, spelling)
		}
		help := clitest.Run(t, clitest.Try{Args: append(path, "--help")}).Out
		require.Contains(t, help, "--"+f.today+" ")
		require.NotContains(t, help, "--"+f.former+" ")
	}
}

func TestWordsThatSeveralCommandsShareMeanOneThing(t *testing.T) {
	t.Parallel()
	kinds := map[string]string{
		"openid": "string", "kfaccount": "string", "search": "string", "source": "string",
		"wait": "bool", "timeout": "duration", "expires-in": "duration", "latency": "duration",
		"send-at": "time", "since": "time", "until": "time",
		"dry-run": "bool", "reveal": "bool", "limit": "int", "rate": "float64",
	}
	eachCommand(root.New(cli.New(cli.Process{})), func(cmd *cobra.Command) {
		cmd.Flags().VisitAll(func(f *pflag.Flag) {
			if kind, shared := kinds[f.Name]; shared {
				require.Equal(t, kind, f.Value.Type(), "%s --%s", cmd.CommandPath(), f.Name)
			}
		})
	})
}
