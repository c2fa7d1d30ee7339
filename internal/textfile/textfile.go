// Package textfile reads text files that people write. Editors and spreadsheets on Windows put a byte order mark (U+FEFF in UTF-8)
// in front of the text; it belongs to the file and not to what stands in it, so every reader of such a file drops it, here.
//
// What travels over the network has no byte order mark: payloads are not read with this package.
package textfile

import (
	"bufio"
	"bytes"
	"io"
)

var byteOrderMark = []byte("\ufeff")

// Trim returns the text of a whole file.
func Trim(content []byte) []byte { return bytes.TrimPrefix(content, byteOrderMark) }

// NewReader returns a reader of a file's text. It reads nothing before it is asked to, and does not wait for more of a pipe than
// it needs.
func NewReader(file io.Reader) io.Reader { return &reader{in: bufio.NewReader(file)} }

type reader struct {
	in    *bufio.Reader
	begun bool
}

func (r *reader) Read(p []byte) (int, error) {
	if !r.begun {
		r.begun = true
		r.skipMark()
	}
	return r.in.Read(p)
}

// skipMark leaves a failed read to the next one, which returns the same error.
func (r *reader) skipMark() {
	if first, err := r.in.Peek(1); err != nil || first[0] != byteOrderMark[0] {
		return
	}
	if start, err := r.in.Peek(len(byteOrderMark)); err == nil && bytes.Equal(start, byteOrderMark) {
		_, _ = r.in.Discard(len(byteOrderMark)) // cannot fail: they are buffered
	}
}
