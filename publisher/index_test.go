package publisher

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestAnIndexFindsTheNewestAndForgetsTheOldest(t *testing.T) {
	t.Parallel()
	x := newIndex()
	const kept = segmentSize * segmentsKept
	for seq := uint64(1); seq <= kept+2*segmentSize+5; seq++ {
		x.add(fmt.Sprint(seq), seq)
	}
	newest := uint64(kept + 2*segmentSize + 5)
	for seq, known := range map[uint64]bool{
		newest: true, newest - 5: true, 2*segmentSize + 1: true, 2 * segmentSize: false, 1: false,
	} {
		got, ok := x.find(fmt.Sprint(seq))
		require.Equal(t, known, ok, "%d", seq)
		if ok {
			require.Equal(t, seq, got)
		}
	}
	require.Len(t, x.sealed, segmentsKept)
	x.add("500000", newest+1)
	got, ok := x.find("500000")
	require.True(t, ok)
	require.Equal(t, newest+1, got)
}

func TestAnIndexTakesOlderReceiptsInFront(t *testing.T) {
	t.Parallel()
	x, older := newIndex(), newIndex()
	older.seed = x.seed
	x.add("a", 20)
	older.add("a", 10)
	older.add("b", 11)
	x.prepend(older)
	for id, want := range map[string]uint64{"a": 20, "b": 11, "c": 0} {
		got, _ := x.find(id)
		require.Equal(t, want, got, id)
	}
}

func TestAReceiptIsReadOnceAlsoInAStreamThatWasMadeAnew(t *testing.T) {
	t.Parallel()
	at := func(second int) time.Time { return time.Unix(int64(second), 0) }
	m := newMemory()
	m.next, m.latest = 10, at(100)
	for i, row := range []struct {
		seq  uint64
		time int
		want sight
	}{
		{9, 100, seenBefore},
		{10, 100, seenNever},
		{11, 103, seenNever},
		{10, 100, seenBefore},
		{11, 103, seenBefore},
		{12, 101, seenNever}, // another node's clock
		{12, 101, seenBefore},
		{1, 104, seenRewound},
		{2, 104, seenNever},
		{2, 104, seenBefore},
	} {
		require.Equal(t, row.want, m.see(storedReceipt{seq: row.seq, time: at(row.time)}), "row %d",
			i)
	}
	require.EqualValues(t, 3, m.next)
}
