package recipients

import (
	"encoding/csv"
	"errors"
	"os"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Rejects is a file of bad rows, for people to correct: CSV with the line, the reason and the row's
// text, of which mostRejected bytes are kept. It is made when the first row is written, and only
// its owner may read it.
type Rejects struct {
	path string
	file *os.File
	csv  *csv.Writer
}

const mostRejected = 4 << 10

// NewRejects returns a file of bad rows that does not exist yet. The first row overwrites another
// file of its name.
func NewRejects(path string) *Rejects { return &Rejects{path: path} }

// Made reports whether there is a file.
func (r *Rejects) Made() bool { return r.file != nil }

// Write writes a row that has a problem.
func (r *Rejects) Write(row Row) error {
	if r.file == nil {
		if err := r.create(); err != nil {
			return err
		}
	}
	return r.csv.Write([]string{strconv.Itoa(row.Line),
		row.Problem.Field + ": " + row.Problem.Rule, rejected(row.Raw)})
}

func (r *Rejects) create() error {
	f, err := os.OpenFile(r.path, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	r.file, r.csv = f, csv.NewWriter(f)
	if err := f.Chmod(0o600); err != nil { // another file may have been there
		return err
	}
	if _, err := f.WriteString("\ufeff"); err != nil { // or Excel in China takes it for GBK
		return err
	}
	return r.csv.Write([]string{"line", "reason", "row"})
}

// rejected is the text of a row as the file has it.
func rejected(raw []byte) string {
	text := raw[:min(len(raw), mostRejected)]
	if len(text) == len(raw) {
		return strings.ToValidUTF8(string(text), "\ufffd")
	}
	for range utf8.UTFMax - 1 {
		if last, size := utf8.DecodeLastRune(text); last != utf8.RuneError || size != 1 {
			break
		}
		text = text[:len(text)-1]
	}
	return strings.ToValidUTF8(string(text), "\ufffd") + "…"
}

// Close ends the file, if it was made. Its error says that rows are missing in it.
func (r *Rejects) Close() error {
	if r.file == nil {
		return nil
	}
	r.csv.Flush()
	return errors.Join(r.csv.Error(), r.file.Close())
}
