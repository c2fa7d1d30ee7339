package wire_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kefuhq/kefu/internal/wire"
	"github.com/kefuhq/kefu/schema"
)

func TestAFilterNamesItsAppAndLeavesTheRestOpen(t *testing.T) {
	t.Parallel()
	for want, filter := range map[string]string{
		"kefu.*.wx1.bulk.*":      wire.LaneFilter("wx1", schema.LaneBulk, wire.AnyToken),
		"kefu.*.wx1.bulk.summer": wire.LaneFilter("wx1", schema.LaneBulk, "summer"),
		"kefu.*.wx1.live.3.*":    wire.LaneFilter("wx1", schema.LaneLive, "3", wire.AnyToken),
		"kefu.*.wx1.live.*.o":    wire.LaneFilter("wx1", schema.LaneLive, wire.AnyToken, "o"),
		"kefu.again.wx1.>":       wire.AgainFilter("wx1"),
		"kefu.later.wait.wx1.*":  wire.LaterWaitFilter("wx1"),
		"kefu.dead.wx1.*":        wire.DeadFilter("wx1", wire.AnyToken),
		"kefu.dead.*.expired":    wire.DeadFilter(wire.AnyToken, "expired"),
		"kefu.receipt.wx1.*":     wire.ReceiptFilter("wx1"),
	} {
		require.Equal(t, want, filter)
	}
	require.Equal(t, []string{
		"kefu.send.wx1.live.*", "kefu.again.wx1.live.*",
		"kefu.send.wx1.bulk.*", "kefu.again.wx1.bulk.*",
	}, wire.SendSubjects("wx1"))
}

func TestWhoWroteASubjectIsReadFromIt(t *testing.T) {
	t.Parallel()
	require.Equal(t, "w1", wire.LedgerWorker(wire.LedgerSubject("w1")))
	require.True(t, wire.IsAgain("kefu.again.wx1.live.o"))
	require.False(t, wire.IsAgain("kefu.send.wx1.live.o"))
	require.False(t, wire.IsAgain(""))
}
