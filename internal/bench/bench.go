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

	"github.com/kefuhq/kefu/internal/sandbox"
	"github.com/kefuhq/kefu/schema"
)

// Bench runs loads.
type Bench struct {
	// Program is kefu itself. It is run with the arguments "bench broker", "bench
	// worker" and "bench loop", and must then say Hello and end with its input.
	Program string
	Environ []string // of these processes

	NATS     string // a broker that is there, without any stream of kefu's; "": one of the run's own
	Replicas int    // of all streams; only with NATS

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
			r, err := b.run(ctx, &c, round+1, rounds)
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
	PeakMB     float64 `json:"peak_mb"` // of resident memory, since the process began; of several the largest
}

// Idle is what it costs to wait for a load.
type Idle struct {
	Seconds   float64 `json:"seconds"`
	WorkerCPU float64 `json:"worker_cpu_percent"` // of one core, all workers
	WorkerMB  float64 `json:"worker_mb"`          // of the largest
	BrokerCPU float64 `json:"broker_cpu_percent"`
	BrokerMB  float64 `json:"broker_mb"`
}

func (b *Bench) tell(c *Contender, round int, format string, args ...any) {
	if b.Progress != nil {
		b.Progress(fmt.Sprintf("%s, round %d: %s", c.Name, round, fmt.Sprintf(format, args...)))
	}
}

func (b *Bench) run(ctx context.Context, c *Contender, round, rounds int) (_ *Run, err error) {
	l := &c.Load
	bed, err := b.newBed(ctx, l)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, bed.close()) }()
	author, err := newAuthor(l, bed.conn)
	if err != nil {
		return nil, err
	}
	defer func() { _ = author.pub.Close() }() // its connection ends next
	if n := l.Backlog + l.LiveBacklog; n > 0 {
		b.tell(c, round, "publishing a backlog of %d", n)
		if err := author.fill(ctx); err != nil {
			return nil, err
		}
	}
	workers, err := b.startWorkers(ctx, bed, c, round)
	defer func() {
		for _, w := range workers {
			if w != nil && w.running() {
				w.kill() // only what an error left behind
			}
		}
	}()
	if err != nil {
		return nil, err
	}
	m := newMeter(workers, bed.server)
	var idle *Idle
	if l.Idle > 0 || l.Rate > 0 {
		if err := pause(ctx, settling); err != nil {
			return nil, err
		}
	}
	if l.Idle > 0 {
		b.tell(c, round, "watching what is idle for %s", l.Idle)
		m = newMeter(workers, bed.server)
		if err := pause(ctx, l.Idle); err != nil {
			return nil, err
		}
		idle = m.read().idle(l.Idle)
		m = newMeter(workers, bed.server)
	}
	b.tell(c, round, "started (of %d rounds)", rounds)
	if l.Rate > 0 {
		if err := author.offer(ctx); err != nil {
			return nil, err
		}
	}
	w := &watch{bench: b, bed: bed, contender: c, round: round, workers: workers}
	finished, err := w.untilDone(ctx, author.accepted)
	if err != nil {
		return nil, err
	}
	costs := m.read()
	for _, p := range workers {
		if err := p.stop(); err != nil {
			return nil, err
		}
	}
	t := count(l, bed.box.Records(sandbox.Filter{Call: sandbox.CallSend}), author.ended)
	r := &Run{
		Contender: c.Name, Round: round, Finished: finished, Seconds: t.seconds, PerSecond: t.perSecond, Ceiling: l.ceiling(),
		Live: t.live, Bulk: t.bulk, Idle: idle, Budget: t.budget, Intents: t.intents,
	}
	r.Worker, r.Broker, r.Sandbox = costs.per(t.intents.Delivered)
	return r, r.account(ctx, bed, author.accepted)
}

// account says what became of the intents that were not delivered.
func (r *Run) account(ctx context.Context, bed *bed, accepted map[kind]int) error {
	i := &r.Intents
	i.Healthy.Offered, i.Troubled.Offered = accepted[offered], accepted[troubled]
	i.Accepted = accepted[backlog] + accepted[offered] + accepted[troubled]
	queued, err := bed.queued(ctx, bed.load.appIDs())
	if err != nil {
		return err
	}
	later, err := bed.stored(ctx, schema.StreamLater)
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

// startWorkers starts the contender's processes, all at once: what waits must
// not be taken by the first one alone. Those that started are returned with the
// error too.
func (b *Bench) startWorkers(ctx context.Context, bed *bed, c *Contender, round int) ([]*process, error) {
	name, args := "worker", []string{"bench", "worker"}
	if c.Bare {
		name = "bare loop"
		args = []string{"bench", "loop", "--nats", bed.url, "--api", bed.api, "--concurrency", strconv.Itoa(c.Load.Concurrency),
			"--apps", strings.Join(c.Load.appIDs(), ",")}
	} else {
		config, err := bed.configure()
		if err != nil {
			return nil, err
		}
		args = append(args, "--config", config, "--log-level", c.Load.LogLevel)
	}
	if b.Profiles != "" {
		if err := os.MkdirAll(b.Profiles, 0o700); err != nil {
			return nil, err
		}
	}
	processes, errs := make([]*process, c.Load.Workers), make([]error, c.Load.Workers)
	var starting sync.WaitGroup
	for i := range processes {
		own := slices.Clone(args)
		if b.Profiles != "" {
			own = append(own, "--cpu-profile", filepath.Join(b.Profiles, fmt.Sprintf("%s-%d-%d.pprof", name, round, i+1)))
		}
		starting.Go(func() { processes[i], errs[i] = b.start(ctx, name, own...) })
	}
	starting.Wait()
	return processes, errors.Join(errs...)
}
