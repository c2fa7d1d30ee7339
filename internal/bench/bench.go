package bench

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/kefuhq/kefu/internal/gate"
	"github.com/kefuhq/kefu/internal/pause"
	"github.com/kefuhq/kefu/internal/sandbox"
	"github.com/kefuhq/kefu/internal/wire"
	"github.com/kefuhq/kefu/schema"
)

// Bench runs loads.
type Bench struct {
	// Program is kefu itself. It is run with the arguments "bench broker", "bench worker" and
	// "bench loop", and must then say Hello and end with its input.
	Program string
	Environ []string // of these processes

	// a broker that is there, without any stream of kefu's; "": one of the run's own
	NATS     string
	Replicas int // of all streams; only with NATS

	Profiles string // folder for CPU profiles of workers and loops; "": none

	// Progress is told what is going on, in sentences; nil: nobody.
	Progress func(sentence string)
}

// Contender takes a load.
type Contender struct {
	Name string
	Bare bool // the bare loop, else kefu
	Load Load
}

// Run has the contenders take their loads in turns, for some rounds.
func (b *Bench) Run(ctx context.Context, contenders []Contender, rounds int) (*Report, error) {
	for _, c := range contenders {
		if err := c.Load.Check(); err != nil {
			return nil, fmt.Errorf("%s: %w", c.Name, err)
		}
	}
	var runs []Run
	for round := range rounds {
		turns := slices.Clone(contenders)
		if round%2 == 1 {
			slices.Reverse(turns)
		}
		for _, c := range turns {
			r, err := b.run(ctx, &c, round+1)
			if err != nil {
				return nil, fmt.Errorf("%s, round %d: %w", c.Name, round+1, err)
			}
			runs = append(runs, *r)
		}
	}
	return newReport(contenders, runs), nil
}

// Run is one load taken by one contender.
type Run struct {
	Contender string  `json:"contender"`
	Bare      bool    `json:"bare,omitempty"`
	Round     int     `json:"round"`
	Finished  bool    `json:"finished"` // all that had to be delivered was
	Seconds   float64 `json:"seconds"`  // from the first receipt to the last
	PerSecond float64 `json:"per_second"`
	Ceiling   float64 `json:"ceiling,omitempty"` // of PerSecond, by latency and calls in flight

	Live *Latency `json:"live_latency,omitempty"` // of what was offered at the rate
	Bulk *Latency `json:"bulk_latency,omitempty"`

	Worker  *Cost `json:"worker,omitempty"` // all of them; absent where there is no /proc
	Broker  *Cost `json:"broker,omitempty"`
	Sandbox *Cost `json:"sandbox_and_load,omitempty"`
	Idle    *Idle `json:"idle,omitempty"`

	Budget  Budget  `json:"budget"`
	Intents Intents `json:"intents"`
}

// Cost is what a part of the run used from the start of the load to its end.
type Cost struct {
	CPUSeconds float64 `json:"cpu_seconds"` // user and system, to a hundredth
	CPUMicros  float64 `json:"cpu_us_per_message"`
	// of resident memory, at most; the largest of several processes
	PeakMB float64 `json:"peak_mb"`
}

// Idle is what it costs to wait for a load.
type Idle struct {
	Seconds   float64 `json:"seconds"`
	WorkerCPU float64 `json:"worker_cpu_percent"` // of one core, all workers
	WorkerMB  float64 `json:"worker_mb"`          // of the largest
	BrokerCPU float64 `json:"broker_cpu_percent"`
	BrokerMB  float64 `json:"broker_mb"`
}

// turn is one contender's run in the making.
type turn struct {
	*Contender
	bench    *Bench
	round    int
	testbed  *testbed
	producer *producer
	workers  []*process
}

func (t *turn) notify(format string, args ...any) {
	if t.bench.Progress != nil {
		t.bench.Progress(fmt.Sprintf("%s, round %d: %s", t.Name, t.round,
			fmt.Sprintf(format, args...)))
	}
}

// run has a contender take its load once.
func (b *Bench) run(ctx context.Context, c *Contender, round int) (_ *Run, err error) {
	t := &turn{Contender: c, bench: b, round: round}
	if t.testbed, err = b.newTestbed(ctx, &c.Load); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, t.testbed.close()) }()
	if t.producer, err = newProducer(&c.Load, t.testbed.conn); err != nil {
		return nil, err
	}
	defer func() { _ = t.producer.pub.Close() }() // its connection ends next
	if n := c.Load.waiting(); n > 0 {
		t.notify("publishing a backlog of %d", n)
		if err := t.producer.publishBacklog(ctx); err != nil {
			return nil, err
		}
	}
	if err := t.holdApps(ctx); err != nil {
		return nil, err
	}
	defer t.killWorkers() // only what an error left behind
	if err := t.startWorkers(ctx); err != nil {
		return nil, err
	}
	r, err := t.measure(ctx)
	if err != nil {
		return nil, err
	}
	return r, r.accountFor(ctx, t.testbed, t.producer.accepted)
}

// holdApps keeps kefu's workers from a backlog until all of them are there and have divided the
// live shards. The bare loop knows no hold, and begins as it starts.
func (t *turn) holdApps(ctx context.Context) error {
	if t.Bare || t.Load.waiting() == 0 {
		return nil
	}
	for _, appID := range t.Load.healthy() {
		if err := gate.Pause(ctx, t.testbed.conn, appID, "kefu bench has not begun",
			"kefu bench"); err != nil {
			return err
		}
	}
	return nil
}

func (t *turn) releaseApps(ctx context.Context) error {
	if t.Bare || t.Load.waiting() == 0 {
		return nil
	}
	for _, appID := range t.Load.healthy() {
		if err := gate.Resume(ctx, t.testbed.conn, appID); err != nil {
			return err
		}
	}
	return nil
}

// measure offers the stream, waits for the end and reads what was recorded.
func (t *turn) measure(ctx context.Context) (*Run, error) {
	l := &t.Load
	r := &Run{Contender: t.Name, Bare: t.Bare, Round: t.round, Ceiling: l.ceiling()}
	if l.waiting() == 0 {
		if err := t.producer.warmUp(ctx); err != nil {
			return nil, err
		}
	}
	if !t.Bare || l.waiting() == 0 { // a bare loop that has a backlog is at work already
		if err := pause.For(ctx, settleTime); err != nil {
			return nil, err
		}
	}
	m := newMeter(t.workers, t.testbed.server)
	if l.Idle > 0 {
		t.notify("idle for %s", l.Idle)
		if err := pause.For(ctx, l.Idle); err != nil {
			return nil, err
		}
		r.Idle = m.read().idle(l.Idle)
		m = newMeter(t.workers, t.testbed.server)
	}
	t.notify("at work")
	if err := t.releaseApps(ctx); err != nil {
		return nil, err
	}
	if l.Rate > 0 {
		if l.waiting() > 0 { // how long messages take beside a backlog that is under way
			if err := pause.For(ctx, settleTime); err != nil {
				return nil, err
			}
		}
		if err := t.producer.publishAtRate(ctx); err != nil {
			return nil, err
		}
	}
	var err error
	if r.Finished, err = t.awaitDone(ctx); err != nil {
		return nil, err
	}
	costs := m.read()
	for _, w := range t.workers {
		if err := w.stop(); err != nil {
			return nil, err
		}
	}
	sends := t.testbed.sandbox.Records(sandbox.Filter{Call: sandbox.CallSend})
	said := count(l, sends, t.producer.endedAt)
	r.Seconds, r.PerSecond = round(said.seconds, 3), round(said.perSecond, 1)
	r.Live, r.Bulk, r.Budget, r.Intents = said.live, said.bulk, said.budget, said.intents
	r.Worker, r.Broker, r.Sandbox = costs.per(said.intents.Delivered)
	return r, nil
}

// accountFor says what became of the intents that were not delivered.
func (r *Run) accountFor(ctx context.Context, bed *testbed, accepted map[kind]int) error {
	i := &r.Intents
	i.Healthy.Offered, i.Troubled.Offered = accepted[offered], accepted[troubled]
	i.Accepted = accepted[backlog] + accepted[offered] + accepted[troubled]
	queued, err := bed.queued(ctx, bed.load.appIDs())
	if err != nil {
		return err
	}
	later, err := bed.stored(ctx, wire.StreamLater)
	if err != nil {
		return err
	}
	if i.Dead, err = bed.stored(ctx, schema.StreamDead); err != nil {
		return err
	}
	i.Left = queued + later
	i.Lost = max(0, i.Accepted-i.Delivered-i.Left-i.Dead)
	return nil
}

// startWorkers starts the contender's processes, all at once: what waits must not be taken by the
// first one alone.
func (t *turn) startWorkers(ctx context.Context) error {
	name, args := "worker", []string{"bench", "worker"}
	if t.Bare {
		name = "bare loop"
		args = []string{"bench", "loop", "--nats", t.testbed.url, "--api", t.testbed.api,
			"--concurrency", strconv.Itoa(t.Load.Concurrency),
			"--apps", strings.Join(t.Load.appIDs(), ",")}
	} else {
		config, err := t.testbed.configure()
		if err != nil {
			return err
		}
		args = append(args, "--config", config, "--log-level", t.Load.LogLevel)
	}
	profiles := t.bench.Profiles
	if profiles != "" {
		if err := os.MkdirAll(profiles, 0o700); err != nil {
			return err
		}
	}
	t.workers = make([]*process, t.Load.Workers)
	errs := make([]error, t.Load.Workers)
	var starting sync.WaitGroup
	for i := range t.workers {
		own := slices.Clone(args)
		if profiles != "" {
			own = append(own, "--cpu-profile",
				filepath.Join(profiles, fmt.Sprintf("%s-%d-%d.pprof", name, t.round, i+1)))
		}
		starting.Go(func() { t.workers[i], errs[i] = t.bench.start(ctx, name, own...) })
	}
	starting.Wait()
	return errors.Join(errs...)
}

func (t *turn) killWorkers() {
	for _, w := range t.workers {
		if w != nil && w.running() {
			w.kill()
		}
	}
}
