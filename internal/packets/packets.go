// Package packets reads files of packets of any length. A file has one packet on each line, or is a
// sequence or a list of JSON values that may span lines.
package packets

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"path/filepath"
	"strings"

	"github.com/kefuhq/kefu/internal/textfile"
)

// Reader reads the packets of a file, one after the other.
type Reader struct {
	in     *bufio.Reader
	lines  bool        // one packet on each line
	line   int         // the last one read, of a file of lines
	values *jsonValues // of any other file
}

const (
	lookAhead = 256 << 10 // bytes; two packets fit
	// maxLine is how many bytes of a line are kept. A packet has at most schema.MaxPacket; the rest
	// may be blanks.
	maxLine = 1 << 20
)

// NewReader returns a reader of the packets of a file. A file named .ndjson or .jsonl has one on
// each line; for any other name the start of the file decides.
func NewReader(name string, in io.Reader) *Reader {
	p := &Reader{in: bufio.NewReaderSize(textfile.NewReader(in), lookAhead)}
	switch strings.ToLower(filepath.Ext(name)) {
	case ".ndjson", ".jsonl":
		p.lines = true
	default:
		p.lines = p.isOnePerLine()
	}
	if !p.lines {
		p.values = newJSONValues(p.in, maxValue)
	}
	return p
}

// isOnePerLine reports whether each line of a file is a packet, by the start of the file: the first
// line is an object, or looks like one and the next line starts another. It reads no further than
// it must, since the file may be a slow pipe.
func (p *Reader) isOnePerLine() bool {
	for want := 1; ; want = p.in.Buffered() + 1 {
		_, err := p.in.Peek(want)              // the next read returns the error again
		start, _ := p.in.Peek(p.in.Buffered()) // all that is buffered
		first, rest, ended := bytes.Cut(bytes.TrimLeft(start, " \t\r\n"), []byte("\n"))
		first, rest = bytes.TrimSpace(first), bytes.TrimSpace(rest)
		isObject := bytes.HasPrefix(first, []byte("{")) && bytes.HasSuffix(first, []byte("}"))
		switch {
		case isObject && json.Valid(first):
			return true
		case ended && !isObject:
			return false
		case ended && len(rest) > 0:
			return rest[0] == '{'
		case err != nil || len(start) >= lookAhead:
			return false
		}
	}
}

// Next returns the text of the next packet and the line it starts on; io.EOF after the last. The
// text is valid until the next call.
func (p *Reader) Next() (line int, raw []byte, err error) {
	if p.lines {
		return p.nextLine()
	}
	return p.values.next()
}

// Unread reports whether packets that follow one of invalid JSON were not read.
func (p *Reader) Unread() bool { return p.values != nil && p.values.unread }

func (p *Reader) nextLine() (int, []byte, error) {
	for {
		raw, err := readLine(p.in)
		if err != nil {
			return 0, nil, err
		}
		p.line++
		if raw = bytes.TrimSpace(raw); len(raw) > 0 {
			return p.line, raw, nil
		}
	}
}

// readLine reads a line of any length and returns its first maxLine bytes or a little more.
func readLine(in *bufio.Reader) ([]byte, error) {
	var line []byte
	for {
		part, err := in.ReadSlice('\n')
		if len(line) < maxLine {
			line = append(line, part...)
		}
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
		case errors.Is(err, io.EOF) && len(line) > 0:
			return line, nil
		case err != nil:
			return nil, err
		default:
			return line, nil
		}
	}
}
