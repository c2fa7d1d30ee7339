package gate

import (
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/broker/brokertest"
)

func TestForcedRefreshesAreThreeADayAndAMinuteApart(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)
	ago := func(ds ...time.Duration) (times []time.Time) {
		for _, d := range ds {
			times = append(times, now.Add(-d))
		}
		return times
	}
	for name, row := range map[string]struct {
		taken []time.Time
		ok    bool
		kept  int // afterwards, the new one included
	}{
		"the first":                        {nil, true, 1},
		"the second, a minute later":       {ago(time.Minute), true, 2},
		"the second, within the minute":    {ago(59 * time.Second), false, 0},
		"the third":                        {ago(3*time.Hour, 2*time.Hour), true, 3},
		"the fourth":                       {ago(3*time.Hour, 2*time.Hour, time.Hour), false, 0},
		"the fourth, when the day is over": {ago(24*time.Hour, 2*time.Hour, time.Hour), true, 3},
		"after a day":                      {ago(50*time.Hour, 30*time.Hour, 25*time.Hour), true, 1},
		"by a clock that is ahead of ours": {ago(-time.Hour), false, 0},
		"the order does not count":         {ago(time.Second, 2*time.Hour), false, 0},
	} {
		got, ok := oneMore(row.taken, now)
		require.Equal(t, row.ok, ok, name)
		require.Len(t, got, row.kept, name)
	}
}

func TestOfAPoolThatWantsToForceOneMay(t *testing.T) {
	t.Parallel()
	b := brokertest.Start(t)
	const pool = 8
	got := make(chan string, pool)
	for range pool {
		r := NewRefreshRation(b.Connect(), nil)
		go func() {
			ok, err := r.Take(t.Context(), "wx1")
			if err != nil {
				got <- err.Error()
				return
			}
			got <- strconv.FormatBool(ok)
		}()
	}
	counts := map[string]int{}
	for range pool {
		counts[brokertest.Await(t, got, "an answer")]++
	}
	require.Equal(t, map[string]int{"true": 1, "false": pool - 1}, counts)

	conn := b.Connect()
	r := NewRefreshRation(conn, nil)
	ok, err := r.Take(t.Context(), "wx2")
	require.NoError(t, err)
	require.True(t, ok, "each app has its own")

	// What was taken is kept where every worker sees it, and counts for a day.
	recent := time.Now().UTC().Add(-2 * time.Minute).Format(time.RFC3339)
	old := `["2020-01-01T00:00:00Z","` + recent + `"]`
	require.NoError(t, conn.SaveState(t.Context(),
		broker.PutState("token.wx2.forced", []byte(old), 0)))
	ok, err = r.Take(t.Context(), "wx2")
	require.NoError(t, err)
	require.True(t, ok)
	ok, err = r.Take(t.Context(), "wx2")
	require.NoError(t, err)
	require.False(t, ok)

	require.NoError(t, conn.SaveState(t.Context(),
		broker.PutState("token.wx2.forced", []byte("{"), 0)))
	_, err = r.Take(t.Context(), "wx2")
	require.ErrorContains(t, err, "the ration of token refreshes")
}
