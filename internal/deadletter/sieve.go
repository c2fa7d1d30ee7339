package deadletter

import (
	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/schema"
)

// sieve lets pass the stored letters that a filter chooses. It is for one reader: it remembers
// what letters died of.
type sieve struct {
	filter Filter
	whole  bool // letters are read in full; else only what skim reads is sure to be there

	// quick says that whoever takes the letters waits for nothing, least of all for the broker.
	quick bool

	may        func(data []byte) bool
	conditions []condition
}

// newSieve returns one for whole letters.
func newSieve(f Filter) sieve {
	return sieve{filter: f, whole: true, may: f.quickMatch(), conditions: f.conditions(new(folded))}
}

// skimming returns one for what skim reads, and for who is quick.
func skimming(f Filter) sieve {
	s := newSieve(f)
	s.whole, s.quick = false, true
	return s
}

// item reads what is stored; false when the filter does not choose it.
func (s *sieve) item(stored broker.Stored) (Item, bool) {
	if !s.may(stored.Data) {
		return Item{}, false
	}
	// Where all are chosen in full, looking first would be in vain.
	if !s.whole || len(s.conditions) > 0 {
		var l schema.Letter
		skimmed := skim(string(stored.Data), &l)
		switch {
		case skimmed && !allHold(s.conditions, &l):
			return Item{}, false
		case skimmed && !s.whole:
			return Item{Letter: l, Seq: stored.Seq, Stored: stored.Time, raw: stored.Data}, true
		}
	}
	item := itemOf(stored)
	return item, allHold(s.conditions, &item.Letter)
}
