package recipients

import (
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
)

// Rejects is a file of bad rows, for people to correct and send: CSV with commas, in UTF-8 with a
// mark, which Open reads as it is. Behind the line and the reason it has the row: for CSV and TSV
// the columns of the file, for a list the openid, for NDJSON the line. It is made when the first
// row is written, and only its owner may read it.
type Rejects struct {
	path    string
	columns []string
	cutter  cutter // its delimiter is 0 when a row is one cell
	file    *os.File
	csv     *csv.Writer
}

// NewRejects returns a file of the bad rows of a file of a shape. It does not exist yet. The first
// row overwrites another file of its name.
func NewRejects(path string, s Shape) *Rejects {
	r := &Rejects{path: path, columns: s.Columns}
	switch s.Format {
	case List:
		r.columns = []string{columnOpenID}
	case NDJSON:
		r.columns = []string{"row"}
	default:
		r.cutter = cutter{delimiter: s.Delimiter[0], most: mostColumns}
	}
	return r
}

// Made reports whether there is a file.
func (r *Rejects) Made() bool { return r.file != nil }

// Write writes a row that has a problem.
func (r *Rejects) Write(row Row) error {
	if r.file == nil {
		if err := r.create(); err != nil {
			return err
		}
	}
	return r.csv.Write(append([]string{strconv.Itoa(row.Line),
		row.Problem.Field + ": " + row.Problem.Rule}, r.cells(row)...))
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
	return r.csv.Write(append([]string{r.free("line"), r.free("reason")}, r.columns...))
}

// free returns a name that no column of the file has: the bad rows of a file of bad rows have lines
// and reasons as well.
func (r *Rejects) free(name string) string {
	for n, free := 2, name; ; n++ {
		if !slices.Contains(r.columns, free) {
			return free
		}
		free = fmt.Sprintf("%s_%d", name, n)
	}
}

// cells are the cells of a row, also of one that is not CSV. What is no character in it stays none:
// the row is bad until somebody has corrected it.
func (r *Rejects) cells(row Row) []string {
	raw := row.Raw
	if strings.HasPrefix(row.Problem.Rule, notValid) {
		raw = bytes.ReplaceAll(raw, []byte("\ufffd"), []byte{0xff})
	}
	if r.cutter.delimiter == 0 {
		return []string{string(bytes.TrimSpace(raw))}
	}
	parts, _, rule := r.cutter.cut(raw)
	if rule != "" {
		parts = bytes.Split(raw, []byte{r.cutter.delimiter})
	}
	cells := make([]string, len(parts))
	for i, part := range parts {
		cells[i] = string(part)
	}
	return cells
}

// Close ends the file, if it was made. Its error says that rows are missing in it.
func (r *Rejects) Close() error {
	if r.file == nil {
		return nil
	}
	r.csv.Flush()
	return errors.Join(r.csv.Error(), r.file.Close())
}
