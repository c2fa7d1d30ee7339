package gate

import (
	"context"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kefuhq/kefu/internal/broker/brokertest"
	"github.com/kefuhq/kefu/schema"
)

// sender is a worker that sends as fast as its gate permits, and notes when.
type sender struct {
	gate    *Gate
	changed chan struct{}
	sent    []time.Time
}

func newSender(k *Keeper, appID string, r Rate) *sender {
	s := &sender{gate: k.App(appID, r), changed: make(chan struct{}, 1)}
	s.gate.OnChange(func() {
		select {
		case s.changed <- struct{}{}:
		default:
		}
	})
	return s
}

// run sends until ctx ends. skew is how far this worker's clock is ahead.
func (s *sender) run(ctx context.Context, lane schema.Lane, skew time.Duration) {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for ctx.Err() == nil {
		now := time.Now()
		p, wait := s.gate.Permit(lane, now.Add(skew))
		if p.OK {
			s.sent = append(s.sent, now)
			continue
		}
		if wait == 0 {
			wait = time.Hour
		}
		timer.Reset(wait)
		select {
		case <-ctx.Done():
		case <-timer.C:
		case <-s.changed:
		}
	}
}

// worst is the most sends in any second.
func worst(sent []time.Time) int {
	slices.SortFunc(sent, time.Time.Compare)
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
func bound(r Rate) int { return int(r.PerSecond*1.02) + max(r.Burst, 1) }

func TestThePoolKeepsToTheRateAndUsesAllOfIt(t *testing.T) {
	t.Parallel()
	const took = 3 * time.Second
	for _, c := range []struct {
		name    string
		rate    Rate
		workers int
		busy    int // of them have something to send
		skew    time.Duration
		killed  bool
		lane    schema.Lane
	}{
		{"one worker", Rate{PerSecond: 500, Burst: 20, LiveReserve: 0.2}, 1, 1, 0, false, schema.Bulk},
		{"two workers", Rate{PerSecond: 500, Burst: 20, LiveReserve: 0.2}, 2, 2, 0, false, schema.Bulk},
		{"four workers", Rate{PerSecond: 500, Burst: 20, LiveReserve: 0.2}, 4, 4, 0, false, schema.Bulk},
		{"eight workers", Rate{PerSecond: 500, Burst: 20, LiveReserve: 0.2}, 8, 8, 0, false, schema.Bulk},
		{"one of eight has all the work", Rate{PerSecond: 500, Burst: 20, LiveReserve: 0.2}, 8, 1, 0, false, schema.Live},
		{"clocks a second apart", Rate{PerSecond: 500, Burst: 20, LiveReserve: 0.2}, 4, 4, time.Second, false, schema.Bulk},
		{"one of four is killed on the way", Rate{PerSecond: 500, Burst: 20, LiveReserve: 0.2}, 4, 4, 0, true, schema.Bulk},
		{"a slow app", Rate{PerSecond: 20, Burst: 1}, 4, 4, 0, false, schema.Live},
		{"a fast app", Rate{PerSecond: 5000, Burst: 100, LiveReserve: 0.2}, 4, 4, 0, false, schema.Bulk},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := brokertest.Start(t)
			ctx, cancel := context.WithTimeout(t.Context(), took)
			defer cancel()
			var all []*sender
			var running sync.WaitGroup
			for i := range c.workers {
				skew := time.Duration(i%2) * c.skew
				k, err := open(t.Context(), b.Connect(), nil, func() time.Time { return time.Now().Add(skew) })
				require.NoError(t, err)
				t.Cleanup(k.Close)
				s := newSender(k, "wx1", c.rate)
				all = append(all, s)
				if i >= c.busy {
					continue
				}
				life, end := ctx, context.CancelFunc(func() {})
				if c.killed && i == 0 {
					life, end = context.WithTimeout(ctx, took/2) // what it has in hand is lost
				}
				running.Go(func() {
					defer end()
					s.run(life, c.lane, skew)
				})
			}
			running.Wait()
			var sent []time.Time
			for _, s := range all {
				sent = append(sent, s.sent...)
			}
			slices.SortFunc(sent, time.Time.Compare)
			require.LessOrEqual(t, worst(sent), bound(c.rate))
			st, err := b.Connect().JS.Stream(t.Context(), schema.StreamRate)
			require.NoError(t, err)
			t.Log("writes/s", st.CachedInfo().State.LastSeq/3)
			t.Logf("%d sends, %.1f/s, worst second %d of %d", len(sent), float64(len(sent)-1)/sent[len(sent)-1].Sub(sent[0]).Seconds(), worst(sent), bound(c.rate))
		})
	}
}

// converse has a live intent come every so often and returns how long each
// waited for its permission, while bulk asks for whatever it can get.
func (s *sender) converse(ctx context.Context, every time.Duration) (waits []time.Duration) {
	next := time.Now().Add(every)
	timer := time.NewTimer(every)
	defer timer.Stop()
	for ctx.Err() == nil {
		now := time.Now()
		var wait time.Duration
		if !now.Before(next) {
			p, w := s.gate.Permit(schema.Live, now)
			if p.OK {
				waits = append(waits, time.Since(next))
				next = next.Add(every)
				s.sent = append(s.sent, now)
				continue
			}
			wait = w
		} else {
			p, w := s.gate.Permit(schema.Bulk, now)
			if p.OK {
				s.sent = append(s.sent, now)
				continue
			}
			if wait = next.Sub(now); w > 0 {
				wait = min(wait, w)
			}
		}
		if wait == 0 {
			wait = time.Hour
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

func TestLiveDoesNotWaitForBulkElsewhere(t *testing.T) {
	t.Parallel()
	for _, n := range []int{1, 4, 8} {
		for _, r := range []Rate{{PerSecond: 100, Burst: 20, LiveReserve: 0.2}, {PerSecond: 1000, Burst: 20, LiveReserve: 0.2}} {
	b := brokertest.Start(t)
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	var all []*sender
	var running sync.WaitGroup
	var waits []time.Duration
	for i := range n {
		s := newSender(keep(t, b.Connect()), "wx1", r)
		all = append(all, s)
		running.Go(func() {
			if i == 0 {
				waits = s.converse(ctx, 50*time.Millisecond)
			} else {
				s.run(ctx, schema.Bulk, 0)
			}
		})
	}
	running.Wait()
	var sent []time.Time
	for _, s := range all {
		sent = append(sent, s.sent...)
	}
	slices.Sort(waits)
			st, err := b.Connect().JS.Stream(t.Context(), schema.StreamRate)
			require.NoError(t, err)
			t.Log("writes/s", st.CachedInfo().State.LastSeq/3)
	t.Log(n, r.PerSecond, len(waits), waits[len(waits)/2], waits[len(waits)*9/10], waits[len(waits)-1], "sent", len(sent), "worst", worst(sent), bound(r))
	require.LessOrEqual(t, worst(sent), bound(r))
	}}
}
