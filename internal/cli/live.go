package cli

import (
	"io"
	"slices"
	"strings"

	"github.com/rivo/uniseg"
)

// Live prints rows as they come, for results without an end: in a table with one line for each row,
// or as Rows does. On a terminal every value is cut that is wider than its column.
type Live[T any] struct {
	rows    Rows[T]
	columns []Column[T]
	heads   []head
	widths  []int
	begun   bool
}

// NewLive returns a Live that prints to s. Each column has a Width.
func NewLive[T any](s *Streams, columns []Column[T]) *Live[T] {
	heads, usual := headsOf(columns), make([]cell, len(columns))
	for j, col := range columns {
		usual[j].text = strings.Repeat("x", col.Width)
	}
	kept := fitting(heads, [][]cell{usual}, s.Terminal.Width)
	l := &Live[T]{
		rows: Rows[T]{Streams: s}, columns: pick(columns, kept), heads: pick(heads, kept),
	}
	l.widths = layout(l.heads, [][]cell{pick(usual, kept)}, s.Terminal.Width)
	return l
}

// Add prints a row.
func (l *Live[T]) Add(row T) error {
	if l.rows.Streams.AsJSON() {
		return l.rows.Add(row)
	}
	if err := l.begin(); err != nil {
		return err
	}
	cells := make([]cell, len(l.columns))
	for j, col := range l.columns {
		cells[j].text = Clean(col.Cell(row))
		if col.Style != nil {
			cells[j].style = col.Style(row)
		}
	}
	return l.line(cells)
}

// Skipped says between two rows how many are not shown; as JSON it says so on the error stream.
func (l *Live[T]) Skipped(n int) error {
	s, text := l.rows.Streams, "… "+Grouped(int64(n))+" not shown"
	if s.AsJSON() {
		s.Hintf("%s", text)
		return nil
	}
	return s.Printf("%s\n", paint(s.colours(s.Terminal.Out), Faint, text))
}

// End is called after the last row.
func (l *Live[T]) End() error {
	if l.rows.Streams.AsJSON() {
		return l.rows.End()
	}
	return nil
}

// begin prints the heads, once.
func (l *Live[T]) begin() error {
	if l.begun {
		return nil
	}
	l.begun = true
	titles := make([]cell, len(l.heads))
	for j, h := range l.heads {
		titles[j] = cell{h.title, Bold}
	}
	return l.line(titles)
}

func (l *Live[T]) line(cells []cell) error {
	s := l.rows.Streams
	texts, widths := make([][]string, len(cells)), slices.Clone(l.widths)
	for j, c := range cells {
		if s.Terminal.Width > 0 {
			c.text = Cut(c.text, widths[j])
		}
		texts[j] = []string{c.text}
		widths[j] = max(widths[j], uniseg.StringWidth(c.text)) // in a pipe nothing is cut
	}
	var out strings.Builder
	writeLine(&out, l.heads, cells, texts, widths, 0, s.colours(s.Terminal.Out))
	_, err := io.WriteString(s.Out, out.String())
	return err
}
