package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"github.com/kefuhq/kefu/internal/textfile"
	"github.com/kefuhq/kefu/schema"
)

// packets takes a file apart into the packets in it. One per line is read as it comes, however long the file; a single packet or a
// list, which may be written over many lines, is read as a whole.
type packets struct {
	in    *bufio.Reader
	lines bool
	line  int // of what was read last

	whole  *json.Decoder // of content, when it is not lines
	text   []byte
	inList bool
	ended  bool
	unread bool // there is more behind a packet that is no JSON
}

const (
	lookAhead  = 256 << 10 // enough to see two packets
	mostWhole  = 64 << 20  // of a file that is not one packet per line
	longestRow = 1 << 20   // of a line; a packet has at most schema.MaxPacket, the rest may be blanks
)

func newPackets(name string, in io.Reader) *packets {
	p := &packets{in: bufio.NewReaderSize(textfile.NewReader(in), lookAhead)}
	switch strings.ToLower(filepath.Ext(name)) {
	case ".ndjson", ".jsonl":
		p.lines = true
	default:
		p.lines = p.onePerLine()
	}
	return p
}

// onePerLine tells from the start of a file whether each line is a packet of its own: the first line is an object, or was meant to
// be one and the next starts another. It reads no further than it must, since the file may be a pipe that is slow to fill.
func (p *packets) onePerLine() bool {
	for want := 1; ; want = p.in.Buffered() + 1 {
		_, err := p.in.Peek(want)              // what is wrong with the file shows again when it is read
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

// next returns a packet's text and the line it starts on; io.EOF after the last.
func (p *packets) next() (line int, raw []byte, err error) {
	if p.lines {
		return p.nextLine()
	}
	return p.nextValue()
}

func (p *packets) nextLine() (int, []byte, error) {
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

func (p *packets) nextValue() (int, []byte, error) {
	if p.whole == nil {
		if err := p.readWhole(); err != nil {
			return 0, nil, err
		}
	}
	if p.ended {
		return 0, nil, io.EOF
	}
	if p.inList && !p.whole.More() {
		return 0, nil, p.endOfList()
	}
	start := p.skip()
	if start == len(p.text) {
		return 0, nil, io.EOF
	}
	var raw json.RawMessage
	if err := p.whole.Decode(&raw); err != nil {
		// Where the next packet starts cannot be told; what the schema says about the rest is the verdict on all of it.
		p.ended, p.unread = true, bytes.Contains(p.text[start:], []byte("\n{"))
		return p.lineAt(start), p.text[start:min(len(p.text), start+schema.MaxPacket)], nil
	}
	return p.lineAt(start), raw, nil
}

// endOfList is io.EOF at the end of a list, if that is the end of the file too.
func (p *packets) endOfList() error {
	p.ended = true
	if _, err := p.whole.Token(); err != nil {
		return errors.New("the list of packets does not end")
	}
	if p.skip() < len(p.text) {
		return errors.New("there is something behind the list of packets")
	}
	return io.EOF
}

func (p *packets) readWhole() error {
	text, err := io.ReadAll(io.LimitReader(p.in, mostWhole+1))
	if err != nil {
		return err
	}
	if len(text) > mostWhole {
		return fmt.Errorf("is larger than %d MiB: write one packet per line (NDJSON) instead", mostWhole>>20)
	}
	p.text = text
	p.whole = json.NewDecoder(bytes.NewReader(p.text))
	if trimmed := bytes.TrimSpace(p.text); len(trimmed) > 0 && trimmed[0] == '[' {
		if _, err := p.whole.Token(); err != nil {
			return err
		}
		p.inList = true
	}
	return nil
}

// skip is where the next value starts: behind blanks and, in a list, the comma.
func (p *packets) skip() int {
	at := int(p.whole.InputOffset())
	for at < len(p.text) && strings.IndexByte(" \t\r\n,", p.text[at]) >= 0 {
		at++
	}
	return at
}

func (p *packets) lineAt(offset int) int {
	return 1 + bytes.Count(p.text[:offset], []byte("\n"))
}

// fieldAndRule takes the schema's error apart.
func fieldAndRule(err error) (field, rule string) {
	var broken *schema.FieldError
	if errors.As(err, &broken) {
		return broken.Field, broken.Rule
	}
	return "", err.Error()
}
