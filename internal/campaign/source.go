package campaign

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"

	"github.com/kefuhq/kefu/internal/textfile"
)

// Format is how a file of recipients is written.
type Format string

// The formats of a file.
const (
	CSV    Format = "csv"    // RFC 4180 with a header row, in UTF-8
	NDJSON Format = "ndjson" // one JSON object on each line
)

// Source is a file of recipients. It is read several times, from its start each time.
type Source struct {
	Format Format
	Open   func() (io.ReadCloser, error)
	Close  func() error // nil when there is nothing to be closed
}

// maxRow is the longest row in bytes: a packet has at most 64 KiB, a row may hold more columns than
// are used. It also bounds what is read behind a quote that is never closed.
const maxRow = 1 << 20

// File is a source on disk. It is opened once: another file that takes its name meanwhile is not
// read. The format follows from the name (.csv, .ndjson, .jsonl), else from the first character: {
// is NDJSON. Only regular files can be read twice. The caller closes it.
func File(path string) (Source, error) {
	if err := regular(path, os.Stat); err != nil { // to open a pipe would wait for its writer
		return Source{}, err
	}
	f, err := os.Open(path)
	if err != nil {
		return Source{}, err
	}
	s := Source{Close: f.Close, Open: func() (io.ReadCloser, error) {
		return io.NopCloser(io.NewSectionReader(f, 0, math.MaxInt64)), nil
	}}
	if err = regular(path, func(string) (os.FileInfo, error) { return f.Stat() }); err == nil {
		s.Format, err = s.formatOf(path)
	}
	if err != nil {
		_ = f.Close() // nothing was written
		return Source{}, err
	}
	return s, nil
}

func regular(path string, stat func(string) (os.FileInfo, error)) error {
	info, err := stat(path)
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s is no regular file: it is read twice, to check and to publish", path)
	}
	return err
}

func (s Source) formatOf(path string) (Format, error) {
	switch strings.ToLower(filepath.Ext(path)) {
	case ".csv":
		return CSV, nil
	case ".ndjson", ".jsonl":
		return NDJSON, nil
	default:
		return s.detectFormat()
	}
}

// detectFormat tells the format from the start of the file.
func (s Source) detectFormat() (Format, error) {
	f, err := s.Open()
	if err != nil {
		return "", err
	}
	defer func() { _ = f.Close() }()
	start, err := bufio.NewReader(textfile.NewReader(f)).Peek(512)
	if err != nil && !errors.Is(err, io.EOF) {
		return "", err
	}
	start = bytes.TrimSpace(start)
	if bytes.HasPrefix(start, []byte("{")) {
		return NDJSON, nil
	}
	return CSV, nil
}

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
