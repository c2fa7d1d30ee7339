package gate

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/wire"
)

// farStore is a broker at a distance: every answer takes trip. Its clock is the bubble's.
type farStore struct {
	mu   sync.Mutex
	kept map[string]broker.Stored
	seq  uint64
	made time.Time
}

func newFarStore() *farStore {
	return &farStore{kept: make(map[string]broker.Stored), made: time.Now()}
}

// way is one worker's way to the store.
type way struct {
	*farStore
	trip func() time.Duration
}

// hop takes the time of a question or of an answer.
func (w way) hop(ctx context.Context) error {
	select {
	case <-time.After(w.trip() / 2):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// exchange has the store do f in the middle of a round trip.
func (w way) exchange(ctx context.Context, f func() error) error {
	if err := w.hop(ctx); err != nil {
		return err
	}
	w.mu.Lock()
	err := f()
	w.mu.Unlock()
	if lost := w.hop(ctx); lost != nil {
		return lost
	}
	return err
}

func (w way) Connected() bool { return true }

func (w way) EnsureRateStream(ctx context.Context) (now, made time.Time, err error) {
	err = w.exchange(ctx, func() error { now, made = time.Now(), w.made; return nil })
	return now, made, err
}

func (w way) Last(ctx context.Context, _, subject string) (s broker.Stored, err error) {
	err = w.exchange(ctx, func() (err error) {
		var ok bool
		if s, ok = w.kept[subject]; !ok {
			return broker.ErrNoMessage
		}
		return nil
	})
	return s, err
}

func (w way) LastState(ctx context.Context, key string) (broker.StateEntry, error) {
	s, err := w.Last(ctx, "", wire.StateKeys+key)
	return broker.StateEntry{Key: key, Value: s.Data, Seq: s.Seq}, err
}

func (w way) Swap(ctx context.Context, m *nats.Msg, last uint64) (seq uint64, err error) {
	err = w.exchange(ctx, func() error {
		if w.kept[m.Subject].Seq != last {
			return broker.ErrOvertaken
		}
		w.seq++
		seq = w.seq
		w.kept[m.Subject] = broker.Stored{Data: m.Data, Seq: seq}
		return nil
	})
	return seq, err
}

// farPool is a pool of workers that send as fast as their gates permit.
type farPool struct {
	rate    Rate
	senders []*sender
	shares  []*common
}

func newFarPool(s *farStore, r Rate, trips ...func() time.Duration) *farPool {
	p := &farPool{rate: r}
	for _, trip := range trips {
		ctx, cancel := context.WithCancel(context.Background())
		share := newCommon(ctx, cancel, way{s, trip}, "test", time.Now)
		g := newGate("wx1", r, func(*Gate, bool) {}, share, slog.New(slog.DiscardHandler))
		p.senders, p.shares = append(p.senders, senderOf(g, 0)), append(p.shares, share)
	}
	return p
}

// send has all of them send bulk for a time, and returns when each message left.
func (p *farPool) send(t *testing.T, took time.Duration) []time.Time {
	ctx, cancel := context.WithTimeout(t.Context(), took)
	defer cancel()
	var running sync.WaitGroup
	for _, s := range p.senders {
		running.Go(func() { s.run(ctx, bulkOnly) })
	}
	running.Wait()
	p.close()
	return sentBy(p.senders...)
}

func (p *farPool) close() {
	for _, s := range p.shares {
		s.close()
	}
}

func steady(trip time.Duration) func() time.Duration { return func() time.Duration { return trip } }

// varying are trips of this length and up to half more, by chance; one in fifty takes three times
// as long.
func varying(trip time.Duration, seed uint64) func() time.Duration {
	rnd := rand.New(rand.NewPCG(seed, 1))
	var mu sync.Mutex // goroutines of a pool share it
	return func() time.Duration {
		mu.Lock()
		defer mu.Unlock()
		if rnd.IntN(50) == 0 {
			return 3 * trip
		}
		return trip + time.Duration(rnd.Int64N(int64(trip/2+1)))
	}
}

// TestTheWholeRateIsUsedAtAnyDistance: what the pool sends does not depend on how long the broker's
// answers take, and no second holds more than it may.
func TestTheWholeRateIsUsedAtAnyDistance(t *testing.T) {
	t.Parallel()
	const warm = 10 * time.Second
	for _, rate := range []Rate{
		{PerSecond: 100, Burst: 20, LiveReserve: 0.2},
		{PerSecond: 100, Burst: 1},
		{PerSecond: 1000, Burst: 50, LiveReserve: 0.2},
		{PerSecond: 4, Burst: 1},
	} {
		for _, trip := range []time.Duration{5, 60, 200, 500} {
			trip *= time.Millisecond
			for _, workers := range []int{1, 2, 8} {
				for _, c := range []struct {
					name  string
					way   func(i int) func() time.Duration
					trips time.Duration // to look at: few say little where they vary
					least float64       // of the rate
					// of it in a second beyond what there may be: an error of the clocks
					most float64
				}{
					{"steady", func(int) func() time.Duration { return steady(trip) }, 20, 0.97, 0.02},
					{"varying", func(i int) func() time.Duration { return varying(trip, uint64(i)) }, 200, 0.95, 0.1},
				} {
					took := max(10*time.Second, c.trips*trip)
					t.Run(fmt.Sprintf("%v a second, burst %d, %d workers, %v, %s", rate.PerSecond,
						rate.Burst, workers, trip, c.name), func(t *testing.T) {
						t.Parallel()
						synctest.Test(t, func(t *testing.T) {
							var ways []func() time.Duration
							for i := range workers {
								ways = append(ways, c.way(i))
							}
							pool := newFarPool(newFarStore(), rate, ways...)
							begun := time.Now()
							sent := pool.send(t, warm+took)
							n := 0
							for _, at := range sent {
								if at.Sub(begun) >= warm {
									n++
								}
							}
							t.Logf("%.1f/s, worst second %d", float64(n)/took.Seconds(),
								worst(sent))
							require.LessOrEqual(t, worst(sent),
								bound(rate)+int(math.Ceil(c.most*rate.PerSecond)))
							require.GreaterOrEqual(t, float64(n),
								c.least*rate.PerSecond*took.Seconds()-1)
						})
					})
				}
			}
		}
	}
}

// TestABrokerThatBecomesSlowSlowsNothingForLong: an answer that takes longer than a question may is
// a reason to wait longer for the next.
func TestABrokerThatBecomesSlowSlowsNothingForLong(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		slow := time.Now().Add(5 * time.Second)
		pool := newFarPool(newFarStore(), Rate{PerSecond: 100, Burst: 20, LiveReserve: 0.2},
			func() time.Duration {
				if time.Now().Before(slow) {
					return 5 * time.Millisecond
				}
				return 3 * time.Second
			})
		sent := pool.send(t, 60*time.Second)
		n := 0
		for _, at := range sent {
			if at.After(slow.Add(25 * time.Second)) {
				n++
			}
		}
		require.GreaterOrEqual(t, n, 97*30)
	})
}

// election is a way on which answers take trip, but for those that are asked for within a time:
// they come when it is over.
func election(trip time.Duration, from, until time.Time) func() time.Duration {
	return func() time.Duration {
		if now := time.Now(); !now.Before(from) && now.Before(until) {
			return trip + 2*until.Sub(now) // hop takes half of it
		}
		return trip
	}
}

// TestOneSlowAnswerIsSoonForgotten: what may leave does not wait for as long as that answer took,
// and soon no more is in hand, where a worker that dies would take it along, than the distance
// needs.
func TestOneSlowAnswerIsSoonForgotten(t *testing.T) {
	t.Parallel()
	const warm, later = 10 * time.Second, 5 * time.Second
	for _, trip := range []time.Duration{5, 60, 200} {
		trip *= time.Millisecond
		for _, workers := range []int{1, 2} {
			for _, away := range []time.Duration{400 * time.Millisecond, time.Second,
				3 * time.Second} {
				t.Run(fmt.Sprintf("%d workers, %v, and once %v", workers, trip, away),
					func(t *testing.T) {
						t.Parallel()
						synctest.Test(t, func(t *testing.T) {
							from := time.Now().Add(warm)
							over := from.Add(away)
							s := newFarStore()
							pool := newFarPool(s, Rate{PerSecond: 100, Burst: 20, LiveReserve: 0.2},
								slices.Repeat([]func() time.Duration{election(trip, from, over)},
									workers)...)
							sent := pool.send(t, warm+away+later)
							i, _ := slices.BinarySearchFunc(sent, over, time.Time.Compare)
							require.Less(t, i, len(sent))
							require.LessOrEqual(t, sent[i].Sub(over), askPause+3*trip,
								"the first that leaves then")

							var a account
							kept := s.kept[wire.RateSubject("wx1")].Data
							require.NoError(t, json.Unmarshal(kept, &a))
							taken := time.Until(time.Unix(0, a.TAT))
							require.LessOrEqual(t, taken, ahead+chunk+5*trip, "what is taken")
						})
					})
			}
		}
	}
}
