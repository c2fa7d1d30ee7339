package recipients

import (
	"encoding/binary"
	"math/bits"
)

// seen is the recipients that were met. It takes some 20 bytes for each; a map of Go would take up
// to 36, and twice that before they are collected.
type seen struct {
	shards [256]shard // by the first byte of a key
}

// shard is a hash table with linear probing. A key is a hash already, so it tells where it belongs.
type shard struct {
	slots []recipientKey // a key that is zero is none
	used  int
}

// add adds a key, and reports whether it was there already.
func (s *seen) add(key recipientKey) (known bool) {
	h := &s.shards[key[0]]
	if h.used*8 >= len(h.slots)*7 {
		h.grow()
	}
	at := h.find(key)
	if h.slots[at] == key {
		return true
	}
	h.slots[at] = key
	h.used++
	return false
}

// find returns the slot that has the key, or the free one that it belongs into.
func (h *shard) find(key recipientKey) int {
	n := uint64(len(h.slots))
	high, _ := bits.Mul64(binary.LittleEndian.Uint64(key[1:]), n)
	at := int(high)
	for h.slots[at] != key && h.slots[at] != (recipientKey{}) {
		if at++; at == len(h.slots) {
			at = 0
		}
	}
	return at
}

// grow makes room by a quarter: all shards grow at about the same time, and twice the room would be
// empty for the most part.
func (h *shard) grow() {
	old := h.slots
	h.slots = make([]recipientKey, len(old)+len(old)/4+8)
	for _, key := range old {
		if key != (recipientKey{}) {
			h.slots[h.find(key)] = key
		}
	}
}
