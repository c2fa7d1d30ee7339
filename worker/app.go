package worker

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/failpoint"
	"github.com/kefuhq/kefu/internal/gate"
	"github.com/kefuhq/kefu/internal/pool"
	"github.com/kefuhq/kefu/internal/wechat"
	"github.com/kefuhq/kefu/schema"
)

// app is everything this worker holds of one Official Account. Its state is
// guarded by mu; whoever changes it calls pump before unlocking.
//
// It is open, or closing (held or stopping: nothing is pulled or started, what
// is under way ends), or closed (everything that had not been started was given
// back, in the order of the queue). A hold thus occupies nothing, and what was
// handed out before it comes again in order after it. One that a message drew has
// a bounded number of intents in hand between its trials (trial.go).
type app struct {
	w       *Worker
	set     atomic.Pointer[App] // its settings, which may change while it runs
	gate    *gate.Gate
	engine  *engine
	created atomic.Pointer[time.Time] // of its stream: the first part of default ids
	first   time.Time                 // when this worker began to read it, if nobody ever did before; else zero
	later   share
	told    int64        // messages sent, to the pool; status's
	refused stamp        // since when an intent that is ready, and has a slot, gets no permission
	held    atomic.Int64 // deliveries in flight, for who must not wait for mu: it is held while the broker is written to

	slots claimed // guarded by the worker's slots.mu

	mu         sync.Mutex
	phase      phase
	stopping   bool
	idle       chan struct{} // closed when stopping and nothing is held any more
	lanes      []*lane       // live shards, then bulk
	turn       int           // live lane to look at first
	inflight   map[uint64]*delivery
	recipients map[string]*recipient
	running    int
	slotTime   time.Duration // that an intent has a slot, on average of late; 0 before the first
	slotEnd    time.Time     // when the last one was given back
	draining   int           // pullers that may still deliver
	upstream   int           // calls in a row that could not leave
	passing    passing       // of what hides other kinds of message in a hold
	timer      *time.Timer
	timerAt    time.Time
}

// openedKey begins the key in KEFU_STATE that says which worker was the first
// that ever read an app's queue.
const openedKey = "opened."

// recipient is a live user with an intent on its way; later ones wait in order.
type recipient struct {
	lane  *lane
	later []*delivery
}

func newApp(ctx context.Context, w *Worker, cfg App, keeper *gate.Keeper) (*app, error) {
	a := &app{
		w: w, later: share{conn: w.conn, appID: cfg.ID},
		idle: make(chan struct{}), inflight: make(map[uint64]*delivery), recipients: make(map[string]*recipient),
	}
	a.adopt(cfg)
	info, err := a.identify(ctx)
	if err != nil {
		return nil, fmt.Errorf("the queue of app %s: %w (kefu setup creates it)", cfg.ID, err)
	}
	a.gate = keeper.App(cfg.ID, cfg.Rate)
	a.engine = newEngine(w, a)
	for shard := range broker.Shards(info.Config) {
		a.lanes = append(a.lanes, newLane(a, schema.LaneLive, shard))
	}
	a.lanes = append(a.lanes, newLane(a, schema.LaneBulk, 0))
	by, err := w.conn.StateOnce(ctx, openedKey+cfg.ID, []byte(w.cfg.Process.Name))
	if err != nil {
		return nil, fmt.Errorf("app %s: %w", cfg.ID, err)
	}
	if string(by) == w.cfg.Process.Name {
		a.first = time.Now()
	}
	a.timer = time.AfterFunc(time.Hour, func() {
		a.mu.Lock()
		a.timerAt = time.Time{} // a wall clock that was set back must not make the next wake look late
		a.mu.Unlock()
		a.poke()
	})
	a.timer.Stop()
	return a, nil
}

// identify finds out which stream the queue is: one that was made anew counts
// its sequences from 1 again.
func (a *app) identify(ctx context.Context) (info *jetstream.StreamInfo, err error) {
	err = a.w.conn.Ask(ctx, func(ctx context.Context) error {
		s, err := a.w.conn.JS.Stream(ctx, schema.SendStream(a.cfg().ID))
		if err == nil {
			info = s.CachedInfo()
			before := a.created.Swap(&info.Created)
			if before != nil && !before.Equal(info.Created) {
				a.disown(info.Created)
			}
		}
		return err
	})
	return info, err
}

func (a *app) start() {
	a.gate.OnChange(a.poke)
	a.lanes[len(a.lanes)-1].bind() // bulk; the live ones when they are claimed
	a.poke()
}

// poke looks at everything anew: after a change of the gate, a free slot, or
// time that passed.
func (a *app) poke() {
	a.mu.Lock()
	a.pump()
	a.mu.Unlock()
	if other := a.w.slots.forgo(a); other != nil {
		other.poke() // which gives on what is left
	}
}

// stop begins to give up everything; the channel is closed when that is done.
func (a *app) stop() <-chan struct{} {
	a.mu.Lock()
	a.stopping = true
	a.pump()
	a.mu.Unlock()
	return a.idle
}

// holding is how many intents are in hand. It never blocks.
func (a *app) holding() int { return int(a.held.Load()) }

// arrive takes a message that the broker handed out under a claim.
func (a *app) arrive(l *lane, c *pool.Claim, m *nats.Msg) {
	meta, ok := broker.ParseDelivery(m.Reply)
	if !ok {
		a.w.log.Error("a message without a readable ack subject was left alone", "app", a.cfg().ID)
		return
	}
	d := newDelivery(l, m, meta, *a.created.Load(), a.w.cfg.Process.Name)
	a.mu.Lock()
	defer a.mu.Unlock()
	if l.claim.Load() != c {
		return // it has been handed out anew
	}
	if !l.follows(meta) {
		return
	}
	switch known := a.inflight[d.seq]; {
	case known == nil:
	case known.stored.Equal(d.stored):
		// The consumer was made anew (a broker restart, a silent lane) and hands
		// out what is still in hand here: only the way to acknowledge it changed.
		known.setReply(m.Reply)
		return
	case known.stored.After(d.stored):
		return // of a queue that is gone
	default: // the one in hand is: its acknowledgement would be this one's
		known.setReply("")
		a.drop(known)
	}
	if a.phase == closed { // sent before the broker learned that nothing is wanted
		if l.kind == schema.LaneLive && !a.stopping {
			l.dropped++ // see giveBack
		} else {
			_ = a.w.conn.NakReply(m.Reply)
		}
		return
	}
	a.held.Add(1)
	a.inflight[d.seq] = d
	failpoint.Reach(failpoint.Pulled, "")
	l.held++
	a.w.ahead.took(l.held)
	if a.phase == open && !l.leaving {
		a.enqueue(d)
	}
	a.pump()
}

// enqueue puts a delivery where it waits for its turn.
func (a *app) enqueue(d *delivery) {
	d.place = ready
	if d.live {
		r := a.recipients[d.subject.Key]
		if r != nil {
			d.place = behindEarlier
			r.later = append(r.later, d)
			return
		}
		a.recipients[d.subject.Key] = &recipient{lane: d.lane}
	}
	d.lane.ready.pushBack(d)
}

// pump moves everything on that can move: it changes phase, starts what may be
// started, and asks the broker for more. a.mu is held.
func (a *app) pump() {
	now := time.Now()
	a.turnPhase(now)
	for _, l := range a.lanes {
		l.turn()
	}
	if a.phase != open {
		a.refused.clear()
		return
	}
	for d := a.take(now); d != nil; d = a.take(now) {
		a.w.running.Go(func() { a.work(d) })
	}
	few := a.few(now)
	for _, l := range a.lanes {
		l.top(few)
	}
}

// work handles one intent after the other in a slot, as long as there is one:
// a goroutine that lives on has its stack grown already.
func (a *app) work(d *delivery) {
	for d != nil {
		d = a.finish(d, a.engine.turn(d))
	}
}

// take gets the next intent if there is one, a slot and a permission for it.
func (a *app) take(now time.Time) *delivery {
	cfg := a.cfg()
	if a.running >= cfg.Concurrency {
		a.refused.clear()
		return nil
	}
	l, d, passed := a.next(now)
	if l == nil || !a.w.slots.take(a, l.kind, cfg.Rate.LiveReserve, a.inSlot(now)) {
		a.refused.clear()
		return nil
	}
	var p gate.Permission
	var wait time.Duration
	if !passed {
		p, wait = a.gate.Permit(l.kind, now)
	}
	if !p.OK && !passed {
		a.refused.set(now)
		if wait > 0 {
			a.wake(now.Add(wait))
		}
		if other := a.w.slots.put(a, l.kind); other != nil {
			a.w.running.Go(other.poke) // not here: its lock and ours have no order
		}
		return nil
	}
	a.refused.clear()
	if d == nil {
		d = l.ready.popFront()
	} else {
		l.ready.remove(d)
	}
	d.place, d.permission, d.passing, d.begunAt = inSlot, p, passed, now
	a.running++
	l.running++
	return d
}

// nextLane is the lane whose turn it is: live before bulk, live shards in turn.
func (a *app) nextLane(now time.Time) *lane {
	shards := len(a.lanes) - 1
	for i := range shards {
		l := a.lanes[(a.turn+i)%shards]
		if l.ready.len() == 0 || l.leaving {
			continue
		}
		if !l.startable(now) { // it is lost in a moment, or its lease is renewed
			a.wake(now.Add(soon))
			continue
		}
		a.turn = (a.turn + i + 1) % shards
		return l
	}
	bulk := a.lanes[shards]
	if bulk.ready.len() == 0 || bulk.running >= a.forBulk(now) {
		return nil
	}
	if !bulk.startable(now) {
		a.wake(now.Add(soon))
		return nil
	}
	return bulk
}

// startable says whether an intent of the lane may be started at now. While others
// may take this worker for dead a Start would only be taken back.
func (l *lane) startable(now time.Time) bool {
	if l.kind == schema.LaneBulk {
		_, ok := l.app.w.pool.Term(now)
		return ok
	}
	return l.mine(now)
}

// forBulk is how many slots bulk may have at once: those of the app that are not
// kept for live.
func (a *app) forBulk(now time.Time) int {
	cfg := a.cfg()
	return cfg.Concurrency - keptFor(cfg.Rate.LiveReserve, cfg.Concurrency, a.inSlot(now))
}

// inSlot is for how long an intent has a slot, as far as that is known: an API
// that has become slow shows before the first of its calls ends. 0: nobody knows.
func (a *app) inSlot(now time.Time) time.Duration {
	if a.slotTime == 0 || a.running == 0 {
		return a.slotTime
	}
	return max(a.slotTime, now.Sub(a.slotEnd))
}

// ended notes for how long an intent had its slot.
func (a *app) ended(d *delivery) {
	a.slotEnd = time.Now()
	if took := a.slotEnd.Sub(d.begunAt); a.slotTime == 0 {
		a.slotTime = took
	} else {
		a.slotTime += (took - a.slotTime) / 16
	}
}

// afterwards is what happens to a delivery when its slot is given back.
type afterwards struct {
	place place         // settling, waiting or returned
	delay time.Duration // waiting: until it is tried again
	held  bool          // waiting: the recipient's later intents wait as well

	reached bool // the API was reached, and gave no reason to hold the app
}

// finish takes a delivery out of its slot, and returns one that may have it next.
func (a *app) finish(d *delivery, next afterwards) (successor *delivery) {
	a.gate.Done(d.permission, next.reached)
	a.mu.Lock()
	a.running--
	d.lane.running--
	if !d.passing {
		a.ended(d)
	}
	other := a.w.slots.put(a, d.lane.kind)
	// Its shard may have been lost meanwhile: then it is somebody else's now.
	lost := d.live && d.lane.claim.Load() == nil
	if d.place == inSlot { // its settlement may be over already
		d.place = next.place
	}
	switch next.place {
	case waiting:
		if a.phase == open && !lost && !d.lane.leaving {
			d.timer = time.AfterFunc(next.delay, func() { a.again(d) })
		}
		if !next.held {
			a.release(d)
		}
	case settling:
		a.release(d)
	}
	if lost && (d.place == returned || d.place == waiting) {
		a.release(d)
		a.discard(d)
	}
	now := time.Now()
	if a.turnPhase(now); a.phase == open {
		successor = a.take(now)
	}
	a.pump()
	if d.place == returned && a.phase == open && !d.lane.leaving { // the hold it was returned for is over already
		d.place = ready
		d.lane.ready.pushFront(d)
		a.pump()
	}
	a.mu.Unlock()
	if other != nil {
		other.poke()
	}
	return successor
}

// release lets the recipient's next intent have its turn.
func (a *app) release(d *delivery) {
	if !d.live || d.released {
		return
	}
	d.released = true
	r := a.recipients[d.subject.Key]
	if r == nil {
		return
	}
	if len(r.later) == 0 {
		delete(a.recipients, d.subject.Key)
		return
	}
	next := r.later[0]
	r.later = r.later[1:]
	next.place = ready
	next.lane.ready.pushFront(next)
}

// again brings a delivery back that waited in the process.
func (a *app) again(d *delivery) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if d.place != waiting || a.phase != open || d.lane.leaving {
		return
	}
	if d.released {
		d.released = false
		a.enqueue(d)
	} else {
		d.place = ready
		d.lane.ready.pushFront(d)
	}
	a.pump()
}

// settled forgets a delivery that was acknowledged.
func (a *app) settled(d *delivery) {
	a.mu.Lock()
	a.drop(d)
	a.pump()
	a.mu.Unlock()
}

// longestNap bounds a timer: what it waits for is told by the wall clock, and the
// timer's own stands still while the machine is suspended and is not set with it.
const longestNap = 5 * time.Second

// wake has the app poked at a time, if not earlier; every longestNap until then.
// a.mu is held.
func (a *app) wake(at time.Time) {
	now := time.Now()
	if nap := now.Add(longestNap); at.After(nap) {
		at = nap
	}
	if a.timerAt.After(now) && !at.Before(a.timerAt) {
		return
	}
	a.timerAt = at
	a.timer.Reset(max(at.Sub(now), time.Millisecond))
}

// blocked counts a call that could not leave; reached ends the count.
func (a *app) blocked(fault wechat.Fault) int {
	a.mu.Lock()
	defer a.mu.Unlock()
	if fault == wechat.FaultUpstream {
		a.upstream++
	} else {
		a.upstream = 0
	}
	return a.upstream
}

// keepAlive renews what has been in hand for a while.
func (a *app) keepAlive(now time.Time) {
	a.mu.Lock()
	for _, d := range a.inflight {
		if now.Sub(d.renewed) >= broker.AckRenew {
			d.renewed = now
			_ = a.w.conn.ProgressReply(d.getReply())
		}
	}
	var pullers []*broker.Puller
	for _, l := range a.lanes {
		if l.puller != nil {
			pullers = append(pullers, l.puller)
		}
	}
	a.mu.Unlock()
	for _, p := range pullers { // they call back, with our lock
		p.Check(now)
	}
}

// reconnected makes sure that the consumers still exist: those in memory do
// not outlive the broker.
func (a *app) reconnected() {
	for _, l := range a.lanes {
		l.lost(broker.ErrConsumerGone)
	}
}
