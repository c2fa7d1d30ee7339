package publisher

import (
	"time"

	"github.com/kefuhq/kefu/schema"
)

// remembered is how many receipts a feed keeps for those who ask later. Of older
// ones it knows where they are stored, see [index].
const remembered = 4096

// memory is what a feed knows of the receipts it has read.
type memory struct {
	keep  int
	got   map[string]heard // by id
	order []mention        // of got, oldest first
	older *index           // those that came since the feed was opened and are not in got
	past  *index           // those from before

	next   uint64    // sequence behind the last receipt
	last   landmark  // that one; none before the first
	latest time.Time // when the latest was stored, by whatever clock
}

// landmark is a receipt by which the stream is known again.
type landmark struct {
	seq  uint64
	time time.Time
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

// sight is how a receipt relates to those that were read before.
type sight uint8

const (
	seenNever   sight = iota
	seenBefore        // this one was read already
	seenRewound       // it is new, and its stream another than before: sequences begin anew
)

// see tells whether a receipt was read before.
func (m *memory) see(s storedReceipt) sight {
	rewound := s.seq < m.next
	if rewound && !s.time.After(m.latest) {
		return seenBefore
	}
	m.next, m.last = s.seq+1, landmark{s.seq, s.time}
	if s.time.After(m.latest) {
		m.latest = s.time
	}
	if !rewound {
		return seenNever
	}
	m.forget()
	return seenRewound
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
