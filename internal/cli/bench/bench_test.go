package bench

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestBenchProcessesDoNotSeeTheShellsSettings(t *testing.T) {
	t.Parallel()
	require.Equal(t, []string{"HOME=/home/u", "XKEFU_A=1"},
		withoutSettings([]string{"KEFU_NATS_URL=nats://production:4222", "HOME=/home/u",
			"KEFU_CONFIG=/etc/kefu.yaml", "XKEFU_A=1"}))
}
