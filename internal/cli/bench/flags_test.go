package bench_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kefuhq/kefu/internal/cli"
	"github.com/kefuhq/kefu/internal/cli/clitest"
)

func TestBenchRefusesWhatItCannotMeasure(t *testing.T) {
	t.Parallel()
	for line, want := range map[string]string{
		"bench --compare --against workers=1":    "choose one",
		"bench --against workers":                "workers=1",
		"bench --against nats=x":                 "flags of the load",
		"bench --against workers=many":           "many",
		"bench --against apps=0":                 "at least one app",
		"bench --rounds 0":                       "--rounds",
		"bench --replicas 3":                     "--nats",
		"bench --latency soon":                   "--latency",
		"bench --ledger maybe":                   `--ledger "maybe" is not one of full, off`,
		"bench --rate 5 --duration 0s":           "duration",
		"bench --apps 2 --slow-apps 2 --rate 10": "at least one must be healthy",
		"bench unexpected":                       "unexpected",
	} {
		got := clitest.Run(t, clitest.Try{Args: clitest.Args(line)})
		require.Equal(t, cli.ExitUsage, got.Code, line)
		require.Contains(t, got.Err, want, line)
	}
}
