package worker

import (
	"sync/atomic"
	"time"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/pool"
)

// stoodStill is how long this process may give no sign of life before others may
// take it for dead and go on with what it has started: a lease after the last
// heartbeat, or AckWait after the last renewal, both up to a renewal and a beat
// before.
const stoodStill = min(pool.Lease, broker.AckWait) - broker.AckRenew - beatEvery

const beatEvery = broker.AckRenew / 4

// pulse notices that this process stood still: it was stopped and continued, or
// had no processor for long. Bulk needs no more than that: a live shard has a
// claim, which ends with the lease, but bulk goes on while there is none.
type pulse struct {
	begun time.Time    // what last counts from, on the monotonic clock
	last  atomic.Int64 // of the last beat, in nanoseconds
	stops atomic.Uint64
}

func newPulse() *pulse { return &pulse{begun: time.Now()} }

// beat is given every beatEvery.
func (p *pulse) beat(now time.Time) {
	if !p.beats(now) {
		p.stops.Add(1)
	}
	p.last.Store(int64(now.Sub(p.begun)))
}

// beats says whether the last beat is young enough at now, which must come from
// time.Now.
func (p *pulse) beats(now time.Time) bool {
	return now.Sub(p.begun)-time.Duration(p.last.Load()) < stoodStill
}

// count is how often it stood still.
func (p *pulse) count() uint64 { return p.stops.Load() }

// steady says whether it has not stood still since count was asked, nor does at
// now.
func (p *pulse) steady(count uint64, now time.Time) bool { return p.beats(now) && p.count() == count }
