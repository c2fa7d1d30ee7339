package worker

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kefuhq/kefu/schema"
)

func TestBulkOfASlowAppHasItsTurnBesideOneThatIsFast(t *testing.T) {
	t.Parallel()
	s := slots{total: 10, free: 10}
	fast, slow := new(slotUser), new(slotUser)
	for range s.total {
		require.True(t, s.acquire(fast, schema.LaneBulk, 0.2, time.Millisecond))
	}
	require.False(t, s.acquire(slow, schema.LaneBulk, 0.25, 10*time.Second))
	for range 100 {
		if s.release(fast, schema.LaneBulk) == slow {
			require.True(t, s.acquire(slow, schema.LaneBulk, 0.25, 10*time.Second))
			return
		}
		s.acquire(fast, schema.LaneBulk, 0.2, time.Millisecond) // it has a million more
	}
	t.Fatal("a hundred slots became free, and it was given none")
}

func TestBulkOfASlowAppBlocksNoOtherApp(t *testing.T) {
	t.Parallel()
	s := slots{total: 10, free: 10}
	slow, fast := new(slotUser), new(slotUser)
	for range 8 {
		require.True(t, s.acquire(slow, schema.LaneBulk, 0.25, 10*time.Second))
	}
	require.False(t, s.acquire(slow, schema.LaneBulk, 0.25, 10*time.Second), "the rest is live's")
	for range 2 {
		require.True(t, s.acquire(fast, schema.LaneBulk, 0.2, time.Millisecond))
	}
	require.False(t, s.acquire(fast, schema.LaneBulk, 0.2, time.Millisecond))
	require.Same(t, fast, s.release(fast, schema.LaneBulk),
		"the one that waits before it leaves this slot to live, this one need not")
}
