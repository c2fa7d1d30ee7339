package gate

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/schema"
)

// everyLoad has what each heuristic is worth printed for each load:
//
//	go test ./internal/gate -run EveryLoad -v -every-load
var everyLoad = flag.Bool("every-load", false,
	"print what each heuristic of the rate's budget is worth, for each load")

// load is what a pool of workers has to send in simulated time.
type load struct {
	name  string
	rate  Rate
	trips []time.Duration // to the broker, of each worker; to the ledger likewise
	live  []float64       // messages a second, of each worker, by chance
	bulk  []bool          // workers that have bulk without end
	stuck []bool          // workers whose requests stop leaving: they get no token
}

// figures are what a simulation measures after its first seconds.
type figures struct {
	share    float64       // sent, of the rate; of what there was to send if that is less
	least    float64       // of the worker that sent the least, as part of an even share
	median   time.Duration // for which live waited for the rate
	p90      time.Duration
	writes   float64 // of the account, a second
	refusals float64 // of writes that others were first with, a second
}

func (f figures) String() string {
	ms := func(d time.Duration) float64 { return d.Seconds() * 1e3 }
	return fmt.Sprintf("share %.2f  least %.2f  live waits %6.1f, p90 %7.1f ms  "+
		"%5.1f writes/s  %5.1f refused/s", f.share, f.least, ms(f.median), ms(f.p90),
		f.writes, f.refusals)
}

// countedWay counts what becomes of the writes of a worker.
type countedWay struct {
	way
	from time.Time
	mu   *sync.Mutex
	f    *figures
}

func (w countedWay) Swap(ctx context.Context, m *nats.Msg, last uint64) (uint64, error) {
	seq, err := w.way.Swap(ctx, m, last)
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case time.Now().Before(w.from):
	case err == nil:
		w.f.writes++
	case errors.Is(err, broker.ErrOvertaken):
		w.f.refusals++
	}
	return seq, err
}

// contender is a worker that begins a request whenever it has something to send, a place in its
// slots and a permission, live before bulk, as the engine does.
type contender struct {
	gate   *Gate
	wake   chan struct{}
	bulk   bool
	stuck  bool
	ledger func() time.Duration // what passes between the permission and the request
	from   time.Time            // of what is counted

	mu     sync.Mutex
	queue  []time.Time // when each live message came that waits
	flying int
	sent   int
	waits  []time.Duration // of live
}

const contenderSlots = 512

func (c *contender) awake() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

func (c *contender) run(ctx context.Context) {
	var running sync.WaitGroup
	defer running.Wait()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for ctx.Err() == nil {
		wait := time.Hour
		if lane, ok := c.next(); ok {
			p, pause := c.gate.Permit(lane, time.Now())
			if p.OK {
				arrived, ready := c.begin(lane)
				running.Go(func() { c.send(ctx, p, lane, arrived, ready) })
				continue
			}
			if pause > 0 {
				wait = pause
			}
		}
		timer.Reset(wait)
		select {
		case <-ctx.Done():
		case <-timer.C:
		case <-c.wake:
		}
	}
}

// next is the lane of the next request.
func (c *contender) next() (lane schema.Lane, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if lane = schema.LaneBulk; len(c.queue) > 0 {
		lane = schema.LaneLive
	}
	return lane, c.flying < contenderSlots && (c.bulk || len(c.queue) > 0)
}

// begin takes a request up; it is ready to leave after a time.
func (c *contender) begin(lane schema.Lane) (arrived time.Time, ready time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.flying++
	if lane == schema.LaneLive {
		arrived, c.queue = c.queue[0], c.queue[1:]
	}
	if ready = c.ledger(); c.stuck && time.Now().After(c.from) {
		ready = time.Hour
	}
	return arrived, ready
}

func (c *contender) send(
	ctx context.Context, p Permission, lane schema.Lane, arrived time.Time, ready time.Duration,
) {
	select {
	case <-time.After(ready):
	case <-ctx.Done():
		return
	}
	if turn := c.gate.Leave(&p, lane); turn != nil {
		select {
		case <-turn.Ready():
		case <-ctx.Done():
			turn.GiveUp()
			return
		}
	}
	now := time.Now()
	c.mu.Lock()
	c.flying--
	if now.After(c.from) {
		c.sent++
		if lane == schema.LaneLive {
			c.waits = append(c.waits, now.Sub(arrived)-ready)
		}
	}
	c.mu.Unlock()
	c.gate.Done(p, true)
	c.awake()
}

// receive puts live messages into the queue, by chance so many a second.
func (c *contender) receive(ctx context.Context, perSecond float64, rnd *rand.Rand) {
	for {
		next := 1 + time.Duration(rnd.ExpFloat64()/perSecond*float64(time.Second))
		select {
		case <-time.After(next):
		case <-ctx.Done():
			return
		}
		c.mu.Lock()
		c.queue = append(c.queue, time.Now())
		c.mu.Unlock()
		c.awake()
	}
}

// simulate has a pool send a load for a quarter of a minute, and measures the last ten seconds. A
// seed fixes what is to be sent and how long each answer takes. Goroutines that are due at the same
// instant still run in any order, so figures of one seed differ by a few per cent.
func simulate(t *testing.T, l load, without heuristic, seed uint64) (f figures) {
	const warm, took = 5 * time.Second, 10 * time.Second
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), warm+took)
		defer cancel()
		from := time.Now().Add(warm)
		var counting sync.Mutex
		var running sync.WaitGroup
		var workers []*contender
		var shares []*common
		store, discard := newFarStore(), slog.New(slog.DiscardHandler)
		for i, trip := range l.trips {
			seeded := func(what uint64) *rand.Rand {
				return rand.New(rand.NewPCG(seed, uint64(i)*10+what))
			}
			shareCtx, stop := context.WithCancel(context.Background())
			way := countedWay{way{store, varying(trip, seed*1000+uint64(i))}, from, &counting, &f}
			share := newCommon(shareCtx, stop, way, "test", time.Now)
			shares = append(shares, share)
			share.without = without
			spread := seeded(0)
			share.jitter = func() time.Duration { // of one goroutine at a time
				return 1 + time.Duration(spread.Int64N(int64(askJitter)))
			}
			c := &contender{
				gate: newGate("wx1", l.rate, func(*Gate, bool) {}, share, discard),
				wake: make(chan struct{}, 1),
				bulk: l.bulk[i], stuck: l.stuck[i],
				ledger: varying(trip, seed*1000+500+uint64(i)), from: from,
			}
			c.gate.OnChange(c.awake)
			workers = append(workers, c)
			running.Go(func() { c.run(ctx) })
			if l.live[i] > 0 {
				rnd := seeded(1)
				running.Go(func() { c.receive(ctx, l.live[i], rnd) })
			}
		}
		running.Wait()
		for _, share := range shares { // a fetch may be under way, and is counted
			share.close()
		}
		f.sum(l, workers, took)
	})
	return f
}

// sum adds up what the workers have sent.
func (f *figures) sum(l load, workers []*contender, took time.Duration) {
	f.writes /= took.Seconds()
	f.refusals /= took.Seconds()
	var waits []time.Duration
	var demand, total float64
	var even []float64 // what those sent of whom an even share may be expected
	for i, w := range workers {
		total += float64(w.sent)
		demand += l.live[i]
		if w.bulk {
			demand = l.rate.PerSecond
		}
		if (w.bulk || !slices.Contains(l.bulk, true)) && !w.stuck {
			even = append(even, float64(w.sent))
		}
		waits = append(waits, w.waits...)
		for _, arrived := range w.queue {
			waits = append(waits, time.Since(arrived))
		}
	}
	demand = min(demand, l.rate.PerSecond) * took.Seconds()
	f.share = total / demand
	f.least = slices.Min(even) * float64(len(even)) / demand
	if slices.Sort(waits); len(waits) > 0 {
		f.median, f.p90 = waits[len(waits)/2], waits[len(waits)*9/10]
	}
}

var (
	fast = Rate{PerSecond: 1000, Burst: 50, LiveReserve: 0.2}
	slow = Rate{PerSecond: 50, Burst: 10, LiveReserve: 0.2}
)

// of is a load that all workers have alike: live is a part of the rate.
func of(name string, r Rate, workers int, trip time.Duration, live float64, bulk bool) load {
	l := load{
		name:  fmt.Sprintf("%v a second, %d workers at %v: %s", r.PerSecond, workers, trip, name),
		rate:  r,
		trips: slices.Repeat([]time.Duration{trip}, workers),
		live:  slices.Repeat([]float64{live * r.PerSecond / float64(workers)}, workers),
		bulk:  slices.Repeat([]bool{bulk}, workers),
		stuck: make([]bool, workers),
	}
	return l
}

func liveOnlyLoad(r Rate, workers int, trip time.Duration) load {
	return of("live", r, workers, trip, 0.8, false)
}

func littleLive(r Rate, workers int, trip time.Duration) load {
	return of("little live", r, workers, trip, 0.1, false)
}

func bulkOnlyLoad(r Rate, workers int, trip time.Duration) load {
	return of("bulk", r, workers, trip, 0, true)
}

func both(r Rate, workers int, trip time.Duration) load {
	return of("live and bulk", r, workers, trip, 0.1, true)
}

// oneHasBulk: the others have live only.
func oneHasBulk(r Rate, workers int, trip time.Duration) load {
	l := of("live, and one has bulk", r, workers, trip, 0.3, false)
	l.bulk[0] = true
	return l
}

// oneHasLive: the others have bulk only.
func oneHasLive(r Rate, workers int, trip time.Duration) load {
	l := of("bulk, and one has live", r, workers, trip, 0, true)
	l.bulk[0], l.live[0] = false, 0.1*r.PerSecond
	return l
}

// oneIsFar: the others are near.
func oneIsFar(l load) load {
	l.name += ", one at 60ms"
	l.trips[0] = 60 * time.Millisecond
	return l
}

// oneIsStuck gets no token.
func oneIsStuck(l load) load {
	l.name += ", one is stuck"
	l.stuck[0] = true
	return l
}

// heuristics are those that are kept. For each there is a load on which the pool does not reach a
// figure without it.
var heuristics = []struct {
	one    heuristic
	name   string
	load   load
	what   string
	figure func(figures) float64
	least  float64 // of the figure; 0: there is a most
	most   float64
}{
	{earlySlots, "early slots", both(fast, 4, time.Millisecond),
		"median ms", medianMS, 0, 20},
	{liveFurther, "live further ahead", oneHasLive(slow, 8, time.Millisecond),
		"p90 ms", p90MS, 0, 100},
	{wakeForLive, "wake the fetch for live", both(fast, 4, time.Millisecond),
		"p90 ms", p90MS, 0, 20},
	{lookahead, "lookahead", bulkOnlyLoad(fast, 1, 60*time.Millisecond),
		"share", share, 0.95, 0},
	{prefetch, "prefetch", littleLive(fast, 1, 60*time.Millisecond),
		"p90 ms", p90MS, 0, 20},
	{wholeChunks, "whole chunks", littleLive(fast, 1, 60*time.Millisecond),
		"median ms", medianMS, 0, 10},
	{shrinkUnused, "shrink when unused", oneHasBulk(fast, 4, 60*time.Millisecond),
		"share", share, 0.7, 0},
	{stopStalled, "stop when stalled", oneIsStuck(bulkOnlyLoad(fast, 4, time.Millisecond)),
		"share", share, 0.9, 0},
	{sharedLead, "shared lead", bulkOnlyLoad(fast, 4, 60*time.Millisecond),
		"least share", leastShare, 0.3, 0},
	{longSlowChunks, "long slow chunks", bulkOnlyLoad(slow, 1, time.Millisecond),
		"writes/s", writes, 0, 15},
}

func share(f figures) float64      { return f.share }
func leastShare(f figures) float64 { return f.least }
func medianMS(f figures) float64   { return f.median.Seconds() * 1e3 }
func p90MS(f figures) float64      { return f.p90.Seconds() * 1e3 }
func writes(f figures) float64     { return f.writes }

// TestEachHeuristicEarnsItsKeep: there is a load on which the pool does worse without it.
func TestEachHeuristicEarnsItsKeep(t *testing.T) {
	t.Parallel()
	for _, h := range heuristics {
		t.Run(h.name, func(t *testing.T) {
			t.Parallel()
			for seed := range uint64(2) {
				with := h.figure(simulate(t, h.load, 0, seed))
				without := h.figure(simulate(t, h.load, h.one, seed))
				t.Logf("%s: %s %.2f, without %.2f", h.load.name, h.what, with, without)
				if h.least > 0 {
					require.GreaterOrEqual(t, with, h.least)
					require.Less(t, without, h.least)
				} else {
					require.LessOrEqual(t, with, h.most)
					require.Greater(t, without, h.most)
				}
			}
		})
	}
}

// TestEveryLoadWithAndWithout prints what each heuristic does to each load.
func TestEveryLoadWithAndWithout(t *testing.T) {
	if !*everyLoad {
		t.Skip("a table for people: -every-load prints it")
	}
	var loads []load
	for _, r := range []Rate{fast, slow} {
		for _, workers := range []int{1, 4, 8} {
			for _, trip := range []time.Duration{1, 60, 200} {
				trip *= time.Millisecond
				loads = append(loads, liveOnlyLoad(r, workers, trip), littleLive(r, workers, trip),
					bulkOnlyLoad(r, workers, trip), both(r, workers, trip))
				if workers > 1 {
					loads = append(loads, oneHasBulk(r, workers, trip),
						oneHasLive(r, workers, trip),
						oneIsStuck(bulkOnlyLoad(r, workers, trip)))
				}
			}
		}
		loads = append(loads, oneIsFar(bulkOnlyLoad(r, 4, time.Millisecond)),
			oneIsFar(both(r, 4, time.Millisecond)), oneIsFar(oneHasBulk(r, 4, time.Millisecond)))
	}
	for _, l := range loads {
		t.Logf("%s\n    %-31s %s", l.name, "with all", simulate(t, l, 0, 1))
		for _, h := range heuristics {
			t.Logf("    without %-23s %s", h.name, simulate(t, l, h.one, 1))
		}
	}
}
