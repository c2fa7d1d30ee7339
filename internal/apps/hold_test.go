package apps

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kefuhq/kefu/internal/gate"
)

func TestWhatToDoAboutAHold(t *testing.T) {
	t.Parallel()
	for says, hold := range map[string]gate.Hold{
		"kefu app resume": {Kind: gate.Operator},
		"DNS":             {Kind: gate.Upstream},
		"tried again":     {Kind: gate.Config},
		"rate.per_day":    {Kind: gate.Quota, PerDay: 500_000},
		"AppSecret":       {Kind: gate.Config, Call: "token", Errcode: 40125},
	} {
		require.Contains(t, Advice([]gate.Hold{hold}), says)
	}
	require.Empty(t, Advice(nil))
}
