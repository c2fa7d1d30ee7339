package root_test

import (
	"net"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"github.com/stretchr/testify/require"

	"github.com/kefuhq/kefu/internal/cli"
	"github.com/kefuhq/kefu/internal/cli/root"
	"github.com/kefuhq/kefu/internal/config"
)

func TestNothingListensBeyondThisMachineByDefault(t *testing.T) {
	t.Parallel()
	cfg, _, err := config.Load(config.Source{})
	require.NoError(t, err)
	addresses := map[string]string{
		"nats.listen": cfg.NATS.Listen, "worker.listen": cfg.Worker.Listen,
		"kefu console": cfg.Console.Address(),
	}
	eachCommand(root.New(cli.New(cli.Process{})), func(cmd *cobra.Command) {
		cmd.LocalFlags().VisitAll(func(f *pflag.Flag) {
			if (f.Name == "listen" || strings.HasSuffix(f.Name, "-listen")) && f.DefValue != "" {
				addresses[cmd.CommandPath()+" --"+f.Name] = f.DefValue
			}
		})
	})
	require.Greater(t, len(addresses), 4)
	for name, address := range addresses {
		host, _, err := net.SplitHostPort(address)
		require.NoError(t, err, name)
		ip := net.ParseIP(host)
		require.True(t, ip != nil && ip.IsLoopback(), "%s: %s", name, address)
	}
	require.Empty(t, cfg.Console.Listen, "a worker serves no console unless it is asked to")
}
