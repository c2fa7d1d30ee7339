// Package notes gathers sentences about several items, such as why some dead letters were left in
// their box.
package notes

import "slices"

// Note is a sentence about several items.
type Note struct {
	Text  string   `json:"text"`
	Count int      `json:"count"`
	IDs   []string `json:"ids"` // of a few of them
}

// List is sentences in the order in which they came. It is bounded: sentences may quote what a
// producer chose.
type List []Note

const (
	mostNotes = 50
	mostIDs   = 5 // of a note
)

// others stands for the sentences for which there is no room.
const others = "for other reasons"

// Add adds a sentence about one item; id may be empty.
func (l *List) Add(text, id string) {
	n := Note{Text: text, Count: 1}
	if id != "" {
		n.IDs = []string{id}
	}
	l.add(n)
}

// With returns the list with more added to it. It changes neither.
func (l List) With(more List) List {
	var out List
	for _, n := range l {
		n.IDs = slices.Clone(n.IDs)
		out = append(out, n)
	}
	for _, n := range more {
		out.add(n)
	}
	return out
}

func (l *List) add(n Note) {
	at := l.index(n.Text)
	if at < 0 && len(*l) >= mostNotes {
		n.Text = others
		at = l.index(others)
	}
	if at < 0 {
		n.IDs = slices.Clone(n.IDs[:min(mostIDs, len(n.IDs))])
		*l = append(*l, n)
		return
	}
	into := &(*l)[at]
	into.Count += n.Count
	room := max(mostIDs-len(into.IDs), 0)
	into.IDs = append(into.IDs, n.IDs[:min(room, len(n.IDs))]...)
}

func (l List) index(text string) int {
	return slices.IndexFunc(l, func(n Note) bool { return n.Text == text })
}

// Sorted returns the list with the most frequent sentence first.
func (l List) Sorted() List {
	out := l.With(nil)
	slices.SortStableFunc(out, func(a, b Note) int { return b.Count - a.Count })
	return out
}
