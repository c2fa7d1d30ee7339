package wire

import (
	"bytes"
	"maps"
	"slices"
	"unicode/utf8"

	"github.com/kefuhq/kefu/schema"
)

// SetPacket stores the payload of a message in its letter: as text when it is valid UTF-8, else as
// base64, because JSON text would turn other bytes into U+FFFD for good. [schema.Letter.Packet]
// gives it back.
func SetPacket(l *schema.Letter, packet []byte) {
	l.Body, l.BodyBase64 = "", nil
	if utf8.Valid(packet) {
		l.Body = string(packet)
	} else {
		l.BodyBase64 = bytes.Clone(packet)
	}
}

// SetHeader stores the headers of a message in its letter: as text when name and values are valid
// UTF-8, else as base64, all values of one header together so that they keep their order.
// [schema.Letter.Header] gives them back.
func SetHeader(l *schema.Letter, h map[string][]string) {
	l.Headers, l.HeadersBase64 = nil, nil
	for _, name := range slices.Sorted(maps.Keys(h)) { // Sorted: the same letter is the same JSON.
		values := h[name]
		if isText(name, values) {
			if l.Headers == nil {
				l.Headers = make(map[string][]string, len(h))
			}
			l.Headers[name] = slices.Clone(values)
			continue
		}
		for _, value := range values {
			raw := schema.RawHeader{Name: []byte(name), Value: []byte(value)}
			l.HeadersBase64 = append(l.HeadersBase64, raw)
		}
	}
}

func isText(name string, values []string) bool {
	isBinary := func(value string) bool { return !utf8.ValidString(value) }
	return utf8.ValidString(name) && !slices.ContainsFunc(values, isBinary)
}
