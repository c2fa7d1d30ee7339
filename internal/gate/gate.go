// Package gate answers one question: may this app send now? It knows the app's
// rate, the lanes' shares of it, and whether the app is held.
//
// A Gate belongs to one app in one worker. Permission comes before anything
// else: an intent is started only with a Permission in hand, so that nothing
// waits for rate in a slot and a held app occupies nothing.
//
// A hold is shared by the pool through KEFU_STATE (Keeper). One that the
// platform or the network drew ends by a trial: when its time has come a single
// intent is let through, and only its success opens the gate. An operator's
// hold is lifted by an operator only.
//
//	g := keeper.App("wx…", gate.Rate{PerSecond: 100, Burst: 20})
//	p, wait := g.Permit(schema.Live, time.Now())
package gate

import (
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/kefuhq/kefu/schema"
)

// Rate is an app's budget.
type Rate struct {
	PerSecond   float64 // sends a second on average; 0 for no limit
	Burst       int     // sends at once after a pause; at least 1
	PerDay      int64   // sends a platform day; 0 for no limit
	LiveReserve float64 // 0..1: part of the burst that bulk leaves to live
}

// Permission is the right to make one call.
type Permission struct {
	OK    bool
	Trial bool // the one intent that tries whether a hold is over
}

// Gate is one app's. All methods are safe for concurrent use.
type Gate struct {
	appID string
	share func(g *Gate, operator bool) // tells the pool what stored says, now or soon

	mu       sync.Mutex
	limiter  *rate.Limiter
	rate     Rate
	hold     *Hold // quota, config or upstream
	operator *Hold
	trial    bool // the trial's intent is under way
	day      time.Time
	today    int64
	changed  func()
}

func newGate(appID string, r Rate, share func(*Gate, bool)) *Gate {
	limit := rate.Inf
	if r.PerSecond > 0 {
		limit = rate.Limit(r.PerSecond)
	}
	r.Burst = max(r.Burst, 1)
	return &Gate{appID: appID, share: share, limiter: rate.NewLimiter(limit, r.Burst), rate: r, changed: func() {}}
}

// OnChange has f called after each begin and end of a hold, from any
// goroutine; it must not block.
func (g *Gate) OnChange(f func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.changed = f
}

// Permit gives the right to make one call in a lane now, or says after which
// time it is worth to ask again (0: when OnChange is called).
func (g *Gate) Permit(lane schema.Lane, now time.Time) (Permission, time.Duration) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.operator != nil {
		return Permission{}, 0
	}
	if g.hold != nil {
		if wait := g.hold.Until.Sub(now); wait > 0 {
			return Permission{}, wait
		}
		if g.trial {
			return Permission{}, 0
		}
	}
	if wait := g.spend(lane, now); wait > 0 {
		return Permission{}, wait
	}
	g.trial = g.hold != nil
	return Permission{OK: true, Trial: g.trial}, 0
}

// spend takes one send out of the budget.
func (g *Gate) spend(lane schema.Lane, now time.Time) time.Duration {
	if g.rate.PerDay > 0 {
		if end := NextDay(now); !end.Equal(g.day) {
			g.day, g.today = end, 0
		}
		if g.today >= g.rate.PerDay {
			return g.day.Sub(now)
		}
	}
	if limit := g.limiter.Limit(); limit != rate.Inf {
		// Bulk takes only what leaves live its share of the burst: when live is
		// idle the bucket is full and bulk has the whole rate.
		need := 1.0
		if lane == schema.Bulk {
			need = min(1+g.rate.LiveReserve*float64(g.rate.Burst), float64(g.rate.Burst))
		}
		if have := g.limiter.TokensAt(now); have < need {
			return time.Duration((need-have)/float64(limit)*float64(time.Second)) + time.Microsecond
		}
		g.limiter.AllowN(now, 1)
	}
	g.today++
	return 0
}

// Held returns the hold that is in force: an operator's before any other. One
// whose time has come is still a hold until its trial went well.
func (g *Gate) Held() (Hold, bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.heldLocked()
}

func (g *Gate) heldLocked() (Hold, bool) {
	switch {
	case g.operator != nil:
		return *g.operator, true
	case g.hold != nil:
		return *g.hold, true
	}
	return Hold{}, false
}

// Closed says whether nothing may be sent at now, a trial aside: what was
// pulled before must be given back.
func (g *Gate) Closed(now time.Time) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.operator != nil || g.hold != nil && now.Before(g.hold.Until)
}

// Trying says whether the app is held but for one intent that may try.
func (g *Gate) Trying(now time.Time) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.operator == nil && g.hold != nil && !now.Before(g.hold.Until)
}

// Hold closes the gate for the whole pool. hint is when the platform itself
// says that it ends (zero: unknown). Of several intents that draw the same
// hold at once the first counts; a trial that draws it again makes the pause
// longer.
func (g *Gate) Hold(h Hold, p Permission, hint, now time.Time) {
	g.mu.Lock()
	if h.Kind == Operator {
		g.operator = &h
	} else {
		if g.hold != nil && !p.Trial {
			g.mu.Unlock()
			return // drawn by one that was under way already
		}
		h.Since, h.Tries = now, 0
		if g.hold != nil && g.hold.Kind == h.Kind {
			h.Since, h.Tries = g.hold.Since, g.hold.Tries+1
		}
		h.Until = nextTry(h.Kind, h.Tries, now, hint)
		g.hold = &h
		g.trial = false
	}
	changed := g.changed
	g.mu.Unlock()
	g.share(g, h.Kind == Operator)
	changed()
}

// Done gives a permission back after use. reached says that the API answered
// in a way that is no reason to hold: it ends a trial well. Without that (no
// call was made) the trial is left to the next intent.
func (g *Gate) Done(p Permission, reached bool) {
	if !p.Trial {
		return
	}
	g.mu.Lock()
	if !g.trial {
		g.mu.Unlock()
		return
	}
	g.trial = false
	ended := reached && g.hold != nil
	if ended {
		g.hold = nil
	}
	changed := g.changed
	g.mu.Unlock()
	if ended {
		g.share(g, false)
	}
	changed()
}

// stored is the hold as the pool is to know it; nil for none.
func (g *Gate) stored(operator bool) *Hold {
	g.mu.Lock()
	defer g.mu.Unlock()
	if operator {
		return g.operator
	}
	return g.hold
}

// learn takes over what another worker or an operator wrote.
func (g *Gate) learn(operator bool, h *Hold, now time.Time) {
	g.mu.Lock()
	switch {
	case operator:
		g.operator = h
	case h != nil:
		if g.hold == nil || h.Until.After(g.hold.Until) || h.Asked.After(g.hold.Asked) {
			g.hold, g.trial = h, false
		}
	case g.hold != nil:
		// Somebody lifted it: one intent first, the rest after its success. Should
		// it fail, the pauses begin anew.
		lifted := *g.hold
		lifted.Until, lifted.Tries = now, 0
		g.hold = &lifted
	}
	changed := g.changed
	g.mu.Unlock()
	changed()
}
