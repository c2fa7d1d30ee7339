package worker

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kefuhq/kefu/internal/gate"
	"github.com/kefuhq/kefu/schema"
)

// quotaAPI is an API that can be asked how much of the day is left.
type quotaAPI struct {
	*fakeAPI
	left, asked atomic.Int64
}

func (q *quotaAPI) RemainingSends(context.Context) (int64, error) {
	q.asked.Add(1)
	return q.left.Load(), nil
}

func TestAUsedUpQuotaIsCheckedWithTheQuotaCall(t *testing.T) {
	t.Parallel()
	for name, left := range map[string]int64{
		"nothing left: until the platform's midnight": 0,
		"some left: until the next minute":            100,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBed(t)
			api := &quotaAPI{fakeAPI: b.api}
			api.left.Store(left)
			b.app.Sender = api
			var used atomic.Bool
			used.Store(true)
			b.api.answer = func(string, int) error {
				if used.Load() {
					return apiError(45009)
				}
				return nil
			}
			stop := b.start()
			const n = 50
			for i := range n {
				b.publish(bulk+"c", fmt.Sprint("id", i), "hello", "user1")
			}
			var hold gate.Hold
			b.await(func() bool {
				for _, a := range b.worker.current() {
					h, held := a.gate.Held()
					hold = h
					return held
				}
				return false
			})
			b.Equal(gate.Quota, hold.Kind)
			switch late := hold.Since.Sub(gate.NextDay(hold.Since).AddDate(0, 0, -1)) < resetLate; {
			case left == 0 && late: // at the hour when this test is run
				b.LessOrEqual(hold.Until.Sub(hold.Since), 61*time.Second)
			case left == 0:
				b.False(hold.Until.Before(gate.NextDay(hold.Since)), "until %s", hold.Until)
			default:
				b.LessOrEqual(hold.Until.Sub(hold.Since), 61*time.Second)
			}
			b.EqualValues(1, api.asked.Load(), "asked once for all that drew it")

			// stored waits until the hold is told, as whoever lifts it sees it.
			stored := func() {
				b.await(func() bool {
					holds, err := gate.Holds(t.Context(), b.conn)
					b.NoError(err)
					return len(holds[appID]) == 1 && holds[appID][0].Until.After(time.Now()) &&
						!holds[appID][0].Trying
				})
			}
			stored()
			if left == 0 {
				b.await(func() bool {
					a := b.worker.current()[0]
					a.mu.Lock()
					defer a.mu.Unlock()
					return a.scheduler.phase == closed
				}, "what was under way has ended")
				posts := b.posts("hello")
				b.NoError(gate.Resume(t.Context(), b.conn, appID))
				b.await(func() bool { return api.asked.Load() == 2 }, "the trial asks first")
				stored()
				b.Equal(posts, b.posts("hello"),
					"no message is spent on a trial that cannot go well")
				api.left.Store(1000)
			}
			used.Store(false)
			b.NoError(gate.Resume(t.Context(), b.conn, appID))
			for range n {
				r := b.receipt()
				b.Equal(schema.StateSent, r.State)
				b.Equal(1, r.Attempts)
			}
			b.NoError(stop())
		})
	}
}
