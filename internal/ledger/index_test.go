package ledger

import (
	"fmt"
	"math"
	"runtime"
	"testing"
	"time"
	"unsafe"

	"github.com/stretchr/testify/require"
)

var noon = time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)

// at has an index read a mark at a time.
func at(x *index, after time.Duration, k Key, kind Kind) Standing {
	x.advance(noon.Add(after))
	return x.mark(Mark{Key: k, Kind: kind, Seq: 10, Attempt: 1, Generation: 1}, x.worker("a"))
}

func TestEntriesLiveForTheirTimeAndABitMore(t *testing.T) {
	t.Parallel()
	const keep = 8 * time.Hour // an epoch is an hour
	for _, c := range []struct {
		name  string
		after time.Duration
		known bool
	}{
		{"a moment later", time.Second, true},
		{"just before its time is over", keep - time.Second, true},
		{"when the epoch it was made in is not that old yet", keep + 59*time.Minute, true},
		{"when it is", keep + time.Hour, false},
		{"long after", 100 * keep, false},
	} {
		for _, busy := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, others meanwhile %v", c.name, busy), func(t *testing.T) {
				t.Parallel()
				x := newIndex(keep)
				at(x, 0, 1, Sent)
				if busy {
					for d := 10 * time.Minute; d < c.after; d += 10 * time.Minute {
						at(x, d, 2, Suspect)
					}
				}
				x.advance(noon.Add(c.after))
				_, known := x.get(1)
				require.Equal(t, c.known, known)
			})
		}
	}
}

func TestAnEntryThatChangesBeginsItsTimeAnew(t *testing.T) {
	t.Parallel()
	const keep = 8 * time.Hour
	x := newIndex(keep)
	at(x, 0, 1, Start)
	at(x, 5*time.Hour, 1, Sent)
	require.Equal(t, 1, x.len(), "it has moved, not doubled")
	x.advance(noon.Add(13 * time.Hour))
	e, known := x.get(1)
	require.True(t, known)
	require.Equal(t, Sent, e.Kind)
	x.advance(noon.Add(14 * time.Hour))
	require.Zero(t, x.len())
	require.LessOrEqual(t, len(x.maps), epochs+2)
}

func TestWorkersForgetAlikeWheneverTheyBeganToRead(t *testing.T) {
	t.Parallel()
	const keep = 8 * time.Hour
	one, two := newIndex(keep), newIndex(keep)
	at(one, -37*time.Minute, 1000, Sent) // the second begins later
	for d := time.Duration(0); d < 30*time.Hour; d += 7 * time.Minute {
		k := Key(d / time.Minute % 97)
		require.Equal(t, at(one, d, k, Start), at(two, d, k, Start), "after %v", d)
	}
}

func TestWithoutALimitNothingIsForgotten(t *testing.T) {
	t.Parallel()
	x := newIndex(0)
	at(x, 0, 1, Sent)
	at(x, 1000*24*time.Hour, 2, Sent)
	require.Equal(t, 2, x.len())
	require.Len(t, x.maps, 1)
}

func TestAClockThatGoesBackForgetsNothing(t *testing.T) {
	t.Parallel()
	x := newIndex(8 * time.Hour)
	at(x, 0, 1, Sent)
	at(x, -20*time.Hour, 2, Sent)
	require.Equal(t, 2, x.len())
}

func TestMoreWorkersThanNumbers(t *testing.T) {
	t.Parallel()
	x := newIndex(time.Hour)
	for i := range math.MaxUint16 + 10 {
		id := x.worker(fmt.Sprint(i))
		require.Less(t, int(id), len(x.names))
	}
	require.EqualValues(t, 5, x.worker("5"))
	require.Equal(t, "5", x.names[5])
}

// TestWhatAMillionIntentsCost documents the memory of a worker. A map grows by
// doubling, so the cost per entry is between these figures and twice them.
func TestWhatAMillionIntentsCost(t *testing.T) {
	require.EqualValues(t, 24, unsafe.Sizeof(Entry{}))
	const n = 1_000_000
	before := heap()
	x := newIndex(72 * time.Hour)
	w := x.worker("a")
	for i := range n {
		k := KeyOf("wx", fmt.Sprint(i))
		x.mark(Mark{Key: k, Kind: Start, Seq: uint64(i), Attempt: 1}, w)
		x.mark(Mark{Key: k, Kind: Sent, Seq: uint64(i), Generation: 1, Attempt: 1}, w)
	}
	cost := heap() - before
	require.Equal(t, n, x.len())
	runtime.KeepAlive(x)
	t.Logf("%d MB for a million intents, %d bytes each", cost>>20, cost/n)
	require.Less(t, cost/n, uint64(100))
}

func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
