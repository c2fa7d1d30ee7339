package worker

import (
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestLanesShareWhatIsTakenInHand(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		busy int64 // lanes
		held int
		want int
	}{
		"an idle lane asks for the least":         {0, 0, leastAllowance},
		"and so it does beside others":            {1000, 0, leastAllowance},
		"one busy lane has all":                   {1, 1, 4096},
		"five share it":                           {5, 300, 819},
		"of hundreds each has the least at least": {1500, 3, leastAllowance},
		"a lane that is not counted yet, neither": {0, 1, 4096},
	} {
		p := prefetch{total: 4096}
		p.busy.Store(row.busy)
		require.Equal(t, row.want, p.allowance(row.held), name)
	}
}

func TestALaneThatIsEmptyAgainTakesNoShare(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	stop := b.start()
	for i := range 50 {
		b.publish(bulk+"c1", "bulk-"+strconv.Itoa(i), "hello", "user1")
		b.publish(live+"user"+strconv.Itoa(i), "live-"+strconv.Itoa(i), "hello",
			"user"+strconv.Itoa(i))
	}
	for range 100 {
		b.receipt()
	}
	b.Eventually(func() bool { return b.worker.prefetch.busy.Load() == 0 },
		patience, 5*time.Millisecond)
	b.NoError(stop())
}
