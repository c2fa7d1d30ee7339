// Package gate answers one question: may this app send now? It knows the app's rate, the lanes'
// shares of it, and whether the app is held.
//
// A Gate belongs to one app in one worker. Permission comes before anything else: an intent is
// started only with a Permission in hand, so that a held app occupies nothing and little waits for
// rate in a slot. It reserves rate for a request; the rate is taken when the request leaves
// (Leave), however long ledger and token took. So what could not be sent costs none of it, and what
// was held up together does not leave at once.
//
// A rate is the pool's. Each send has a slot, an instant of its own on the broker's clock; workers
// take slots in chunks of 50 ms from an account that all share (account.go has the rules, budget.go
// fetches), twenty writes a second for a busy app and none for an idle one. Where the broker's
// answers take longer than that, chunks are larger and are asked for earlier (trip.go measures), so
// the rate does not depend on the distance. The whole rate goes to whoever has the work, a second
// never holds more than the rate and the burst, and a worker that is killed takes 100 ms of the
// rate with it, or four round trips. While the broker is away what is in hand is used up, then
// nothing is sent. x/time/rate stands behind it, against our own mistakes. A day's budget is taken
// in larger blocks from a key that outlives workers and broker (day.go); used up, it is a hold
// until the platform's midnight.
//
// A hold is shared by the pool through KEFU_STATE (Keeper). One that the platform or the network
// drew ends by a trial: when its time has come a single intent is let through in the whole pool,
// and only its success opens the gate. An operator's hold is lifted by an operator only.
//
// A hold that the answer to a message drew may be about that message only. Therefore its trial is
// another one as long as another one can be had (Choice), and the gate remembers who was refused
// with what since a message was sent (NoteRefusal, refusals.go): that tells whoever decides an account that
// is limited from a message that is bad.
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
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"github.com/kefuhq/kefu/schema"
)

// Permission is the right to make one call: to begin it, that is. Right before its request leaves,
// Leave says whether the rate allows that now.
type Permission struct {
	OK          bool
	Trial       bool   // the one intent that tries whether a hold is over
	Used        bool   // for the caller to set: a request may have left
	Sent        bool   // for the caller to set: the message was sent
	MessageKind string // likewise, if HasRefusals: of which kind it was, as in Refusal.Kind

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

	mu          sync.Mutex
	limiter     *rate.Limiter // where there is nobody to share a rate with; nil: no limit
	rate        Rate
	hold        *Hold         // quota, config or upstream
	stagger     time.Duration // how long after its Until this worker tries it
	operator    *Hold
	trial       bool // the trial's intent is under way
	refusals    refusals
	anyRefusals atomic.Bool // there are any: looked at for each message
	taught      time.Time   // when the pool was told of them last
	budget      *budget     // the pool's rate; nil: no limit, or nobody to share it with
	daily       daily
	changed     func()
}

// newGate makes a gate; pool is nil when there is nobody to share a budget with.
func newGate(appID string, r Rate, share func(*Gate, bool), pool *sharing, log *slog.Logger) *Gate {
	g := &Gate{appID: appID, share: share, teach: func(*Gate) {}, pool: pool, log: log, changed: func() {}}
	g.daily = daily{pool: pool, key: dayKey(appID), log: log, arrived: g.tell}
	g.SetRate(r)
	return g
}

// OnChange has f called after each begin and end of a hold, and when the pool's budget gave what
// Permit was refused, from any goroutine; it must not block.
func (g *Gate) OnChange(f func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.changed = f
}

// tell says that it is worth to ask again.
func (g *Gate) tell() {
	g.mu.Lock()
	changed := g.changed
	g.mu.Unlock()
	changed()
}

// Permit gives the right to make one call in a lane now, or says after which time it is worth to
// ask again (0: when OnChange is called).
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
	p = Permission{OK: true, Trial: due, turn: g.refusals.turn, budget: g.budget}
	if g.budget != nil {
		p.at = now
	}
	if g.rate.PerDay > 0 {
		p.day = g.daily.use()
	}
	g.trial = g.trial || due
	return p, 0, false
}

// Done gives a permission back; once for each. What made no request costs neither rate nor the
// day's budget. reached says that the API answered in a way that is no reason to hold: it ends a
// trial well, unless messages drew the hold: then only one that is sent does. Without that (no call
// was made) the trial is left to the next intent.
func (g *Gate) Done(p Permission, reached bool) {
	if p.budget != nil {
		p.budget.unreserve()
	}
	landed := g.daily.landed(p.day, p.Used)
	proves := p.Sent && g.anyRefusals.Load()
	if !p.Trial && !landed && !proves {
		return
	}
	g.mu.Lock()
	tried := p.Trial && g.trial
	now := time.Now()
	news := proves && g.refusals.sent(p.turn, p.MessageKind, now) && (tried || now.Sub(g.taught) >= teachEvery)
	if news {
		g.taught = now
	}
	if tried {
		g.trial = false
		if p.Sent || reached && len(g.hold.Refusals) == 0 {
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

// says is what the pool is to know of one thing; neither for nothing.
func (g *Gate) says(p part) (*Hold, *Selective) {
	if p == partSelective {
		s := g.selective()
		return nil, &s
	}
	return g.stored(p == partOperator), nil
}
