package ledger

import (
	"math"
	"slices"
	"time"
)

// epochs is into how many maps the remembered time is cut. An expired map is
// dropped whole: deleting a million keys one by one would stop every send
// meanwhile, and a map does not give its memory back.
const epochs = 8

// index is the log as a map. It is not safe for concurrent use.
type index struct {
	keep  time.Duration // zero: for ever
	maps  []epoch       // newest first
	ids   map[string]uint16
	names []string
}

// epoch holds the entries that changed last between its begin and the begin of
// the next.
type epoch struct {
	begin   time.Time
	entries map[Key]Entry
}

func newIndex(keep time.Duration) *index {
	return &index{keep: keep, maps: []epoch{{entries: make(map[Key]Entry)}}, ids: make(map[string]uint16)}
}

// advance goes on to the time of the next mark. An entry lives for keep after
// its last change, and up to an eighth more: until its epoch's end is that old.
// Epochs begin at the same times in every worker, so they forget alike.
func (x *index) advance(now time.Time) {
	step := x.keep / epochs
	begin := now.Truncate(step) // for ever is one epoch
	newest := &x.maps[0]
	if newest.begin.IsZero() {
		newest.begin = begin
	}
	if step <= 0 || !begin.After(newest.begin) {
		return
	}
	x.maps = slices.Insert(x.maps, 0, epoch{begin: begin, entries: make(map[Key]Entry)})
	x.maps = slices.DeleteFunc(x.maps, func(e epoch) bool { return now.Sub(e.begin) >= step+x.keep })
}

func (x *index) get(k Key) (Entry, bool) {
	e, at := x.find(k)
	return e, at >= 0
}

func (x *index) find(k Key) (Entry, int) {
	for at := range x.maps {
		if e, ok := x.maps[at].entries[k]; ok {
			return e, at
		}
	}
	return Entry{}, -1
}

func (x *index) len() int {
	n := 0
	for _, m := range x.maps {
		n += len(m.entries)
	}
	return n
}

// worker is the number that stands for a worker's name.
func (x *index) worker(name string) uint16 {
	id, ok := x.ids[name]
	if !ok {
		// Past 65,535 processes in one process's life the last ones share a number.
		// They look alike to applyStart: a take-over among them is not noticed.
		id = uint16(min(len(x.names), math.MaxUint16))
		if int(id) == len(x.names) {
			x.names = append(x.names, name)
		}
		x.ids[name] = id
	}
	return id
}

// mark applies one mark of a worker and answers it.
func (x *index) mark(m Mark, w uint16) Standing {
	e, at := x.find(m.Key)
	known := at >= 0
	next, ruling := apply(e, known, m, w)
	if next != e || !known && m.Kind != Harmless {
		if at > 0 {
			delete(x.maps[at].entries, m.Key)
		}
		x.maps[0].entries[m.Key] = next
	}
	s := Standing{Overtaken: ruling == 0 && (next.Kind != m.Kind || next.Worker != w), Ruling: ruling, Generation: int(next.Generation), Kind: e.Kind, Suspects: int(next.Suspects)}
	switch {
	case ruling == Go:
		s.Attempts, s.Unknown = max(int(next.Attempt)-1, 0), int(next.Unknown)
	case known:
		s.Attempts, s.Unknown = int(e.Attempt), int(e.Unknown)
		s.Worker = x.names[e.Worker]
		s.Reason, _ = e.Kind.Dying()
	}
	return s
}
