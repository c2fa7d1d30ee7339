package recipients

import (
	"bufio"
	"encoding/csv"
	"errors"
	"os"
	"strconv"
)

// Rejects is a file of bad rows, for people to correct: CSV with the line, the reason and the row's
// text. It is made when the first bad row is written, readable for its owner only.
type Rejects struct {
	path string
	file *os.File
	out  *bufio.Writer
	csv  *csv.Writer
}

// NewRejects returns a file of bad rows that does not exist yet. A file of this name is overwritten
// by the first bad row.
func NewRejects(path string) *Rejects { return &Rejects{path: path} }

// Path is the file's name; "" as long as it was not made.
func (r *Rejects) Path() string {
	if r.file == nil {
		return ""
	}
	return r.path
}

// Write writes a row that has a problem.
func (r *Rejects) Write(row Row) error {
	if r.file == nil {
		f, err := os.OpenFile(r.path, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
		if err != nil {
			return err
		}
		r.file, r.out = f, bufio.NewWriter(f)
		r.csv = csv.NewWriter(r.out)
		if err := r.csv.Write([]string{"line", "reason", "row"}); err != nil {
			return err
		}
	}
	return r.csv.Write([]string{strconv.Itoa(row.Line),
		row.Problem.Field + ": " + row.Problem.Rule, string(row.Raw)})
}

// Close ends the file, if it was made.
func (r *Rejects) Close() error {
	if r.file == nil {
		return nil
	}
	r.csv.Flush()
	return errors.Join(r.csv.Error(), r.out.Flush(), r.file.Close())
}
