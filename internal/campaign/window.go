package campaign

import "time"

// Room is how much of a campaign the app's queue is to hold.
type Room struct {
	PerSecond float64 // of the app: more is never sent
	Most      int     // intents of one campaign that may be queued at a time
}

const (
	// windowLeast is how much is queued at least, in time: workers that find nothing lose their
	// turn.
	windowLeast = 600 * time.Millisecond
	// windowMost is for a broker whose answers are slow. What is queued cannot be paused.
	windowMost = 5 * time.Second
)

// window is how many intents of a campaign may be queued, when cycle passes between two looks.
// Enough is queued that the workers never wait for the next look, and no more: it is what a pause
// comes too late for.
func (r Room) window(perSecond float64, cycle time.Duration) int {
	rate := r.PerSecond
	if perSecond > 0 && (rate <= 0 || perSecond < rate) {
		rate = perSecond
	}
	most := max(r.Most, 1)
	if rate <= 0 {
		return most
	}
	worth := min(max(windowLeast, 3*cycle), windowMost)
	return min(max(int(rate*worth.Seconds()), 1), most)
}
