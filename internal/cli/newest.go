package cli

// Newest keeps the last rows of many.
type Newest[T any] struct {
	Most  int // how many are kept; 0 for all
	Count int // how many came

	ring []T
}

// Add takes the next row.
func (n *Newest[T]) Add(row T) {
	if n.Most > 0 && len(n.ring) == n.Most {
		n.ring[n.Count%n.Most] = row
	} else {
		n.ring = append(n.ring, row)
	}
	n.Count++
}

// Kept returns how many rows were kept.
func (n *Newest[T]) Kept() int { return len(n.ring) }

// Rows returns the rows that were kept, in the order in which they came.
func (n *Newest[T]) Rows() []T {
	if n.Most == 0 || n.Count <= n.Most {
		return n.ring
	}
	first := n.Count % n.Most
	return append(append([]T(nil), n.ring[first:]...), n.ring[:first]...)
}
