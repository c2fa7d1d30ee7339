package packets

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"unicode/utf8"

	"github.com/kefuhq/kefu/schema"
)

// longestValue is how long a JSON value may be, in bytes with the blanks before it: it is in memory
// as a whole.
const longestValue = 64 << 20

var errLongValue = errors.New("a packet is far too long: does it have an end?")

// jsonValues reads the JSON values of a file one after the other: those of a list, or those that
// stand behind each other.
type jsonValues struct {
	in     *numberedLines
	most   int           // bytes of a value
	json   *json.Decoder // of in; nil before the first value
	inList bool
	ended  bool
	unread bool // there is more behind a value that is no JSON
	raw    json.RawMessage
}

func newJSONValues(in *bufio.Reader, most int) *jsonValues {
	return &jsonValues{in: &numberedLines{in: in, line: 1}, most: most}
}

// next returns a value, valid until the next one, and the line it starts on; io.EOF after the last.
func (v *jsonValues) next() (line int, raw []byte, err error) {
	v.in.left = v.most
	if v.json == nil {
		if err := v.begin(); err != nil {
			return 0, nil, err
		}
	}
	if v.ended {
		return 0, nil, io.EOF
	}
	if v.inList && !v.json.More() {
		return 0, nil, v.endOfList()
	}
	err = v.json.Decode(&v.raw)
	switch {
	case err == nil:
		return v.in.at(v.json.InputOffset() - int64(len(v.raw))), v.raw, nil
	case isBrokenJSON(err):
		return v.rest()
	}
	v.ended = true
	return 0, nil, err
}

// begin enters the list, if the file is one.
func (v *jsonValues) begin() error {
	first, err := v.in.skipBlanks()
	if err != nil {
		return err
	}
	v.json = json.NewDecoder(v.in)
	if v.inList = first == '['; v.inList {
		_, err = v.json.Token()
	}
	return err
}

// endOfList is io.EOF at the end of a list, if that is the end of the file too.
func (v *jsonValues) endOfList() error {
	v.ended = true
	if _, err := v.json.Token(); err != nil {
		if errors.Is(err, io.EOF) || isBrokenJSON(err) {
			return errors.New("the list of packets does not end")
		}
		return err
	}
	var behind json.RawMessage
	if err := v.json.Decode(&behind); err == nil || isBrokenJSON(err) {
		return errors.New("there is something behind the list of packets")
	} else if !errors.Is(err, io.EOF) {
		return err
	}
	return io.EOF
}

// rest returns what follows from a value on that is no JSON. Where the next one starts cannot be
// told; what the schema says about the rest is the verdict on all of it.
func (v *jsonValues) rest() (int, []byte, error) {
	v.ended = true
	offset := v.json.InputOffset()
	in := bufio.NewReader(io.MultiReader(v.json.Buffered(), v.in))
	for {
		v.in.left = v.most
		c, err := in.ReadByte()
		if errors.Is(err, io.EOF) {
			return v.in.at(offset), nil, nil
		}
		if err != nil {
			return 0, nil, err
		}
		if !isBlank(c) && c != ',' {
			break
		}
		offset++
	}
	if err := in.UnreadByte(); err != nil {
		return 0, nil, err
	}
	text := make([]byte, schema.MaxPacket)
	n, err := io.ReadFull(in, text)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
		return 0, nil, err
	}
	text, line := text[:n], v.in.at(offset)
	v.unread = bytes.Contains(text, []byte("\n{")) || v.objectFollows(in, text[n-1] == '\n')
	return line, wholeRunes(text), nil
}

// objectFollows tells whether a line of in begins with a brace. The first one is the rest of a line
// unless lineStart.
func (v *jsonValues) objectFollows(in *bufio.Reader, lineStart bool) bool {
	for {
		v.in.left, v.in.ends = v.most, v.in.ends[:0] // nobody asks for a line any more
		c, err := in.ReadByte()
		if err != nil || lineStart && c == '{' {
			return err == nil
		}
		lineStart = c == '\n'
	}
}

// wholeRunes cuts off a character of which only the start is there.
func wholeRunes(text []byte) []byte {
	for i := len(text) - 1; i >= 0 && i > len(text)-utf8.UTFMax; i-- {
		if utf8.RuneStart(text[i]) {
			if !utf8.FullRune(text[i:]) {
				return text[:i]
			}
			break
		}
	}
	return text
}

// isBrokenJSON tells what is wrong with the text from what is wrong with the file.
func isBrokenJSON(err error) bool {
	var syntax *json.SyntaxError
	return errors.As(err, &syntax) || errors.Is(err, io.ErrUnexpectedEOF)
}

func isBlank(c byte) bool { return c == ' ' || c == '\t' || c == '\r' || c == '\n' }

// numberedLines is a reader that knows the line of each offset, as long as it is asked for them in
// ascending order: it keeps the line ends only that lie ahead.
type numberedLines struct {
	in   *bufio.Reader
	left int     // how many bytes may be read before it is set anew
	read int64   // how many have been
	ends []int64 // offsets of the line ends behind the last one asked for
	line int     // there
}

func (l *numberedLines) Read(p []byte) (int, error) {
	if l.left <= 0 {
		return 0, errLongValue
	}
	n, err := l.in.Read(p[:min(len(p), l.left)])
	l.left -= n
	for i := 0; i < n; i++ {
		end := bytes.IndexByte(p[i:n], '\n')
		if end < 0 {
			break
		}
		i += end
		l.ends = append(l.ends, l.read+int64(i))
	}
	l.read += int64(n)
	return n, err
}

// at is the line of the byte at this offset.
func (l *numberedLines) at(offset int64) int {
	passed := 0
	for passed < len(l.ends) && l.ends[passed] < offset {
		passed++
	}
	l.line, l.ends = l.line+passed, l.ends[passed:]
	return l.line
}

// skipBlanks goes to the first byte that is none and returns it without reading it. It keeps
// nothing of them.
func (l *numberedLines) skipBlanks() (byte, error) {
	for {
		c, err := l.in.ReadByte()
		if err != nil {
			return 0, err
		}
		if !isBlank(c) {
			return c, l.in.UnreadByte()
		}
		if c == '\n' {
			l.line++
		}
	}
}
