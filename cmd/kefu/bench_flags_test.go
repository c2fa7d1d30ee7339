package main

import (
	"testing"

	"github.com/stretchr/testify/require"
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
		got := kefu(t, try{args: args(line)})
		require.Equal(t, exitUsage, got.code, line)
		require.Contains(t, got.err, want, line)
	}
}

func TestBenchProcessesDoNotSeeTheShellsSettings(t *testing.T) {
	t.Parallel()
	require.Equal(t, []string{"HOME=/home/u", "XKEFU_A=1"},
		withoutSettings([]string{"KEFU_NATS_URL=nats://production:4222", "HOME=/home/u", "KEFU_CONFIG=/etc/kefu.yaml", "XKEFU_A=1"}))
}
