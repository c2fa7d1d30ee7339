package gate

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	random "math/rand/v2"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nuid"
	"golang.org/x/time/rate"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/wire"
	"github.com/kefuhq/kefu/schema"
)

const (
	askPause  = 250 * time.Millisecond // after a question that failed
	askJitter = 2 * time.Millisecond   // spreads workers that want the same slots, at least

	// calm is how many chunks in a row a worker must have taken without meeting
	// another before it takes whole ones again, used up or not.
	calm = 20

	// soonDue is how near the next slot must be for live to wait for it rather
	// than to ask for one that may be used early.
	soonDue = 2 * time.Millisecond

	// earlyPause is between two such questions, at least.
	earlyPause = 5 * time.Millisecond

	// liveFew is how many it then asks for: an answer is often a few messages.
	liveFew = 4
)

// budget is one worker's part in an app's account: the slots it has in hand,
// and a goroutine that fetches more while there is demand. An app without
// demand costs nothing.
//
// A request has its place reserved when its intent is started, and takes a slot
// right before it leaves (turn.go): between the two lies a round trip to the
// ledger at least, and which slots can be used depends on when the request
// leaves, not on when it was begun.
type budget struct {
	pool    *sharing
	subject string
	log     *slog.Logger
	arrived func() // slots came that somebody waits for

	delay trend // from a reservation until its request is ready to leave

	mu       sync.Mutex
	pace     pace
	guard    *rate.Limiter // against our own mistakes
	hand     hand
	reserved int         // slots that will be taken, or are waited for
	lines    [2][]*Turn  // requests that wait for a slot: live, bulk
	timer    *time.Timer // for the first of them; nil before there was one
	starving bool        // somebody was told to wait for arrived
	live     bool        // and is live
	asking   bool
	kick     chan struct{}

	next    int   // slots to ask for when others want some too
	grow    int   // how many times as many the time after
	alone   int   // chunks since another worker was met
	used    int   // slots since the last chunk
	lost    int   // slots that grew too old since the last chunk
	earlyAt int64 // when live may have a slot early again
	bulk    int64 // when bulk used a slot last

	// the asking goroutine's
	account account
	seq     uint64
	known   bool
	failing bool
}

// sharing is what the budgets of a worker have in common.
type sharing struct {
	conn   store
	clock  *clock
	trips  *trips
	worker string // new for each Keeper
	by     string // whom people are told of
	ctx    context.Context
	stop   context.CancelFunc

	mu      sync.Mutex
	closed  bool
	running sync.WaitGroup
	warm    sync.Once
}

func newSharing(ctx context.Context, stop context.CancelFunc, conn store, by string, now func() time.Time) *sharing {
	s := &sharing{conn: conn, trips: &trips{}, worker: nuid.Next(), by: by, ctx: ctx, stop: stop}
	s.clock = &clock{conn: conn, trips: s.trips, run: s.run, now: now, looking: make(chan struct{}, 1)}
	return s
}

// begin looks at the broker's clock before the first intent is there to wait
// for it. A failure is met again, and reported, when there is one.
func (s *sharing) begin() {
	s.warm.Do(func() {
		s.run(func() {
			_ = s.clock.sync(s.ctx)
		})
	})
}

// run has a goroutine do f, which must obey ctx; not when all has been closed.
func (s *sharing) run(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closed {
		s.running.Go(f)
	}
}

func (s *sharing) close() {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.stop()
	s.running.Wait()
}

func newBudget(s *sharing, appID string, r Rate, log *slog.Logger, arrived func()) *budget {
	s.begin()
	return &budget{
		pool: s, subject: wire.RateSubject(appID), log: log.With("app", appID), arrived: arrived,
		pace: newPace(r), guard: newGuard(r), next: 1, grow: 2, alone: calm, kick: make(chan struct{}, 1),
	}
}

// newGuard bounds what the pool's budget gives to one worker. It must not refuse
// a slot that is used late.
func newGuard(r Rate) *rate.Limiter {
	return rate.NewLimiter(rate.Limit(r.PerSecond), max(r.Burst, 1)+1+int(2*late.Seconds()*r.PerSecond))
}

// lookahead is how far before its instant a slot may be reserved: as long as it
// takes until the request is ready to leave, unless that is next to nothing.
func (b *budget) lookahead() time.Duration {
	if d := b.delay.get(); d > late {
		return min(d, askLongest)
	}
	return 0
}

// lead is how long before it leaves a request must be reckoned with.
func (b *budget) lead() time.Duration { return b.pool.trips.lead() + b.lookahead() }

// reserve makes sure of a slot for a request that is begun at now, or says how
// long it is until there may be one (0: when arrived is called).
func (b *budget) reserve(lane schema.Lane, now time.Time) (ok bool, wait time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	live := lane == schema.LaneLive
	t, synced := b.pool.clock.broker(now)
	if synced {
		b.drop(t)
		ok, wait = b.hand.spare(b.reserved, t+int64(b.lookahead()), live, b.pace)
	}
	if ok {
		b.reserved++
	} else if wait == 0 && !b.stalled() {
		b.starving = true
	}
	if live {
		b.live = !ok && wait == 0 && !b.stalled()
		if !ok && b.behind(t, wait) {
			again := time.Duration(b.earlyAt - t)
			if b.live = again <= 0; !b.live {
				wait = min(wait, again)
			}
		}
	}
	b.replenish(t, ok)
	return ok, wait
}

// drop forgets slots that are too old. b.mu is held.
func (b *budget) drop(t int64) { b.lost += b.hand.drop(t, b.pace) }

// stalled says whether requests that were begun do not come to take their slots:
// these grew old, and others would too. b.mu is held.
func (b *budget) stalled() bool {
	return b.used == 0 && b.lost > 0 && b.reserved > len(b.lines[0])+len(b.lines[1])
}

// replenish asks for more if there is need. The last slot must not be used before
// the next ones are there. b.mu is held.
func (b *budget) replenish(t int64, got bool) {
	if b.starving || b.live || got && b.hand.end(b.pace) < t+int64(b.lead()+ahead) && b.busy() {
		b.ask()
	}
}

// behind says whether live waits for bulk, here or elsewhere, and could have
// slots early.
func (b *budget) behind(t int64, wait time.Duration) bool {
	if wait < soonDue || b.pace.earlyStep == 0 {
		return false
	}
	return b.alone < calm || t-b.bulk < int64(ahead+chunk)
}

// busy says whether more slots will be used, so that it is worth to ask for
// them before the last one in hand is used.
func (b *budget) busy() bool {
	return b.alone >= calm || b.next > 1 && b.used+b.reserved >= b.next
}

// ask sees to it that more slots come. b.mu is held.
func (b *budget) ask() {
	if !b.asking {
		b.asking = true
		b.pool.run(b.fetch)
	} else if b.live {
		select {
		case b.kick <- struct{}{}: // it may be waiting for bulk's turn
		default:
		}
	}
}

// fetch asks until slots have come. Nothing is taken while the broker is away:
// what is in hand is used up, then nothing is sent.
func (b *budget) fetch() {
	for {
		wait, err := b.try()
		kick := b.kick
		switch {
		case err != nil:
			b.report(err)
			wait, kick = askPause, nil
		case wait == 0:
			return
		}
		select {
		case <-b.pool.ctx.Done():
			return
		case <-kick:
		case <-time.After(wait):
		}
	}
}

// report says once when the broker begins and ends to keep slots from us.
func (b *budget) report(err error) {
	away := errors.Is(err, broker.ErrAway) || b.pool.ctx.Err() != nil
	switch {
	case err != nil && !b.failing && !away:
		b.failing = true
		b.log.Warn("nothing is sent: the rate budget cannot be reached", "error", err)
	case err == nil && b.failing:
		b.failing = false
		b.log.Info("the rate budget can be reached again")
	}
}

// try makes one attempt to take slots, and says after which time to make the
// next; 0 when it succeeded.
func (b *budget) try() (time.Duration, error) {
	if !b.pool.conn.Connected() {
		b.known = false
		b.pool.clock.distrust()
		return 0, broker.ErrAway
	}
	ctx := b.pool.ctx
	if err := b.pool.clock.sync(ctx); err != nil {
		return 0, err
	}
	if !b.known {
		if err := b.pool.trips.ask(ctx, b.read); err != nil {
			return 0, err
		}
	}
	trip := b.pool.trips.usual()
	t, _ := b.pool.clock.broker(b.pool.clock.now())
	p, n, live := b.want(t, trip)
	next, granted, wait := p.grant(b.account, t, trip, b.lead(), n, live)
	if granted == nil {
		return wait + jitter(trip), nil
	}
	next.By = b.pool.worker
	err := b.pool.trips.ask(ctx, func(ctx context.Context) error { return b.write(ctx, next) })
	switch {
	case err == nil:
		b.report(nil)
		b.receive(t, p, granted, live) // from here on another goroutine may ask
		return 0, nil
	case errors.Is(err, broker.ErrOvertaken):
		b.known = false
		return jitter(trip), nil
	case errors.Is(err, broker.ErrNoStream):
		b.pool.clock.distrust()
	}
	// It may have been stored; then its slots are lost. That is dearer than a look
	// at what is there, and rare.
	b.known = false
	return 0, err
}

// jitter spreads workers that want the same slots: where answers take long, more,
// or those that were refused together ask together again.
func jitter(trip time.Duration) time.Duration { return 1 + random.N(max(askJitter, trip/8)) }

func (b *budget) read(ctx context.Context) error {
	stored, err := b.pool.conn.Last(ctx, wire.StreamRate, b.subject)
	if errors.Is(err, broker.ErrNoMessage) {
		b.account, b.seq, b.known = account{TAT: b.pool.clock.unknown.Load()}, 0, true
		return nil
	}
	if err != nil {
		return err
	}
	var a account
	if err := json.Unmarshal(stored.Data, &a); err != nil {
		return fmt.Errorf("unreadable account %s: %w", b.subject, err)
	}
	if a.By != b.pool.worker {
		if t, _ := b.pool.clock.broker(b.pool.clock.now()); a.TAT > t-int64(time.Second) {
			b.met()
		}
	}
	b.account, b.seq, b.known = a, stored.Seq, true
	return nil
}

func (b *budget) write(ctx context.Context, a account) error {
	data, err := json.Marshal(a)
	if err != nil {
		return err
	}
	seq, err := b.pool.conn.Swap(ctx, &nats.Msg{Subject: b.subject, Data: data}, b.seq)
	if err == nil {
		b.account, b.seq = a, seq
	}
	return err
}

// want is how many slots to ask for. A worker that has the app for itself takes
// whole chunks. Where others want some too, it takes as many as it had use for,
// and more each time while none is left over.
func (b *budget) want(t int64, trip time.Duration) (p pace, n int, live bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	// Who is far from the broker gets nothing where others write all the time.
	most := b.pace.chunk(max(trip, time.Duration(b.account.Trip)), b.alone >= calm)
	switch {
	case b.live && b.hand.end(b.pace) > t+int64(trip+b.lead()+ahead): // there is enough, but not soon enough
		return b.pace, min(liveFew, most), true
	case b.alone >= calm:
		return b.pace, most, b.live
	case b.lost > 0:
		b.next, b.grow = max(min(b.used, b.next), 1), 2
	default:
		b.next, b.grow = min(b.grow*b.next, most), min(2*b.grow, most)
	}
	return b.pace, b.next, b.live
}

// met notes that another worker takes slots of this app.
func (b *budget) met() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.alone >= calm {
		b.grow = 2
		b.next = min(max(b.used, 1), b.pace.chunk(b.pool.trips.usual(), false))
	}
	b.alone = 0
}

// receive takes slots in hand.
func (b *budget) receive(t int64, p pace, granted []slots, live bool) {
	b.mu.Lock()
	if p == b.pace { // else the rate was changed meanwhile
		b.hand = append(b.hand, granted...)
	}
	b.look() // drops what came too late; it does not count as lost: there was demand
	b.alone++
	b.used, b.lost, b.asking = 0, 0, false
	b.earlyAt = b.account.Early - b.pace.earlyIdle + b.pace.earlyStep
	if live {
		b.earlyAt = max(b.earlyAt, t+int64(earlyPause))
	}
	tell := b.starving || b.live
	b.starving, b.live = false, false
	b.serve()
	b.mu.Unlock()
	if tell {
		b.arrived()
	}
}

// set changes the rate. What is in hand was spaced for the old one.
func (b *budget) set(r Rate) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if p := newPace(r); p != b.pace {
		b.pace, b.guard, b.hand, b.next, b.grow = p, newGuard(r), nil, 1, 2
		b.serve()
	}
}
