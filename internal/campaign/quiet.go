package campaign

import (
	"fmt"
	"strings"
	"time"
)

// Quiet are the hours of each day in which a campaign is not fed, by Beijing time, in which the
// API counts days as well. The zero value has none.
type Quiet struct {
	From  time.Duration `json:"from"` // since midnight
	Until time.Duration `json:"until"`
}

// beijing has known no other time since 1991.
var beijing = time.FixedZone("Beijing", 8*60*60)

const day = 24 * time.Hour

// ParseQuiet reads "22:00-08:00".
func ParseQuiet(s string) (Quiet, error) {
	from, until, ok := strings.Cut(s, "-")
	var q Quiet
	var err, err2 error
	q.From, err = clock(from)
	q.Until, err2 = clock(until)
	switch {
	case !ok, err != nil, err2 != nil:
		return Quiet{}, fmt.Errorf("%q must be two times of the day, such as 22:00-08:00", s)
	case q.From == q.Until:
		return Quiet{}, fmt.Errorf("%q ends when it begins: no time is left to send", s)
	}
	return q, nil
}

func clock(s string) (time.Duration, error) {
	t, err := time.Parse("15:04", strings.TrimSpace(s))
	return time.Duration(t.Hour())*time.Hour + time.Duration(t.Minute())*time.Minute, err
}

// IsZero says whether there are no quiet hours.
func (q Quiet) IsZero() bool { return q.From == q.Until }

// String is what ParseQuiet reads; "" when there are none.
func (q Quiet) String() string {
	if q.IsZero() {
		return ""
	}
	of := func(d time.Duration) string {
		return fmt.Sprintf("%02d:%02d", int(d.Hours()), int(d.Minutes())%60)
	}
	return of(q.From) + "-" + of(q.Until)
}

// Ends is when the quiet hours end that it is in at a time; the time itself when it is in none.
func (q Quiet) Ends(now time.Time) time.Time {
	if q.IsZero() {
		return now
	}
	local := now.In(beijing)
	midnight := time.Date(local.Year(), local.Month(), local.Day(), 0, 0, 0, 0, beijing)
	since := local.Sub(midnight)
	switch {
	case q.From < q.Until && since >= q.From && since < q.Until:
		return midnight.Add(q.Until)
	case q.From > q.Until && since >= q.From:
		return midnight.Add(day + q.Until)
	case q.From > q.Until && since < q.Until:
		return midnight.Add(q.Until)
	}
	return now
}
