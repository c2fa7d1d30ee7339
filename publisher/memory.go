package publisher

import "github.com/kefuhq/kefu/schema"

// remembered is how many receipts a feed keeps for those who ask later. Of older ones it knows
// where they are stored, see [index].
const remembered = 4096

// memory is what a feed knows of the receipts it has read.
type memory struct {
	cursor

	keep  int
	got   map[string]heard // by id
	order []mention        // of got, oldest first
	older *index           // those that came since the feed was opened and are not in got
	past  *index           // those from before
}

// heard is a receipt that is known, or only where it is stored.
type heard struct {
	receipt *schema.Receipt
	seq     uint64
}

type mention struct {
	id  string
	seq uint64
}

func newMemory() memory {
	m := memory{keep: remembered}
	m.forget()
	return m
}

func (m *memory) forget() {
	m.got, m.order = make(map[string]heard), nil
	m.older, m.past = newIndex(), newIndex()
	m.past.seed = m.older.seed
}

// see tells whether a receipt was read before. Of another stream than before nothing is known.
func (m *memory) see(s storedReceipt) sight {
	seen := m.cursor.see(s)
	if seen == seenRewound {
		m.forget()
	}
	return seen
}

// remember keeps the newest receipt of an id.
func (m *memory) remember(r schema.Receipt, seq uint64) {
	m.got[r.ID] = heard{&r, seq}
	m.order = append(m.order, mention{r.ID, seq})
	for len(m.order) > m.keep {
		oldest := m.order[0]
		m.order = m.order[1:]
		if m.got[oldest.id].seq == oldest.seq {
			delete(m.got, oldest.id)
			m.older.add(oldest.id, oldest.seq)
		}
	}
}

// recall returns what is known of the newest receipt of an id.
func (m *memory) recall(id string) (heard, bool) {
	if h, ok := m.got[id]; ok {
		return h, true
	}
	for _, x := range [...]*index{m.older, m.past} {
		if seq, ok := x.find(id); ok {
			return heard{seq: seq}, true
		}
	}
	return heard{}, false
}
