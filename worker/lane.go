package worker

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cenkalti/backoff/v4"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/pool"
	"github.com/kefuhq/kefu/internal/wire"
	"github.com/kefuhq/kefu/schema"
)

const (
	// maxAckPending is the broker's bound on what one lane may have handed out
	// to all workers; what a worker really asks for is for pullMore to say.
	maxAckPending = 10000

	// pullAhead is how far a lane pulls ahead of the rate, in time, beside what a pull
	// takes: long enough not to ask for single messages, short enough that
	// AckWait never runs out in the buffer.
	pullAhead = 500 * time.Millisecond

	// bufferLeast is how many may wait at least, however low the rate.
	bufferLeast = 4
)

// lane is one consumer of an app's queue: a live shard or bulk.
type lane struct {
	*services
	app       laneApp
	appID     string
	settings  *atomic.Pointer[App]
	firstRead time.Time // when this worker became the first that ever read the queue; else zero
	prefetch  *prefetch
	line      *line
	mayCall   func(now time.Time) bool // mayStart, made once
	consumer  string
	config    jetstream.ConsumerConfig

	claim atomic.Pointer[pool.Claim] // to read it; nil for none, and for bulk

	// made is when the consumer was made, in ns of the broker's clock; 0 if nobody
	// read the lane before.
	made atomic.Int64

	mender mender
	bound  bool // ensure has succeeded before; the mender's

	mu        *sync.Mutex // the app's: it guards what follows, and the line
	scheduler *scheduler
	puller    *broker.Puller // of this claim; nil before the first
	fresh     bool           // the consumer was made under this claim
	lastOrder uint64         // of the consumer's last message
	since     time.Time      // when that consumer was made

	// dropped is how often something that the consumer handed out was dropped here:
	// then it must be made anew. remade is for how many of these it was.
	dropped, remade int
}

// laneApp is the app of a lane.
type laneApp interface {
	arrive(l *lane, c *pool.Claim, m *nats.Msg)
	reschedule()
	identify(ctx context.Context) (*jetstream.StreamInfo, error)
}

func (l *lane) live() bool { return l.line.kind == schema.LaneLive }

func (l *lane) cfg() *App { return l.settings.Load() }

// newPuller makes the puller of one claim. What one of an earlier claim still
// delivers has been handed out anew since, and would come out of order.
func (l *lane) newPuller(c *pool.Claim) *broker.Puller {
	arrive := func(m *nats.Msg) { l.app.arrive(l, c, m) }
	lost := func(reason error) {
		if l.claim.Load() == c {
			l.lost(reason)
		}
	}
	return l.conn.NewPuller(schema.SendStream(l.appID), l.consumer, arrive, lost)
}

// deliver makes a delivery of a message that the consumer handed out.
func (l *lane) deliver(m *nats.Msg, meta broker.Delivery, queueMade time.Time) *delivery {
	d := &delivery{
		msg: m, mayCall: l.mayCall, reply: m.Reply, renewed: time.Now(),
		scheduled: scheduled{line: l.line},
		life: life{
			seq: meta.Seq, stored: meta.Stored, queueMade: queueMade, worker: l.name,
			redelivered: meta.Delivered > 1 || l.inherited(meta),
		},
	}
	var err error
	if d.subject, err = wire.ParseSubject(m.Subject); err != nil {
		// The stream's subjects bind the first tokens; the last may be anything a
		// NATS client can publish. The handler buries it.
		d.subject = wire.Subject{Subject: schema.Subject{AppID: l.appID, Lane: l.line.kind}}
	}
	return d
}

// pullMore asks for as many messages as there is room for. Deliveries that wait for
// a retry or behind their recipient take no room, up to a bound: one busy
// recipient must not stop the others of its shard. limit bounds it where it is not
// 0. app.mu is held.
func (l *lane) pullMore(limit int) {
	if !l.reads() {
		return
	}
	most, waiting := l.window(limit), l.line.ready.len()+l.line.recalled.len()
	room := most - waiting
	if limit == 0 && 2*waiting > most { // enough: do not ask for single messages
		room = 0
	}
	if l.line.inHand >= l.maxInHand() {
		room = 0
	}
	l.puller.Request(room)
}

// window is how many of its intents may be ready; limit bounds it where it is not 0.
// app.mu is held.
func (l *lane) window(limit int) int {
	want := l.buffer()
	if limit > 0 {
		want = limit - l.scheduler.running
	}
	return min(want, l.prefetch.allowance(l.line.inHand))
}

// buffer is how many intents of a lane may wait for their turn in hand, or be on
// their way. What has a slot is not among them: how much that is follows from the
// rate and the time in a slot by itself. app.mu is held.
func (l *lane) buffer() int {
	cfg := l.cfg()
	inSlot, trip := l.scheduler.slot.usual, l.conn.Outbox.Trip()
	buffer := bufferOf(cfg.Concurrency, cfg.Rate.PerSecond, inSlot, trip)
	return min(buffer, maxInHandOf(cfg.Concurrency)/2)
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
		n = min(n, max(perSecond*(pullAhead+2*trip).Seconds(), bufferLeast))
	}
	return int(min(n, maxAckPending))
}

// maxInHand is how much of the lane this worker has in hand at most.
func (l *lane) maxInHand() int { return maxInHandOf(l.cfg().Concurrency) }

func maxInHandOf(slots int) int { return 8*slots + 1000 }

// inherited says whether a message may have been handed out by a consumer
// before this one, whose count of deliveries ended with it: it was stored
// before, and it is among the first that this one hands out. The queue's oldest
// come first, and a worker that died had no more than maxInHand.
func (l *lane) inherited(m broker.Delivery) bool {
	return m.Stored.UnixNano() < l.made.Load() && m.Order <= uint64(l.maxInHand())
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
	if m.Order > l.lastOrder+1 {
		l.dropped++
		l.running.Go(l.bind) // takes our lock
		return false
	}
	l.lastOrder = max(l.lastOrder, m.Order)
	return true
}

// resume reads on after a pause of the app. app.mu is held.
func (l *lane) resume() {
	if l.stale() {
		l.running.Go(l.bind) // takes our lock
	}
	if !l.reads() {
		return
	}
	if err := l.puller.Resume(); err != nil {
		l.log.Warn("lane", "app", l.appID, "lane", l.consumer, "error", err)
		l.running.Go(l.bind) // takes our lock
	}
}

// lost is told why a request ended without a message.
func (l *lane) lost(reason error) {
	if reason == nil {
		l.app.reschedule()
		return
	}
	l.log.Debug("lane", "app", l.appID, "lane", l.consumer, "error", reason)
	l.bind()
}

// bind sees to it that the consumer exists and the puller reads it, and tries
// until it does.
func (l *lane) bind() {
	l.mu.Lock()
	defer l.mu.Unlock() // Run waits for what was begun before stopping was set
	if !l.scheduler.stopping && (!l.live() || l.claim.Load() != nil) {
		l.mender.mend(l.services, l.ensure, l.app.reschedule)
	}
}

// errNotMine: the claim is about to be lost, and the consumer may be another's.
var errNotMine = errors.New("the claim of this shard is not valid")

// ensure sees to it that the consumer exists, and is made anew where it must be, and
// has the puller read it.
func (l *lane) ensure() error {
	l.mu.Lock()
	stopping, draining := l.scheduler.stopping, l.line.draining
	puller, claim := l.puller, l.claim.Load()
	fresh, anew, dropped := l.fresh, l.stale(), l.dropped
	l.mu.Unlock()
	live := l.live()
	if stopping || live && (claim == nil || draining) {
		l.troubles.set(l.subject(), "") // what another worker is to read is no trouble of this one
		return backoff.Permanent(context.Canceled)
	}
	if !l.mayStart(time.Now()) {
		return errNotMine
	}
	puller.Forget()
	made, err := l.ensureConsumer(live && (!fresh || anew))
	if err != nil {
		return err
	}
	// Nobody was handed anything before the first reader; a lease later a shard may
	// be one that another read and died over.
	if !anew && (l.bound || l.firstRead.IsZero() || time.Since(l.firstRead) > pool.Lease) {
		l.made.Store(made.UnixNano())
	}
	l.bound = true
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.claim.Load() != claim {
		return errNotMine // a new one, whose consumer is to be made anew
	}
	if !l.since.Equal(made) {
		l.since, l.lastOrder = made, 0
	}
	l.fresh = true
	if !fresh || anew {
		l.remade = dropped // more may have been dropped meanwhile
	}
	if l.stale() && l.scheduler.phase == open {
		l.running.Go(l.bind) // takes our lock
	}
	if l.scheduler.phase != open || !l.reads() {
		return nil // opening resumes the puller
	}
	return puller.Resume()
}

// ensureConsumer makes the consumer unless it exists; anew has it deleted first. It
// returns when the consumer was made.
func (l *lane) ensureConsumer(anew bool) (made time.Time, err error) {
	stream := schema.SendStream(l.appID)
	trouble := fmt.Sprintf("lane %s of app %s cannot be read", l.consumer, l.appID)
	if l.bound {
		// It may have been lost with its stream. That must be known before a consumer
		// hands anything out.
		ctx, cancel := context.WithTimeout(l.work, bindTimeout)
		defer cancel()
		if _, err := l.app.identify(ctx); err != nil {
			l.unreadable(l.subject(), trouble, err)
			return made, err
		}
	}
	if anew {
		if err := l.deleteConsumer(stream, l.consumer); err != nil {
			l.unreadable(l.subject(), trouble, err)
			return made, err
		}
	}
	return l.makeConsumer(stream, l.config, l.subject(), trouble)
}

// subject is what the lane's trouble is about.
func (l *lane) subject() string { return "queue " + l.appID + " " + l.consumer }

// mayStart says whether a call of this lane may be started at now.
func (l *lane) mayStart(now time.Time) bool {
	if !l.live() {
		return true
	}
	c := l.claim.Load()
	return c != nil && c.Valid(now)
}

// reads says whether the lane is pulled from. app.mu is held.
func (l *lane) reads() bool {
	return !l.live() || l.claim.Load() != nil && l.fresh && !l.stale() && !l.line.draining
}

// useClaim begins to read the shard. app.mu is held.
func (l *lane) useClaim(c *pool.Claim) {
	l.claim.Store(c)
	l.fresh, l.remade = false, l.dropped
	l.puller = l.newPuller(c)
	l.scheduler.beginReading(l.line)
	if !l.scheduler.stopping {
		l.mender.mend(l.services, l.ensure, l.app.reschedule)
	}
}

// drainClaim begins to drain the shard. app.mu is held.
func (l *lane) drainClaim(c *pool.Claim) {
	if l.claim.Load() == c {
		l.scheduler.beginDraining(l.line)
	}
}

// loseClaim lets go of the shard at once. app.mu is held.
func (l *lane) loseClaim(c *pool.Claim) {
	if l.claim.Load() != c {
		return
	}
	l.claim.Store(nil)
	if puller := l.puller; !l.scheduler.stopping {
		l.running.Go(func() { puller.Pause(func() {}) }) // what it still delivers is left alone
	}
	l.log.Warn("a live shard was lost to the pool", "app", l.appID, "lane", l.consumer)
	l.scheduler.loseShard(l.line)
}

// startable says whether an intent of the lane may be started at now. While others
// may take this worker for dead a start would only be taken back.
func (l *lane) startable(now time.Time) bool {
	if !l.live() {
		_, ok := l.pool.Term(now)
		return ok
	}
	return l.mayStart(now)
}
