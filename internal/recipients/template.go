package recipients

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/kefuhq/kefu/internal/textfile"
	"github.com/kefuhq/kefu/schema"
)

// Template is a packet with placeholders, {{name}}, inside its strings. A placeholder stands for
// the row's column of that name.
type Template struct {
	parts   []part
	columns []string // every placeholder's name once, in the order of their first use
	digest  string
	toUser  bool // the template says itself where the touser comes from
}

// part is a piece of the packet: literal JSON, and behind it the value of a column inside a string.
type part struct {
	literal string
	column  int // an index of Template.columns, or one of the following
}

const (
	nothing   = -1 // no value follows
	recipient = -2 // the touser that a template without one gets
)

// ParseTemplate reads the text of a template file: a JSON object by the rules of a packet (no key
// twice, no control characters, at most [schema.MaxPacket] bytes) whose strings may hold {{name}},
// blanks around the name allowed. Keys and values other than strings cannot hold any. A touser that
// is the same for all is refused; a template without a touser gets the row's recipient.
//
// The template is not a valid packet yet: that depends on the rows. The error names a field or a
// placeholder and no value.
func ParseTemplate(raw []byte) (*Template, error) {
	raw = textfile.Trim(raw)
	if len(raw) > schema.MaxPacket {
		return nil, fmt.Errorf("template: %d bytes, at most %d", len(raw), schema.MaxPacket)
	}
	// The normal form has no white space, and no escapes in strings but \" \\ \n \r \t.
	member, err := schema.NewMember("template", raw)
	if err != nil {
		return nil, fmt.Errorf("template: %w (placeholders stand inside strings: \"{{name}}\")",
			ownName(err))
	}
	normal := string(member.Value)
	var top map[string]json.RawMessage
	if err := json.Unmarshal(member.Value, &top); err != nil || len(top) == 0 {
		return nil, errors.New("template: must be a JSON object, the packet")
	}
	sum := sha256.Sum256(member.Value)
	t := &Template{digest: hex.EncodeToString(sum[:])}
	var toUser json.RawMessage
	if toUser, t.toUser = top["touser"]; t.toUser {
		if !strings.Contains(string(toUser), "{{") {
			return nil, errors.New("template: touser is the same for every row: leave it out, " +
				"or put a placeholder there")
		}
	} else {
		t.literal(`{"touser":"`)
		t.place(recipient)
		t.literal(`",`)
		normal = normal[1:]
	}
	if err := t.compile(normal); err != nil {
		return nil, err
	}
	return t, nil
}

// ownName takes the name of NewMember's value off a field.
func ownName(err error) error {
	var broken *schema.FieldError
	if !errors.As(err, &broken) {
		return err
	}
	field := strings.TrimPrefix(strings.TrimPrefix(broken.Field, "value"), ".")
	if field == "" {
		return errors.New(broken.Rule)
	}
	return &schema.FieldError{Field: field, Rule: broken.Rule}
}

// compile takes JSON in normal form apart.
func (t *Template) compile(normal string) error {
	for len(normal) > 0 {
		start := strings.IndexByte(normal, '"')
		if start < 0 {
			break
		}
		t.literal(normal[:start+1])
		normal = normal[start+1:]
		end := stringEnd(normal)
		text := normal[:end]
		normal = normal[end:] // begins with the closing quote
		isKey := strings.HasPrefix(normal, `":`)
		if isKey && strings.Contains(text, "{{") {
			return errors.New("template: a placeholder cannot stand in the name of a field")
		}
		if err := t.compileText(text); err != nil {
			return err
		}
		t.literal(`"`)
		normal = normal[1:]
	}
	t.literal(normal)
	return nil
}

// stringEnd is where the quote is that ends a string in normal form.
func stringEnd[T string | []byte](s T) int {
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case '"':
			return i
		}
	}
	return len(s) // not in valid JSON
}

// compileText takes the inside of a string apart.
func (t *Template) compileText(text string) error {
	for {
		before, rest, found := strings.Cut(text, "{{")
		t.literal(before)
		if !found {
			return nil
		}
		name, after, ended := strings.Cut(rest, "}}")
		name = strings.TrimSpace(name)
		switch {
		case !ended:
			return errors.New("template: a placeholder begins with {{ and does not end with }}")
		case name == "":
			return errors.New("template: a placeholder has no name")
		case strings.ContainsAny(name, `{}"\`):
			return errors.New(
				"template: the name of a placeholder holds a brace, a quote or a backslash")
		}
		column := slices.Index(t.columns, name)
		if column < 0 {
			column = len(t.columns)
			t.columns = append(t.columns, name)
		}
		t.place(column)
		text = after
	}
}

// literal adds JSON that is the same for all rows.
func (t *Template) literal(s string) {
	if n := len(t.parts); n > 0 && t.parts[n-1].column == nothing {
		t.parts[n-1].literal += s
		return
	}
	t.parts = append(t.parts, part{literal: s, column: nothing})
}

// place adds the value of a column.
func (t *Template) place(column int) {
	t.literal("")
	t.parts[len(t.parts)-1].column = column
}

// Digest tells templates apart: the SHA-256 of the template's normal form in hexadecimal. White
// space does not count.
func (t *Template) Digest() string { return t.digest }

// render appends the packet for one row to dst: always JSON with the template's structure, whatever
// the values are. openID is the row's recipient, used when the template has no touser; values are
// those of the columns. All must be valid UTF-8.
func (t *Template) render(
	dst, openID []byte, values [][]byte,
) ([]byte, *schema.FieldError) {
	begin := len(dst)
	for _, p := range t.parts {
		dst = append(dst, p.literal...)
		if p.column == nothing {
			continue
		}
		value := openID
		if p.column >= 0 {
			value = values[p.column]
		}
		if len(dst)-begin+len(value) > schema.MaxPacket {
			return dst[:begin], &schema.FieldError{Field: "packet",
				Rule: fmt.Sprintf("larger than %d bytes", schema.MaxPacket)}
		}
		dst = appendEscaped(dst, value)
	}
	return dst, nil
}

// appendEscaped appends s as it stands between the quotes of a JSON string. Nothing but what must
// be is escaped: the API shows \u escapes to users. Control characters are escaped to keep the JSON
// valid; schema.Decode refuses the row for them.
func appendEscaped(dst, s []byte) []byte {
	const hexDigits = "0123456789abcdef"
	begin := 0
	for i, c := range s {
		if c >= ' ' && c != '"' && c != '\\' {
			continue
		}
		dst = append(dst, s[begin:i]...)
		begin = i + 1
		switch c {
		case '"', '\\':
			dst = append(dst, '\\', c)
		case '\n':
			dst = append(dst, '\\', 'n')
		case '\r':
			dst = append(dst, '\\', 'r')
		case '\t':
			dst = append(dst, '\\', 't')
		default:
			dst = append(dst, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
		}
	}
	return append(dst, s[begin:]...)
}
