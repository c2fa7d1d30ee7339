package wechat

import (
	"fmt"
	"io"
	"log/slog"
)

const (
	redacted  = "[redacted]"
	emptyText = "[empty]"
)

// Secret is a text that must not be seen: an access token or an AppSecret. However it is printed,
// logged or marshalled it shows "[redacted]" (or "[empty]"); only Reveal gives it away. The zero
// value is the empty secret.
//
// Compare with Equal: Secrets cannot be compared with ==.
type Secret struct {
	_ [0]func() // refuses ==, which would compare pointers
	// The text sits behind a pointer because fmt cannot call methods on a Secret in somebody's
	// unexported field: there it prints the raw struct, and a pointer prints as an address.
	text *string
}

// NewSecret wraps text.
func NewSecret(text string) Secret {
	if text == "" {
		return Secret{}
	}
	return Secret{text: &text}
}

// Reveal returns the text itself. The only callers are those that put it into a request or remove
// it from a text.
func (s Secret) Reveal() string {
	if s.text == nil {
		return ""
	}
	return *s.text
}

// Empty reports whether there is no text.
func (s Secret) Empty() bool { return s.text == nil }

// Equal reports whether both hold the same text. It is not constant-time: no attacker chooses
// either side.
func (s Secret) Equal(other Secret) bool {
	return s.text == other.text || s.Reveal() == other.Reveal()
}

// same reports whether both are copies of one NewSecret.
func (s Secret) same(other Secret) bool { return s.text == other.text }

// String returns "[redacted]", or "[empty]" when there is nothing to hide.
func (s Secret) String() string {
	if s.Empty() {
		return emptyText
	}
	return redacted
}

// GoString is String, for %#v.
func (s Secret) GoString() string { return s.String() }

// Format is String for every verb, so that not even %x or %d shows the text.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, s.String()) }

// MarshalJSON returns String as a JSON string.
func (s Secret) MarshalJSON() ([]byte, error) { return []byte(`"` + s.String() + `"`), nil }

// MarshalText returns String.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// LogValue returns String, for slog.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }
