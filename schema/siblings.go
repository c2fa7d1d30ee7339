package schema

import (
	"strings"
	"unicode"
)

// siblings are the keys met so far in one object. Two that are equal, or that differ only in letter
// case, make the meaning of a packet depend on who reads it: the API's parser takes the one, the
// next proxy the other.
//
// The first few are compared one by one, which allocates nothing; a crowd goes into a map, so that
// ten thousand keys (more do not fit into a packet) cost ten thousand steps and not fifty million.
type siblings struct {
	few   [8]string
	n     int
	crowd map[string]string // Folded key to key.
}

// add remembers key and returns the rule it breaks, "" when it is unlike all before.
func (s *siblings) add(key string) (rule string) {
	if s.n < len(s.few) {
		for _, other := range s.few[:s.n] {
			if strings.EqualFold(key, other) {
				return clash(key, other)
			}
		}
		s.few[s.n] = key
		s.n++
		return ""
	}
	if s.crowd == nil {
		s.crowd = make(map[string]string, 4*len(s.few))
		for _, other := range s.few {
			s.crowd[fold(other)] = other
		}
	}
	folded := fold(key)
	if other, met := s.crowd[folded]; met {
		return clash(key, other)
	}
	s.crowd[folded] = key
	return ""
}

// clash names no key: unknown keys are the producer's own and may hold anything.
func clash(key, other string) string {
	if key == other {
		return "duplicate key"
	}
	return "two keys that differ only in letter case"
}

// fold returns the one spelling shared by all strings that are strings.EqualFold to s.
func fold(s string) string {
	return strings.Map(func(r rune) rune {
		if 'A' <= r && r <= 'Z' {
			return r + 'a' - 'A'
		}
		if r < 0x80 && r != 'k' && r != 's' {
			// Of the ASCII letters only k and s have a relative beyond ASCII: the Kelvin sign and
			// the long s.
			return r
		}
		least := r
		for next := unicode.SimpleFold(r); next != r; next = unicode.SimpleFold(next) {
			least = min(least, next)
		}
		if 'A' <= least && least <= 'Z' {
			least += 'a' - 'A'
		}
		return least
	}, s)
}
