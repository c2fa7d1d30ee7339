// Package gate answers one question: may this app send now? It knows the app's
// rate, the lanes' shares of it, and whether the app is held.
//
// A Gate belongs to one app in one worker. Permission comes before anything
// else: an intent is started only with a Permission in hand, so that a held app
// occupies nothing and little waits for rate in a slot. It reserves rate for a
// request; the rate is taken when the request leaves (Leave), however long ledger
// and token took. So what could not be sent costs none of it, and what was held
// up together does not leave at once.
//
// A rate is the pool's. Each send has a slot, an instant of its own on the
// broker's clock; workers take slots in chunks of 50 ms from an account that
// all share (account.go has the rules, budget.go fetches), twenty writes a
// second for a busy app and none for an idle one. Where the broker's answers take
// longer than that, chunks are larger and are asked for earlier (trip.go measures),
// so the rate does not depend on the distance. The whole rate goes to whoever
// has the work, a second never holds more than the rate and the burst, and a
// worker that is killed takes 100 ms of the rate with it, or four round trips.
// While the broker is away what is in hand is used up, then nothing is sent. x/time/rate stands
// behind it, against our own mistakes. A day's budget is taken in larger blocks
// from a key that outlives workers and broker (day.go); used up, it is a hold
// until the platform's midnight.
//
// A hold is shared by the pool through KEFU_STATE (Keeper). One that the
// platform or the network drew ends by a trial: when its time has come a single
// intent is let through in the whole pool, and only its success opens the gate.
// An operator's hold is lifted by an operator only.
//
// A hold that the answer to a message drew may be about that message only.
// Therefore its trial is another one as long as another one can be had (Choice),
// and the gate remembers who was refused with what since a message was sent
// (Drew, draws.go): that tells whoever decides an account that is limited from a
// message that is bad.
//
//	g := keeper.App("wx…", gate.Rate{PerSecond: 100, Burst: 20})
//	p, wait := g.Permit(schema.LaneLive, time.Now())
//	… // the ledger, the token
//	if turn := g.Leave(&p, schema.LaneLive); turn != nil {
//		<-turn.Ready()
//	}
//	… // the request
//	g.Done(p, true)
package gate

import (
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"github.com/kefuhq/kefu/schema"
)

// Rate is an app's budget.
type Rate struct {
	PerSecond   float64 // sends a second on average; 0 for no limit
	Burst       int     // sends at once after a pause; at least 1
	PerDay      int64   // sends a platform day; 0 for no limit
	LiveReserve float64 // 0..1: part of the burst that bulk leaves to live; the worker keeps slots by it too
}

// Permission is the right to make one call: to begin it, that is. Right before
// its request leaves, Leave says whether the rate allows that now.
type Permission struct {
	OK    bool
	Trial bool   // the one intent that tries whether a hold is over
	Used  bool   // for the caller to set: a request may have left
	Sent  bool   // for the caller to set: the message was sent
	What  string // likewise, if Suspects: of which kind it was, as in Draw.What

	turn   uint64    // of the last draw before it was given
	day    time.Time // the end of the day whose budget it is of; zero: of none
	budget *budget   // where a slot of the rate is reserved for it; nil: nowhere, or it has left
	at     time.Time // when it was given
}

// Gate is one app's. All methods are safe for concurrent use.
type Gate struct {
	appID string
	share func(g *Gate, operator bool) // tells the pool what stored says, now or soon
	teach func(g *Gate)                // likewise, what selective says
	pool  *sharing
	log   *slog.Logger

	mu       sync.Mutex
	limiter  *rate.Limiter // where there is nobody to share a rate with; nil: no limit
	rate     Rate
	hold     *Hold         // quota, config or upstream
	stagger  time.Duration // how long after its Until this worker tries it
	operator *Hold
	trial    bool // the trial's intent is under way
	draws    draws
	drawn    atomic.Bool // there are any: looked at for each message
	taught   time.Time   // when the pool was told of them last
	budget   *budget     // the pool's rate; nil: no limit, or nobody to share it with
	daily    daily
	changed  func()
}

// newGate makes a gate; pool is nil when there is nobody to share a budget with.
func newGate(appID string, r Rate, share func(*Gate, bool), pool *sharing, log *slog.Logger) *Gate {
	g := &Gate{appID: appID, share: share, teach: func(*Gate) {}, pool: pool, log: log, changed: func() {}}
	g.daily = daily{pool: pool, key: dayKey(appID), log: log, arrived: g.tell}
	g.SetRate(r)
	return g
}

// SetRate changes the budget. A hold for want of a day's budget that is larger
// now, or without limit, ends at once by a trial.
func (g *Gate) SetRate(r Rate) {
	g.mu.Lock()
	g.setRate(r)
	lifted, changed := g.outgrow(), g.changed
	g.mu.Unlock()
	if lifted {
		g.share(g, false)
		changed()
	}
}

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
		g.budget = newBudget(g.pool, g.appID, r, g.log, g.tell)
	default:
		g.budget.set(r)
	}
}

// tell says that it is worth to ask again.
func (g *Gate) tell() {
	g.mu.Lock()
	changed := g.changed
	g.mu.Unlock()
	changed()
}

// OnChange has f called after each begin and end of a hold, and when the pool's
// budget gave what Permit was refused, from any goroutine; it must not block.
func (g *Gate) OnChange(f func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.changed = f
}

// Permit gives the right to make one call in a lane now, or says after which
// time it is worth to ask again (0: when OnChange is called).
func (g *Gate) Permit(lane schema.Lane, now time.Time) (Permission, time.Duration) {
	g.mu.Lock()
	p, wait, drawn := g.permit(lane, now)
	changed := g.changed
	g.mu.Unlock()
	if p.Trial || drawn {
		g.share(g, false) // the others leave it to this one, or stop as well
	}
	switch {
	case drawn && g.pool != nil:
		g.pool.run(changed) // not here: whoever asks may hold the locks that it takes
	case drawn:
		changed()
	}
	return p, wait
}

func (g *Gate) permit(lane schema.Lane, now time.Time) (p Permission, wait time.Duration, drawn bool) {
	if g.operator != nil {
		return Permission{}, 0, false
	}
	due := false
	if g.hold != nil {
		wait := g.next().Sub(now)
		due = wait <= 0
		switch {
		case !due && !g.remains(now):
			return Permission{}, wait, false
		case due && g.trial:
			return Permission{}, 0, false
		}
	}
	if g.rate.PerDay > 0 {
		if ok, over := g.daily.take(now); !ok {
			if over.IsZero() {
				return Permission{}, 0, false
			}
			g.overdraw(over, now)
			return Permission{}, g.next().Sub(now), true
		}
	}
	if ok, wait := g.spend(lane, now); !ok {
		return Permission{}, wait, false
	}
	p = Permission{OK: true, Trial: due, turn: g.draws.turn, budget: g.budget}
	if g.budget != nil {
		p.at = now
	}
	if g.rate.PerDay > 0 {
		p.day = g.daily.use()
	}
	g.trial = g.trial || due
	return p, 0, false
}

// overdraw holds the app until the end of a day whose budget is used up. It
// takes the place of a hold that there is nothing left to try with. g.mu is held.
func (g *Gate) overdraw(day, now time.Time) {
	h := Hold{
		Kind: Quota, PerDay: g.rate.PerDay, Since: now, Until: day.Add(daySlack),
		Reason: fmt.Sprintf("the app's own budget of a day is used up: rate.per_day is %d", g.rate.PerDay),
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

// remains says whether a hold for want of a day's budget leaves something to do
// here: what is in hand of it, or may come back. g.mu is held.
func (g *Gate) remains(now time.Time) bool {
	return g.hold.PerDay > 0 && g.rate.PerDay > 0 && g.daily.remains(now)
}

// outgrow has a hold for want of a day's budget tried at once, here and in the
// pool, if there is more of that now. g.mu is held.
func (g *Gate) outgrow() bool {
	if g.hold == nil || g.hold.PerDay == 0 || g.rate.PerDay > 0 && g.rate.PerDay <= g.hold.PerDay {
		return false
	}
	lifted := *g.hold
	lifted.atOnce(lifted.Since) // past, whatever this machine's clock says
	lifted.Asked, lifted.Trying = time.Now().UTC(), false
	g.hold, g.stagger = &lifted, 0
	return true
}

// spend makes sure of the rate for one send, or says after which time there may
// be some (0: when tell is called).
func (g *Gate) spend(lane schema.Lane, now time.Time) (ok bool, wait time.Duration) {
	switch {
	case g.budget != nil:
		return g.budget.reserve(lane, now)
	case g.limiter == nil:
		return true, 0
	}
	// Bulk takes only what leaves live its share of the burst: when live is
	// idle the bucket is full and bulk has the whole rate.
	need := 1.0
	if lane == schema.LaneBulk {
		need = min(1+g.rate.LiveReserve*float64(g.rate.Burst), float64(g.rate.Burst))
	}
	if have := g.limiter.TokensAt(now); have < need {
		return false, time.Duration((need-have)/g.rate.PerSecond*float64(time.Second)) + time.Microsecond
	}
	g.limiter.AllowN(now, 1)
	return true, 0
}

// Leave is asked right before each request of a call leaves, the first and any
// that follows it. It returns nil if the request may leave at once, else the turn
// to wait for.
func (g *Gate) Leave(p *Permission, lane schema.Lane) *Turn {
	g.mu.Lock()
	b := g.budget
	g.mu.Unlock()
	reserved := p.budget
	p.budget = nil
	switch {
	case reserved != nil && reserved == b:
		if !p.Trial { // which looks at more than other requests do
			b.delay.learn(b.pool.clock.now().Sub(p.at))
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

// next is when this worker may try the hold. g.mu is held.
func (g *Gate) next() time.Time { return g.hold.first().Add(g.stagger) }

// NextTry is when the hold in force may be tried here; zero when there is none,
// or when an operator has to lift it.
func (g *Gate) NextTry() time.Time {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.operator != nil || g.hold == nil {
		return time.Time{}
	}
	return g.next()
}

// Closed says whether nothing may be sent at now, a trial aside: what was
// pulled before must be given back.
func (g *Gate) Closed(now time.Time) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.operator != nil || g.hold != nil && now.Before(g.next()) && !g.remains(now)
}

// Bars says whether a permission is worth nothing at now: the app is held, and
// this is not the trial.
func (g *Gate) Bars(p Permission, now time.Time) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.operator != nil || g.hold == nil {
		return g.operator != nil
	}
	return (!p.Trial || now.Before(g.next())) && !g.remains(now)
}

// Trying says whether the app is held but for one intent that may try.
func (g *Gate) Trying(now time.Time) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.operator == nil && g.hold != nil && !now.Before(g.next())
}

// Choice says which intents may try the hold in force, if messages drew it and
// the first of them may at now.
func (g *Gate) Choice(now time.Time) (Choice, bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.operator != nil || g.hold == nil || len(g.hold.Drawn) == 0 || now.Before(g.next()) {
		return Choice{}, false
	}
	c := Choice{ids: make(map[string]bool), kinds: make(map[string]bool), unnamed: g.hold.Kind == Config}
	for _, d := range g.draws.which(false, mostDraws) {
		c.ids[d.ID], c.kinds[d.What] = true, true
	}
	for r := range c.from {
		c.from[r] = g.hold.from(Rank(r)).Add(g.stagger)
	}
	return c, true
}

// Drew notes that a message was refused with an answer that speaks of the whole
// app, and returns what the app's other messages say about it.
func (g *Gate) Drew(d Draw, now time.Time) Standing {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.drawn.Store(true)
	return g.draws.draw(d, now)
}

// Suspects says whether a message that is sent may prove something about those
// that were refused.
func (g *Gate) Suspects() bool { return g.drawn.Load() }

// Ended forgets what an intent that has ended was refused with.
func (g *Gate) Ended(id string) {
	if !g.drawn.Load() {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.draws.forget(id)
	g.drawn.Store(g.draws.any())
}

// Hold closes the gate for the whole pool. hint is when the platform itself
// says that it ends (zero: unknown). Of several intents that draw the same
// hold at once the first counts; a trial that draws it again makes the pause
// longer. h.Drawn is the message whose answer drew it, noted with Drew before;
// none if it was no answer to a message.
func (g *Gate) Hold(h Hold, p Permission, hint, now time.Time) {
	g.mu.Lock()
	switch known := g.hold != nil && g.hold.PerDay == 0; { // what remained of a day's budget may meet a reason of its own to hold
	case h.Kind == Operator:
		g.operator = &h
	case known && !p.Trial: // drawn by one that was under way already
		if len(h.Drawn) == 0 || len(g.hold.Drawn) == 0 {
			g.mu.Unlock()
			return
		}
		more := *g.hold
		more.Drawn = g.draws.which(false, mostShared)
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
			for _, d := range h.Drawn {
				if !slices.ContainsFunc(g.hold.Drawn, func(before Draw) bool { return before.ID == d.ID }) {
					h.Others++
				}
			}
		}
		if len(h.Drawn) > 0 {
			h.Drawn = g.draws.which(false, mostShared)
		}
		h.schedule(now, hint)
		g.hold, g.stagger = &h, 0
		g.trial = false
	}
	changed := g.changed
	g.mu.Unlock()
	g.share(g, h.Kind == Operator)
	changed()
}

// Done gives a permission back; once for each. What made no request costs
// neither rate nor the day's budget. reached says that the API answered in a way
// that is no reason to hold: it ends a trial well, unless messages drew the hold:
// then only one that is sent does. Without that (no call was made) the trial is
// left to the next intent.
func (g *Gate) Done(p Permission, reached bool) {
	if p.budget != nil {
		p.budget.unreserve()
	}
	landed := g.daily.landed(p.day, p.Used)
	proves := p.Sent && g.drawn.Load()
	if !p.Trial && !landed && !proves {
		return
	}
	g.mu.Lock()
	tried := p.Trial && g.trial
	now := time.Now()
	news := proves && g.draws.sent(p.turn, p.What, now) && (tried || now.Sub(g.taught) >= teachEvery)
	if news {
		g.taught = now
	}
	if tried {
		g.trial = false
		if p.Sent || reached && len(g.hold.Drawn) == 0 {
			g.hold = nil
		}
	}
	changed := g.changed
	g.mu.Unlock()
	if news {
		g.teach(g) // before the hold is lifted: whoever drew it must be known by then
	}
	if tried {
		g.share(g, false) // lifted, or left to whoever has an intent for it
	}
	if tried || landed {
		changed()
	}
}

// stored is the hold as the pool is to know it; nil for none.
func (g *Gate) stored(operator bool) *Hold {
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

// selective is what the pool is to know of answers that only some messages draw.
func (g *Gate) selective() Selective {
	g.mu.Lock()
	defer g.mu.Unlock()
	return Selective{Answers: maps.Clone(g.draws.known), Drawn: g.draws.which(true, mostShared)}
}

// says is what the pool is to know of one thing; neither for nothing.
func (g *Gate) says(p part) (*Hold, *Selective) {
	if p == partSelective {
		s := g.selective()
		return nil, &s
	}
	return g.stored(p == partOperator), nil
}

// learn takes over what another worker or an operator wrote.
func (g *Gate) learn(operator bool, h *Hold, now time.Time) {
	g.mu.Lock()
	if h != nil && len(h.Drawn) > 0 {
		g.drawn.Store(true)
		g.draws.merge(h.Drawn, false)
	}
	switch {
	case operator:
		g.operator = h
	case h != nil:
		// Of two that drew a hold at once the longer pause counts; of the end of a
		// trial, the word of whoever made it.
		if g.hold == nil || h.Trying || g.hold.Trying || h.Until.After(g.hold.Until) || h.Asked.After(g.hold.Asked) {
			g.hold, g.trial = h, false
			g.stagger = staggerLeast + rand.N(staggerMost-staggerLeast)
			g.daily.doubt()
		}
	case g.hold != nil && g.hold.Trying:
		g.hold, g.trial = nil, false // another worker's trial went well, and ends one of ours
	case g.hold != nil:
		// Somebody lifted it: one intent first, the rest after its success. Should
		// it fail, the pauses begin anew.
		lifted := *g.hold
		lifted.atOnce(now.Round(0))
		lifted.Tries, lifted.Others, lifted.Trying = 0, 0, false
		g.hold = &lifted
		g.stagger = rand.N(staggerMost)
		g.daily.doubt()
	}
	changed := g.changed
	g.mu.Unlock()
	changed()
}

// learnSelective takes over what another worker knows of answers that only some
// messages draw.
func (g *Gate) learnSelective(s Selective) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.drawn.Store(true)
	for answer, k := range s.Answers {
		g.draws.know(answer, k)
	}
	g.draws.merge(s.Drawn, true)
}
