package ledger

import "time"

// Pace is how fast a campaign's intents end.
type Pace struct {
	// Rate is how many ended per second, on average over the ten seconds up to At, or since
	// the last pause of more than about three. An intent counts at its first end.
	Rate float64 `json:"rate,omitzero"`

	// At is when the last of them ended, by the log's time, which is the broker's. It is
	// zero when there was none, and after a worker of an earlier version has written.
	At time.Time `json:"at,omitzero"`
}

// RateAt is the rate at a time: zero when nothing has ended for ten seconds. now is to
// be the broker's time, as the information on a stream has it: another clock may be
// wrong by more than that.
func (p Pace) RateAt(now time.Time) float64 {
	if p.At.IsZero() || now.Sub(p.At) > paceSeconds*time.Second {
		return 0
	}
	return p.Rate
}

const (
	// paceSeconds is over how many seconds a rate is an average.
	paceSeconds = 10
	// paceLeast is the least time that a rate speaks of: of the first moment it says nothing that
	// is of use.
	paceLeast = 2 * time.Second
	// A time without an end is a pause or an outage, which no average spans, when it is longer than
	// restMost and at least restEnds were to be expected in it.
	restMost = 3 * time.Second
	restEnds = 5
)

// recent is what it takes to know how many intents ended lately.
type recent struct {
	begun time.Time          // when the first ended that no rest follows
	last  time.Time          // when the last ended
	ends  [paceSeconds]int32 // in each of the latest seconds, by the second modulo paceSeconds
}

// add counts an end at a time. Of times that go back none is before the latest.
func (r *recent) add(at time.Time) {
	if at.Before(r.last) {
		at = r.last
	}
	second := at.Unix()
	switch passed := second - r.last.Unix(); {
	case passed >= paceSeconds, r.rested(at.Sub(r.last)):
		*r = recent{begun: at}
	default:
		for ; passed > 0; passed-- {
			r.ends[(second-passed+1)%paceSeconds] = 0
		}
	}
	r.last = at
	r.ends[second%paceSeconds]++
}

// rested says whether a time without an end is a rest: slow campaigns have such times as well.
func (r *recent) rested(gap time.Duration) bool {
	if gap <= restMost {
		return false
	}
	span := min(max(r.last.Sub(r.begun), paceLeast), paceSeconds*time.Second)
	return float64(r.sum())*gap.Seconds() >= restEnds*span.Seconds()
}

// sum is how many ended in the latest seconds.
func (r *recent) sum() (sum int32) {
	for _, n := range r.ends {
		sum += n
	}
	return sum
}

// pace is the average up to the last end.
func (r *recent) pace() Pace {
	if r.last.IsZero() {
		return Pace{}
	}
	oldest := r.last.Truncate(time.Second).Add(-(paceSeconds - 1) * time.Second)
	lasts := r.last.Sub(r.begun)
	if lasts < paceLeast {
		return Pace{At: r.last}
	}
	span := min(r.last.Sub(oldest), lasts)
	return Pace{Rate: float64(r.sum()) / span.Seconds(), At: r.last}
}
