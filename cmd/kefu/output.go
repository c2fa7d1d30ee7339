package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
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

// list prints rows: as a table of the columns, as one JSON array, or as one JSON object per line.
func list[T any](c *cli, rows []T, columns []column[T]) error {
	switch c.format {
	case formatNDJSON:
		for _, row := range rows {
			if err := c.line(row); err != nil {
				return err
			}
		}
		return nil
	case formatJSON:
		if rows == nil {
			rows = []T{} // an empty list, not null
		}
		return c.json(rows)
	}
	if len(rows) == 0 {
		return nil // a head without a table says nothing
	}
	cells := make([][]cell, len(rows))
	for i, row := range rows {
		cells[i] = make([]cell, len(columns))
		for j, col := range columns {
			cells[i][j].text = col.cell(row)
			if col.style != nil {
				cells[i][j].style = col.style(row)
			}
		}
	}
	heads := make([]head, len(columns))
	for j, col := range columns {
		heads[j] = head{title: col.title, right: col.right, wraps: col.wraps}
	}
	return c.table(heads, cells)
}

// stream prints rows as they come, for results that may be longer than memory: as one JSON array or as one JSON object per line.
type stream[T any] struct {
	cli *cli
	n   int
}

func (s *stream[T]) add(row T) error {
	s.n++
	if s.cli.format == formatNDJSON {
		return s.cli.line(row)
	}
	start := ",\n  "
	if s.n == 1 {
		start = "[\n  "
	}
	text, err := encoded(row, "  ", "  ")
	if err != nil {
		return err
	}
	_, err = s.cli.out.Write(append([]byte(start), bytes.TrimSuffix(text, []byte("\n"))...))
	return err
}

// end is called after the last row; what an error has cut short stays without an end.
func (s *stream[T]) end() error {
	switch {
	case s.cli.format == formatNDJSON:
		return nil
	case s.n == 0:
		return s.cli.printf("[]\n")
	}
	return s.cli.printf("\n]\n")
}

// column is one column of a table of T.
type column[T any] struct {
	title string
	cell  func(T) string // may hold anything: what could play with the terminal is taken out
	style func(T) style  // nil is plain
	right bool           // aligned to the right, for numbers
	wraps bool           // may be broken into lines when the terminal is too narrow
}

// field is one line of a record.
type field struct {
	name  string
	value string
	style style
}

// record prints one thing: as lines of name and value, or as the JSON of v. Fields without a value are left out.
func record(c *cli, v any, fields []field) error {
	if c.format != formatTable {
		return c.value(v)
	}
	var cells [][]cell
	for _, f := range fields {
		if f.value != "" {
			cells = append(cells, []cell{{text: f.name, style: faint}, {text: f.value, style: f.style}})
		}
	}
	return c.table([]head{{}, {wraps: true}}, cells)
}

// value prints v as JSON, on one line for NDJSON.
func (c *cli) value(v any) error {
	if c.format == formatNDJSON {
		return c.line(v)
	}
	return c.json(v)
}

// json prints v as JSON for people: indented.
func (c *cli) json(v any) error { return c.encode(v, "  ") }

// line prints v as JSON on one line.
func (c *cli) line(v any) error { return c.encode(v, "") }

func (c *cli) encode(v any, indent string) error {
	text, err := encoded(v, "", indent)
	if err != nil {
		return err
	}
	_, err = c.out.Write(text)
	return err
}

// encoded is v as JSON for a terminal, with a line feed at its end.
func encoded(v any, prefix, indent string) ([]byte, error) {
	var buffer bytes.Buffer
	encoder := json.NewEncoder(&buffer)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent(prefix, indent)
	err := encoder.Encode(v)
	return escapeInvisible(buffer.Bytes()), err
}

// escapeInvisible writes characters that could play with a terminal as \u escapes. In JSON they can only stand in strings, where
// the escape means the same.
func escapeInvisible(b []byte) []byte {
	if !bytes.ContainsFunc(b, playsTricks) {
		return b
	}
	out := make([]byte, 0, len(b)+16)
	for len(b) > 0 {
		r, size := utf8.DecodeRune(b)
		if playsTricks(r) {
			out = fmt.Appendf(out, `\u%04x`, r)
		} else {
			out = append(out, b[:size]...)
		}
		b = b[size:]
	}
	return out
}

// playsTricks tells whether a rune does something to a terminal or to the order of what is shown instead of being shown. Line feeds
// are not among them: JSON has them between its values only.
func playsTricks(r rune) bool {
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

// clean makes text from anywhere fit for a terminal: one line, without control characters and bidi marks.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n', r == '\t', r == '\r', r == '\u2028', r == '\u2029':
			return ' '
		case playsTricks(r):
			return -1
		}
		return r
	}, strings.ToValidUTF8(s, "\ufffd"))
}

// printf prints a result of free form.
func (c *cli) printf(format string, args ...any) error {
	_, err := fmt.Fprintf(c.out, format, args...)
	return err
}

// notef tells the user something besides the result, unless they want quiet.
func (c *cli) notef(format string, args ...any) {
	if !c.quiet {
		c.hintf(format, args...)
	}
}

// hintf tells the user something on the error stream.
func (c *cli) hintf(format string, args ...any) {
	_, _ = fmt.Fprintln(c.err, fmt.Sprintf(format, args...)) // nowhere to report that to
}

// warn tells the user about something that works but is probably not meant so.
func (c *cli) warn(text string) {
	if !c.quiet {
		c.say(yellow, "warning", text)
	}
}

// complain reports an error, which may have several lines and quote anything.
func (c *cli) complain(text string) { c.say(red, "kefu", text) }

func (c *cli) say(s style, who, text string) {
	for line := range strings.Lines(text) {
		_, _ = fmt.Fprintf(c.err, "%s: %s\n", paint(c.colours(c.tty.err), s, who), clean(strings.TrimRight(line, "\n")))
	}
}

// colours tells whether a stream that is a terminal or not gets colours.
func (c *cli) colours(isTerminal bool) bool {
	return isTerminal && !c.noColor && c.getenv("NO_COLOR") == "" && c.getenv("TERM") != "dumb"
}
