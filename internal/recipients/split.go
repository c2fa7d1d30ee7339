package recipients

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// maxRow is the longest row in bytes. A packet has at most 64 KiB; a row may hold more columns than
// are used. It bounds what is read behind a quote that is never closed.
const maxRow = 4 << 20

// lookAhead is how many bytes decide in which charset a text is.
const lookAhead = 64 << 10

// splitter splits a text into rows and knows where they begin. It looks at bytes: in UTF-8 and in
// GB18030 line ends and quotes are never part of another character.
type splitter struct {
	in         io.Reader
	buffer     []byte
	start, end int   // of what was read and is not split yet
	err        error // what in has ended with
	line       int   // of the byte at start, from 1
	charset    charset
	delimiter  byte // of CSV; 0 when each line is a row
}

func newSplitter(in io.Reader, c charset) *splitter {
	return &splitter{in: in, charset: c, line: 1, buffer: make([]byte, 2*lookAhead)}
}

// span is the text of a row without its line end.
type span struct {
	raw  []byte // valid until the next row
	line int    // where it begins, from 1
}

// next returns the next row that is not empty; io.EOF after the last. Any other error names the
// line from which on the text cannot be read.
func (s *splitter) next() (span, error) {
	for {
		row, err := s.row()
		if err != nil || !s.isEmpty(row.raw) {
			return row, err
		}
	}
}

// isEmpty reports whether a row has nothing but blanks and delimiters: spreadsheets write such rows
// below their tables.
func (s *splitter) isEmpty(row []byte) bool {
	for _, c := range row {
		if c != ' ' && c != '\t' && c != '\r' && c != '\n' && (c != s.delimiter || c == 0) {
			return false
		}
	}
	return true
}

// row returns the next row, empty or not.
func (s *splitter) row() (span, error) {
	q := quotes{delimiter: s.delimiter}
	for {
		q.wide = s.charset == gb18030
		size, ended := q.scan(s.buffer[s.start:s.end])
		switch {
		case q.swallowed:
			return span{}, fmt.Errorf("line %d: a quote is opened, and the one on line %d "+
				"stands where it cannot close it", s.line,
				s.line+bytes.Count(s.buffer[s.start:s.start+size], []byte("\n")))
		case ended:
			return s.take(size), nil
		case s.end-s.start > maxRow:
			return span{}, fmt.Errorf("line %d: a row is longer than %d MiB: "+
				"is a quote not closed?", s.line, maxRow>>20)
		case s.err == nil:
			s.fill()
			continue
		case !errors.Is(s.err, io.EOF):
			return span{}, fmt.Errorf("line %d: %w",
				s.line+bytes.Count(s.buffer[s.start:s.end], []byte("\n")), s.err)
		case s.start == s.end:
			return span{}, io.EOF
		case q.state == quoted:
			return span{}, fmt.Errorf("line %d: a quote is opened and never closed", s.line)
		}
		return s.take(s.end - s.start), nil
	}
}

// take takes the next row off the buffer.
func (s *splitter) take(size int) span {
	raw := s.buffer[s.start : s.start+size]
	line := s.line
	s.start += size
	s.line += bytes.Count(raw, []byte("\n"))
	raw = bytes.TrimSuffix(raw, []byte("\n"))
	return span{line: line, raw: bytes.TrimSuffix(raw, []byte("\r"))}
}

// peekLine passes over empty lines and returns the next one, or as much of it as fits into
// lookAhead bytes.
func (s *splitter) peekLine() ([]byte, error) {
	for {
		text := s.buffer[s.start:s.end]
		line, _, ended := bytes.Cut(text, []byte("\n"))
		atEnd := errors.Is(s.err, io.EOF)
		switch {
		case ended && s.isEmpty(line):
			s.take(len(line) + 1)
		case ended, len(text) >= lookAhead, atEnd && !s.isEmpty(line):
			return bytes.TrimSuffix(line, []byte("\r")), nil
		case s.err == nil:
			s.fill()
		case atEnd:
			return nil, errors.New("the file is empty")
		default:
			return nil, fmt.Errorf("line %d: %w", s.line, s.err)
		}
	}
}

// fill reads more, and finds the charset as soon as that matters.
func (s *splitter) fill() {
	n := s.read()
	if s.charset != ascii {
		return
	}
	at := indexNotASCII(s.buffer[s.end-n : s.end])
	if at < 0 {
		return
	}
	at += s.end - n - s.start
	for s.err == nil && s.end-s.start-at < lookAhead {
		s.read()
	}
	text := s.buffer[s.start:s.end]
	begin, end := bytes.LastIndexByte(text[:at], '\n')+1, min(len(text), at+lookAhead)
	s.charset = guess(text[begin:end], s.err != nil && end == len(text))
}

// read reads once, and returns how much. It makes room for it.
func (s *splitter) read() int {
	if s.start > 0 && len(s.buffer)-s.end < lookAhead {
		s.end = copy(s.buffer, s.buffer[s.start:s.end])
		s.start = 0
	}
	if s.end == len(s.buffer) {
		s.buffer = append(s.buffer, make([]byte, len(s.buffer))...)
	}
	const patience = 100 // reads that give nothing, as in package bufio
	for range patience {
		n, err := s.in.Read(s.buffer[s.end:])
		s.end += n
		s.err = err
		if n > 0 || err != nil {
			return n
		}
	}
	s.err = io.ErrNoProgress
	return 0
}

// indexNotASCII is where the first byte is that is not ASCII, or -1.
func indexNotASCII(text []byte) int {
	const eight = 0x8080808080808080
	at := 0
	for ; at+8 <= len(text); at += 8 {
		if binary.LittleEndian.Uint64(text[at:])&eight != 0 {
			break
		}
	}
	for ; at < len(text); at++ {
		if text[at] >= 0x80 {
			return at
		}
	}
	return -1
}
