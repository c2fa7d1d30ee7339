package worker

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/cenkalti/backoff/v4"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/pool"
	"github.com/kefuhq/kefu/schema"
)

const (
	// maxAckPending is the broker's bound on what one lane may have handed out
	// to all workers; what a worker really asks for is lane.top's business.
	maxAckPending = 10000

	// ahead is for how long a lane pulls ahead of the rate, beside the time that a
	// pull takes: long enough not to ask for single messages, short enough that
	// AckWait never runs out in the buffer.
	ahead = 500 * time.Millisecond

	// bufferLeast is how many may wait at least, however low the rate.
	bufferLeast = 4
)

// lane is one consumer of an app's queue: a live shard or bulk.
type lane struct {
	app    *app
	line   *line
	name   string
	config jetstream.ConsumerConfig

	claim atomic.Pointer[pool.Claim] // to read it; nil for none, and for bulk

	mender mender
	made   atomic.Int64 // when the consumer was made, in ns of the broker's clock; 0: nobody read the lane before
	bound  bool         // ensure has succeeded before; the mender's

	// guarded by app.mu
	puller  *broker.Puller // of this claim; nil before the first
	fresh   bool           // the consumer was made under this claim
	dropped int            // how often something that it handed out was dropped here: then it must be made anew
	remade  int            // for which of these it was
	order   uint64         // of the consumer's last message
	since   time.Time      // when that consumer was made
}

func newLane(a *app, line *line) *lane {
	l := &lane{app: a, line: line}
	if l.live() {
		l.config = broker.LiveConsumer(a.cfg().ID, line.index, maxAckPending)
	} else {
		l.config = broker.BulkConsumer(a.cfg().ID, maxAckPending)
	}
	l.name = l.config.Durable
	if !l.live() {
		l.puller = l.newPuller(nil)
	}
	return l
}

func (l *lane) live() bool { return l.line.kind == schema.LaneLive }

// newPuller makes the puller of one claim. What one of an earlier claim still
// delivers has been handed out anew since, and would come out of order.
func (l *lane) newPuller(c *pool.Claim) *broker.Puller {
	return l.app.w.conn.NewPuller(schema.SendStream(l.app.cfg().ID), l.name, func(m *nats.Msg) { l.app.arrive(l, c, m) }, func(reason error) {
		if l.claim.Load() == c {
			l.lost(reason)
		}
	})
}

// top asks for as many messages as there is room for. Deliveries that wait for
// a retry or behind their recipient take no room, up to a bound: one busy
// recipient must not stop the others of its shard. few bounds it where it is not
// 0. app.mu is held.
func (l *lane) top(few int) {
	if !l.reads() {
		return
	}
	most, waiting := l.window(few), l.line.ready.len()
	room := most - waiting
	if few == 0 && 2*waiting > most { // or a lane that has enough would ask for one message after the other
		room = 0
	}
	if l.line.held >= l.most() {
		room = 0
	}
	l.puller.Top(room)
}

// window is how many of its intents may be ready; few bounds it where it is not 0.
// app.mu is held.
func (l *lane) window(few int) int {
	want := l.app.buffer()
	if few > 0 {
		want = few - l.app.scheduler.running
	}
	return min(want, l.app.w.ahead.share(l.line.held))
}

// buffer is how many intents of a lane may wait for their turn in hand, or be on
// their way. What has a slot is not among them: how much that is follows from the
// rate and the time in a slot by itself. app.mu is held.
func (a *app) buffer() int {
	cfg := a.cfg()
	return min(bufferOf(cfg.Concurrency, cfg.Rate.PerSecond, a.scheduler.slot.usual, a.w.conn.Outbox.Trip()), mostOf(cfg.Concurrency)/2)
}

// bufferOf is the buffer for so many slots and such a rate (0: no limit), where an
// intent has a slot for so long and a pull takes trip. A lane pulls again when
// half of it is used up, and the other half must last until the answer comes.
func bufferOf(slots int, perSecond float64, inSlot, trip time.Duration) int {
	n := float64(slots)
	if inSlot > 0 {
		n *= 1 + 2*trip.Seconds()/inSlot.Seconds()
	}
	if perSecond > 0 {
		n = min(n, max(perSecond*(ahead+2*trip).Seconds(), bufferLeast))
	}
	return int(min(n, maxAckPending))
}

// most is how much of the lane this worker has in hand at most.
func (l *lane) most() int { return mostOf(l.app.cfg().Concurrency) }

func mostOf(slots int) int { return 8*slots + 1000 }

// inherited says whether a message may have been handed out by a consumer
// before this one, whose count of deliveries ended with it: it was stored
// before, and it is among the first that this one hands out. The queue's oldest
// come first, and a worker that died had no more than most in hand.
func (l *lane) inherited(m broker.Delivery) bool {
	return m.Stored.UnixNano() < l.made.Load() && m.Order <= uint64(l.most()) //nolint:gosec // a bound of thousands
}

// stale says whether the consumer must be made anew, so that everything which is
// not settled comes again in the order of the queue. app.mu is held.
func (l *lane) stale() bool { return l.dropped != l.remade }

// follows says whether a message is the next one that the consumer handed out.
// One may be missing: what was on its way when the connection ended, or was
// handed out to a request that nobody reads any more, comes again when its
// AckWait is over, and what is behind it must not go before it. app.mu is held.
func (l *lane) follows(m broker.Delivery) bool {
	if !l.live() {
		return true
	}
	if l.stale() {
		return false // all of it comes again
	}
	if m.Order > l.order+1 {
		l.dropped++
		l.app.w.running.Go(l.bind) // takes our lock
		return false
	}
	l.order = max(l.order, m.Order)
	return true
}

// resume reads on after a pause of the app. app.mu is held.
func (l *lane) resume() {
	a := l.app
	if l.stale() {
		a.w.running.Go(l.bind) // takes our lock
	}
	if !l.reads() {
		return
	}
	if err := l.puller.Resume(); err != nil {
		a.w.log.Warn("lane", "app", a.cfg().ID, "lane", l.name, "error", err)
		a.w.running.Go(l.bind) // takes our lock
	}
}

// lost is told why a request ended without a message.
func (l *lane) lost(reason error) {
	if reason == nil {
		l.app.poke()
		return
	}
	l.app.w.log.Debug("lane", "app", l.app.cfg().ID, "lane", l.name, "error", reason)
	l.bind()
}

// bind sees to it that the consumer exists and the puller reads it, and tries
// until it does.
func (l *lane) bind() {
	l.app.mu.Lock()
	defer l.app.mu.Unlock() // Run waits for what was begun before stopping was set
	if !l.app.scheduler.stopping && (!l.live() || l.claim.Load() != nil) {
		l.mender.mend(l.app.w, l.ensure, l.app.poke)
	}
}

// errNotMine: the claim is about to be lost, and the consumer may be another's.
var errNotMine = errors.New("the claim of this shard is not valid")

func (l *lane) ensure() error {
	a := l.app
	a.mu.Lock()
	stopping, leaving, puller, claim := a.scheduler.stopping, l.line.leaving, l.puller, l.claim.Load()
	fresh, anew, dropped := l.fresh, l.stale(), l.dropped
	a.mu.Unlock()
	live := l.live()
	subject, trouble := "queue "+a.cfg().ID+" "+l.name, fmt.Sprintf("lane %s of app %s cannot be read", l.name, a.cfg().ID)
	if stopping || live && (claim == nil || leaving) {
		a.w.troubles.set(subject, "") // what another worker is to read keeps this one from nothing
		return backoff.Permanent(context.Canceled)
	}
	if !l.mine(time.Now()) {
		return errNotMine
	}
	puller.Forget()
	if l.bound { // lost with its stream, perhaps: that must be known before a consumer hands anything out
		ctx, cancel := context.WithTimeout(a.w.work, bindTimeout)
		defer cancel()
		if _, err := a.identify(ctx); err != nil {
			a.w.unreadable(subject, trouble, err)
			return err
		}
	}
	if live && (!fresh || anew) {
		if err := a.w.unbind(schema.SendStream(a.cfg().ID), l.name); err != nil {
			a.w.unreadable(subject, trouble, err)
			return err
		}
	}
	made, err := a.w.bind(schema.SendStream(a.cfg().ID), l.config, subject, trouble)
	if err != nil {
		return err
	}
	// Nobody was handed anything before the first reader; a lease later a shard may
	// be one that another read and died over.
	if !anew && (l.bound || a.first.IsZero() || time.Since(a.first) > pool.Lease) {
		l.made.Store(made.UnixNano())
	}
	l.bound = true
	a.mu.Lock()
	defer a.mu.Unlock()
	if l.claim.Load() != claim {
		return errNotMine // a new one, whose consumer is to be made anew
	}
	if !l.since.Equal(made) {
		l.since, l.order = made, 0
	}
	l.fresh = true
	if !fresh || anew {
		l.remade = dropped // more may have been dropped meanwhile
	}
	if l.stale() && a.scheduler.phase == open {
		a.w.running.Go(l.bind) // takes our lock
	}
	if a.scheduler.phase != open || !l.reads() {
		return nil // opening resumes the puller
	}
	return puller.Resume()
}
