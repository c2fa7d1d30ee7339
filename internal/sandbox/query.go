package sandbox

import "iter"

// Records yields the calls still remembered that the filter selects, oldest first. It may run while
// calls come in: it sees those too, and leaves out what is forgotten under it.
func (s *Sandbox) Records(f Filter) iter.Seq[Record] {
	return func(yield func(Record) bool) {
		for e := range s.journal.all(f) {
			if !yield(e.record(e.n)) {
				return
			}
		}
	}
}

// Newest returns the last n calls that the filter selects, oldest first.
func (s *Sandbox) Newest(f Filter, n int) []Record {
	if n <= 0 {
		return nil
	}
	found := s.journal.newest(f, n)
	records := make([]Record, len(found))
	for i := range found {
		records[i] = found[i].record(found[i].n)
	}
	return records
}

// Count returns how many of the calls still remembered the filter selects. It looks at each of
// them: to count for many recipients or messages take one [Sandbox.CountBy].
func (s *Sandbox) Count(f Filter) int {
	n := 0
	for range s.journal.all(f) {
		n++
	}
	return n
}

// CountBy counts the calls that the filter selects by a field, in one pass: by [ByOpenID] who got
// how many, by [ByHash] which message came more than once.
func (s *Sandbox) CountBy(by Field, f Filter) map[string]int {
	counts := map[string]int{}
	for e := range s.journal.all(f) {
		if v, ok := by.value(&e.entry); ok {
			counts[v]++
		}
	}
	return counts
}
