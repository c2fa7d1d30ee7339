// Package textfile reads text files that people write. Editors and spreadsheets on Windows put a
// byte order mark (U+FEFF in UTF-8) in front of the text. It is not part of the text, so this
// package drops it.
//
// Payloads from the network have no byte order mark and are not read with this package.
package textfile

import (
	"bufio"
	"bytes"
	"io"
)

var byteOrderMark = []byte("\ufeff")

// Trim returns the text of a file, given its content.
func Trim(content []byte) []byte { return bytes.TrimPrefix(content, byteOrderMark) }

// NewReader returns a reader of a file's text. It reads nothing before its first Read, and does not
// wait for more of a pipe than it needs.
func NewReader(file io.Reader) io.Reader { return &reader{in: bufio.NewReader(file)} }

type reader struct {
	in      *bufio.Reader
	started bool
}

func (r *reader) Read(p []byte) (int, error) {
	if !r.started {
		r.started = true
		r.skipMark()
	}
	return r.in.Read(p)
}

// skipMark drops the mark, if there is one. It ignores errors: the next read returns them again.
func (r *reader) skipMark() {
	if first, err := r.in.Peek(1); err != nil || first[0] != byteOrderMark[0] {
		return
	}
	start, err := r.in.Peek(len(byteOrderMark))
	if err == nil && bytes.Equal(start, byteOrderMark) {
		_, _ = r.in.Discard(len(byteOrderMark)) // cannot fail: they are buffered
	}
}
