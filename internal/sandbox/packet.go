package sandbox

import (
	"encoding/json"
	"strings"
)

// packet is what the sandbox wants to know of a message: whom it is for, of which type it is, and
// whether it is JSON at all.
type packet struct {
	ok      bool // one JSON object and nothing else
	escaped bool // a \u escape somewhere, which the real API is said to show to the user
	toUser  member
	msgType member
}

type member struct {
	kind kind
	text string
}

type kind uint8

const (
	absent kind = iota
	text
	notString // present, but not a string
)

// maxDepth is the nesting that encoding/json accepts; scanPacket accepts the very same documents.
const maxDepth = 10_000

// scanPacket reads the members touser and msgtype of a message. It walks the whole document once
// and checks its grammar on the way, since a search for `"touser":` would find it inside a text as
// well; but it builds nothing, which makes it several times cheaper than json.Unmarshal. Like
// there, the last of two equal names wins. A fuzz test holds the two against each other.
func scanPacket(s string) packet {
	sc := scanner{s: s}
	sc.space()
	if sc.peek() != '{' || !sc.object(1, true) {
		return packet{escaped: sc.p.escaped}
	}
	sc.space()
	sc.p.ok = sc.i == len(sc.s)
	return sc.p
}

type scanner struct {
	s string
	i int
	p packet
}

// peek returns the byte at hand, 0 at the end (which no rule of the grammar accepts, as NUL is none
// of its tokens).
func (sc *scanner) peek() byte {
	if sc.i < len(sc.s) {
		return sc.s[sc.i]
	}
	return 0
}

func (sc *scanner) space() {
	for sc.i < len(sc.s) {
		switch sc.s[sc.i] {
		case ' ', '\t', '\n', '\r':
			sc.i++
		default:
			return
		}
	}
}

func (sc *scanner) value(depth int) bool {
	switch c := sc.peek(); c {
	case '{':
		return sc.object(depth+1, false)
	case '[':
		return sc.array(depth + 1)
	case '"':
		_, ok := sc.str()
		return ok
	case 't':
		return sc.word("true")
	case 'f':
		return sc.word("false")
	case 'n':
		return sc.word("null")
	default:
		return sc.number()
	}
}

func (sc *scanner) object(depth int, top bool) bool {
	if depth > maxDepth {
		return false
	}
	sc.i++ // {
	sc.space()
	if sc.peek() == '}' {
		sc.i++
		return true
	}
	for {
		name, ok := sc.str()
		if !ok {
			return false
		}
		sc.space()
		if sc.peek() != ':' {
			return false
		}
		sc.i++
		sc.space()
		if !sc.member(name, depth, top) {
			return false
		}
		switch more, ok := sc.more('}'); {
		case !ok:
			return false
		case !more:
			return true
		}
	}
}

// member reads the value of one member and keeps it when it is one of the two wanted.
func (sc *scanner) member(name string, depth int, top bool) bool {
	if !top {
		return sc.value(depth)
	}
	var m *member
	switch unquote(name) {
	case "touser":
		m = &sc.p.toUser
	case "msgtype":
		m = &sc.p.msgType
	default:
		return sc.value(depth)
	}
	if sc.peek() != '"' {
		*m = member{kind: notString}
		return sc.value(depth)
	}
	raw, ok := sc.str()
	*m = member{kind: text, text: unquote(raw)}
	return ok
}

func (sc *scanner) array(depth int) bool {
	if depth > maxDepth {
		return false
	}
	sc.i++ // [
	sc.space()
	if sc.peek() == ']' {
		sc.i++
		return true
	}
	for {
		if !sc.value(depth) {
			return false
		}
		switch more, ok := sc.more(']'); {
		case !ok:
			return false
		case !more:
			return true
		}
	}
}

// more reads what stands behind an element: a comma, or the closing byte.
func (sc *scanner) more(closing byte) (more, ok bool) {
	sc.space()
	switch sc.peek() {
	case ',':
		sc.i++
		sc.space()
		return true, true
	case closing:
		sc.i++
		return false, true
	}
	return false, false
}

// str reads a string and returns what stands between the quotes, escapes untouched.
func (sc *scanner) str() (raw string, ok bool) {
	if sc.peek() != '"' {
		return "", false
	}
	sc.i++
	start := sc.i
	for sc.i < len(sc.s) {
		switch c := sc.s[sc.i]; {
		case c == '"':
			sc.i++
			return sc.s[start : sc.i-1], true
		case c < 0x20:
			return "", false
		case c == '\\':
			if !sc.escape() {
				return "", false
			}
		default:
			sc.i++
		}
	}
	return "", false
}

func (sc *scanner) escape() bool {
	sc.i++ // backslash
	c := sc.peek()
	sc.i++
	switch c {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return true
	case 'u':
		sc.p.escaped = true
		for range 4 {
			if !isHex(sc.peek()) {
				return false
			}
			sc.i++
		}
		return true
	}
	return false
}

func isHex(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F'
}

func (sc *scanner) word(w string) bool {
	if !strings.HasPrefix(sc.s[sc.i:], w) {
		return false
	}
	sc.i += len(w)
	return true
}

func (sc *scanner) number() bool {
	if sc.peek() == '-' {
		sc.i++
	}
	if sc.peek() == '0' {
		sc.i++
	} else if !sc.digits() {
		return false
	}
	if sc.peek() == '.' {
		sc.i++
		if !sc.digits() {
			return false
		}
	}
	if c := sc.peek(); c == 'e' || c == 'E' {
		sc.i++
		if c := sc.peek(); c == '+' || c == '-' {
			sc.i++
		}
		return sc.digits()
	}
	return true
}

// digits reads one digit or more.
func (sc *scanner) digits() bool {
	start := sc.i
	for c := sc.peek(); '0' <= c && c <= '9'; c = sc.peek() {
		sc.i++
	}
	return sc.i > start
}

// unquote resolves escapes, which names and openids hardly ever have.
func unquote(raw string) string {
	if strings.IndexByte(raw, '\\') < 0 {
		return raw
	}
	var s string
	if json.Unmarshal([]byte(`"`+raw+`"`), &s) != nil {
		return raw
	}
	return s
}
