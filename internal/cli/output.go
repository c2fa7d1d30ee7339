package cli

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/kefuhq/kefu/internal/plainjson"
)

// format is how results are printed.
type format string

const (
	formatTable  format = "table"
	formatJSON   format = "json"
	formatNDJSON format = "ndjson" // one JSON object per line
)

// Set is the flag being given.
func (f *format) Set(s string) error {
	switch format(s) {
	case formatTable, formatJSON, formatNDJSON:
		*f = format(s)
		return nil
	}
	return errors.New("not one of table, json, ndjson")
}

func (f *format) String() string { return string(*f) }

// Type is what the help calls the value.
func (f *format) Type() string { return "format" }

// List prints rows: as a table of the columns, as one JSON array, or as one JSON object per line.
func List[T any](s *Streams, rows []T, columns []Column[T]) error {
	switch s.format {
	case formatNDJSON:
		for _, row := range rows {
			if err := s.line(row); err != nil {
				return err
			}
		}
		return nil
	case formatJSON:
		if rows == nil {
			rows = []T{} // an empty list, not null
		}
		return s.json(rows)
	}
	if len(rows) == 0 {
		return nil // a head without a table says nothing
	}
	cells := make([][]cell, len(rows))
	for i, row := range rows {
		cells[i] = make([]cell, len(columns))
		for j, col := range columns {
			cells[i][j].text = col.Cell(row)
			if col.Style != nil {
				cells[i][j].style = col.Style(row)
			}
		}
	}
	return s.table(headsOf(columns), cells)
}

func headsOf[T any](columns []Column[T]) []head {
	heads := make([]head, len(columns))
	for j, col := range columns {
		heads[j] = head{title: col.Title, right: col.Right, wraps: col.Wraps, cuts: col.Cuts,
			spare: col.Spare}
	}
	return heads
}

// Rows prints rows as they come, for results that may be longer than memory: as one JSON array or
// as one JSON object per line.
type Rows[T any] struct {
	Streams *Streams

	n int
}

// Add prints a row.
func (r *Rows[T]) Add(row T) error {
	r.n++
	if r.Streams.format == formatNDJSON {
		return r.Streams.line(row)
	}
	start := ",\n  "
	if r.n == 1 {
		start = "[\n  "
	}
	text, err := encoded(row, "  ", "  ")
	if err != nil {
		return err
	}
	_, err = r.Streams.Out.Write(append([]byte(start), bytes.TrimSuffix(text, []byte("\n"))...))
	return err
}

// End is called after the last row; what an error has cut short stays without an end.
func (r *Rows[T]) End() error {
	switch {
	case r.Streams.format == formatNDJSON:
		return nil
	case r.n == 0:
		return r.Streams.Printf("[]\n")
	}
	return r.Streams.Printf("\n]\n")
}

// Column is one column of a table of T.
type Column[T any] struct {
	Title string
	Cell  func(T) string // may hold anything: what could play with the terminal is taken out
	Style func(T) Style  // nil is plain
	Right bool           // aligned to the right, for numbers
	Wraps bool           // may be broken into lines when the terminal is too narrow

	// Cuts says that what does not fit ends with … . A table with such a column has one line for
	// each row, whatever the terminal's width.
	Cuts bool

	// Spare columns are left out where the terminal is too narrow for all, the highest number first;
	// 0 is for what is always shown.
	Spare int

	// Width is how wide the values usually are, for Live, which cannot look at all of them first.
	Width int
}

// Field is one line of a record.
type Field struct {
	Name  string
	Value string
	Style Style
}

// Record prints one thing: as lines of name and value, or as the JSON of v. Fields without a value
// are left out.
func Record(s *Streams, v any, fields []Field) error {
	if s.AsJSON() {
		return s.Value(v)
	}
	var cells [][]cell
	for _, f := range fields {
		if f.Value != "" {
			cells = append(cells,
				[]cell{{text: f.Name, style: Faint}, {text: f.Value, style: f.Style}})
		}
	}
	return s.table([]head{{}, {wraps: true}}, cells)
}

// Each prints several things that each take lines of their own: as JSON a list of them, else what
// print prints of each, with an empty line between two.
func Each[T any](s *Streams, things []T, print func(T) error) error {
	if s.AsJSON() {
		return List(s, things, nil)
	}
	for i, thing := range things {
		if i > 0 {
			if err := s.Printf("\n"); err != nil {
				return err
			}
		}
		if err := print(thing); err != nil {
			return err
		}
	}
	return nil
}

// AsJSON tells whether results are printed as JSON, which includes NDJSON.
func (s *Streams) AsJSON() bool { return s.format != formatTable }

// Answer prints one thing: as the sentence for people, or as the JSON of v.
func (s *Streams) Answer(v any, format string, args ...any) error {
	if s.AsJSON() {
		return s.Value(v)
	}
	return s.Printf(format, args...)
}

// Value prints v as JSON, on one line for NDJSON.
func (s *Streams) Value(v any) error {
	if s.format == formatNDJSON {
		return s.line(v)
	}
	return s.json(v)
}

// Line prints v as JSON on one line, whatever the format.
func (s *Streams) Line(v any) error { return s.line(v) }

// json prints v as JSON for people: indented.
func (s *Streams) json(v any) error { return s.encode(v, "  ") }

// line prints v as JSON on one line.
func (s *Streams) line(v any) error { return s.encode(v, "") }

func (s *Streams) encode(v any, indent string) error {
	text, err := encoded(v, "", indent)
	if err != nil {
		return err
	}
	_, err = s.Out.Write(text)
	return err
}

// encoded returns v as JSON for a terminal, with a line feed at its end.
func encoded(v any, prefix, indent string) ([]byte, error) {
	var buffer bytes.Buffer
	encoder := plainjson.NewEncoder(&buffer)
	encoder.SetIndent(prefix, indent)
	err := encoder.Encode(v)
	return escapeInvisible(buffer.Bytes()), err
}

// escapeInvisible writes characters that could play with a terminal as \u escapes. In JSON they can
// only stand in strings, where the escape means the same.
func escapeInvisible(b []byte) []byte {
	if !bytes.ContainsFunc(b, isHarmful) {
		return b
	}
	out := make([]byte, 0, len(b)+16)
	for len(b) > 0 {
		r, size := utf8.DecodeRune(b)
		if isHarmful(r) {
			out = fmt.Appendf(out, `\u%04x`, r)
		} else {
			out = append(out, b[:size]...)
		}
		b = b[size:]
	}
	return out
}

// isHarmful tells whether a rune does something to a terminal or to the order of what is shown
// instead of being shown. Line feeds are not among them: JSON has them between its values only.
func isHarmful(r rune) bool {
	switch {
	case r == '\n', r == '\t':
		return false
	case unicode.IsControl(r):
		return true
	case r == '\u061c', r == '\u200e', r == '\u200f', r == '\ufeff',
		r >= '\u202a' && r <= '\u202e', r >= '\u2066' && r <= '\u2069',
		r == '\u2028', r == '\u2029':
		return true
	}
	return false
}

// Clean makes text from anywhere fit for a terminal: one line, without control characters and bidi
// marks.
func Clean(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n', r == '\t', r == '\r', r == '\u2028', r == '\u2029':
			return ' '
		case isHarmful(r):
			return -1
		}
		return r
	}, strings.ToValidUTF8(s, "\ufffd"))
}
