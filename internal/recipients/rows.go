package recipients

import (
	"bufio"
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/kefuhq/kefu/internal/textfile"
	"github.com/kefuhq/kefu/schema"
)

// The columns that may hold the recipient.
const (
	columnOpenID = "openid"
	columnToUser = "touser"
)

// reader gives a file's rows as packets.
type reader interface {
	// next appends the packet of the next row to dst. err is io.EOF after the last row, a
	// *schema.FieldError when this row is bad, and anything else when the rest of the file cannot
	// be read.
	next(dst []byte) (line int, packet []byte, err error)

	// end says after the last row what is wrong with the file as a whole.
	end() error
}

func newReader(in io.Reader, format Format, t *Template) (reader, error) {
	limit := &rowLimit{in: textfile.NewReader(in), left: maxRow}
	buffered := bufio.NewReaderSize(limit, 64<<10)
	switch {
	case format == NDJSON:
		return &lineReader{in: buffered, limit: limit, template: t, met: make(map[string]bool)}, nil
	case format != CSV:
		return nil, fmt.Errorf("format %q is neither csv nor ndjson", format)
	case t == nil:
		return nil, errors.New("a CSV file needs a template")
	}
	return newTableReader(buffered, limit, t)
}

// tableReader reads CSV.
type tableReader struct {
	in       *csv.Reader
	limit    *rowLimit
	template *Template
	width    int
	column   map[string]int
	openID   int // the recipient's column; -1 when the template has it from another
	line     int // where the last good row began
}

func newTableReader(in io.Reader, limit *rowLimit, t *Template) (*tableReader, error) {
	r := &tableReader{in: csv.NewReader(in), limit: limit, template: t,
		column: make(map[string]int), openID: -1, line: 1}
	r.in.FieldsPerRecord = -1 // a row that is too short is a bad row, not the end
	r.in.ReuseRecord = true
	header, err := r.in.Read()
	switch {
	case errors.Is(err, io.EOF):
		return nil, errors.New("the file is empty")
	case err != nil:
		return nil, fmt.Errorf("header: %w", err)
	}
	r.width = len(header)
	for i, name := range header {
		if !utf8.ValidString(name) {
			return nil, errors.New("the header is not UTF-8: save the file as \"CSV UTF-8\"")
		}
		if name = strings.TrimSpace(name); name == "" {
			continue
		}
		if _, twice := r.column[name]; twice {
			return nil, fmt.Errorf("the header has the column %q twice", name)
		}
		r.column[strings.Clone(name)] = i
	}
	for _, name := range t.columns {
		if _, ok := r.column[name]; !ok {
			return nil, fmt.Errorf("the template has {{%s}}, and the file has no such column", name)
		}
	}
	if t.toUser {
		return r, nil
	}
	return r, r.findRecipient()
}

func (r *tableReader) findRecipient() error {
	openID, one := r.column[columnOpenID]
	toUser, other := r.column[columnToUser]
	switch {
	case one && other:
		return errors.New(
			"the file has both columns, openid and touser: which one is the recipient?")
	case one:
		r.openID = openID
	case other:
		r.openID = toUser
	case r.width == 1:
		return errors.New("the header has no column openid or touser " +
			"(are the columns separated by commas?)")
	default:
		return errors.New("the header has no column openid or touser")
	}
	return nil
}

func (r *tableReader) next(dst []byte) (int, []byte, error) {
	r.limit.row()
	cells, err := r.in.Read()
	var broken *csv.ParseError
	switch {
	case errors.As(err, &broken) && errors.Is(broken.Err, csv.ErrBareQuote):
		return broken.StartLine, dst,
			&schema.FieldError{Field: "row", Rule: "not CSV: " + broken.Err.Error()}
	case errors.As(err, &broken):
		// A quote at a wrong place may have swallowed any number of rows: nobody must be left out
		// by that.
		return broken.StartLine, dst, fmt.Errorf("not CSV: %w", broken.Err)
	case err != nil:
		return r.line + 1, dst, err
	}
	line, _ := r.in.FieldPos(0)
	r.line = line
	if len(cells) != r.width {
		return line, dst, &schema.FieldError{Field: "row",
			Rule: fmt.Sprintf("has %d columns, the header %d", len(cells), r.width)}
	}
	openID := ""
	if r.openID >= 0 {
		openID = cells[r.openID]
	}
	dst, err = r.template.Render(dst, openID,
		func(name string) (string, string) { return cells[r.column[name]], "" })
	return line, dst, err
}

func (r *tableReader) end() error { return nil }

// lineReader reads NDJSON: columns for a template, or packets without one.
type lineReader struct {
	in       *bufio.Reader
	limit    *rowLimit
	template *Template
	line     int
	rows     int
	met      map[string]bool // placeholders that some row has
}

func (r *lineReader) next(dst []byte) (int, []byte, error) {
	for {
		r.limit.row()
		line, err := r.readLine()
		if err != nil {
			return r.line + 1, dst, err
		}
		r.line++
		if line = bytes.TrimSpace(line); len(line) == 0 {
			continue
		}
		r.rows++
		if r.template == nil {
			return r.line, append(dst, line...), nil
		}
		dst, err = r.render(dst, line)
		return r.line, dst, err
	}
}

// readLine reads a line; the last one may lack its end.
func (r *lineReader) readLine() ([]byte, error) {
	line, err := r.in.ReadBytes('\n')
	if errors.Is(err, io.EOF) && len(line) > 0 {
		err = nil
	}
	return line, err
}

func (r *lineReader) render(dst, line []byte) ([]byte, error) {
	// The strict reading: encoding/json would take the last of two equal keys and mangle lone
	// surrogates.
	member, err := schema.NewMember("row", line)
	if err != nil {
		err = ownName(err)
		var broken *schema.FieldError
		if errors.As(err, &broken) {
			return dst, broken
		}
		return dst, &schema.FieldError{Field: "row", Rule: err.Error()}
	}
	var columns map[string]json.RawMessage
	if err := json.Unmarshal(member.Value, &columns); err != nil || columns == nil {
		return dst, &schema.FieldError{Field: "row", Rule: "must be a JSON object"}
	}
	for _, name := range r.template.columns {
		if _, ok := columns[name]; ok {
			r.met[name] = true
		}
	}
	openID := ""
	if !r.template.toUser {
		var rule string
		if openID, rule = recipientOf(columns); rule != "" {
			return dst, &schema.FieldError{Field: columnOpenID, Rule: rule}
		}
	}
	return r.template.Render(dst, openID,
		func(name string) (string, string) { return columnText(columns, name) })
}

func recipientOf(columns map[string]json.RawMessage) (openID, rule string) {
	_, one := columns[columnOpenID]
	_, other := columns[columnToUser]
	switch {
	case one && other:
		return "", "given as openid and as touser"
	case other:
		return columnText(columns, columnToUser)
	default:
		return columnText(columns, columnOpenID)
	}
}

// columnText is a value as text: a number digit for digit as it was written.
func columnText(columns map[string]json.RawMessage, name string) (text, rule string) {
	raw, ok := columns[name]
	if !ok {
		return "", "missing"
	}
	switch raw[0] {
	case '{', '[', 'n':
		return "", "must be a string, a number, true or false"
	case '"':
		if err := json.Unmarshal(raw, &text); err != nil {
			return "", "must be a string"
		}
		return text, ""
	default:
		return string(raw), ""
	}
}

// end finds the placeholder that no row has: a misspelt one, better said once than for each row.
func (r *lineReader) end() error {
	if r.template == nil || r.rows == 0 {
		return nil
	}
	i := slices.IndexFunc(r.template.columns, func(name string) bool { return !r.met[name] })
	if i < 0 {
		return nil
	}
	return fmt.Errorf("the template has {{%s}}, and no row has it", r.template.columns[i])
}

const maxRow = 1 << 20

// errRowTooLong ends the reading of a file: where the next row begins cannot be told.
var errRowTooLong = fmt.Errorf("a row is longer than %d bytes: is a quote not closed?", maxRow)

// rowLimit is a reader that gives only so much for each row.
type rowLimit struct {
	in   io.Reader
	left int
}

// row allows another row.
func (l *rowLimit) row() { l.left = maxRow }

func (l *rowLimit) Read(p []byte) (int, error) {
	if l.left <= 0 {
		return 0, errRowTooLong
	}
	n, err := l.in.Read(p)
	l.left -= n
	return n, err
}
