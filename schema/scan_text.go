package schema

import (
	"fmt"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// special marks the bytes at which the reading of a string must pause. 0xC2 begins the C1 control
// characters, U+0080 to U+009F, and some others.
var special = func() (t [256]bool) {
	for c := range 0x20 {
		t[c] = true
	}
	t['"'], t['\\'], t[0x7F], t[0xC2] = true, true, true, true
	return t
}()

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
		s.i += 2
		if second, ok := s.hex(); ok {
			if pair := utf16.DecodeRune(r, second); pair != utf8.RuneError {
				return pair, nil
			}
		}
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
	switch c := s.s[i]; c {
	case 0xC2:
		if i+1 >= len(s.s) || s.s[i+1] >= 0xA0 {
			return nil
		}
		return s.forbidden(rune(s.s[i+1]), i) // U+0080 to U+009F is 0xC2 and the code point itself.
	case '\n', '\r', '\t':
		return s.fault(i, "not JSON: line break or tab in a string, must be written as an escape,")
	default:
		return s.forbidden(rune(c), i)
	}
}

// forbidden refuses r if it is a control character that a packet may not hold in any form.
func (s *scanner) forbidden(r rune, at int) *FieldError {
	if !isForbidden(r) {
		return nil
	}
	return s.fault(at, fmt.Sprintf("control character %U", r))
}

// isForbidden is unicode.IsControl, of which Unicode promises that it will never grow, without tab
// and line breaks.
func isForbidden(r rune) bool {
	return r < 0x20 && r != '\t' && r != '\n' && r != '\r' || 0x7F <= r && r <= 0x9F
}
