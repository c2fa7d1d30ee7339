// Package packets reads files of packets, however long they are: one packet on each line, or JSON
// values that stand behind each other or in a list and may be written over many lines.
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

// Reader takes a file apart into the packets in it, one after the other.
type Reader struct {
	in     *bufio.Reader
	lines  bool
	line   int         // of what was read last, when it is lines
	values *jsonValues // when it is not
}

const (
	lookAhead = 256 << 10 // enough to see two packets
	// longestRow is of a line; a packet has at most schema.MaxPacket, the rest may be blanks.
	longestRow = 1 << 20
)

// NewReader reads the packets of a file. What its name ends with tells whether it has one on each
// line, if it is the name of such a file; otherwise its beginning does.
func NewReader(name string, in io.Reader) *Reader {
	p := &Reader{in: bufio.NewReaderSize(textfile.NewReader(in), lookAhead)}
	switch strings.ToLower(filepath.Ext(name)) {
	case ".ndjson", ".jsonl":
		p.lines = true
	default:
		p.lines = p.onePerLine()
	}
	if !p.lines {
		p.values = newJSONValues(p.in, longestValue)
	}
	return p
}

// onePerLine tells from the start of a file whether each line is a packet of its own: the first
// line is an object, or was meant to be one and the next starts another. It reads no further than
// it must, since the file may be a pipe that is slow to fill.
func (p *Reader) onePerLine() bool {
	for want := 1; ; want = p.in.Buffered() + 1 {
		// what is wrong with the file shows again when it is read
		_, err := p.in.Peek(want)
		start, _ := p.in.Peek(p.in.Buffered()) // all of what is there
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

// Next returns a packet's text, valid until the next one, and the line it starts on; io.EOF after
// the last.
func (p *Reader) Next() (line int, raw []byte, err error) {
	if p.lines {
		return p.nextLine()
	}
	return p.values.next()
}

// Unread tells whether there is more behind a packet that is no JSON.
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

// readLine reads a line of any length and returns as much of it as could matter.
func readLine(in *bufio.Reader) ([]byte, error) {
	var line []byte
	for {
		part, err := in.ReadSlice('\n')
		if len(line) < longestRow {
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
