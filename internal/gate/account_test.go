package gate

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// ms is a time on the broker's clock, in milliseconds.
func ms(n int64) int64 { return n * int64(time.Millisecond) }

func TestSlotsOfAnAccount(t *testing.T) {
	t.Parallel()
	// a slot every 10 ms; 16 for all, 4 kept for live
	hundred := Rate{PerSecond: 100, Burst: 20, LiveReserve: 0.2}
	const now = 1_000_000
	for _, c := range []struct {
		name  string
		rate  Rate
		tat   int64 // relative to now, in milliseconds
		early int64 // likewise
		n     int
		live  bool
		want  []slots // relative to now, in milliseconds
		wait  time.Duration
		after int64
	}{
		{"the next ones follow at the rate", hundred, 20, -1000, 5, false, []slots{{at: 20, n: 5}}, 0, 70},
		{"unused rate may be made up for, as far as the burst goes", hundred, -5000, -1000, 5, false, []slots{{at: -160, n: 5}}, 0, -110},
		{"and no further than it was unused", hundred, -30, -1000, 5, false, []slots{{at: -30, n: 5}}, 0, 20},
		{"without a reserve all of the burst", Rate{PerSecond: 100, Burst: 20}, -5000, -1000, 1, false, []slots{{at: -200, n: 1}}, 0, -190},
		{"bulk waits when enough is taken ahead", hundred, 80, -1000, 5, false, nil, 30 * time.Millisecond, 80},
		{"live does not, and may have some early", hundred, 80, -1000, 5, true, []slots{{at: 80, n: 4, early: true}, {at: 120, n: 1}}, 0, 130},
		{"as many as its reserve has left", hundred, 80, -60, 5, true, []slots{{at: 80, n: 1, early: true}, {at: 90, n: 4}}, 0, 130},
		{"or none", hundred, 80, 0, 5, true, []slots{{at: 80, n: 5}}, 0, 130},
		{"live has a limit too", hundred, 300, -1000, 1, true, nil, 100 * time.Millisecond, 300},
		{"live without a reserve waits its turn", Rate{PerSecond: 100, Burst: 20}, 80, -1000, 2, true, []slots{{at: 80, n: 2}}, 0, 100},
		{"a burst of one leaves nothing to keep", Rate{PerSecond: 100, Burst: 1, LiveReserve: 0.5}, 40, -1000, 2, true, []slots{{at: 40, n: 2}}, 0, 60},
		{"a slow app", Rate{PerSecond: 2, Burst: 1}, 40, -1000, 1, false, []slots{{at: 40, n: 1}}, 0, 540},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			p := newPace(c.rate)
			after, got, wait := p.grant(account{TAT: ms(now + c.tat), Early: ms(now + c.early)},
				ms(now), 0, 0, c.n, c.live)
			var want []slots
			for _, s := range c.want {
				want = append(want, slots{at: ms(now + s.at), n: s.n, early: s.early})
			}
			require.Equal(t, want, got)
			require.Equal(t, c.wait, wait)
			require.Equal(t, ms(now+c.after), after.TAT)
		})
	}
}

func TestChunks(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		rate float64
		want int
	}{
		{"fifty milliseconds' worth", 500, 25},
		{"of a fast app", 20_000, 1000},
		{"a hundred below a hundred a second", 50, 5},
		{"one at least", 0.5, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			require.Equal(t, c.want, newPace(Rate{PerSecond: c.rate}).most)
		})
	}
}

func TestSlotsInHand(t *testing.T) {
	t.Parallel()
	p := newPace(Rate{PerSecond: 100, Burst: 10, LiveReserve: 0.2}) // used at most 85 ms late
	h := hand{{at: ms(1000), n: 3}, {at: ms(1100), n: 2, early: true}}
	require.Equal(t, ms(1120), h.end(p))
	ok, wait := h.take(ms(990), false, p)
	require.False(t, ok)
	require.Equal(t, 10*time.Millisecond, wait)
	ok, _ = h.take(ms(990), true, p)
	require.True(t, ok, "live may have one early")
	require.Equal(t, hand{{at: ms(1000), n: 3}, {at: ms(1110), n: 1, early: true}}, h)
	ok, _ = h.take(ms(1000), false, p)
	require.True(t, ok)
	require.Zero(t, h.drop(ms(1095), p))
	require.Equal(t, 1, h.drop(ms(1096), p), "the one of 1010 is too old")
	require.Equal(t, 1, h.drop(ms(1106), p))
	ok, wait = h.take(ms(1106), false, p)
	require.False(t, ok)
	require.Equal(t, 4*time.Millisecond, wait)
	require.Equal(t, 1, h.drop(ms(5000), p))
	require.Empty(t, h)
	ok, wait = h.take(ms(5000), true, p)
	require.False(t, ok)
	require.Zero(t, wait)
	require.Zero(t, h.end(p))
}

// TestNoSecondHoldsMoreThanRateAndBurst has workers of all habits share an account, in simulated
// time: greedy and sparse ones, live and bulk, some that are stopped for a while and then use all
// they have.
func TestNoSecondHoldsMoreThanRateAndBurst(t *testing.T) {
	t.Parallel()
	for seed := range uint64(60) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		r := Rate{
			PerSecond:   []float64{3, 50, 500, 3000}[rnd.IntN(4)],
			Burst:       1 + rnd.IntN(100),
			LiveReserve: []float64{0, 0.2, 0.5, 1}[rnd.IntN(4)],
		}
		p := newPace(r)
		type worker struct {
			hand    hand
			live    bool
			greed   float64
			stopped int64
		}
		workers := make([]worker, 1+rnd.IntN(8))
		for i := range workers {
			workers[i] = worker{live: rnd.IntN(3) == 0, greed: rnd.Float64()}
		}
		var a account
		var sent []time.Time
		for now := ms(10_000); now < ms(14_000); now += ms(1) {
			for i := range workers {
				w := &workers[i]
				if now < w.stopped || rnd.Float64() > w.greed {
					continue
				}
				if rnd.IntN(300) == 0 {
					w.stopped = now + ms(rnd.Int64N(800))
				}
				w.hand.drop(now, p)
				for {
					if ok, _ := w.hand.take(now, w.live, p); !ok {
						break
					}
					sent = append(sent, time.Unix(0, now))
				}
				if w.live || w.hand.end(p) < now+int64(ahead) {
					var got []slots
					if a, got, _ = p.grant(a, now, 0, 0, 1+rnd.IntN(p.most), w.live); got != nil {
						w.hand = append(w.hand, got...)
					}
				}
			}
		}
		require.NotEmpty(t, sent)
		require.LessOrEqual(t, worst(sent), bound(r),
			"%+v, %d workers, seed %d", r, len(workers), seed)
	}
}

func TestTheClockWithTheShortestRoundTripCounts(t *testing.T) {
	t.Parallel()
	c := &clock{}
	_, ok := c.broker(noon)
	require.False(t, ok)
	hour := time.Hour
	learn := func(at time.Time, trip, off time.Duration) {
		c.addSample(at, at.Add(trip), at.Add(trip/2).Add(hour+off))
	}
	off := func(at time.Time) time.Duration {
		got, ok := c.broker(at)
		require.True(t, ok)
		return time.Duration(got - at.Add(hour).UnixNano())
	}
	learn(noon, 40*time.Millisecond, 15*time.Millisecond)
	require.Equal(t, 15*time.Millisecond, off(noon.Add(time.Second)))
	learn(noon.Add(time.Second), 2*time.Millisecond, 0)
	require.Zero(t, off(noon.Add(2*time.Second)))
	learn(noon.Add(2*time.Second), 30*time.Millisecond, -10*time.Millisecond)
	require.Zero(t, off(noon.Add(3*time.Second)), "a worse look does not count")
	learn(noon.Add(5*time.Minute), 30*time.Millisecond, 3*time.Millisecond)
	require.Equal(t, 3*time.Millisecond, off(noon.Add(5*time.Minute)),
		"but for one that is long ago: clocks drift")
}

func TestBlocksOfADay(t *testing.T) {
	t.Parallel()
	today, tomorrow := NextDay(noon), NextDay(NextDay(noon))
	for _, c := range []struct {
		name   string
		day    Day
		perDay int64
		n      int64
		want   Day
	}{
		{"the first of a day", Day{}, 500_000, 500, Day{End: today, Used: 500}},
		{"a later one", Day{End: today, Used: 1234}, 500_000, 500, Day{End: today, Used: 1734}},
		{"the day before counts no more", Day{End: noon.Add(-12 * time.Hour), Used: 500_000}, 500_000, 500, Day{End: today, Used: 500}},
		{"a day that has begun by another clock", Day{End: tomorrow, Used: 1}, 500_000, 500, Day{End: tomorrow, Used: 501}},
		{"when little is left blocks are small", Day{End: today, Used: 499_900}, 500_000, 5, Day{End: today, Used: 499_905}},
		{"and at last single", Day{End: today, Used: 499_999}, 500_000, 1, Day{End: today, Used: 500_000}},
		{"until nothing is left", Day{End: today, Used: 500_000}, 500_000, 0, Day{End: today, Used: 500_000}},
		{"nor when the budget was cut", Day{End: today, Used: 500_000}, 1000, 0, Day{End: today, Used: 500_000}},
		{"a small budget", Day{}, 10, 1, Day{End: today, Used: 1}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			got, n := c.day.take(noon, c.perDay)
			require.Equal(t, c.n, n)
			require.Equal(t, c.want, got)
		})
	}
}
