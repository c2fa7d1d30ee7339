package overview

import "time"

// usage is what a forecast of a day's budget goes by.
type usage struct {
	left      int64   // of the budget
	perSecond float64 // sent in the last one or two minutes, or in five if that is more
	queued    uint64  // and not held
	budget    float64 // rate.per_second; 0: no limit
}

// usedUpAt is when a budget will be used up if it goes on as it does; nil when it lasts until it
// begins anew. What is queued goes at the present rate or, if nothing is sent yet, at the app's
// own; behind the queue as much is taken to follow as in the last minutes.
func (u usage) usedUpAt(now, resets time.Time) *time.Time {
	if u.left <= 0 {
		return &now
	}
	rate := u.perSecond
	if rate <= 0 {
		if rate = u.budget; rate <= 0 || uint64(u.left) > u.queued {
			return nil
		}
	}
	seconds := float64(u.left) / rate
	if seconds >= resets.Sub(now).Seconds() {
		return nil
	}
	at := now.Add(time.Duration(seconds * float64(time.Second)))
	return &at
}
