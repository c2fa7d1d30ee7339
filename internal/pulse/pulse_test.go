package pulse

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/broker/brokertest"
	"github.com/kefuhq/kefu/schema"
)

// noon is when the tests of pure functions take place: at the beginning of a minute and of a block.
var noon = time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC)

func TestABucketHoldsTheDurationsThatItIsFor(t *testing.T) {
	t.Parallel()
	for d := time.Duration(0); d < 13*time.Hour; d = d*11/10 + 100*time.Microsecond {
		b := bucketOf(d)
		require.GreaterOrEqual(t, float64(d)/float64(unit), lower(b), d)
		if b < buckets-1 {
			require.Less(t, float64(d/unit), lower(b+1), d)
		}
	}
	require.Zero(t, bucketOf(-time.Second))
	require.Equal(t, buckets-1, bucketOf(1000*time.Hour))
}

func TestQuantilesAreOffByAQuarterAtMost(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(1, 2))
	for _, mean := range []time.Duration{5 * time.Millisecond, time.Second, 20 * time.Minute} {
		var h histogram
		sorted := make([]float64, 10_000)
		for i := range sorted {
			d := time.Duration(random.ExpFloat64() * float64(mean))
			sorted[i] = d.Seconds()
			h.observe(d)
		}
		slices.Sort(sorted)
		require.InEpsilon(t, sorted[5000], h.latency().P50, 0.25)
		require.InEpsilon(t, sorted[9900], h.latency().P99, 0.25)
	}
	require.Equal(t, Latency{}, new(histogram).latency())
}

// counted is what a worker counts in a minute of an app: n sent of both lanes, one dead.
func counted(a *App, at time.Time, n int, took time.Duration) {
	for range n {
		a.Called(at, took)
		a.Ended(at, schema.LaneLive, schema.StateSent, took)
		a.Ended(at, schema.LaneBulk, schema.StateSent, 2*took)
	}
	a.Ended(at, schema.LaneLive, schema.StateDead, NotMeasured)
	a.Ended(at, schema.LaneLive, schema.StateCancelled, NotMeasured)
}

func merging(t *testing.T, now time.Time, workers ...*Recorder) Hours {
	t.Helper()
	m := merge{newest: minuteOf(now), apps: make(map[string]*merged)}
	for _, w := range workers {
		require.NoError(t, decode(w.encode(now), m.add))
	}
	return m.hours(now)
}

func TestAnHourIsAddedUpOverWorkers(t *testing.T) {
	t.Parallel()
	one, two := NewRecorder(), NewRecorder()
	counted(one.App("wx1"), noon, 1, time.Second)                        // too long ago
	counted(one.App("wx1"), noon.Add(time.Minute), 2, time.Second)       // the first of the hour
	counted(one.App("wx1"), noon.Add(58*time.Minute), 3, time.Second)    // lately
	counted(two.App("wx1"), noon.Add(60*time.Minute), 30, time.Second)   // now
	counted(two.App("wx1"), noon.Add(61*time.Minute), 15, 4*time.Second) // a clock that is ahead
	counted(two.App("wx2"), noon.Add(60*time.Minute), 1, time.Second)
	now := noon.Add(60*time.Minute + 30*time.Second)
	m := merge{newest: minuteOf(now), apps: make(map[string]*merged)}
	require.NoError(t, decode(one.encode(now), m.add))
	require.NoError(t, decode(two.encode(now.Add(time.Minute)), m.add))
	got := m.hours(now)
	require.Equal(t, now, got.At)
	require.Len(t, got.Apps, 2)
	app := got.Apps["wx1"]
	require.Len(t, app.Points, Minutes)
	require.Equal(t, noon.Add(time.Minute), app.Points[0].At)
	require.Equal(t, noon.Add(time.Hour), app.Points[Minutes-1].At)
	first, last := app.Points[0], app.Points[Minutes-1]
	require.Equal(t, []int{4, 1, 1, 2}, []int{first.Sent, first.Dead, first.Cancelled, first.Calls})
	require.Equal(t, []int{90, 2, 2, 45}, []int{last.Sent, last.Dead, last.Cancelled, last.Calls})
	require.InEpsilon(t, 8, last.P99, 0.3, "of live and bulk, at the slowest worker")
	require.Zero(t, app.Points[1].P99)
	require.Equal(t, 100, app.Hour.Sent)
	require.Equal(t, 96, app.Lately.Sent)
	require.Equal(t, 4, app.Hour.Dead)
	require.InDelta(t, 1, app.PerSecond, 0, "90 in the minute under way, none in the one before")
	require.InEpsilon(t, 4, app.Lately.Live.P99, 0.3)
	require.InEpsilon(t, 1, app.Lately.Live.P50, 0.3)
	require.InEpsilon(t, 8, app.Lately.Bulk.P99, 0.3)
	require.Equal(t, 45, app.Lately.Call.Count-3, "of its block, the former block as well")
}

func TestAMinuteThatComesAgainAfterAClockWasSetBackGoesOn(t *testing.T) {
	t.Parallel()
	r := NewRecorder()
	for _, at := range []time.Time{noon, noon.Add(time.Minute), noon} {
		counted(r.App("wx1"), at, 1, time.Second)
	}
	points := merging(t, noon.Add(time.Minute), r).Apps["wx1"].Points
	require.Equal(t, 4, points[Minutes-2].Sent)
	require.Equal(t, 2, points[Minutes-1].Sent)
}

// busy is a worker that has done something in every minute for each of many apps.
func busy(apps int, now time.Time) *Recorder {
	r, random := NewRecorder(), rand.New(rand.NewPCG(1, 2))
	for i := range apps {
		a := r.App(fmt.Sprintf("wx%016d", i))
		for m := range Minutes {
			at := now.Add(-time.Duration(m) * time.Minute)
			for range 50 {
				took := time.Duration(random.ExpFloat64() * float64(150*time.Millisecond))
				a.Called(at, took)
				a.Ended(at, schema.LaneLive, schema.StateSent, took+2*time.Millisecond)
				a.Ended(at, schema.LaneBulk, schema.StateSent, 100*took)
			}
		}
	}
	return r
}

func TestTheKeyOfABusyWorkerFits(t *testing.T) {
	t.Parallel()
	hour := len(busy(300, noon).encode(noon))
	t.Logf("%d bytes for 300 apps that are busy in each minute of an hour", hour)
	require.Less(t, hour, most)
	full := busy(600, noon)
	require.Less(t, len(full.encode(noon)), most, "of very many apps less than an hour is kept")
	require.Len(t, merging(t, noon, full).Apps, 600)
	require.Positive(t, merging(t, noon, full).Apps["wx0000000000000007"].Lately.Sent)
}

func TestWhatNobodyOfThisVersionWroteIsLeftOut(t *testing.T) {
	t.Parallel()
	r := NewRecorder()
	counted(r.App("wx1"), noon, 1, time.Second)
	whole := r.encode(noon)
	for n := range whole { // cut short anywhere
		require.ErrorIs(t, decode(whole[:n], func(string, *hour) {}), errCode, n)
	}
	more := squeezed([]byte{1, 0, 7}) // a minute, no app, and something else
	require.ErrorIs(t, decode(more, func(string, *hour) {}), errCode)
	require.ErrorIs(t, decode([]byte(`{"a":1}`), func(string, *hour) {}), errCode)
	other := append([]byte{codeVersion + 1}, whole[1:]...)
	require.ErrorIs(t, decode(other, func(string, *hour) {}), errCode)
}

func FuzzDecode(f *testing.F) {
	f.Add(busy(2, noon).encode(noon))
	f.Add([]byte{codeVersion})
	f.Add([]byte(nil))
	f.Fuzz(func(t *testing.T, data []byte) {
		m := merge{newest: minuteOf(noon), apps: make(map[string]*merged)}
		_ = decode(data, m.add)
		_ = m.hours(noon)
	})
}

func TestReadAddsUpWhatWorkersHaveWrittenDown(t *testing.T) {
	t.Parallel()
	conn, log := brokertest.New(t, "wx1"), slog.New(slog.DiscardHandler)
	got, err := Read(t.Context(), conn)
	require.NoError(t, err)
	require.Empty(t, got.Apps)
	for i := range 2 {
		r := NewRecorder()
		counted(r.App("wx1"), time.Now(), 1+i, time.Second)
		over, cancel := context.WithCancel(t.Context())
		cancel() // a worker that stops writes down what is left
		r.Keep(over, conn, fmt.Sprint("w", i), log)
	}
	require.NoError(t, conn.SaveState(t.Context(),
		broker.PutState(keyPrefix+"later", []byte("another form"), 0)))
	got, err = Read(t.Context(), conn)
	require.NoError(t, err)
	require.Equal(t, 6, got.Apps["wx1"].Hour.Sent)
}

func TestAKeyIsWrittenWhenSomethingHasChangedAndOnlyThen(t *testing.T) {
	t.Parallel()
	conn, r := brokertest.New(t, "wx1"), NewRecorder()
	var said strings.Builder
	k := keeping{recorder: r, conn: conn, key: keyPrefix + "w",
		log: slog.New(slog.NewTextHandler(&said, nil))}
	require.Zero(t, k.save(t.Context(), time.Now()))
	counted(r.App("wx1"), time.Now(), 1, time.Second)
	require.Positive(t, k.save(t.Context(), time.Now()))
	require.Zero(t, k.save(t.Context(), time.Now()))

	counted(r.App("wx1"), time.Now(), 1, time.Second)
	lost, cancel := context.WithCancel(t.Context())
	cancel()
	k.save(lost, time.Now())
	require.Contains(t, said.String(), "cannot be written down")
	require.Positive(t, k.save(t.Context(), time.Now()), "what was not stored is written again")
	require.Contains(t, said.String(), "written down again")

	e, err := conn.LastState(t.Context(), keyPrefix+"w")
	require.NoError(t, err)
	require.NotEmpty(t, e.Value)
	require.Nil(t, r.App("wx1").copied(minuteOf(time.Now())+Minutes), "an hour later nothing is "+
		"left")
}

func BenchmarkRecord(b *testing.B) {
	a := NewRecorder().App("wx1")
	now := time.Now()
	b.ReportAllocs()
	for b.Loop() {
		a.Called(now, 100*time.Millisecond)
		a.Ended(now, schema.LaneLive, schema.StateSent, 200*time.Millisecond)
	}
}

func BenchmarkEncode(b *testing.B) {
	r := busy(300, noon)
	for b.Loop() {
		r.encode(noon)
	}
}

func BenchmarkMerge(b *testing.B) {
	body := busy(300, noon).encode(noon)
	for b.Loop() {
		m := merge{newest: minuteOf(noon), apps: make(map[string]*merged)}
		_ = decode(body, m.add)
		m.hours(noon)
	}
}
