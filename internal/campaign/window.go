package campaign

import (
	"time"

	"github.com/kefuhq/kefu/internal/pool"
)

// Room is how much of a campaign the app's queue is to hold.
type Room struct {
	PerSecond float64 // of the app: more is never sent
	Most      int     // intents of one campaign that may be queued at a time
}

const (
	// windowLeast is how much is queued at least, in time: workers that find nothing lose their
	// turn.
	windowLeast = 600 * time.Millisecond
	// windowMost is for a broker, or an API, whose answers are slow. What is queued cannot be paused.
	windowMost = 5 * time.Second
)

// window is how many intents of a campaign may be queued, when cycle passes between two looks and a
// call of the API takes so long. Enough is queued that the workers never wait for the next look, and
// no more: it is what a pause comes too late for. What is in flight is queued as well.
func (r Room) window(perSecond float64, cycle, call time.Duration) int {
	rate := r.PerSecond
	if perSecond > 0 && (rate <= 0 || perSecond < rate) {
		rate = perSecond
	}
	most := max(r.Most, 1)
	if rate <= 0 {
		return most
	}
	worth := min(max(windowLeast, 3*cycle)+call, windowMost)
	return min(max(int(rate*worth.Seconds()), 1), most)
}

// callTime is how long a call of an app's takes, by what its workers do; 0 when none sends.
func callTime(workers []pool.Worker, appID string) time.Duration {
	var does pool.Activity
	for _, w := range workers {
		does.Add(w.Status.Apps[appID])
	}
	if does.PerSecond <= 0 {
		return 0
	}
	seconds := min(float64(does.InFlight)/does.PerSecond, windowMost.Seconds())
	return time.Duration(seconds * float64(time.Second))
}
