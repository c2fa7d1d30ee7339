package ledger

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/broker/brokertest"
)

func TestACampaignIsNamedOnce(t *testing.T) {
	t.Parallel()
	conn := brokertest.Start(t).Connect()
	now := time.Now().UTC()
	save := func(app, name string, at time.Time) {
		t.Helper()
		require.NoError(t, SaveName(t.Context(), conn, app, name, at))
	}
	named := func(want ...Named) {
		t.Helper()
		got, err := Names(t.Context(), conn, "wx1")
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
	stored := func() uint64 {
		t.Helper()
		e, err := conn.LastState(t.Context(), nameKey("wx1", "summer"))
		require.NoError(t, err)
		return e.Seq
	}

	named([]Named{}...)
	save("wx1", "summer", now)
	save("wx1", "a-later-one", now.Add(time.Second))
	save("wx11", "another-apps", now)
	summer := Named{Name: "summer", FirstAt: now}
	later := Named{Name: "a-later-one", FirstAt: now.Add(time.Second)}
	named(summer, later)

	seq := stored()
	save("wx1", "summer", now.Add(100*24*time.Hour))
	require.Equal(t, seq, stored(), "it stands there")
	save("wx1", "summer", now.Add(201*24*time.Hour))
	require.Greater(t, stored(), seq, "it must not expire while it is met")
	named(summer, later)

	// It was removed, or expired.
	require.NoError(t, conn.SaveState(t.Context(), broker.DeleteState(nameKey("wx1", "summer"))))
	named(later)
	save("wx1", "summer", now.Add(2*time.Second))
	named(later, Named{Name: "summer", FirstAt: now.Add(2 * time.Second)})

	// Somebody has written what is not kefu's.
	broken := broker.PutState(nameKey("wx1", "broken"), []byte("x"), 0)
	require.NoError(t, conn.SaveState(t.Context(), broken))
	got, err := Names(t.Context(), conn, "wx1")
	require.NoError(t, err)
	require.Len(t, got, 3)
}
