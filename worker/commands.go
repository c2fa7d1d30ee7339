package worker

import (
	"time"

	"github.com/nats-io/nats.go"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/failpoint"
	"github.com/kefuhq/kefu/internal/gate"
	"github.com/kefuhq/kefu/internal/pool"
)

// This file drives an app's scheduler: it tells it what arrives, ends and is due, and
// carries out what it commands.

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
		if d.live() && !a.scheduler.stopping {
			l.dropped++ // see giveBack
		} else {
			_ = a.conn.NakReply(m.Reply)
		}
		return
	}
	a.inHandCount.Add(1)
	failpoint.Reach(failpoint.Pulled, "")
	a.scheduler.admit(d)
	a.prefetch.took(d.line.inHand)
	a.schedule()
}

// schedule moves everything on that can move: it opens or closes the app, starts what
// may be started, and asks the broker for more. a.mu is held.
func (a *app) schedule() {
	now := time.Now()
	a.turnPhase(now)
	if a.scheduler.phase != open {
		a.unpermitted.clear()
		return
	}
	trial := a.trialChoice(now)
	for d := a.startNext(now, trial); d != nil; d = a.startNext(now, trial) {
		a.running.Go(func() { a.work(d) })
	}
	limit := a.trialWindow(now, trial)
	for _, l := range a.lanes {
		l.pullMore(limit)
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

// carryOut does what the scheduler commands. a.mu is held.
func (a *app) carryOut() {
	commands := a.scheduler.commands
	a.scheduler.commands = a.spare
	for _, c := range commands {
		a.do(c)
	}
	clear(commands) // what was in hand is not kept
	a.spare = commands[:0]
}

func (a *app) do(c command) {
	switch c.kind {
	case commandPause:
		a.pause(c.line, func() { a.scheduler.pausing-- })
	case commandPauseOne:
		a.pause(c.line, func() { c.line.pausing-- })
	case commandResume:
		a.lanes[c.line.index].resume()
	case commandRemake:
		a.lanes[c.line.index].dropped++
	case commandRelease:
		a.lanes[c.line.index].claim.Swap(nil).Released()
	case commandNak: // without a connection the broker hands it out again by itself
		_ = a.conn.NakReply(c.delivery.getReply())
	case commandMarkHarmless:
		a.engine.markHarmless(c.delivery)
	case commandDrop:
		a.inHandCount.Add(-1)
		a.prefetch.dropped(c.inHand)
		if c.delivery.timer != nil {
			c.delivery.timer.Stop()
		}
	case commandWait:
		c.delivery.timer = time.AfterFunc(c.delay, func() { a.retryNow(c.delivery) })
	case commandWake:
		a.wake(c.at)
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
func (a *app) startNext(now time.Time, trial trialChoice) *delivery {
	cfg, s := a.cfg(), a.scheduler
	if s.running >= cfg.Concurrency {
		a.unpermitted.clear()
		return nil
	}
	slotTime := s.slot.now(now, s.running)
	l, d, why := s.next(a.conditions(now, trial, slotTime))
	a.carryOut()
	if l == nil || !a.slots.acquire(&a.slotUser, l.kind, cfg.Rate.LiveReserve, slotTime) {
		a.unpermitted.clear()
		return nil
	}
	var p gate.Permission
	var wait time.Duration
	if why == toSend {
		p, wait = a.gate.Permit(l.kind, now)
	}
	if !p.OK && why == toSend {
		a.unpermitted.set(now)
		if wait > 0 {
			a.wake(now.Add(wait))
		}
		if other := a.slots.release(&a.slotUser, l.kind); other != nil {
			a.running.Go(other.reschedule) // not here: its lock and ours have no order
		}
		if s.recalling() {
			return a.startNext(now, trial)
		}
		return nil
	}
	a.unpermitted.clear()
	if d == nil {
		d = l.ready.first()
	}
	s.begin(d, p, why, now)
	return d
}

// trialChoice asks the gate which intents may try the hold in force.
func (a *app) trialChoice(now time.Time) (c trialChoice) {
	c.Choice, c.choosing = a.gate.Choice(now)
	return c
}

// conditions are those under which the next intent is chosen, where an intent has its
// slot for slotTime. a.mu is held.
func (a *app) conditions(now time.Time, trial trialChoice, slotTime time.Duration) conditions {
	cfg := a.cfg()
	c := conditions{
		now: now, trial: trial,
		forBulk:   cfg.Concurrency - keptFor(cfg.Rate.LiveReserve, cfg.Concurrency, slotTime),
		startable: func(l *line) bool { return a.lanes[l.index].startable(now) },
	}
	if trial.choosing {
		c.laterFull = a.laterShare.isFull()
		c.window = a.lanes[len(a.lanes)-1].window(lookAhead + trial.Refusals())
	}
	return c
}

// trialWindow is how many intents of each lane may be in hand while a hold is being
// tried; 0 for no hold.
func (a *app) trialWindow(now time.Time, trial trialChoice) int {
	if trial.choosing {
		return lookAhead + trial.Refusals()
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
	other := a.slots.release(&a.slotUser, d.line.kind)
	if a.turnPhase(now); a.scheduler.phase == open {
		successor = a.startNext(now, a.trialChoice(now))
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

// maxTimerWait bounds a timer: what it waits for is told by the wall clock, and the
// timer's own stands still while the machine is suspended and is not set with it.
const maxTimerWait = 5 * time.Second

// wake has reschedule called at a time, if not earlier; every maxTimerWait until then.
// a.mu is held.
func (a *app) wake(at time.Time) {
	now := time.Now()
	if bound := now.Add(maxTimerWait); at.After(bound) {
		at = bound
	}
	if a.timerAt.After(now) && !at.Before(a.timerAt) {
		return
	}
	a.timerAt = at
	a.timer.Reset(max(at.Sub(now), time.Millisecond))
}
