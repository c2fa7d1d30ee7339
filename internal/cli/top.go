package cli

import (
	"container/heap"
	"slices"
)

// Top keeps those of many rows that come first in an order.
type Top[T any] struct {
	Most    int              // how many are kept; 0 for all
	Compare func(a, b T) int // negative when a comes first

	Count int // how many came

	heap rowHeap[T]
}

// Add takes a row.
func (t *Top[T]) Add(row T) {
	t.Count++
	switch {
	case t.Most == 0:
		t.heap.rows = append(t.heap.rows, row)
		return
	case len(t.heap.rows) < t.Most:
		t.heap.compare = t.Compare
		heap.Push(&t.heap, row)
	case t.Compare(row, t.heap.rows[0]) < 0:
		t.heap.rows[0] = row
		heap.Fix(&t.heap, 0)
	}
}

// Rows returns the rows that were kept, in their order. No row may be added after that.
func (t *Top[T]) Rows() []T {
	slices.SortStableFunc(t.heap.rows, t.Compare)
	return t.heap.rows
}

// rowHeap has the row that comes last at its top.
type rowHeap[T any] struct {
	rows    []T
	compare func(a, b T) int
}

func (h *rowHeap[T]) Len() int           { return len(h.rows) }
func (h *rowHeap[T]) Less(i, j int) bool { return h.compare(h.rows[i], h.rows[j]) > 0 }
func (h *rowHeap[T]) Swap(i, j int)      { h.rows[i], h.rows[j] = h.rows[j], h.rows[i] }
func (h *rowHeap[T]) Push(row any)       { h.rows = append(h.rows, row.(T)) }
func (h *rowHeap[T]) Pop() any           { panic("rows are replaced, not taken out") }
