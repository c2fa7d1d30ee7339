package worker

import (
	"testing"

	"github.com/kefuhq/kefu/internal/pulse"
)

func TestAWorkerThatStoppedLeavesItsLastHour(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	b.api.answer = func(text string, n int) error {
		switch {
		case text == "dies":
			return apiError(40003)
		case n == 1:
			return apiError(-1) // busy: it is tried again
		}
		return nil
	}
	stop := b.start()
	b.publish(live+"o1", "i1", "first", "o1")
	b.publish(bulk+"c1", "i2", "second", "o2")
	b.publish(live+"o3", "i3", "dies", "o3")
	for range 3 {
		b.receipt()
	}
	b.NoError(stop())
	got, err := pulse.Read(t.Context(), b.conn)
	b.NoError(err)
	sums := got.Apps[appID].Hour
	b.Equal([]int{2, 1, 0, 5}, []int{sums.Sent, sums.Dead, sums.Cancelled, sums.Calls})
	b.Equal([]int{2, 1, 5}, []int{sums.Live.Count, sums.Bulk.Count, sums.Call.Count})
	b.Positive(sums.Live.P50)
}
