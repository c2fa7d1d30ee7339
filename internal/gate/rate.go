package gate

import (
	"time"

	"golang.org/x/time/rate"

	"github.com/kefuhq/kefu/schema"
)

// Rate is an app's budget.
type Rate struct {
	PerSecond float64 // sends a second on average; 0 for no limit
	Burst     int     // sends at once after a pause; at least 1
	PerDay    int64   // sends a platform day; 0 for no limit

	// LiveReserve is the part of the burst, 0 to 1, that bulk leaves to live. The worker keeps the
	// same part of its slots for live.
	LiveReserve float64
}

// SetRate changes the budget. A hold because the day's budget was used up ends at once by a trial
// if that budget is larger now, or without limit.
func (g *Gate) SetRate(r Rate) {
	g.mu.Lock()
	g.setRate(r)
	lifted, onChange := g.liftIfRaised(), g.onChange
	g.mu.Unlock()
	if lifted {
		g.shareHold(g, false)
		onChange()
	}
}

// setRate is SetRate but for the hold. g.mu is held.
func (g *Gate) setRate(r Rate) {
	r.Burst = max(r.Burst, 1)
	g.rate = r
	g.daily.set(r.PerDay)
	if r.PerSecond <= 0 {
		if g.budget != nil {
			g.budget.release()
		}
		g.budget, g.limiter = nil, nil
		return
	}
	switch {
	case g.pool == nil:
		g.limiter = rate.NewLimiter(rate.Limit(r.PerSecond), r.Burst)
	case g.budget == nil:
		g.budget = newBudget(g.pool, g.appID, r, g.log, g.notify)
	default:
		g.budget.set(r)
	}
}

// reserveRate makes sure of the rate for one send. If there is none, wait is how long it is until
// there may be some; 0 if notify tells. g.mu is held.
func (g *Gate) reserveRate(lane schema.Lane, now time.Time) (ok bool, wait time.Duration) {
	switch {
	case g.budget != nil:
		return g.budget.reserve(lane, now)
	case g.limiter == nil:
		return true, 0
	}
	// Without a pool: what it leaves to live is in account.grant. Bulk takes only what leaves live
	// its share of the burst: when live is idle the bucket is full and bulk has the whole rate.
	need := 1.0
	if lane == schema.LaneBulk {
		need = min(1+g.rate.LiveReserve*float64(g.rate.Burst), float64(g.rate.Burst))
	}
	if have := g.limiter.TokensAt(now); have < need {
		missing := (need - have) / g.rate.PerSecond
		return false, time.Duration(missing*float64(time.Second)) + time.Microsecond
	}
	g.limiter.AllowN(now, 1)
	return true, 0
}

// Leave is asked right before each request of a call leaves, the first and any that follows it. It
// returns nil if the request may leave at once, else the turn to wait for.
func (g *Gate) Leave(p *Permission, lane schema.Lane) *Turn {
	g.mu.Lock()
	b := g.budget
	g.mu.Unlock()
	reserved := p.budget
	p.budget = nil
	switch {
	case reserved != nil && reserved == b:
		if !p.Trial { // which looks at more than other requests do
			b.delay.add(b.common.clock.now().Sub(p.at))
		}
		return b.leave(lane, true)
	case reserved != nil: // the limit was lifted or made anew meanwhile
		reserved.unreserve()
	}
	if b == nil {
		return nil
	}
	return b.leave(lane, false)
}
