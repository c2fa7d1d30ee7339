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
	broken bool
}

const (
	lookAhead  = 256 << 10 // enough to see two packets
	mostWhole  = 64 << 20  // of a file that is not one packet per line
	longestRow = 1 << 20   // of a line; a packet has at most schema.MaxPacket, the rest may be blanks
)

func newPackets(name string, in io.Reader) *packets {
	p := &packets{in: bufio.NewReaderSize(in, lookAhead)}
	switch strings.ToLower(filepath.Ext(name)) {
	case ".ndjson", ".jsonl":
		p.lines = true
	default:
		start, _ := p.in.Peek(lookAhead) // what is wrong with the file shows again when it is read
		p.lines = onePerLine(start)
	}
	return p
}

// onePerLine tells from the start of a file whether each line is a packet of its own: the first line is an object, or was meant to
// be one and the next starts another.
func onePerLine(start []byte) bool {
	start = bytes.TrimPrefix(start, []byte("\ufeff"))
	first, rest, _ := bytes.Cut(bytes.TrimSpace(start), []byte("\n"))
	first = bytes.TrimSpace(first)
	if !bytes.HasPrefix(first, []byte("{")) || !bytes.HasSuffix(first, []byte("}")) {
		return false
	}
	return json.Valid(first) || bytes.HasPrefix(bytes.TrimSpace(rest), []byte("{"))
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
		if p.line == 1 {
			raw = bytes.TrimPrefix(raw, []byte("\ufeff"))
		}
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
	if p.broken {
		return 0, nil, io.EOF
	}
	start := p.skip()
	if start == len(p.text) {
		return 0, nil, io.EOF
	}
	if !p.whole.More() && p.inList {
		p.broken = true // nothing is read behind the end of the list
		if _, err := p.whole.Token(); err == nil && p.skip() == len(p.text) {
			return 0, nil, io.EOF
		}
		return p.lineAt(start), p.text[start:], nil
	}
	var raw json.RawMessage
	if err := p.whole.Decode(&raw); err != nil {
		// Where the next packet starts cannot be told; what the schema says about the rest is the verdict on all of it.
		p.broken = true
		return p.lineAt(start), p.text[start:min(len(p.text), start+schema.MaxPacket)], nil
	}
	return p.lineAt(start), raw, nil
}

func (p *packets) readWhole() error {
	text, err := io.ReadAll(io.LimitReader(p.in, mostWhole+1))
	if err != nil {
		return err
	}
	if len(text) > mostWhole {
		return fmt.Errorf("is larger than %d MiB: write one packet per line (NDJSON) instead", mostWhole>>20)
	}
	p.text = bytes.TrimPrefix(text, []byte("\ufeff"))
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
