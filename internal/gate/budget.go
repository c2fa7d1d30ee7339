package gate

import (
	"log/slog"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/kefuhq/kefu/internal/wire"
	"github.com/kefuhq/kefu/schema"
)

// budget is one worker's part in an app's account: the slots that it has in hand, and a goroutine
// that fetches more while there is demand (fetch.go). An app without demand costs nothing.
//
// A request reserves a slot when its intent is started, and takes one right before it leaves
// (turn.go). Between the two lies a round trip to the ledger at least, and which slots can be used
// depends on when the request leaves, not on when it was begun:
//
//	reserve, mark start, get the token, leave: takes a slot
//	reserve, expired before it was sent:       gives the reservation back, and no slot is lost
type budget struct {
	common    *common
	subject   string
	log       *slog.Logger
	onArrival func() // slots came that somebody waits for

	delay trend // from a reservation until its request is ready to leave

	mu       sync.Mutex
	pace     pace
	guard    *rate.Limiter // against our own mistakes
	hand     hand
	sizing   sizing
	reserved int         // slots that will be taken, or are waited for
	lines    [2][]*Turn  // requests that wait for a slot: live, bulk
	timer    *time.Timer // for the first of them; nil before there was one
	lastBulk int64       // when bulk used a slot last
	earliest int64       // when the account allows live an early slot again
	fetching bool
	wake     chan struct{} // ends the pause of a fetch

	waiting     bool // somebody was told to wait for onArrival
	liveWaiting bool // and is live

	fetched // the fetching goroutine's
}

func newBudget(s *common, appID string, r Rate, log *slog.Logger, onArrival func()) *budget {
	s.begin()
	return &budget{
		common: s, subject: wire.RateSubject(appID), log: log.With("app", appID),
		onArrival: onArrival, pace: newPace(r, s.without), guard: newGuard(r),
		sizing: newSizing(s.without), wake: make(chan struct{}, 1),
	}
}

// newGuard bounds what the pool's budget gives to one worker. It must not refuse a slot that is
// used late.
func newGuard(r Rate) *rate.Limiter {
	lateSlots := int(2 * late.Seconds() * r.PerSecond)
	return rate.NewLimiter(rate.Limit(r.PerSecond), max(r.Burst, 1)+1+lateSlots)
}

// set changes the rate. What is in hand was spaced for the old one.
func (b *budget) set(r Rate) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if p := newPace(r, b.common.without); p != b.pace {
		b.pace, b.guard, b.hand, b.sizing.asked = p, newGuard(r), nil, 1
		b.serve()
	}
}

// lookahead is how far before its instant a slot may be reserved: as long as it takes until the
// request is ready to leave, unless that is next to nothing.
func (b *budget) lookahead() time.Duration {
	if d := b.delay.get(); d > late && !b.common.without.has(lookahead) {
		return min(d, askLongest)
	}
	return 0
}

// lead is how long before a request leaves its slot must be asked for.
func (b *budget) lead() time.Duration { return b.common.trips.lead() + b.lookahead() }

// reserve makes sure of a slot for a request that is begun at now. If there is none, wait is how
// long it is until there may be one; 0 if onArrival tells.
func (b *budget) reserve(lane schema.Lane, now time.Time) (ok bool, wait time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	live := lane == schema.LaneLive
	t, synced := b.common.clock.broker(now)
	if synced {
		b.expire(t)
		ok, wait = b.hand.spare(b.reserved, t+int64(b.lookahead()), live, b.pace)
	}
	mustFetch := !ok && wait == 0 && !b.stalled()
	if ok {
		b.reserved++
	}
	b.waiting = b.waiting || mustFetch
	if live {
		b.liveWaiting = mustFetch
		if !ok && b.waitsForBulk(t, wait) {
			pause := time.Duration(b.earliest - t)
			if b.liveWaiting = pause <= 0; !b.liveWaiting {
				wait = min(wait, pause)
			}
		}
	}
	b.replenish(t, ok)
	return ok, wait
}

// unreserve gives a reservation back: its request does not leave.
func (b *budget) unreserve() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.reserved--
}

// expire drops the slots that are too old at t. b.mu is held.
func (b *budget) expire(t int64) { b.sizing.expired += b.hand.drop(t, b.pace) }

// stalled says whether requests that were begun do not leave. b.mu is held.
func (b *budget) stalled() bool {
	return b.sizing.stalled(b.reserved, len(b.lines[0])+len(b.lines[1]))
}

// waitsForBulk says whether live, which would wait so long for the next slot in hand, waits because
// this worker's bulk uses slots, and may have some early. b.mu is held.
func (b *budget) waitsForBulk(t int64, wait time.Duration) bool {
	return wait > 0 && b.pace.earlyStep > 0 && t-b.lastBulk < int64(ahead+chunk)
}

// replenish has more slots fetched if there is need. The last slot must not be used before the next
// ones are there. b.mu is held.
func (b *budget) replenish(t int64, got bool) {
	runsOut := got && b.hand.end(b.pace) < t+int64(b.lead()+ahead)
	if b.waiting || b.liveWaiting || runsOut && b.sizing.busy(b.reserved) {
		b.startFetch()
	}
}

// startFetch sees to it that more slots come. b.mu is held.
func (b *budget) startFetch() {
	switch {
	case !b.fetching:
		b.fetching = true
		b.common.run(b.fetch)
	case b.liveWaiting && !b.common.without.has(wakeForLive):
		select {
		case b.wake <- struct{}{}: // it may pause until bulk may take slots again
		default:
		}
	}
}
