package gate

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kefuhq/kefu/schema"
)

// begun is a sender whose requests leave some time after their permission was given: what the
// ledger and the token take.
type begun struct {
	*sender
	lane  schema.Lane
	slots chan struct{}
	delay func() time.Duration
}

// run begins a request whenever it may, and returns when all have left.
func (s begun) run(ctx context.Context) {
	var running sync.WaitGroup
	defer running.Wait()
	timer := time.NewTimer(time.Hour)
	for {
		select {
		case s.slots <- struct{}{}:
		case <-ctx.Done():
			return
		}
		p, wait := s.gate.Permit(s.lane, time.Now())
		if p.OK {
			running.Go(func() {
				time.Sleep(s.delay())
				s.leave(&p)
				s.gate.Done(p, true)
				<-s.slots
			})
			continue
		}
		<-s.slots
		if wait == 0 {
			wait = 50 * time.Millisecond // the worker asks again after each request
		}
		timer.Reset(wait)
		select {
		case <-timer.C:
		case <-s.changed:
		case <-ctx.Done():
			return
		}
	}
}

func (s begun) leave(p *Permission) {
	if turn := s.gate.Leave(p, s.lane); turn != nil {
		<-turn.Ready()
	}
	s.mu.Lock()
	s.sent = append(s.sent, time.Now())
	s.mu.Unlock()
}

// within is the most sends in any span of that length.
func within(sent []time.Time, span time.Duration) (most int) {
	first := 0
	for i, at := range sent {
		for at.Sub(sent[first]) >= span {
			first++
		}
		most = max(most, i-first+1)
	}
	return most
}

// TestTheRateHoldsWhereRequestsLeave: neither the time between the permission and the request nor
// its changes make the rate smaller or larger.
func TestTheRateHoldsWhereRequestsLeave(t *testing.T) {
	t.Parallel()
	for _, r := range []Rate{{PerSecond: 100, Burst: 1},
		{PerSecond: 100, Burst: 20, LiveReserve: 0.2}, {PerSecond: 5, Burst: 1}} {
		for _, trip := range []time.Duration{time.Millisecond, 60 * time.Millisecond,
			500 * time.Millisecond} {
			for _, workers := range []int{1, 4} {
				t.Run(fmt.Sprintf("%v a second, burst %d, %v, %d workers", r.PerSecond, r.Burst,
					trip, workers), func(t *testing.T) {
					t.Parallel()
					synctest.Test(t, func(t *testing.T) {
						var ways []func() time.Duration
						for range workers {
							ways = append(ways, steady(trip))
						}
						pool := newFarPool(newFarStore(), r, ways...)
						const warm = 30 * time.Second
						// fewer trips say little where they vary
						took := max(10*time.Second, 200*trip)
						ctx, cancel := context.WithTimeout(t.Context(), warm+took)
						defer cancel()
						from := time.Now().Add(warm)
						var running sync.WaitGroup
						for i, s := range pool.senders {
							b := begun{s, schema.LaneBulk, make(chan struct{}, 256),
								varying(trip, uint64(i))}
							running.Go(func() { b.run(ctx) })
						}
						running.Wait()
						pool.close()
						sent := sentBy(pool.senders...)
						n := 0
						for _, at := range sent {
							if at.After(from) && at.Before(from.Add(took)) {
								n++
							}
						}
						t.Logf("%.1f/s, worst second %d", float64(n)/took.Seconds(), worst(sent))
						require.LessOrEqual(t, worst(sent), bound(r))
						require.GreaterOrEqual(t, float64(n), 0.93*r.PerSecond*took.Seconds()-1)
					})
				})
			}
		}
	}
}

// TestWhatWasHeldUpTogetherDoesNotLeaveTogether: however many were waiting for a token, the rate
// counts when they leave.
func TestWhatWasHeldUpTogetherDoesNotLeaveTogether(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := Rate{PerSecond: 100, Burst: 1}
		pool := newFarPool(newFarStore(), r, steady(time.Millisecond), steady(time.Millisecond))
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		token := time.Now().Add(4 * time.Second)
		var running sync.WaitGroup
		for _, s := range pool.senders {
			b := begun{s, schema.LaneBulk, make(chan struct{}, 128),
				func() time.Duration { return max(time.Until(token), 0) + time.Millisecond }}
			running.Go(func() { b.run(ctx) })
		}
		running.Wait()
		pool.close()
		sent := sentBy(pool.senders...)
		require.False(t, sent[0].Before(token))
		require.LessOrEqual(t, within(sent, 20*time.Millisecond), 4)
		require.LessOrEqual(t, worst(sent), bound(r))
		require.GreaterOrEqual(t, len(sent), 1400, "nor is much lost of the 16 seconds that follow")
	})
}

// one is a gate of a pool with one worker, and what ends it.
func one(r Rate) (*Gate, func()) {
	pool := newFarPool(newFarStore(), r, steady(time.Millisecond))
	return pool.senders[0].gate, pool.close
}

// permit waits for a permission.
func permit(g *Gate, lane schema.Lane) Permission {
	for {
		p, wait := g.Permit(lane, time.Now())
		if p.OK {
			return p
		}
		time.Sleep(max(wait, time.Millisecond))
	}
}

func TestWhatIsNotSentCostsNoRate(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g, end := one(Rate{PerSecond: 50, Burst: 1})
		defer end()
		start := time.Now()
		for range 500 { // each waits for its time, is expired or invalid
			g.Done(permit(g, schema.LaneBulk), false)
		}
		p := permit(g, schema.LaneBulk)
		require.Nil(t, g.Leave(&p, schema.LaneBulk))
		require.Less(t, time.Since(start), 100*time.Millisecond)
	})
}

func TestEachRequestOfACallTakesRate(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g, end := one(Rate{PerSecond: 10, Burst: 1})
		defer end()
		p := permit(g, schema.LaneBulk)
		var left []time.Time
		for range 21 { // the first, and those after refused tokens
			if turn := g.Leave(&p, schema.LaneBulk); turn != nil {
				<-turn.Ready()
			}
			left = append(left, time.Now())
		}
		g.Done(p, true)
		require.InDelta(t, 2*time.Second, left[20].Sub(left[0]), float64(110*time.Millisecond))
		require.Zero(t, g.budget.reserved)
	})
}

func TestLiveGoesBeforeBulkInLine(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g, end := one(Rate{PerSecond: 10, Burst: 1})
		defer end()
		// until nothing is in hand
		for p := permit(g, schema.LaneBulk); g.Leave(&p, schema.LaneBulk) == nil; {
		}
		var none Permission
		bulk := g.Leave(&none, schema.LaneBulk)
		live, gone := g.Leave(&none, schema.LaneLive), g.Leave(&none, schema.LaneLive)
		require.NotNil(t, live)
		gone.GiveUp()
		<-live.Ready()
		synctest.Wait()
		select {
		case <-bulk.Ready():
			t.Fatal("bulk took the slot that live waited for")
		case <-gone.Ready():
			t.Fatal("whoever gave up was served")
		default:
		}
		g.SetRate(Rate{})
		<-bulk.Ready()
		require.Nil(t, g.Leave(&none, schema.LaneBulk), "there is no limit any more")
	})
}

func TestSpareSlots(t *testing.T) {
	t.Parallel()
	p := newPace(Rate{PerSecond: 100, Burst: 10, LiveReserve: 0.2})
	h := hand{{at: ms(1000), n: 3}, {at: ms(1100), n: 2, early: true}}
	for _, c := range []struct {
		name  string
		taken int
		until int64
		live  bool
		ok    bool
		wait  time.Duration
	}{
		{"one that is due", 0, 1000, false, true, 0},
		{"not due", 0, 990, false, false, 10 * time.Millisecond},
		{"all that are due are taken", 1, 1000, false, false, 10 * time.Millisecond},
		{"live may have one early", 1, 1000, true, true, 0},
		{"and a second", 2, 1000, true, true, 0},
		{"no third", 3, 1000, true, false, 100 * time.Millisecond},
		{"the next after those", 3, 1020, false, false, 80 * time.Millisecond},
		{"all due", 4, 1110, false, true, 0},
		{"all taken", 5, 1110, true, false, 0},
	} {
		ok, wait := h.spare(c.taken, ms(c.until), c.live, p)
		require.Equal(t, c.ok, ok, c.name)
		if !ok {
			require.Equal(t, c.wait, wait, c.name)
		}
	}
	ok, wait := hand(nil).spare(0, ms(1), true, p)
	require.False(t, ok)
	require.Zero(t, wait)
}
