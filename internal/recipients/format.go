package recipients

import (
	"bytes"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
)

// delimiters may stand between the columns of CSV; the first ones in doubt.
const delimiters = ",;\t|"

// layout is how a text is laid out.
type layout struct {
	format    Format
	delimiter byte // of CSV and TSV
}

// findLayout tells the layout from the file's name and its first line. The line decides when the
// name says something else.
func findLayout(o Options, first []byte) (layout, error) {
	l, err := layoutOf(o, first)
	switch {
	case err != nil:
		return l, err
	case o.Template == nil && l.format == List:
		return l, fmt.Errorf("a list of openids %w", ErrNoTemplate)
	case o.Template == nil && l.format != NDJSON:
		return l, fmt.Errorf("a %s file %w", strings.ToUpper(string(l.format)), ErrNoTemplate)
	default:
		return l, nil
	}
}

func layoutOf(o Options, first []byte) (layout, error) {
	named := o.Format
	if named == "" {
		named = formatOfName(o.Name)
	}
	start := bytes.TrimLeft(first, " \t")
	switch {
	case o.Format == NDJSON, o.Format == List:
		return layout{format: o.Format}, nil
	case o.Format == TSV:
		return layout{TSV, '\t'}, nil
	case o.Format != "" && o.Format != CSV:
		return layout{}, fmt.Errorf("format %q is none of csv, tsv, ndjson, list", o.Format)
	case o.Format == "" && bytes.HasPrefix(start, []byte("{")):
		return layout{format: NDJSON}, nil
	case o.Format == "" && bytes.HasPrefix(start, []byte("[")):
		return layout{}, errors.New("the file is a list in JSON: " +
			"put each object on a line of its own (NDJSON)")
	}
	delimiter, names := delimiterOf(first, o.Template)
	switch {
	case len(names) > 1 && delimiter == '\t':
		return layout{TSV, delimiter}, nil
	case len(names) > 1:
		return layout{CSV, delimiter}, nil
	case named == NDJSON:
		return layout{format: NDJSON}, nil
	case o.Format == "" && !isWanted(names[0], o.Template) && looksLikeOpenID(names[0]):
		return layout{format: List}, nil
	case named == TSV:
		return layout{TSV, '\t'}, nil
	default:
		return layout{CSV, ','}, nil
	}
}

// formatOfName is what a file's extension says, behind that of a compression; "" when it says
// nothing.
func formatOfName(name string) Format {
	name = strings.ToLower(name)
	switch ext := filepath.Ext(name); ext {
	case ".gz", ".gzip", ".zst", ".zstd":
		name = strings.TrimSuffix(name, ext)
	}
	switch filepath.Ext(name) {
	case ".csv":
		return CSV
	case ".tsv", ".tab":
		return TSV
	case ".ndjson", ".jsonl":
		return NDJSON
	default:
		return ""
	}
}

// delimiterOf finds the delimiter of a header outside of quotes: the one that makes the most
// columns that are looked for, else the most columns.
func delimiterOf(header []byte, t *Template) (delimiter byte, names []string) {
	best := -1
	for _, d := range []byte(delimiters) {
		cells := headerCells(header, d)
		score := len(cells)
		for _, name := range cells {
			if isWanted(name, t) {
				score += mostColumns
			}
		}
		if score > best {
			delimiter, names, best = d, cells, score
		}
	}
	return delimiter, names
}

// headerCells cuts a line that may not be a whole row.
func headerCells(line []byte, delimiter byte) []string {
	var names []string
	begin, inQuotes := 0, false
	add := func(cell []byte) {
		names = append(names, string(bytes.TrimSpace(bytes.Trim(cell, `"`))))
	}
	for i, c := range line {
		switch {
		case c == '"':
			inQuotes = !inQuotes
		case c == delimiter && !inQuotes && len(names) < mostColumns:
			add(line[begin:i])
			begin = i + 1
		}
	}
	add(line[begin:])
	return names
}

// isWanted reports whether a column is a recipient's or one of the template's.
func isWanted(name string, t *Template) bool {
	return isRecipient(name) || t != nil && slices.Contains(t.columns, name)
}

// looksLikeOpenID tells an openid from a column's name.
func looksLikeOpenID(word string) bool {
	const sure = 20 // real ones have 28 characters
	isOdd := func(c rune) bool {
		return (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') &&
			c != '-' && c != '_'
	}
	return !strings.ContainsFunc(word, isOdd) &&
		(len(word) >= sure || strings.ContainsAny(word, "0123456789"))
}
