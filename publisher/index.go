package publisher

import (
	"cmp"
	"hash/maphash"
	"slices"
)

const (
	// segmentSize is how many receipts a segment of an index holds.
	segmentSize = 1 << 14

	// segmentsKept bounds an index: a million receipts, 16 MB.
	segmentsKept = 64
)

// place is where the receipt of an intent is stored. An id is kept as its hash: whoever looks a
// receipt up compares the id that it reads there.
type place struct{ hash, seq uint64 }

// index tells where the newest receipt of an id is stored. It remembers the newest receipts, some
// million, in 16 bytes each: sorted segments, the oldest first, and a map for what is not enough
// for a segment yet.
type index struct {
	seed   maphash.Seed
	sealed [][]place
	open   map[uint64]uint64 // hash → seq
}

func newIndex() *index {
	return &index{seed: maphash.MakeSeed(), open: make(map[uint64]uint64)}
}

// add notes a receipt that is newer than those noted before.
func (x *index) add(id string, seq uint64) {
	x.open[maphash.String(x.seed, id)] = seq
	if len(x.open) >= segmentSize {
		x.seal()
	}
}

func (x *index) seal() {
	if len(x.open) == 0 {
		return
	}
	segment := make([]place, 0, len(x.open))
	for hash, seq := range x.open {
		segment = append(segment, place{hash, seq})
	}
	slices.SortFunc(segment, func(a, b place) int { return cmp.Compare(a.hash, b.hash) })
	clear(x.open)
	x.sealed = append(x.sealed, segment)
	x.trim()
}

// prepend puts receipts in front that are older than all others. The indexes share a seed.
func (x *index) prepend(older *index) {
	older.seal()
	x.sealed = append(older.sealed, x.sealed...)
	x.trim()
}

func (x *index) trim() {
	if surplus := len(x.sealed) - segmentsKept; surplus > 0 {
		x.sealed = slices.Delete(x.sealed, 0, surplus)
	}
}

// find returns where the newest receipt of id is stored.
func (x *index) find(id string) (seq uint64, ok bool) {
	hash := maphash.String(x.seed, id)
	if seq, ok := x.open[hash]; ok {
		return seq, true
	}
	byHash := func(p place, hash uint64) int { return cmp.Compare(p.hash, hash) }
	for _, segment := range slices.Backward(x.sealed) {
		if i, ok := slices.BinarySearchFunc(segment, hash, byHash); ok {
			return segment[i].seq, true
		}
	}
	return 0, false
}
