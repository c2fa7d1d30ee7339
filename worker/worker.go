// Package worker is the engine: it pulls intents from the queue, attempts them
// and settles them.
//
// Five nouns, one direction: an Intent is one message that somebody wants
// delivered; an attempt is one call of the API; it yields an outcome; decide
// (verdict.go), a pure function, turns the outcome into a Verdict; settling
// carries the verdict out at the broker.
//
// # The path of one intent
//
//	lane.go       its consumer hands it out, under a claim of the pool's
//	commands.go   arrive, startNext: it needs a slot and a permission before it is touched
//	scheduler.go  PURE: what is in hand, and whose turn it is; order.go: each recipient's order
//	attempt.go    turn, carry: does what its life orders, in the slot: decode, look, mark, call
//	life.go       PURE: one event in, one step out; the order of all that is written
//	              (steps.go: what events and steps are; mark.go: what the ledger is told)
//	call.go       the call: the last look before the packet leaves, the outcome, the verdict
//	verdict.go    PURE: what is done about an outcome
//	settle.go     carries out the steps of its end, which nothing waits for; acknowledges
//
// What must wait longer than a moment goes to KEFU_LATER (later.go), and the
// dispatcher (dispatcher.go) brings it back.
//
// # Where to look
//
// The files refer to each other in one direction: from what starts and stops (worker.go, stop.go,
// reconfigure.go, claim.go, app.go, commands.go) over what is done (attempt.go,
// call.go, settle.go, letter.go, observe.go) to what is decided and known
// (scheduler.go, life.go, verdict.go, mark.go, steps.go). What all parts use is listed
// in services.go, settings in config.go.
//
// Numbers that fit together: an API call ends after 10 s, the broker hands out
// a message again 12 s after the last sign of life of its worker, a sign of
// life is given every 4 s, and a worker whose heartbeat is 12 s old is dead.
package worker

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/gate"
	"github.com/kefuhq/kefu/internal/ledger"
	"github.com/kefuhq/kefu/internal/pool"
	"github.com/kefuhq/kefu/internal/pulse"
	"github.com/kefuhq/kefu/internal/wire"
	"github.com/kefuhq/kefu/internal/withdrawal"
)

// ErrUnclean says that the grace period ended before all that was under way
// did, or before the ledger had all of it. Nothing is lost: what had no end is
// handed out again.
var ErrUnclean = errors.New("stopped before everything under way had ended")

// minLedgerDrain is how long a stopping worker waits for the ledger at least,
// however much of the grace period was used up: what it does not learn is taken
// for unknown.
const minLedgerDrain = 2 * time.Second

// Worker carries intents from the queue to the API.
type Worker struct {
	*services
	cfg        Config
	slots      slots
	prefetch   prefetch
	wrapLedger func(intentLog) intentLog // what a test puts around the ledger
	keeper     *gate.Keeper
	apps       []*app // guarded by mu; a slice that was handed out is not changed
	changing   sync.Mutex
	letters    letters
	counting   counting

	watchdog *watchdog
	claims   *claims

	mu      sync.Mutex
	started bool
}

// New makes a worker on a connection; Run starts it.
func New(cfg Config, conn *broker.Conn) (*Worker, error) {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Process.Name == "" || cfg.Concurrency < 1 {
		return nil, fmt.Errorf("worker: a process name and a concurrency of at least 1 are needed")
	}
	cfg.Process.Indexes, cfg.Process.Frees, cfg.Process.Counts = true, true, cfg.Ledger
	cfg.Process.Jobs = cfg.Works != nil
	cfg.Process.Forgets, cfg.Process.Recalls = true, true
	cfg.Process.Receipts = cmp.Or(cfg.Receipts, ReceiptsAll)
	w := &Worker{
		services: &services{
			name: cfg.Process.Name, conn: conn, log: cfg.Log, pseudonyms: cfg.Pseudonyms,
			troubles: newTroubles(cfg.Log), pulse: pulse.NewRecorder(),
		},
		cfg: cfg,
	}
	w.watchdog = &watchdog{
		services: w.services, started: w.isStarted, apps: w.current,
		every: watchEvery, most: waitMost,
	}
	w.claims = &claims{services: w.services, apps: w.current}
	w.counting.services = w.services
	w.slots.total, w.slots.free = cfg.Concurrency, cfg.Concurrency
	w.prefetch.total = prefetchCalls * int64(cfg.Concurrency)
	var err error
	if w.metrics, err = newMetrics(cfg.Metrics, cfg.Apps); err != nil {
		return nil, fmt.Errorf("worker: %w", err)
	}
	if cfg.Metrics != nil {
		now := state{w.services, w.current, &w.letters, w.watchdog, w.Troubles}
		if err := cfg.Metrics.Register(now); err != nil {
			return nil, fmt.Errorf("worker: %w", err)
		}
	}
	return w, nil
}

// Run works until ctx ends, then stops pulling, finishes what is under way
// within the grace period, gives the rest back in order, and returns. Every
// goroutine it started has ended by then. ready, which may be nil, is called
// when intents are being taken.
func (w *Worker) Run(ctx context.Context, ready func()) error {
	var endWork context.CancelCauseFunc
	w.work, endWork = context.WithCancelCause(context.WithoutCancel(ctx))
	defer endWork(nil)

	w.receipts = &receipts{
		which: w.cfg.Receipts, outbox: w.conn.Outbox, work: w.work, troubles: w.troubles,
		metrics: w.metrics,
	}
	closeAll, err := w.open(ctx)
	if err != nil {
		return err
	}
	defer closeAll()
	for _, cfg := range w.cfg.Apps {
		a, err := w.newApp(ctx, cfg)
		if err != nil {
			return err
		}
		w.addApps(a)
	}
	dispatcher := newDispatcher(w.services)
	alive, stopAlive := context.WithCancel(context.WithoutCancel(ctx))
	defer stopAlive()
	w.running.Go(func() { w.keepAlive(alive, dispatcher) })
	w.running.Go(func() { w.letters.watch(alive, w.conn, w.log) })
	w.running.Go(func() { w.counting.keep(alive) })
	w.running.Go(func() { w.pulse.Keep(alive, w.conn, w.name, w.log) })
	w.running.Go(func() { w.watchdog.watch(alive) })
	w.running.Go(func() { w.carryOutJobs(ctx) })
	forget := w.conn.OnReconnect(func() {
		for _, a := range w.current() {
			a.reconnected()
		}
		dispatcher.reconnected()
	})
	defer forget()
	for _, a := range w.current() {
		a.start()
	}
	w.claims.serve()
	dispatcher.start()
	w.setStarted(true)
	w.log.Info("worker started", "worker", w.name, "apps", len(w.cfg.Apps),
		"concurrency", w.cfg.Concurrency)
	if ready != nil {
		ready()
	}

	<-ctx.Done()
	return w.stop(dispatcher, func() {
		endWork(errGrace)
		stopAlive()
	})
}

// open gets in step with the pool: everything that must be known before the
// first intent is touched.
func (w *Worker) open(ctx context.Context) (func(), error) {
	var undo []func()
	closeAll := func() {
		for _, f := range slices.Backward(undo) {
			f()
		}
	}
	fail := func(err error) (func(), error) {
		closeAll()
		return nil, err
	}
	// The pool first, so that the marks of this worker are a living one's.
	p, err := pool.Join(ctx, w.conn, w.cfg.Process, w.log)
	if err != nil {
		return fail(err)
	}
	w.pool = p
	undo = append(undo, func() {
		leave, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		defer cancel()
		p.Leave(leave)
	})
	w.ledger = ledger.Off{}
	if w.cfg.Ledger {
		l, err := ledger.Open(ctx, w.conn, ledger.Options{
			Worker: w.name, Keep: w.cfg.LedgerKeep, Log: w.log, Trouble: w.ledgerTrouble,
		})
		if err != nil {
			return fail(err)
		}
		w.ledger, w.book = l, l
		undo = append(undo, l.Close)
	}
	if w.wrapLedger != nil {
		w.ledger = w.wrapLedger(w.ledger)
	}
	if w.withdrawals, err = withdrawal.Watch(ctx, w.conn, w.pseudonyms, w.log); err != nil {
		return fail(err)
	}
	undo = append(undo, w.withdrawals.Close)
	w.withdrawals.OnCampaign(func(appID, _ string) {
		if a := findApp(w.current(), appID); a != nil {
			a.recall()
		}
	})
	if w.keeper, err = gate.Open(ctx, w.conn, w.name, w.log); err != nil {
		return fail(err)
	}
	undo = append(undo, w.keeper.Close)
	return closeAll, nil
}

// newApp takes an app up; start begins to read its queue.
func (w *Worker) newApp(ctx context.Context, cfg App) (*app, error) {
	return newApp(ctx, w.services, cfg, w.keeper, &w.slots, &w.prefetch, w.cfg.Concurrency)
}

// keepAlive tells the broker of everything in hand that it is still worked on,
// and notices lanes that have fallen silent.
func (w *Worker) keepAlive(ctx context.Context, d *dispatcher) {
	t := time.NewTicker(broker.AckRenew / 4)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
			now := time.Now()
			for _, a := range w.current() {
				a.keepAlive(now)
			}
			d.puller.Check(now)
		}
	}
}

// Troubles lists in sentences what keeps the worker from its work; none means
// ready. It never blocks: nothing is called here that waits for the broker, or
// for a lock that is held by somebody who may.
func (w *Worker) Troubles() []string {
	started := w.isStarted()
	var out []string
	if !started {
		out = append(out, "the worker is not running")
	}
	if !w.conn.Connected() {
		out = append(out, "the broker is away")
	}
	if started && w.conn.Connected() && w.pool.Lapsed() {
		what := "nothing is"
		if _, ok := w.pool.Term(time.Now()); ok {
			what = "no live intents are"
		}
		out = append(out, "the worker's lease in "+wire.BucketState+" cannot be renewed: "+
			what+" sent without it")
	}
	if why := w.conn.Denied(); why != "" {
		out = append(out, "the broker forbids what the worker must do: "+why)
	}
	out = append(out, w.troubles.all()...)
	slices.Sort(out)
	return out
}

func (w *Worker) ledgerTrouble(why string) {
	if why != "" {
		why = "the ledger cannot be written to, and nothing is sent without it: " + why
	}
	w.troubles.set(wire.StreamLedger, why)
}

// current are the apps, for a scrape that may come before Run has them all.
func (w *Worker) current() []*app {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.apps
}

// addApps adds apps to those at work.
func (w *Worker) addApps(apps ...*app) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.apps = append(slices.Clone(w.apps), apps...)
}

func (w *Worker) setStarted(on bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.started = on
}

func (w *Worker) isStarted() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.started
}
