package campaign

import (
	"fmt"
	"time"
)

// Halt says when a campaign halts by itself. The zero value never does.
type Halt struct {
	// Share of the first sends that may die, from 0 to 1; 0 for any. A wrong template must not burn
	// a million reply windows.
	Share float64 `json:"share,omitempty"`
	// Deaths in all that are too many; 0 for no such limit.
	Deaths int `json:"deaths,omitempty"`
}

// DefaultShare of the first sends may die before a campaign halts.
const DefaultShare = 0.5

const (
	// firstSends are those that are looked at before the rest is fed.
	firstSends = 200

	// trialLasts is for how long the rest waits for the ends of the first sends, when none of them
	// speaks against it. Retries take minutes.
	trialLasts = time.Minute
)

// ends are how what a campaign has fed ended so far.
type ends struct{ sent, dead, cancelled int }

func (e ends) all() int { return e.sent + e.dead + e.cancelled }

// trial is what may be fed under a rule.
type trial struct {
	halt string // why the campaign halts; "" if it does not
	room int    // rows that may be fed before the next look; -1 for any number
}

// judge looks at what became of what was fed. of is the number of rows of the campaign, fed how
// many of them were, and full since when all of the first were; zero before that. judged says that
// an operator has resumed the campaign, who has seen how the first sends ended.
func (h Halt) judge(e ends, fed, of int, full, now time.Time, judged bool) trial {
	if h.Deaths > 0 && e.dead >= h.Deaths && !judged {
		return trial{halt: fmt.Sprintf("%d messages have died, and it was to halt at %d", e.dead,
			h.Deaths)}
	}
	first := min(firstSends, of)
	if h.Share <= 0 || h.Share >= 1 || judged || fed > first {
		return trial{room: -1}
	}
	most := int(h.Share * float64(first))
	switch {
	case e.dead > most:
		return trial{halt: fmt.Sprintf("%d of the first %d messages have died, more than %.0f %%",
			e.dead, e.all(), 100*h.Share)}
	case fed < first:
		return trial{room: first - fed}
	case e.all()-e.dead >= first-most, e.all() >= first:
		return trial{room: -1} // the others cannot change it
	case e.sent > 0 && now.Sub(full) >= trialLasts:
		return trial{room: -1}
	}
	return trial{}
}
