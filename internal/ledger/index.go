package ledger

import "time"

// epochs is into how many maps the remembered time is cut. An expired map is
// dropped whole: deleting a million keys one by one would stop every send
// meanwhile, and a map does not give its memory back.
const epochs = 8

// index is the log as a map. It is not safe for concurrent use.
type index struct {
	keep   time.Duration
	maps   []map[Key]Entry // newest first
	newest time.Time       // begin of maps[0]
	ids    map[string]uint32
	names  []string
}

func newIndex(keep time.Duration) *index {
	return &index{keep: keep, maps: []map[Key]Entry{make(map[Key]Entry)}, ids: make(map[string]uint32)}
}

// advance opens a new epoch when it is time. An entry lives for keep and up to
// an eighth more; entries that change move to the newest epoch.
func (x *index) advance(now time.Time) {
	if x.newest.IsZero() {
		x.newest = now
		return
	}
	step := x.keep / epochs
	if now.Sub(x.newest) < step {
		return
	}
	x.newest = now
	x.maps = append([]map[Key]Entry{make(map[Key]Entry)}, x.maps...)
	if len(x.maps) > epochs+1 {
		x.maps = x.maps[:epochs+1]
	}
}

func (x *index) get(k Key) (Entry, bool) {
	for _, m := range x.maps {
		if e, ok := m[k]; ok {
			return e, true
		}
	}
	return Entry{}, false
}

func (x *index) put(k Key, e Entry) { x.maps[0][k] = e }

func (x *index) len() int {
	n := 0
	for _, m := range x.maps {
		n += len(m)
	}
	return n
}

func (x *index) worker(name string) uint32 {
	id, ok := x.ids[name]
	if !ok {
		id = uint32(len(x.names))
		x.names = append(x.names, name)
		x.ids[name] = id
	}
	return id
}

// mark applies one mark of a worker and answers it.
func (x *index) mark(m Mark, w uint32) Standing {
	e, known := x.get(m.Key)
	next, ruling := apply(e, known, m, w)
	if !known || next != e {
		x.put(m.Key, next)
	}
	s := Standing{Ruling: ruling, Generation: int(next.Generation), Kind: e.Kind, Suspects: int(next.Suspects)}
	switch {
	case ruling == Go:
		s.Attempts, s.Unknown = int(m.Attempt)-1, int(m.Unknown)
	case known:
		s.Attempts, s.Unknown = int(e.Attempt), int(e.Unknown)
		s.Worker = x.names[e.Worker]
	}
	return s
}
