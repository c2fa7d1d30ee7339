package gate

import (
	"context"
	"flag"
	"math"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/broker/brokertest"
	"github.com/kefuhq/kefu/internal/wire"
	"github.com/kefuhq/kefu/schema"
)

// took is how long each pool is watched. In full:
//
//	go test ./internal/gate -run Pool -v -took 20s
var took = flag.Duration("took", 1500*time.Millisecond, "for how long each pool of workers sends")

// sender is a worker that sends as fast as its gate permits, and notes when.
type sender struct {
	gate    *Gate
	skew    time.Duration // by which its clock is ahead
	changed chan struct{}

	mu   sync.Mutex
	sent []time.Time
}

func newSender(
	t *testing.T, b *brokertest.Broker, appID string, r Rate, skew time.Duration,
) *sender {
	t.Helper()
	k, err := open(t.Context(), b.Connect(), "test", nil,
		func() time.Time { return time.Now().Add(skew) })
	require.NoError(t, err)
	t.Cleanup(k.Close)
	return senderOf(k.App(appID, r), skew)
}

func senderOf(g *Gate, skew time.Duration) *sender {
	s := &sender{gate: g, skew: skew, changed: make(chan struct{}, 1)}
	s.gate.OnChange(func() {
		select {
		case s.changed <- struct{}{}:
		default:
		}
	})
	return s
}

// run sends until ctx ends: bulk all the time, and a live intent every so often (0: live all the
// time, and no bulk). It returns how long each live intent waited.
func (s *sender) run(ctx context.Context, every time.Duration) (waits []time.Duration) {
	next := time.Now().Add(every)
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for ctx.Err() == nil {
		now := time.Now()
		lane := schema.LaneBulk
		if !now.Before(next) {
			lane = schema.LaneLive
		}
		p, wait := s.gate.Permit(lane, now.Add(s.skew))
		if p.OK {
			if turn := s.gate.Leave(&p, lane); turn != nil {
				select {
				case <-turn.Ready():
				case <-ctx.Done():
					turn.GiveUp()
					return waits
				}
				now = time.Now()
			}
			s.mu.Lock()
			s.sent = append(s.sent, now)
			s.mu.Unlock()
			if lane == schema.LaneLive {
				waits = append(waits, now.Sub(next))
				next = next.Add(every)
			}
			continue
		}
		if wait == 0 {
			wait = time.Hour
		}
		if lane == schema.LaneBulk {
			wait = min(wait, next.Sub(now))
		}
		timer.Reset(wait)
		select {
		case <-ctx.Done():
		case <-timer.C:
		case <-s.changed:
		}
	}
	return waits
}

func sentBy(all ...*sender) (sent []time.Time) {
	for _, s := range all {
		s.mu.Lock()
		sent = append(sent, s.sent...)
		s.mu.Unlock()
	}
	slices.SortFunc(sent, time.Time.Compare)
	return sent
}

// worst is the most sends in any second.
func worst(sent []time.Time) int {
	most, first := 0, 0
	for i, at := range sent {
		for at.Sub(sent[first]) >= time.Second {
			first++
		}
		most = max(most, i-first+1)
	}
	return most
}

// bound is what a second may hold at most: the rate, the burst and two percent.
func bound(r Rate) int { return int(math.Ceil(r.PerSecond*1.02)) + max(r.Burst, 1) }

// stalls measures for how long this machine kept a goroutine from running that had something to do:
// what no budget can make up for.
func stalls(ctx context.Context) (sum func() time.Duration) {
	var total time.Duration
	done := make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(time.Millisecond)
		defer tick.Stop()
		for last := time.Now(); ctx.Err() == nil; {
			<-tick.C
			now := time.Now()
			if late := now.Sub(last) - 5*time.Millisecond; late > 0 {
				total += late
			}
			last = now
		}
	}()
	return func() time.Duration { <-done; return total }
}

var fiveHundred = Rate{PerSecond: 500, Burst: 20, LiveReserve: 0.2}

const (
	bulkOnly = 24 * time.Hour // until the next live intent
	liveOnly = 0
)

// TestThePoolKeepsToTheRateAndUsesAllOfIt: never more than the rate, however the machine is loaded,
// and no less than 97 percent of it, but for the time in which the machine did nothing for us.
func TestThePoolKeepsToTheRateAndUsesAllOfIt(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name    string
		rate    Rate
		workers int
		busy    int // of them have something to send
		every   time.Duration
		skew    time.Duration // of every second clock
		killed  bool          // the first, at half-time, and another joins
		most    int           // writes a second, at most
	}{
		{"one worker", fiveHundred, 1, 1, bulkOnly, 0, false, 25},
		{"two workers", fiveHundred, 2, 2, bulkOnly, 0, false, 60},
		{"four workers", fiveHundred, 4, 4, bulkOnly, 0, false, 60},
		{"eight workers", fiveHundred, 8, 8, bulkOnly, 0, false, 60},
		{"one of eight has all the work, and it is live", fiveHundred, 8, 1, liveOnly, 0, false, 25},
		{"clocks a second apart", fiveHundred, 4, 4, bulkOnly, time.Second, false, 60},
		{"one of four is killed, another joins", fiveHundred, 4, 4, bulkOnly, 0, true, 60},
		{"a slow app", Rate{PerSecond: 20, Burst: 1}, 4, 4, liveOnly, 0, false, 60},
		{"a fast app", Rate{PerSecond: 5000, Burst: 200, LiveReserve: 0.2}, 4, 4, bulkOnly, 0, false, 60},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := brokertest.Start(t)
			var all []*sender
			for i := range c.workers {
				all = append(all, newSender(t, b, "wx1", c.rate, time.Duration(i%2)*c.skew))
			}
			// The time begins when all are there: a busy machine may need long for that.
			ctx, cancel := context.WithTimeout(t.Context(), *took)
			defer cancel()
			stalled := stalls(ctx)
			half, kill := context.WithTimeout(ctx, *took/2)
			defer kill()
			var running sync.WaitGroup
			for i, s := range all {
				life := ctx
				if c.killed && i == 0 {
					life = half // what it has in hand then is lost
				}
				if i < c.busy {
					running.Go(func() { s.run(life, c.every) })
				}
			}
			if c.killed {
				<-half.Done()
				s := newSender(t, b, "wx1", c.rate, c.skew)
				all = append(all, s)
				running.Go(func() { s.run(ctx, c.every) })
			}
			running.Wait()
			sent := sentBy(all...)
			require.NotEmpty(t, sent)
			require.LessOrEqual(t, worst(sent), bound(c.rate))
			span := sent[len(sent)-1].Sub(sent[0])
			// to find each other; what is killed with a worker
			lost := 10*stalled() + 300*time.Millisecond
			require.GreaterOrEqual(t, float64(len(sent)),
				0.97*c.rate.PerSecond*(span-lost).Seconds())
			stream, err := b.Connect().JS.Stream(t.Context(), wire.StreamRate)
			require.NoError(t, err)
			writes := float64(stream.CachedInfo().State.LastSeq) / took.Seconds()
			require.LessOrEqual(t, writes, float64(c.most)+10, "nothing is asked for each message")
			t.Logf("%d sends, %.1f/s; worst second %d, may be %d; %.0f writes/s; stalled %s",
				len(sent), float64(len(sent)-1)/span.Seconds(), worst(sent), bound(c.rate),
				writes, stalled())
		})
	}
}

func TestAppsHaveBudgetsOfTheirOwnInThePool(t *testing.T) {
	t.Parallel()
	b := brokertest.Start(t)
	ctx, cancel := context.WithTimeout(t.Context(), *took)
	defer cancel()
	rates := map[string]Rate{"wx1": {PerSecond: 50, Burst: 1}, "wx2": {PerSecond: 200, Burst: 10},
		"wx3": {PerSecond: 1000, Burst: 50}}
	all := make(map[string][]*sender)
	var running sync.WaitGroup
	for range 2 {
		k := keep(t, b.Connect())
		for app, r := range rates {
			s := senderOf(k.App(app, r), 0)
			all[app] = append(all[app], s)
			running.Go(func() { s.run(ctx, bulkOnly) })
		}
	}
	running.Wait()
	for app, r := range rates {
		sent := sentBy(all[app]...)
		require.LessOrEqual(t, worst(sent), bound(r), app)
		require.NotEmpty(t, sent, app)
		t.Logf("%s: %d sends at %v/s", app, len(sent), r.PerSecond)
	}
}

func TestLiveDoesNotWaitForBulkInThePool(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name    string
		rate    Rate
		workers int
	}{
		{"alone", Rate{PerSecond: 1000, Burst: 20, LiveReserve: 0.2}, 1},
		{"when others send bulk", Rate{PerSecond: 1000, Burst: 20, LiveReserve: 0.2}, 4},
		{"at a low rate", Rate{PerSecond: 100, Burst: 20, LiveReserve: 0.2}, 8},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := brokertest.Start(t)
			ctx, cancel := context.WithTimeout(t.Context(), *took)
			defer cancel()
			stalled := stalls(ctx)
			var all []*sender
			var running sync.WaitGroup
			var waits []time.Duration
			for i := range c.workers {
				s := newSender(t, b, "wx1", c.rate, 0)
				all = append(all, s)
				if i == 0 {
					running.Go(func() { waits = s.run(ctx, 50*time.Millisecond) })
				} else {
					running.Go(func() { s.run(ctx, bulkOnly) })
				}
			}
			running.Wait()
			sent := sentBy(all...)
			require.LessOrEqual(t, worst(sent), bound(c.rate))
			slices.Sort(waits)
			require.NotEmpty(t, waits)
			median, tail := waits[len(waits)/2], waits[len(waits)*9/10]
			t.Logf("waited %s, one in ten %s, longest %s", median, tail, waits[len(waits)-1])
			// What bulk has taken ahead is more than that.
			require.Less(t, median, 20*time.Millisecond+stalled())
			if c.rate.PerSecond > 100 { // where live is far below its share of the rate
				require.Less(t, tail, 40*time.Millisecond+10*stalled())
			}
		})
	}
}

func TestNothingIsSentWhileTheBrokerIsAway(t *testing.T) {
	t.Parallel()
	b := brokertest.Start(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var all []*sender
	var running sync.WaitGroup
	for range 2 {
		s := newSender(t, b, "wx1", fiveHundred, 0)
		all = append(all, s)
		running.Go(func() { s.run(ctx, bulkOnly) })
	}
	since := func(at time.Time) (n int) {
		for _, s := range sentBy(all...) {
			if s.After(at) {
				n++
			}
		}
		return n
	}
	begun := time.Now()
	soon(t, func() bool { return since(begun) > 100 }, "the pool sends")
	b.Stop()
	// what is in hand may be used
	dry := time.Now().Add(ahead + slowChunk + time.Duration(newPace(fiveHundred).age))
	for _, s := range all {
		dry = dry.Add(4 * s.gate.pool.trips.lead())
	}
	<-time.After(time.Until(dry) + 300*time.Millisecond)
	again := time.Now()
	require.Zero(t, since(dry))
	b.Start()
	soon(t, func() bool { return since(again) > 300 }, "the pool sends again")
	cancel()
	running.Wait()
	require.LessOrEqual(t, worst(sentBy(all...)), bound(fiveHundred))
}

func TestABudgetThatWasDeletedIsMadeAgain(t *testing.T) {
	t.Parallel()
	b := brokertest.Start(t)
	conn := b.Connect()
	ctx, cancel := context.WithCancel(t.Context())
	s := newSender(t, b, "wx1", fiveHundred, 0)
	var running sync.WaitGroup
	running.Go(func() { s.run(ctx, bulkOnly) })
	soon(t, func() bool { return len(sentBy(s)) > 50 }, "it sends")
	require.NoError(t, conn.JS.DeleteStream(t.Context(), wire.StreamRate))
	n := len(sentBy(s))
	soon(t, func() bool { return len(sentBy(s)) > n+200 }, "it sends again")

	// What nobody can read is waited out: it has an end, as all in this stream.
	_, err := conn.Outbox.PublishWait(t.Context(), &nats.Msg{Subject: wire.RateSubject("wx1"),
		Data: []byte("what?")})
	require.NoError(t, err)
	soon(t, func() bool {
		n := len(sentBy(s))
		<-time.After(200 * time.Millisecond)
		return len(sentBy(s)) == n
	}, "nothing is sent without a budget")
	stream, err := conn.JS.Stream(t.Context(), wire.StreamRate)
	require.NoError(t, err)
	require.NoError(t, stream.Purge(t.Context()))
	n = len(sentBy(s))
	soon(t, func() bool { return len(sentBy(s)) > n+50 }, "it sends again")
	cancel()
	running.Wait()
	require.LessOrEqual(t, worst(sentBy(s)), bound(fiveHundred))
}

func TestARateCanBeChanged(t *testing.T) {
	t.Parallel()
	b := brokertest.Start(t)
	ctx, cancel := context.WithCancel(t.Context())
	s := newSender(t, b, "wx1", Rate{PerSecond: 1, Burst: 1}, 0)
	var running sync.WaitGroup
	running.Go(func() { s.run(ctx, liveOnly) })
	soon(t, func() bool { return len(sentBy(s)) > 0 }, "it sends")
	s.gate.SetRate(Rate{PerSecond: 1000, Burst: 100})
	s.changed <- struct{}{}
	n := len(sentBy(s))
	soon(t, func() bool { return len(sentBy(s)) > n+100 }, "it sends faster")
	s.gate.SetRate(Rate{})
	n = len(sentBy(s))
	soon(t, func() bool { return len(sentBy(s)) > n+10_000 }, "it sends as fast as it can")
	s.gate.SetRate(Rate{PerSecond: 0.001, Burst: 1})
	cancel()
	running.Wait()
}

func TestTheDaysBudgetIsThePools(t *testing.T) {
	t.Parallel()
	b := brokertest.Start(t)
	conn := b.Connect()
	const perDay = 2000
	r := Rate{PerDay: perDay}
	// spend takes what can be had, up to n, and closes the workers in order.
	spend := func(n int) (got int) {
		var keepers []*Keeper
		var all []*sender
		for range 3 {
			k, err := Open(t.Context(), conn, "test", nil)
			require.NoError(t, err)
			keepers = append(keepers, k)
			all = append(all, senderOf(k.App("wx1", r), 0))
		}
		spent := 0 // workers that were told to come again tomorrow
		for got < n && spent < len(all) {
			spent = 0
			for _, s := range all {
				now := time.Now()
				p, wait := s.gate.Permit(schema.LaneBulk, now)
				switch {
				case p.OK:
					got++
					p.Used = true
					s.gate.Done(p, true)
				case wait == 0:
					brokertest.Await(t, s.changed, "an answer")
				default:
					require.InDelta(t, NextDay(now).Sub(now), wait, float64(time.Minute))
					spent++
				}
				if got == n {
					break
				}
			}
		}
		for _, k := range keepers {
			k.Close()
		}
		return got
	}
	used := func() int64 {
		days, err := Days(t.Context(), conn, time.Now())
		require.NoError(t, err)
		return days["wx1"].Used
	}
	if time.Until(NextDay(time.Now())) < 2*time.Minute {
		r.PerDay *= 2 // the platform's midnight may come in between
	}
	require.Equal(t, 700, spend(700))
	require.EqualValues(t, 700, used(), "what was taken and not used was given back")
	b.Restart()
	require.Equal(t, int(r.PerDay)-700, spend(10_000),
		"the rest, after a restart of workers and broker")
	require.EqualValues(t, r.PerDay, used())
	require.Zero(t, spend(1))

	require.NoError(t, conn.SaveState(t.Context(),
		broker.PutState(dayKey("wx2"), []byte("what?"), 0)))
	_, err := Days(t.Context(), conn, time.Now())
	require.ErrorContains(t, err, "day.wx2")
}
