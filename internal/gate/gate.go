// Package gate answers one question: may this app send now? It knows the app's rate, the lanes'
// shares of it, and whether the app is held.
//
// A Gate belongs to one app in one worker. Permission comes before anything else: an intent is
// started only with a Permission in hand, so that a held app occupies no slot of the worker, and
// little waits for the rate in one. A Permission reserves rate for a request; the rate is taken
// when the request leaves (Leave), however long ledger and token took. So what could not be sent
// costs no rate, and what was held up together does not leave at once.
//
// A rate is the pool's. Each send has a slot, an instant of its own on the broker's clock. Workers
// take slots in chunks of 50 ms from an account that all share, with twenty writes a second for a
// busy app and none for an idle one. Where the broker's answers take longer than that, chunks are
// larger and are asked for earlier, so the rate does not depend on the distance. The whole rate
// goes to whoever has the work. A second never holds more than the rate and the burst. A worker
// that is killed takes 100 ms of the rate with it, or four round trips. While the broker is away
// what is in hand is used up, then nothing is sent. x/time/rate bounds each worker besides, against
// our own mistakes. A day's budget is taken in larger blocks from a key that outlives workers and
// broker; used up, it is a hold until the platform's midnight.
//
// A hold is shared by the pool through KEFU_STATE (Keeper). One that the platform or the network
// caused ends by a trial: when its time has come a single intent is let through in the whole pool,
// and only its success opens the gate. An operator's hold is lifted by an operator only.
//
// A hold that the answer to a message caused may be about that message only. Therefore its trial is
// another message as long as there is one (Choice), and the gate remembers which messages were
// refused with what since one was sent (NoteRefusal). That tells an account that is limited from a
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
//
// The files, from the question down:
//
//	gate.go, rate.go, held.go   the Gate: permissions, its rate, its holds
//	hold.go, refusals.go        a hold and what may try it; which messages were refused (pure)
//	keeper.go, probe.go         the holds of all apps in KEFU_STATE
//	budget.go, turn.go          a worker's part in an app's rate: reserving a slot, taking it
//	fetch.go                    fetching slots from the account that all share
//	account.go, sizing.go       the account's rules; how many slots to ask for (pure)
//	sharing.go, clock.go, trip.go   what all budgets of a worker use
//	day.go, refreshes.go        a day's budget, the ration of token refreshes
package gate

import (
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"github.com/kefuhq/kefu/schema"
)

// Permission is the right to begin one call. Right before its request leaves, Leave says whether
// the rate allows that now.
type Permission struct {
	OK    bool
	Trial bool // the one intent that tries whether a hold is over

	// For the caller to set:
	Used        bool   // a request may have left
	Sent        bool   // the message was sent
	MessageKind string // the message's kind, as in Refusal.Kind, if HasRefusals

	refusal uint64    // number of the last refusal before it was given
	day     time.Time // the end of the day whose budget it is of; zero: of none
	budget  *budget   // where a slot of the rate is reserved for it; nil: nowhere, or it has left
	at      time.Time // when it was given
}

// Gate is one app's. All methods are safe for concurrent use.
type Gate struct {
	appID string
	pool  *common
	log   *slog.Logger

	// These tell the pool what sharedHold and selective return, now or in a moment.
	shareHold      func(g *Gate, operator bool)
	shareSelective func(g *Gate)

	mu       sync.Mutex
	limiter  *rate.Limiter // where there is nobody to share a rate with; nil: no limit
	rate     Rate
	budget   *budget // the pool's rate; nil: no limit, or nobody to share it with
	daily    daily
	onChange func()

	hold     *Hold         // quota, config or upstream
	stagger  time.Duration // how long after its Until this worker tries it
	operator *Hold
	trial    bool // the trial's intent is under way

	refusals    refusals
	anyRefusals atomic.Bool // read for each message
	selectiveAt time.Time   // when the pool was last told of selective answers
}

// newGate makes a gate; pool is nil when there is nobody to share a budget with.
func newGate(
	appID string, r Rate, shareHold func(*Gate, bool), pool *common, log *slog.Logger,
) *Gate {
	g := &Gate{
		appID: appID, pool: pool, log: log,
		shareHold: shareHold, shareSelective: func(*Gate) {}, onChange: func() {},
	}
	g.daily = daily{pool: pool, key: dayKey(appID), log: log, onArrival: g.notify}
	g.SetRate(r)
	return g
}

// OnChange has f called after each begin and end of a hold, and when the pool's budget gave what
// Permit was refused, from any goroutine; it must not block.
func (g *Gate) OnChange(f func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.onChange = f
}

// notify says that it is worth asking again.
func (g *Gate) notify() {
	g.mu.Lock()
	onChange := g.onChange
	g.mu.Unlock()
	onChange()
}

// Permit gives the right to make one call in a lane now. If there is none, wait is how long until
// it is worth asking again; 0 if OnChange tells.
func (g *Gate) Permit(lane schema.Lane, now time.Time) (p Permission, wait time.Duration) {
	g.mu.Lock()
	p, wait, held := g.permit(lane, now)
	onChange := g.onChange
	g.mu.Unlock()
	if p.Trial || held {
		g.shareHold(g, false) // the others leave the trial to this worker, or stop as well
	}
	switch {
	case held && g.pool != nil:
		g.pool.run(onChange) // not here: the caller may hold the locks that it takes
	case held:
		onChange()
	}
	return p, wait
}

// permit is Permit; held says that it found the day's budget used up and holds the app now. g.mu is
// held.
func (g *Gate) permit(
	lane schema.Lane, now time.Time,
) (p Permission, wait time.Duration, held bool) {
	if g.operator != nil {
		return Permission{}, 0, false
	}
	due := false
	if g.hold != nil {
		wait := g.nextTry().Sub(now)
		due = wait <= 0
		switch {
		case !due && !g.dayRemains(now):
			return Permission{}, wait, false
		case due && g.trial:
			return Permission{}, 0, false
		}
	}
	if g.rate.PerDay > 0 {
		if ok, over := g.daily.available(now); !ok {
			if over.IsZero() {
				return Permission{}, 0, false
			}
			g.holdForDay(over, now)
			return Permission{}, g.nextTry().Sub(now), true
		}
	}
	if ok, wait := g.reserveRate(lane, now); !ok {
		return Permission{}, wait, false
	}
	p = Permission{OK: true, Trial: due, refusal: g.refusals.last, budget: g.budget}
	if g.budget != nil {
		p.at = now
	}
	if g.rate.PerDay > 0 {
		p.day = g.daily.spend()
	}
	g.trial = g.trial || due
	return p, 0, false
}

// Done gives a permission back; once for each. What made no request costs neither rate nor the
// day's budget. reached says that the API answered in a way that is no reason to hold: that ends
// the trial well. If messages caused the hold, only a message that is sent does. Otherwise (no call
// was made) the trial is left to the next intent.
func (g *Gate) Done(p Permission, reached bool) {
	if p.budget != nil {
		p.budget.unreserve()
	}
	returned := g.daily.returned(p.day, p.Used)
	proves := p.Sent && g.anyRefusals.Load()
	if !p.Trial && !returned && !proves {
		return
	}
	g.mu.Lock()
	tried := p.Trial && g.trial
	now := time.Now()
	news := proves && g.refusals.sent(p.refusal, p.MessageKind, now) &&
		(tried || now.Sub(g.selectiveAt) >= selectiveEvery)
	if news {
		g.selectiveAt = now
	}
	if tried {
		g.trial = false
		if p.Sent || reached && len(g.hold.Refusals) == 0 {
			g.hold = nil
		}
	}
	onChange := g.onChange
	g.mu.Unlock()
	if news {
		g.shareSelective(g) // before the hold is lifted: whoever caused it must be known by then
	}
	if tried {
		g.shareHold(g, false) // lifted, or left to whoever has an intent for it
	}
	if tried || returned {
		onChange()
	}
}

// state is what the pool is to know of one thing; neither if there is nothing.
func (g *Gate) state(p part) (*Hold, *Selective) {
	if p == partSelective {
		s := g.selective()
		return nil, &s
	}
	return g.sharedHold(p == partOperator), nil
}
