package worker

import (
	"context"
	"fmt"
	"slices"
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

// app is one Official Account in this worker. Its scheduler says what is to happen;
// the app makes it happen, with goroutines, timers and the broker. Whoever calls
// the scheduler holds mu, and calls schedule before unlocking.
type app struct {
	*services
	settings   atomic.Pointer[App] // its settings, which may change while it runs
	gate       *gate.Gate
	engine     *engine
	queueMade  atomic.Pointer[time.Time] // of its stream: the first part of default ids
	first      time.Time                 // when this worker began to read it, if nobody ever did before; else zero
	laterShare laterShare
	reported   int64         // messages sent, to the pool; status's
	refused    stamp         // since when an intent that is ready, and has a slot, gets no permission
	handCount  atomic.Int64  // deliveries in hand, for who must not wait for mu: it is held while the broker is written to
	lanes      []*lane       // by the index of their line
	idle       chan struct{} // closed when stopping and nothing is held any more

	slots *slots    // the process's
	bid   bidder    // for them
	ahead *prefetch // the process's
	most  int       // calls in flight in this process

	mu        sync.Mutex
	scheduler *scheduler
	spare     []command // for the scheduler's next orders
	upstream  int       // calls in a row that could not leave
	timer     *time.Timer
	timerAt   time.Time
}

// openedKey begins the key in KEFU_STATE that says which worker was the first
// that ever read an app's queue.
const openedKey = "opened."

func newApp(ctx context.Context, s *services, cfg App, keeper *gate.Keeper, slots *slots, ahead *prefetch, most int) (*app, error) {
	a := &app{services: s, laterShare: laterShare{conn: s.conn, appID: cfg.ID}, idle: make(chan struct{}), slots: slots, ahead: ahead, most: most}
	a.bid.reschedule = a.reschedule
	a.adopt(cfg)
	info, err := a.identify(ctx)
	if err != nil {
		return nil, fmt.Errorf("the queue of app %s: %w (kefu setup creates it)", cfg.ID, err)
	}
	a.gate = keeper.App(cfg.ID, cfg.Rate)
	a.engine = &engine{
		services: s, appID: cfg.ID, settings: &a.settings, queueMade: &a.queueMade, gate: a.gate, laterShare: &a.laterShare, holder: a,
	}
	a.scheduler = newScheduler(broker.Shards(info.Config))
	by, err := a.conn.StateOnce(ctx, openedKey+cfg.ID, []byte(a.name))
	if err != nil {
		return nil, fmt.Errorf("app %s: %w", cfg.ID, err)
	}
	if string(by) == a.name {
		a.first = time.Now()
	}
	for _, line := range a.scheduler.lines {
		a.lanes = append(a.lanes, newLane(a, line))
	}
	a.timer = time.AfterFunc(time.Hour, func() {
		a.mu.Lock()
		a.timerAt = time.Time{} // a wall clock that was set back must not make the next wake look late
		a.mu.Unlock()
		a.reschedule()
	})
	a.timer.Stop()
	return a, nil
}

// cfg are the settings in force. What is under way may end by others than it
// began with.
func (a *app) cfg() *App { return a.settings.Load() }

// adopt takes settings over.
func (a *app) adopt(cfg App) {
	if cfg.Concurrency <= 0 || cfg.Concurrency > a.most {
		cfg.Concurrency = a.most
	}
	before := a.settings.Swap(&cfg)
	a.laterShare.setLimit(cfg.MostLater)
	if before != nil && before.Rate != cfg.Rate {
		a.gate.SetRate(cfg.Rate)
	}
}

func newLane(a *app, line *line) *lane {
	l := &lane{
		services: a.services, app: a, appID: a.cfg().ID, settings: &a.settings, first: a.first, ahead: a.ahead,
		line: line, mu: &a.mu, scheduler: a.scheduler,
	}
	if l.live() {
		l.config = broker.LiveConsumer(l.appID, line.index, maxAckPending)
	} else {
		l.config = broker.BulkConsumer(l.appID, maxAckPending)
	}
	l.consumer, l.mine = l.config.Durable, l.mayStart
	if !l.live() {
		l.puller = l.newPuller(nil)
	}
	return l
}

// identify finds out which stream the queue is: one that was made anew counts
// its sequences from 1 again.
func (a *app) identify(ctx context.Context) (info *jetstream.StreamInfo, err error) {
	err = a.conn.Ask(ctx, func(ctx context.Context) error {
		s, err := a.conn.JS.Stream(ctx, schema.SendStream(a.cfg().ID))
		if err == nil {
			info = s.CachedInfo()
			before := a.queueMade.Swap(&info.Created)
			if before != nil && !before.Equal(info.Created) {
				a.forgetOldQueue(info.Created)
			}
		}
		return err
	})
	return info, err
}

func (a *app) start() {
	a.gate.OnChange(a.reschedule)
	a.lanes[len(a.lanes)-1].bind() // bulk; the live ones when they are claimed
	a.reschedule()
}

// reschedule looks at everything anew: after a change of the gate, a free slot, or
// time that passed.
func (a *app) reschedule() {
	a.mu.Lock()
	a.schedule()
	a.mu.Unlock()
	if other := a.slots.returnUnused(&a.bid); other != nil {
		other.reschedule() // which gives on what is left
	}
}

// stop begins to give up everything; the channel is closed when that is done.
func (a *app) stop() <-chan struct{} {
	a.mu.Lock()
	a.scheduler.stopping = true
	a.schedule()
	a.mu.Unlock()
	return a.idle
}

// leaving says whether an app is on its way out.
func (a *app) leaving() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.scheduler.stopping
}

// gone says whether nothing of a stopped app is left here.
func (a *app) gone() bool {
	select {
	case <-a.idle:
	default:
		return false
	}
	return !slices.ContainsFunc(a.lanes, func(l *lane) bool { return l.claim.Load() != nil })
}

// holding is how many intents are in hand. It never blocks.
func (a *app) holding() int { return int(a.handCount.Load()) }

// arrive takes a message that the broker handed out under a claim.
func (a *app) arrive(l *lane, c *pool.Claim, m *nats.Msg) {
	meta, ok := broker.ParseDelivery(m.Reply)
	if !ok {
		a.log.Error("a message without a readable ack subject was left alone", "app", a.cfg().ID)
		return
	}
	d := l.deliver(m, meta, *a.queueMade.Load())
	a.mu.Lock()
	defer a.mu.Unlock()
	if l.claim.Load() != c {
		return // it has been handed out anew
	}
	if !l.follows(meta) {
		return
	}
	switch known := a.scheduler.inHand[d.seq]; {
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
		a.scheduler.drop(known)
	}
	if a.scheduler.phase == closed { // sent before the broker learned that nothing is wanted
		if d.live && !a.scheduler.stopping {
			l.dropped++ // see giveBack
		} else {
			_ = a.conn.NakReply(m.Reply)
		}
		return
	}
	a.handCount.Add(1)
	failpoint.Reach(failpoint.Pulled, "")
	a.scheduler.admit(d)
	a.ahead.took(d.line.inHand)
	a.schedule()
}

// schedule moves everything on that can move: it opens or closes the app, starts what
// may be started, and asks the broker for more. a.mu is held.
func (a *app) schedule() {
	now := time.Now()
	a.turnPhase(now)
	if a.scheduler.phase != open {
		a.refused.clear()
		return
	}
	for d := a.startNext(now); d != nil; d = a.startNext(now) {
		a.running.Go(func() { a.work(d) })
	}
	few := a.trialWindow(now)
	for _, l := range a.lanes {
		l.pullMore(few)
	}
}

// turnPhase opens or closes the app as the gate and the worker's life say. a.mu is held.
func (a *app) turnPhase(now time.Time) {
	stopping := a.scheduler.stopping
	a.scheduler.turnPhase(stopping || a.gate.Closed(now))
	a.carryOut()
	if !stopping {
		if next := a.gate.NextTry(); next.After(now) {
			a.wake(next)
		}
	}
}

// carryOut does what the scheduler has ordered. a.mu is held.
func (a *app) carryOut() {
	orders := a.scheduler.commands
	a.scheduler.commands = a.spare
	for _, o := range orders {
		a.do(o)
	}
	clear(orders) // what was in hand is not kept
	a.spare = orders[:0]
}

func (a *app) do(o command) {
	switch o.kind {
	case commandPause:
		a.pause(o.line, func() { a.scheduler.pausing-- })
	case commandPauseOne:
		a.pause(o.line, func() { o.line.pausing-- })
	case commandResume:
		a.lanes[o.line.index].resume()
	case commandRemake:
		a.lanes[o.line.index].dropped++
	case commandRelease:
		a.lanes[o.line.index].claim.Swap(nil).Released()
	case commandNak: // without a connection the broker hands it out again by itself
		_ = a.conn.NakReply(o.delivery.getReply())
	case commandMarkHarmless:
		a.engine.markHarmless(o.delivery)
	case commandDrop:
		a.handCount.Add(-1)
		a.ahead.dropped(o.held)
		if o.delivery.timer != nil {
			o.delivery.timer.Stop()
		}
	case commandWait:
		o.delivery.timer = time.AfterFunc(o.delay, func() { a.retryNow(o.delivery) })
	case commandWake:
		a.wake(o.at)
	case commandIdle:
		select {
		case <-a.idle:
		default:
			close(a.idle)
		}
	}
}

// pause has a line's puller stop, and calls paused, with mu held, when it can
// deliver nothing more.
func (a *app) pause(l *line, paused func()) {
	puller := a.lanes[l.index].puller
	a.running.Go(func() {
		puller.Pause(func() {
			a.mu.Lock()
			paused()
			a.schedule()
			a.mu.Unlock()
		})
	})
}

// work handles one intent after the other in a slot, as long as there is one:
// a goroutine that lives on has its stack grown already.
func (a *app) work(d *delivery) {
	for d != nil {
		d = a.finish(d, a.engine.turn(d))
	}
}

// startNext gets the next intent if there is one, a slot and a permission for it. a.mu
// is held.
func (a *app) startNext(now time.Time) *delivery {
	cfg, s := a.cfg(), a.scheduler
	if s.running >= cfg.Concurrency {
		a.refused.clear()
		return nil
	}
	slotTime := s.slot.now(now, s.running)
	l, d, passing := s.next(a.chance(now, slotTime))
	a.carryOut()
	if l == nil || !a.slots.acquire(&a.bid, l.kind, cfg.Rate.LiveReserve, slotTime) {
		a.refused.clear()
		return nil
	}
	var p gate.Permission
	var wait time.Duration
	if !passing {
		p, wait = a.gate.Permit(l.kind, now)
	}
	if !p.OK && !passing {
		a.refused.set(now)
		if wait > 0 {
			a.wake(now.Add(wait))
		}
		if other := a.slots.release(&a.bid, l.kind); other != nil {
			a.running.Go(other.reschedule) // not here: its lock and ours have no order
		}
		return nil
	}
	a.refused.clear()
	if d == nil {
		d = l.ready.first()
	}
	s.begin(d, p, passing, now)
	return d
}

// chance is what there is of a next intent, where one has its slot for so long.
func (a *app) chance(now time.Time, slotTime time.Duration) chance {
	cfg := a.cfg()
	c := chance{
		now: now, forBulk: cfg.Concurrency - keptFor(cfg.Rate.LiveReserve, cfg.Concurrency, slotTime),
		startable: func(l *line) bool { return a.lanes[l.index].startable(now) },
	}
	if c.trial, c.choosing = a.gate.Choice(now); c.choosing {
		c.laterFull = a.laterShare.isFull()
		c.window = a.lanes[len(a.lanes)-1].window(lookAhead + c.trial.Drawn())
	}
	return c
}

// trialWindow is how many intents of each lane may be in hand while a hold is being
// tried; 0 for no hold.
func (a *app) trialWindow(now time.Time) int {
	if c, choosing := a.gate.Choice(now); choosing {
		return lookAhead + c.Drawn()
	}
	if a.gate.Trying(now) {
		return 1
	}
	return 0
}

// finish takes a delivery out of its slot, and returns one that may have it next.
func (a *app) finish(d *delivery, next afterwards) (successor *delivery) {
	a.gate.Done(d.permission, next.reached)
	a.mu.Lock()
	now := time.Now()
	a.scheduler.finish(d, next, now)
	a.carryOut()
	other := a.slots.release(&a.bid, d.line.kind)
	if a.turnPhase(now); a.scheduler.phase == open {
		successor = a.startNext(now)
	}
	a.schedule()
	if a.scheduler.requeue(d) {
		a.schedule()
	}
	a.mu.Unlock()
	if other != nil {
		other.reschedule()
	}
	return successor
}

// retryNow brings a delivery back that waited in the process.
func (a *app) retryNow(d *delivery) {
	a.mu.Lock()
	a.scheduler.retryNow(d)
	a.schedule()
	a.mu.Unlock()
}

// settled forgets a delivery that was acknowledged.
func (a *app) settled(d *delivery) {
	a.mu.Lock()
	a.scheduler.drop(d)
	a.schedule()
	a.mu.Unlock()
}

// releaseUnsettled gives a delivery back whose end cannot be stored, if this worker has
// to let go of it.
func (a *app) releaseUnsettled(d *delivery) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.scheduler.releaseUnsettled(d) {
		return false
	}
	a.schedule()
	return true
}

// inHand says whether the message with this sequence is in hand.
func (a *app) inHand(seq uint64) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.scheduler.inHand[seq] != nil
}

// forgetOldQueue forgets what is in hand of a queue that was deleted before another one
// was made under its name.
func (a *app) forgetOldQueue(made time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, d := range a.scheduler.forgetOldQueue(made) {
		d.setReply("")
	}
	a.carryOut()
}

// longestNap bounds a timer: what it waits for is told by the wall clock, and the
// timer's own stands still while the machine is suspended and is not set with it.
const longestNap = 5 * time.Second

// wake has reschedule called at a time, if not earlier; every longestNap until then.
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

// countUnreachable counts calls in a row that could not leave the machine.
func (a *app) countUnreachable(fault wechat.Fault) int {
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
	for _, d := range a.scheduler.inHand {
		if now.Sub(d.renewed) >= broker.AckRenew {
			d.renewed = now
			_ = a.conn.ProgressReply(d.getReply())
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
