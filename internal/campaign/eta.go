package campaign

import (
	"math"
	"time"
)

// Speed is what bounds how fast a campaign is sent.
type Speed struct {
	PerSecond float64 // of the app, or of the campaign if that is less
	PerDay    int     // of the app; 0 for no bound
	Quiet     Quiet
}

// Takes is how long n messages take at least, from a time on. It does not know what else the app
// sends; 0 when nothing bounds it.
func (s Speed) Takes(n int, from time.Time) time.Duration {
	if n <= 0 || s.PerSecond <= 0 {
		return 0
	}
	left, at := float64(n), from
	today := s.dayBudget()
	for at.Sub(from) < longest {
		at = s.Quiet.Ends(at)
		end := nextDay(at)
		if quiet := s.Quiet.begins(at); quiet.Before(end) {
			end = quiet
		}
		sent := min(left, today, end.Sub(at).Seconds()*s.PerSecond)
		if left -= sent; left <= 0 {
			return at.Sub(from) + time.Duration(sent/s.PerSecond*float64(time.Second))
		}
		if today -= sent; today <= 0 {
			end = nextDay(at)
		}
		if at = end; at.Equal(nextDay(at.Add(-1))) {
			today = s.dayBudget()
		}
	}
	return longest
}

// longest ends a forecast that would never end.
const longest = 10 * 365 * day

func (s Speed) dayBudget() float64 {
	if s.PerDay <= 0 {
		return math.Inf(1)
	}
	return float64(s.PerDay)
}

func nextDay(at time.Time) time.Time {
	local := at.In(beijing)
	return time.Date(local.Year(), local.Month(), local.Day()+1, 0, 0, 0, 0, beijing)
}

// begins is when the next quiet hours begin; far away when there are none.
func (q Quiet) begins(at time.Time) time.Time {
	if q.IsZero() {
		return at.Add(2 * day)
	}
	local := at.In(beijing)
	begin := time.Date(local.Year(), local.Month(), local.Day(), 0, 0, 0, 0, beijing).Add(q.From)
	if begin.After(at) {
		return begin
	}
	return begin.Add(day)
}
