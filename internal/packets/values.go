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

// maxValue is how many bytes a JSON value may have, with the blanks before it: it is held in memory
// as a whole.
const maxValue = 64 << 20

var errLongValue = errors.New("a packet is far too long: does it have an end?")

// jsonValues reads the JSON values of a file one after the other. The file is a list of values or a
// sequence of them.
type jsonValues struct {
	in     *lineReader
	max    int           // bytes of a value
	json   *json.Decoder // of in; nil before the first value
	inList bool
	ended  bool
	unread bool // values that follow one of invalid JSON were not read
	raw    json.RawMessage
}

func newJSONValues(in *bufio.Reader, maxBytes int) *jsonValues {
	return &jsonValues{in: &lineReader{in: in, line: 1}, max: maxBytes}
}

// next returns the next value and the line it starts on; io.EOF after the last. The value is valid
// until the next call.
func (v *jsonValues) next() (line int, raw []byte, err error) {
	v.in.left = v.max
	if v.json == nil {
		if err := v.enterList(); err != nil {
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
	case isInvalidJSON(err):
		return v.invalidRest()
	}
	v.ended = true
	return 0, nil, err
}

// enterList makes the decoder, and enters the list if the file is one.
func (v *jsonValues) enterList() error {
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

// endOfList returns io.EOF when the end of the list is the end of the file too.
func (v *jsonValues) endOfList() error {
	v.ended = true
	if _, err := v.json.Token(); err != nil {
		if errors.Is(err, io.EOF) || isInvalidJSON(err) {
			return errors.New("the list of packets does not end")
		}
		return err
	}
	var more json.RawMessage
	if err := v.json.Decode(&more); err == nil || isInvalidJSON(err) {
		return errors.New("there is something behind the list of packets")
	} else if !errors.Is(err, io.EOF) {
		return err
	}
	return io.EOF
}

// invalidRest returns the text from a value of invalid JSON on, and the line it starts on. Nothing
// shows where the next value starts, so the verdict on this text is the verdict on all of the rest.
func (v *jsonValues) invalidRest() (int, []byte, error) {
	v.ended = true
	offset := v.json.InputOffset()
	in := bufio.NewReader(io.MultiReader(v.json.Buffered(), v.in))
	for {
		v.in.left = v.max
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

// objectFollows reports whether a line of in begins with a brace. in starts within a line unless
// lineStart.
func (v *jsonValues) objectFollows(in *bufio.Reader, lineStart bool) bool {
	for {
		v.in.left, v.in.ends = v.max, v.in.ends[:0] // no more line numbers are needed
		c, err := in.ReadByte()
		if err != nil || lineStart && c == '{' {
			return err == nil
		}
		lineStart = c == '\n'
	}
}

// wholeRunes returns text without an incomplete character at its end.
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

// isInvalidJSON reports whether an error is about the text, and not about reading the file.
func isInvalidJSON(err error) bool {
	var syntax *json.SyntaxError
	return errors.As(err, &syntax) || errors.Is(err, io.ErrUnexpectedEOF)
}

func isBlank(c byte) bool { return c == ' ' || c == '\t' || c == '\r' || c == '\n' }

// lineReader is a reader that knows the line of each offset. It must be asked in ascending order,
// since it keeps no line ends before the last offset that it was asked for.
type lineReader struct {
	in   *bufio.Reader
	left int     // bytes that may be read before left is set again
	read int64   // bytes read so far
	ends []int64 // offsets of the line ends after the last offset asked for
	line int     // of the last offset asked for
}

func (l *lineReader) Read(p []byte) (int, error) {
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

// at returns the line of the byte at this offset.
func (l *lineReader) at(offset int64) int {
	passed := 0
	for passed < len(l.ends) && l.ends[passed] < offset {
		passed++
	}
	l.line, l.ends = l.line+passed, l.ends[passed:]
	return l.line
}

// skipBlanks skips blanks and returns the byte after them, which stays unread.
func (l *lineReader) skipBlanks() (byte, error) {
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
