package schema

import (
	"fmt"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// maxDepth is how deep objects and arrays may nest, the packet itself counted. The API's own packets have four.
const maxDepth = 32

// scanner reads JSON by the letter of RFC 8259 and a little stricter: no control characters but escaped \t \n \r, no lone surrogates,
// no duplicate keys, bounded depth. It works in one pass over valid UTF-8; strings without escapes are substrings of the input.
//
// We do not use encoding/json because it forgives what would reach a user mangled (it takes the last of two duplicate keys, matches
// keys in any letter case, turns lone surrogates into U+FFFD) and because this runs for each intent.
//
// Its methods return a *FieldError whose Field is relative to the value being read: each caller that knows a name puts it in front.
type scanner struct {
	s string
	i int // Where the next byte is.

	key int // Where the last key began.

	// lenient lets control characters, lone surrogates and duplicate keys pass, to find a field of a packet that is refused anyway.
	lenient bool
}

// special marks the bytes at which the reading of a string must pause. 0xC2 begins the C1 control characters, U+0080 to U+009F, and
// some others.
var special = func() (t [256]bool) {
	for c := range 0x20 {
		t[c] = true
	}
	t['"'], t['\\'], t[0x7F], t[0xC2] = true, true, true, true
	return t
}()

// broken is the error for what is not JSON at all.
func (s *scanner) broken(what string) *FieldError { return s.fault(s.i, "not JSON: "+what) }

func (s *scanner) fault(at int, rule string) *FieldError {
	return &FieldError{Rule: fmt.Sprintf("%s at byte %d", rule, at)}
}

// peek returns the next byte, or 0 at the end, where no byte that JSON allows is 0.
func (s *scanner) peek() byte {
	if s.i < len(s.s) {
		return s.s[s.i]
	}
	return 0
}

// blank skips white space.
func (s *scanner) blank() {
	for s.i < len(s.s) {
		switch s.s[s.i] {
		case ' ', '\n', '\t', '\r':
			s.i++
		default:
			return
		}
	}
}

// want tells whether the next value begins with the byte first; kind says in the error what was wanted.
func (s *scanner) want(first byte, kind string) *FieldError {
	switch c := s.peek(); {
	case c == first && s.i < len(s.s):
		return nil
	case strings.IndexByte(`{["-0123456789tfn`, c) >= 0:
		return &FieldError{Rule: "must be " + kind}
	case s.i >= len(s.s):
		return s.broken("ends too early")
	default:
		return s.broken("a value must stand here")
	}
}

// open enters an object or array at the given depth, the packet being at 1.
func (s *scanner) open(bracket byte, kind string, depth int) *FieldError {
	if err := s.want(bracket, kind); err != nil {
		return err
	}
	if depth > maxDepth {
		return s.fault(s.i, fmt.Sprintf("nested deeper than %d", maxDepth))
	}
	s.i++
	return nil
}

// member steps to the next value of an object and returns its key; more is false when the object has ended.
func (s *scanner) member(first bool) (key string, more bool, err *FieldError) {
	if more, err = s.step(first, '}'); !more {
		return "", false, err
	}
	if s.peek() != '"' {
		return "", false, s.broken("a key must be a string")
	}
	s.key = s.i
	if key, err = s.text(); err != nil {
		return "", false, err
	}
	s.blank()
	if s.peek() != ':' {
		return "", false, s.broken("a colon must follow a key")
	}
	s.i++
	s.blank()
	return key, true, nil
}

// step goes over the comma to the next member or element; more is false when the closing bracket has been read.
func (s *scanner) step(first bool, bracket byte) (more bool, err *FieldError) {
	s.blank()
	switch {
	case s.i >= len(s.s):
		return false, s.broken("ends too early")
	case s.s[s.i] == bracket:
		s.i++
		return false, nil
	case first:
		return true, nil
	case s.s[s.i] != ',':
		return false, s.broken("a comma or " + string(bracket) + " must stand here")
	}
	comma := s.i
	s.i++
	s.blank()
	if s.peek() == bracket {
		return false, s.fault(comma, "not JSON: trailing comma")
	}
	return true, nil
}

// text reads the string whose opening quote is next.
func (s *scanner) text() (string, *FieldError) {
	start := s.i + 1
	for i := start; i < len(s.s); i++ {
		if !special[s.s[i]] {
			continue
		}
		switch s.s[i] {
		case '"':
			s.i = i + 1
			return s.s[start:i], nil
		case '\\':
			return s.escaped(start, i)
		}
		if err := s.control(i); err != nil {
			return "", err
		}
	}
	s.i = len(s.s)
	return "", s.broken("string without an end")
}

// escaped is text for a string whose first escape is at i.
func (s *scanner) escaped(start, i int) (string, *FieldError) {
	end := i
	for end < len(s.s) && s.s[end] != '"' {
		if s.s[end] == '\\' {
			end++
		}
		end++
	}
	if end >= len(s.s) {
		s.i = len(s.s)
		return "", s.broken("string without an end")
	}
	var b strings.Builder
	b.Grow(end - start) // What an escape stands for is never longer than the escape.
	b.WriteString(s.s[start:i])
	for s.i = i; s.i < end; {
		c := s.s[s.i]
		if c == '\\' {
			r, err := s.escape()
			if err != nil {
				return "", err
			}
			b.WriteRune(r)
			continue
		}
		if special[c] {
			if err := s.control(s.i); err != nil {
				return "", err
			}
		}
		b.WriteByte(c)
		s.i++
	}
	s.i = end + 1
	return b.String(), nil
}

// escape reads one escape, or the two of a surrogate pair.
func (s *scanner) escape() (rune, *FieldError) {
	at := s.i
	s.i += 2 // The caller has seen that something follows the backslash.
	switch c := s.s[at+1]; c {
	case '"', '\\', '/':
		return rune(c), nil
	case 'n':
		return '\n', nil
	case 'r':
		return '\r', nil
	case 't':
		return '\t', nil
	case 'b':
		return '\b', s.forbidden('\b', at)
	case 'f':
		return '\f', s.forbidden('\f', at)
	case 'u':
		return s.unicode(at)
	default:
		s.i = at
		return 0, s.broken("unknown escape")
	}
}

// unicode reads the rest of the \u escape that began at byte at.
func (s *scanner) unicode(at int) (rune, *FieldError) {
	r, ok := s.hex()
	if !ok {
		s.i = at
		return 0, s.broken(`four hex digits must follow \u`)
	}
	if !utf16.IsSurrogate(r) {
		return r, s.forbidden(r, at)
	}
	if strings.HasPrefix(s.s[s.i:], `\u`) {
		low := s.i
		s.i += 2
		if second, ok := s.hex(); ok {
			if pair := utf16.DecodeRune(r, second); pair != utf8.RuneError {
				return pair, nil
			}
		}
		s.i = low
	}
	if s.lenient {
		return utf8.RuneError, nil
	}
	return 0, s.fault(at, "lone surrogate")
}

func (s *scanner) hex() (rune, bool) {
	if len(s.s)-s.i < 4 {
		return 0, false
	}
	var r rune
	for range 4 {
		c := s.s[s.i]
		switch {
		case '0' <= c && c <= '9':
			r = r<<4 | rune(c-'0')
		case 'a' <= c|0x20 && c|0x20 <= 'f':
			r = r<<4 | rune(c|0x20-'a'+10)
		default:
			return 0, false
		}
		s.i++
	}
	return r, true
}

// control refuses the character at i if it is a control character.
func (s *scanner) control(i int) *FieldError {
	c := rune(s.s[i])
	switch {
	case s.lenient:
		return nil
	case c == 0xC2:
		if i+1 >= len(s.s) || s.s[i+1] >= 0xA0 {
			return nil
		}
		return s.forbidden(rune(s.s[i+1]), i) // U+0080 to U+009F is 0xC2 and the code point itself.
	case c == '\n', c == '\r', c == '\t':
		return s.fault(i, "not JSON: line break or tab in a string, must be written as an escape,")
	default:
		return s.forbidden(c, i)
	}
}

// forbidden refuses r if it is a control character that a packet may not hold in any form.
func (s *scanner) forbidden(r rune, at int) *FieldError {
	if s.lenient || !isForbidden(r) {
		return nil
	}
	return s.fault(at, fmt.Sprintf("control character %U", r))
}

// isForbidden is unicode.IsControl, of which Unicode promises that it will never grow, without tab and line breaks.
func isForbidden(r rune) bool {
	return r < 0x20 && r != '\t' && r != '\n' && r != '\r' || 0x7F <= r && r <= 0x9F
}

// number reads a number and returns its digits as they stand.
func (s *scanner) number() (string, *FieldError) {
	start := s.i
	if s.peek() == '-' {
		s.i++
	}
	if s.peek() == '0' {
		s.i++ // A zero stands alone: a digit after it is what the caller trips over.
	} else if !s.digits() {
		return "", s.broken("a digit must stand here")
	}
	if s.peek() == '.' {
		s.i++
		if !s.digits() {
			return "", s.broken("a digit must stand here")
		}
	}
	if c := s.peek(); c == 'e' || c == 'E' {
		s.i++
		if c := s.peek(); c == '+' || c == '-' {
			s.i++
		}
		if !s.digits() {
			return "", s.broken("a digit must stand here")
		}
	}
	return s.s[start:s.i], nil
}

func (s *scanner) digits() bool {
	start := s.i
	for c := s.peek(); '0' <= c && c <= '9'; c = s.peek() {
		s.i++
	}
	return s.i > start
}

// isNumber reports whether s is a JSON number: the owner of a field that was one may have changed it since.
func isNumber(s string) bool {
	number := scanner{s: s}
	_, err := number.number()
	return err == nil && number.i == len(s)
}

// value reads any value and appends it in normal form: no white space, strings as raw UTF-8, numbers digit for digit. The normal form
// is never longer than what was read.
func (s *scanner) value(dst []byte, depth int) ([]byte, *FieldError) {
	switch c := s.peek(); {
	case c == '"':
		text, err := s.text()
		return appendString(dst, text), err
	case c == '{':
		return s.object(dst, depth)
	case c == '[':
		return s.array(dst, depth)
	case c == '-' || '0' <= c && c <= '9':
		digits, err := s.number()
		return append(dst, digits...), err
	}
	for _, word := range [...]string{"true", "false", "null"} {
		if strings.HasPrefix(s.s[s.i:], word) {
			s.i += len(word)
			return append(dst, word...), nil
		}
	}
	if s.i >= len(s.s) {
		return dst, s.broken("ends too early")
	}
	return dst, s.broken("a value must stand here")
}

func (s *scanner) object(dst []byte, depth int) ([]byte, *FieldError) {
	if err := s.open('{', "an object", depth); err != nil {
		return dst, err
	}
	dst = append(dst, '{')
	var others siblings
	for first := true; ; first = false {
		key, more, err := s.member(first)
		if err != nil {
			return dst, err
		}
		if !more {
			return append(dst, '}'), nil
		}
		if rule := others.add(key); rule != "" && !s.lenient {
			return dst, s.fault(s.key, rule)
		}
		if !first {
			dst = append(dst, ',')
		}
		dst = append(appendString(dst, key), ':')
		if dst, err = s.value(dst, depth+1); err != nil {
			return dst, err
		}
	}
}

func (s *scanner) array(dst []byte, depth int) ([]byte, *FieldError) {
	if err := s.open('[', "an array", depth); err != nil {
		return dst, err
	}
	dst = append(dst, '[')
	for first := true; ; first = false {
		more, err := s.step(first, ']')
		if err != nil {
			return dst, err
		}
		if !more {
			return append(dst, ']'), nil
		}
		if !first {
			dst = append(dst, ',')
		}
		if dst, err = s.value(dst, depth+1); err != nil {
			return dst, err
		}
	}
}
