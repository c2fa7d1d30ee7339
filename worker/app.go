package worker

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/gate"
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
	queueMade  atomic.Pointer[time.Time] // when its stream was made: the first part of default ids
	firstRead  time.Time                 // when this worker became its first reader ever; else zero
	laterShare laterShare
	reported   int64         // messages sent, as the pool was told; status's
	lanes      []*lane       // by the index of their line
	idle       chan struct{} // closed when stopping and nothing is in hand any more

	// unpermitted is since when an intent that is ready, and has a slot, gets no
	// permission.
	unpermitted stamp
	// inHandCount is how many deliveries are in hand, for whoever must not wait for
	// mu: it is held while the broker is written to.
	inHandCount atomic.Int64

	slots          *slots    // the process's
	slotUser       slotUser  // the app's part in them
	prefetch       *prefetch // the process's
	maxConcurrency int       // calls in flight in this process

	mu        sync.Mutex
	scheduler *scheduler
	spare     []command // the array for the scheduler's next commands
	upstream  int       // calls in a row that could not leave
	timer     *time.Timer
	timerAt   time.Time
}

// openedKey begins the key in KEFU_STATE that says which worker was the first
// that ever read an app's queue.
const openedKey = "opened."

func newApp(ctx context.Context, s *services, cfg App, keeper *gate.Keeper, slots *slots,
	prefetch *prefetch, maxConcurrency int) (*app, error) {
	a := &app{
		services: s, laterShare: laterShare{conn: s.conn, appID: cfg.ID}, idle: make(chan struct{}),
		slots: slots, prefetch: prefetch, maxConcurrency: maxConcurrency,
	}
	a.slotUser.reschedule = a.reschedule
	a.adopt(cfg)
	info, err := a.identify(ctx)
	if err != nil {
		return nil, fmt.Errorf("the queue of app %s: %w (kefu setup creates it)", cfg.ID, err)
	}
	a.gate = keeper.App(cfg.ID, cfg.Rate)
	a.engine = &engine{
		services: s, appID: cfg.ID, settings: &a.settings, queueMade: &a.queueMade, gate: a.gate,
		laterShare: &a.laterShare, holder: a, pulse: s.pulse.App(cfg.ID),
	}
	a.scheduler = newScheduler(broker.Shards(info.Config))
	a.scheduler.cancelled = func(campaign string) bool {
		return a.withdrawals.CampaignCancelled(cfg.ID, campaign)
	}
	by, err := a.conn.StateOnce(ctx, openedKey+cfg.ID, []byte(a.name))
	if err != nil {
		return nil, fmt.Errorf("app %s: %w", cfg.ID, err)
	}
	if string(by) == a.name {
		a.firstRead = time.Now()
	}
	for _, line := range a.scheduler.lines {
		a.lanes = append(a.lanes, newLane(a, line))
	}
	a.timer = time.AfterFunc(time.Hour, func() {
		a.mu.Lock()
		// A wall clock that was set back must not make the next wake look late.
		a.timerAt = time.Time{}
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
	if cfg.Concurrency <= 0 || cfg.Concurrency > a.maxConcurrency {
		cfg.Concurrency = a.maxConcurrency
	}
	before := a.settings.Swap(&cfg)
	a.laterShare.setLimit(cfg.MostLater)
	if before != nil && before.Rate != cfg.Rate {
		a.gate.SetRate(cfg.Rate)
	}
}

func newLane(a *app, line *line) *lane {
	l := &lane{
		services: a.services, app: a, appID: a.cfg().ID, settings: &a.settings,
		firstRead: a.firstRead, prefetch: a.prefetch,
		line: line, mu: &a.mu, scheduler: a.scheduler,
	}
	if l.live() {
		l.config = broker.LiveConsumer(l.appID, line.index, maxAckPending)
	} else {
		l.config = broker.BulkConsumer(l.appID, maxAckPending)
	}
	l.consumer, l.mayCall = l.config.Durable, l.mayStart
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
	if other := a.slots.returnUnused(&a.slotUser); other != nil {
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

// isStopping says whether the app was told to stop.
func (a *app) isStopping() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.scheduler.stopping
}

// drained says whether nothing of a stopped app is left here.
func (a *app) drained() bool {
	select {
	case <-a.idle:
	default:
		return false
	}
	return !slices.ContainsFunc(a.lanes, func(l *lane) bool { return l.claim.Load() != nil })
}

// holding is how many intents are in hand. It never blocks.
func (a *app) holding() int { return int(a.inHandCount.Load()) }

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
