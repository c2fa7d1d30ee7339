package publisher

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestTheFasterWayIsChosen(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		broker        string
		single, batch time.Duration // of one message
		want          bool          // batches
	}{
		{"syncs now and then", 20 * time.Microsecond, 40 * time.Microsecond, false},
		{"syncs each write", 120 * time.Microsecond, 40 * time.Microsecond, true},
		{"takes no batches", 20 * time.Microsecond, 20 * time.Microsecond, false},
	} {
		t.Run("when the broker "+row.broker, func(t *testing.T) {
			t.Parallel()
			var w ways
			singles, batches := 0, 0
			publish := func(times int) {
				for range times {
					batch, n := w.choose(maxBatchMessages)
					if batch {
						batches += n
						w.note(batch, n, time.Duration(n)*row.batch)
					} else {
						singles += n
						w.note(batch, n, time.Duration(n)*row.single)
					}
				}
			}
			publish(2)
			require.Equal(t, []int{sampled, maxBatchMessages}, []int{singles, batches},
				"both are tried")
			publish(10 * sampledEvery)
			if row.want {
				require.Greater(t, batches, 100*singles)
			} else {
				require.Greater(t, singles, 40*batches)
			}

			row.single, row.batch = 3*row.batch, row.single/3
			publish(sampledEvery)
			singles, batches = 0, 0
			publish(sampledEvery / 2)
			require.Equal(t, 0, singles, "a broker that changes is noticed")
		})
	}
}

func TestAFewTellNothingOfTheWays(t *testing.T) {
	t.Parallel()
	var w ways
	w.note(false, minBatch-1, time.Hour)
	batch, n := w.choose(maxBatchMessages)
	require.False(t, batch)
	require.Equal(t, sampled, n)
}
