package app

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kefuhq/kefu/internal/apps"
	"github.com/kefuhq/kefu/internal/gate"
)

func TestAHoldThatMessagesDrewNamesThem(t *testing.T) {
	t.Parallel()
	now := time.Now()
	h := gate.Hold{
		Kind: gate.Config, Call: "send", Errcode: 40200, Since: now.Add(-time.Minute),
		Until:     now.Add(-time.Second),
		AnotherAt: now.Add(-time.Second), SameAt: now.Add(time.Hour),
		Refusals: []gate.Refusal{{ID: "order-1", Kind: "msgmenu", Answer: "errcode 40200"}},
	}
	require.Equal(t, "config for 1m, next try in 1h", heldFor([]gate.Hold{h}, now))
	require.Contains(t, apps.Advice([]gate.Hold{h}), "Only order-1 drew it so far")
	require.Equal(t, "order-1 (msgmenu)", drawnBy(h.Refusals))
	for range 6 {
		h.Refusals = append(h.Refusals, gate.Refusal{ID: "order-2"})
	}
	require.NotContains(t, apps.Advice([]gate.Hold{h}), "Only")
	require.Equal(t, "order-2, order-2, order-2, order-2, order-2, and 2 more", drawnBy(h.Refusals))
	h.AnotherAt = now.Add(4 * time.Second)
	require.Equal(t, "config for 1m, next try in 4s", heldFor([]gate.Hold{h}, now))
}
