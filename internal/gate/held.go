package gate

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"time"
)

// Held returns the hold that is in force: an operator's before any other. One whose time has come
// is still a hold until its trial went well.
func (g *Gate) Held() (Hold, bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.heldLocked()
}

// heldLocked is Held. g.mu is held.
func (g *Gate) heldLocked() (Hold, bool) {
	switch {
	case g.operator != nil:
		return *g.operator, true
	case g.hold != nil:
		return *g.hold, true
	}
	return Hold{}, false
}

// nextTry is when this worker may try the hold. g.mu is held.
func (g *Gate) nextTry() time.Time { return g.hold.first().Add(g.stagger) }

// NextTry is when the hold in force may be tried here; zero when there is none, or when an operator
// has to lift it.
func (g *Gate) NextTry() time.Time {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.operator != nil || g.hold == nil {
		return time.Time{}
	}
	return g.nextTry()
}

// Closed says whether nothing may be sent at now, a trial aside: what was pulled before must be
// given back.
func (g *Gate) Closed(now time.Time) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.operator != nil || g.hold != nil && now.Before(g.nextTry()) && !g.dayRemains(now)
}

// Revoked says whether a permission is worth nothing at now: the app is held, and this is not the
// trial.
func (g *Gate) Revoked(p Permission, now time.Time) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.operator != nil || g.hold == nil {
		return g.operator != nil
	}
	return (!p.Trial || now.Before(g.nextTry())) && !g.dayRemains(now)
}

// Trying says whether the app is held but for one intent that may try.
func (g *Gate) Trying(now time.Time) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.operator == nil && g.hold != nil && !now.Before(g.nextTry())
}

// Hold closes the gate for the whole pool. hint is when the platform itself says that it ends
// (zero: unknown). h.Refusals is the message whose answer caused it, noted with NoteRefusal before;
// none if it was no answer to a message. Of several intents that cause the same hold at once the
// first counts, and a trial that causes it again makes the pause longer:
//
//	1 is refused: hold, tried in 1 s     2 was under way, is refused: noted, nothing changes
//	3, the trial, is refused: hold, tried in 2 s
func (g *Gate) Hold(h Hold, p Permission, hint, now time.Time) {
	g.mu.Lock()
	// A hold because the day's budget is used up does not count here: what remained of the budget
	// may meet another reason to hold.
	switch known := g.hold != nil && g.hold.PerDay == 0; {
	case h.Kind == Operator:
		g.operator = &h
	case known && !p.Trial: // caused by one that was under way already
		if len(h.Refusals) == 0 || len(g.hold.Refusals) == 0 {
			g.mu.Unlock()
			return
		}
		more := *g.hold
		more.Refusals = g.refusals.newest(false, mostShared)
		g.hold = &more
		if more.Trying { // the word on it is that of the worker who tries it
			g.mu.Unlock()
			return
		}
	default:
		h.Since, h.Tries = now.Round(0), 0
		if known && g.hold.Kind == h.Kind {
			h.Since, h.Tries, h.Others = g.hold.Since, g.hold.Tries, g.hold.Others
			if !g.hold.early(now) { // its end was not what was tried
				h.Tries++
			}
			for _, d := range h.Refusals {
				if !caused(*g.hold, d.ID) {
					h.Others++
				}
			}
		}
		if len(h.Refusals) > 0 {
			h.Refusals = g.refusals.newest(false, mostShared)
		}
		h.schedule(now, hint)
		g.hold, g.stagger = &h, 0
		g.trial = false
	}
	onChange := g.onChange
	g.mu.Unlock()
	g.shareHold(g, h.Kind == Operator)
	onChange()
}

// caused says whether a message is among those whose refusal caused a hold.
func caused(h Hold, id string) bool {
	return slices.ContainsFunc(h.Refusals, func(r Refusal) bool { return r.ID == id })
}

// holdForDay holds the app until the end of a day whose budget is used up. It takes the place of a
// hold that there is nothing left to try with. g.mu is held.
func (g *Gate) holdForDay(day, now time.Time) {
	h := Hold{
		Kind: Quota, PerDay: g.rate.PerDay, Since: now, Until: day.Add(daySlack),
		Reason: fmt.Sprintf("the app's own budget of a day is used up: rate.per_day is %d",
			g.rate.PerDay),
	}
	if g.pool != nil {
		h.By = g.pool.by
	}
	if g.hold != nil && g.hold.PerDay > 0 {
		h.Since = g.hold.Since
	} else {
		g.log.Warn("app held", "app", g.appID, "kind", h.Kind, "why", h.Reason)
	}
	g.hold, g.stagger = &h, 0
}

// dayRemains says whether a hold because the day's budget is used up leaves something to do here:
// part of it is in hand, or may come back. g.mu is held.
func (g *Gate) dayRemains(now time.Time) bool {
	return g.hold.PerDay > 0 && g.rate.PerDay > 0 && g.daily.remains(now)
}

// liftIfRaised has a hold because the day's budget is used up tried at once, here and in the pool,
// if that budget is larger now. g.mu is held.
func (g *Gate) liftIfRaised() bool {
	if g.hold == nil || g.hold.PerDay == 0 || g.rate.PerDay > 0 && g.rate.PerDay <= g.hold.PerDay {
		return false
	}
	lifted := *g.hold
	lifted.atOnce(lifted.Since) // past, whatever this machine's clock says
	lifted.Asked, lifted.Trying = time.Now().UTC(), false
	g.hold, g.stagger = &lifted, 0
	return true
}

// sharedHold is the hold as the pool is to know it; nil for none.
func (g *Gate) sharedHold(operator bool) *Hold {
	g.mu.Lock()
	defer g.mu.Unlock()
	if operator {
		return g.operator
	}
	if g.trial && g.hold != nil {
		h := *g.hold
		h.Trying, h.Until = true, time.Now().Round(0).Add(trialLease)
		return &h
	}
	return g.hold
}

// apply takes over what another worker or an operator wrote.
func (g *Gate) apply(operator bool, h *Hold, now time.Time) {
	g.mu.Lock()
	if h != nil && len(h.Refusals) > 0 {
		g.anyRefusals.Store(true)
		g.refusals.merge(h.Refusals, false)
	}
	switch {
	case operator:
		g.operator = h
	case h != nil:
		// Of two workers that begin a hold at once the longer pause counts; when a trial ends, the
		// word of the worker that made it.
		if g.hold == nil || h.Trying || g.hold.Trying ||
			h.Until.After(g.hold.Until) || h.Asked.After(g.hold.Asked) {
			g.hold, g.trial = h, false
			g.stagger = staggerLeast + rand.N(staggerMost-staggerLeast)
			g.daily.askAgain()
		}
	case g.hold != nil && g.hold.Trying:
		g.hold, g.trial = nil, false // another worker's trial went well, and ends one of ours
	case g.hold != nil:
		// Somebody lifted it: one intent first, the rest after its success. Should it fail, the
		// pauses begin anew.
		lifted := *g.hold
		lifted.atOnce(now.Round(0))
		lifted.Tries, lifted.Others, lifted.Trying = 0, 0, false
		g.hold = &lifted
		g.stagger = rand.N(staggerMost)
		g.daily.askAgain()
	}
	onChange := g.onChange
	g.mu.Unlock()
	onChange()
}

// Choice says which intents may try the hold in force, if messages caused it and the first of them
// may at now.
func (g *Gate) Choice(now time.Time) (Choice, bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.operator != nil || g.hold == nil || len(g.hold.Refusals) == 0 || now.Before(g.nextTry()) {
		return Choice{}, false
	}
	c := Choice{
		ids: make(map[string]bool), kinds: make(map[string]bool),
		unnamed: g.hold.Kind == Config,
	}
	for _, d := range g.refusals.newest(false, mostRefusals) {
		c.ids[d.ID], c.kinds[d.Kind] = true, true
	}
	for r := range c.from {
		c.from[r] = g.hold.from(Rank(r)).Add(g.stagger)
	}
	return c, true
}

// NoteRefusal notes that a message was refused with an answer that speaks of the whole app, and
// returns what the app's other messages say about it.
func (g *Gate) NoteRefusal(d Refusal, now time.Time) Standing {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.anyRefusals.Store(true)
	return g.refusals.note(d, now)
}

// HasRefusals says whether a message that is sent may prove something about those that were
// refused.
func (g *Gate) HasRefusals() bool { return g.anyRefusals.Load() }

// Forget drops what an intent that has ended was refused with.
func (g *Gate) Forget(id string) {
	if !g.anyRefusals.Load() {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.refusals.forget(id)
	g.anyRefusals.Store(g.refusals.any())
}

// selective is what the pool is to know of answers with which only some messages are refused.
func (g *Gate) selective() Selective {
	g.mu.Lock()
	defer g.mu.Unlock()
	return Selective{
		Answers:  maps.Clone(g.refusals.known),
		Refusals: g.refusals.newest(true, mostShared),
	}
}

// learnSelective takes over what another worker knows of answers with which only some messages are
// refused.
func (g *Gate) learnSelective(s Selective) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.anyRefusals.Store(true)
	for answer, k := range s.Answers {
		g.refusals.know(answer, k)
	}
	g.refusals.merge(s.Refusals, true)
}
