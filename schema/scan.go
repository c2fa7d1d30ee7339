package schema

import (
	"fmt"
	"strings"
)

// maxDepth is how deep objects and arrays may nest, the packet itself counted. The API's own
// packets have four.
const maxDepth = 32

// scanner reads JSON by the letter of RFC 8259 and a little stricter: no control characters but
// escaped \t \n \r, no lone surrogates, no duplicate keys, bounded depth. It works in one pass over
// valid UTF-8; strings without escapes are substrings of the input.
//
// We do not use encoding/json because it forgives what would reach a user mangled (it takes the
// last of two duplicate keys, matches keys in any letter case, turns lone surrogates into U+FFFD)
// and because this runs for each intent.
//
// Its methods return a *FieldError whose Field is relative to the value being read: each caller
// that knows a name puts it in front.
type scanner struct {
	s string
	i int // Where the next byte is.

	key int // Where the last key began.
}

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

// want tells whether the next value begins with the byte first; kind says in the error what was
// wanted.
func (s *scanner) want(first byte, kind string) *FieldError {
	switch c := s.peek(); {
	case c == first && s.i < len(s.s):
		return nil
	case s.atNull():
		return &FieldError{Rule: "null, must be " + kind}
	case strings.IndexByte(`{["-0123456789tfn`, c) >= 0:
		return &FieldError{Rule: "must be " + kind}
	case s.i >= len(s.s):
		return s.broken("ends too early")
	default:
		return s.broken("a value must stand here")
	}
}

const null = "null"

// atNull tells whether the next value is null.
func (s *scanner) atNull() bool { return strings.HasPrefix(s.s[s.i:], null) }

// null steps over the next value if it is null.
func (s *scanner) null() bool {
	if !s.atNull() {
		return false
	}
	s.i += len(null)
	return true
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

// member steps to the next value of an object and returns its key; more is false when the object
// has ended.
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

// step goes over the comma to the next member or element; more is false when the closing bracket
// has been read.
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

// isNumber reports whether s is a JSON number: the owner of a field that was one may have changed
// it since.
func isNumber(s string) bool {
	number := scanner{s: s}
	_, err := number.number()
	return err == nil && number.i == len(s)
}

// value reads any value and appends it in normal form: no white space, strings as raw UTF-8,
// numbers digit for digit. The normal form is never longer than what was read.
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
	for _, word := range [...]string{"true", "false", null} {
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
		if rule := others.add(key); rule != "" {
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
