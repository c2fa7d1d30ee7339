package campaign

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// chunkOf is a chunk of rows, as it is stored.
func chunkOf(t testing.TB, rows ...chunkRow) []byte {
	t.Helper()
	w, err := newChunkWriter()
	require.NoError(t, err)
	for _, row := range rows {
		w.add(row)
	}
	return w.end()
}

func TestAChunkGivesBackItsRows(t *testing.T) {
	t.Parallel()
	for name, rows := range map[string][]chunkRow{
		"none":           {},
		"one":            {{2, "o1", []byte(`{"touser":"o1"}`)}},
		"without a line": {{0, "o1", []byte("x")}},
		"with gaps between their lines": {{2, "o1", []byte("a")}, {900, "o2", []byte("b")},
			{1_000_000, "o3", []byte("c")}},
		"taken out": {{2, "", []byte{}}, {3, "o2", []byte("您好")}, {4, "", []byte{}}},
		"large":     {{2, "o1", bytes.Repeat([]byte("x"), 64<<10)}, {3, "o2", []byte("y")}},
	} {
		got, err := readChunk(chunkOf(t, rows...))
		require.NoError(t, err, name)
		require.Equal(t, rows, got, name)
	}
}

func TestAChunkIsFullByRowsOrByBytes(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		packet int
		rows   int
	}{
		"small packets": {10, chunkRows},
		"large packets": {64 << 10, chunkBytes / (64 << 10)},
	} {
		w, err := newChunkWriter()
		require.NoError(t, err)
		n := 1
		for ; !w.add(chunkRow{n, "o1", make([]byte, row.packet)}); n++ {
		}
		require.Equal(t, row.rows, n, name)
		first := w.end()
		w.add(chunkRow{7, "o2", []byte("x")})
		next, err := readChunk(w.end())
		require.NoError(t, err, name)
		require.Equal(t, []chunkRow{{7, "o2", []byte("x")}}, next, "%s: the next one begins anew", name)
		rows, err := readChunk(first)
		require.NoError(t, err, name)
		require.Len(t, rows, n, name)
	}
}

func TestWhatIsNoChunkIsRefused(t *testing.T) {
	t.Parallel()
	good := chunkOf(t, chunkRow{2, "o1", []byte("a")}, chunkRow{3, "o2", []byte("b")})
	w, err := newChunkWriter()
	require.NoError(t, err)
	packed := func(count uint64, raw string) []byte {
		return w.encoder.EncodeAll([]byte(raw), binary.AppendUvarint([]byte{chunkVersion}, count))
	}
	for name, stored := range map[string][]byte{
		"nothing":                      nil,
		"a version, and nothing":       {chunkVersion},
		"of another version":           append([]byte{2}, good[1:]...),
		"cut off":                      good[:len(good)-1],
		"without its count":            {chunkVersion, 0x80},
		"with too many rows":           packed(chunkRows+1, ""),
		"that is not compressed":       []byte("\x01\x02no compression"),
		"with a row more than it says": packed(1, "\x02\x02o1\x01a\x01\x02o2\x01b"),
		"with a row less than it says": packed(2, "\x02\x02o1\x01a"),
		"with half a row":              packed(1, "\x02\x02o1"),
		"with a length beyond its end": packed(1, "\x02\x7fo1\x01a"),
		"with an absurd line":          packed(1, "\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\x02o1\x01a"),
		"that unpacks to too much":     packed(1, strings.Repeat("x", maxChunk+1)),
	} {
		_, err := readChunk(stored)
		require.ErrorIs(t, err, errNoChunk, name)
	}
}

func FuzzReadChunk(f *testing.F) {
	f.Add(chunkOf(f, chunkRow{2, "o1", []byte("a")}, chunkRow{3, "o2", []byte("b")}))
	f.Add(chunkOf(f))
	f.Add([]byte{chunkVersion, 0})
	f.Fuzz(func(t *testing.T, stored []byte) {
		rows, err := readChunk(stored)
		if err != nil {
			require.ErrorIs(t, err, errNoChunk)
			return
		}
		again, err := readChunk(chunkOf(t, rows...))
		require.NoError(t, err)
		require.Equal(t, len(rows), len(again))
		for i := range rows {
			require.Equal(t, rows[i].OpenID, again[i].OpenID)
			require.True(t, bytes.Equal(rows[i].Packet, again[i].Packet))
		}
	})
}

func TestACursorIsANumberAndTheOtherWayRound(t *testing.T) {
	t.Parallel()
	require.Equal(t, cursor{1, 0}, cursorAt(0), "the first row")
	r := rand.New(rand.NewPCG(1, 2))
	for range 1000 {
		a := cursor{1 + r.IntN(1<<20), r.IntN(chunkRows + 1)}
		b := cursor{1 + r.IntN(1<<20), r.IntN(chunkRows + 1)}
		require.Equal(t, a, cursorAt(a.number()))
		behind := a.chunk < b.chunk || a.chunk == b.chunk && a.row < b.row
		require.Equal(t, behind, a.before(b), "%v %v", a, b)
	}
}
