package recipients

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

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

// part is a piece of the packet: literal JSON, or the value of a column inside a string.
type part struct {
	literal string
	column  string
}

// recipient is the placeholder for the touser that a template without one gets. Braces cannot be in
// a placeholder's name, so it is no column's.
const recipient = "{recipient}"

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
		t.parts = append(t.parts, part{column: recipient})
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
func stringEnd(s string) int {
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
		t.parts = append(t.parts, part{column: name})
		if !t.uses(name) {
			t.columns = append(t.columns, name)
		}
		text = after
	}
}

func (t *Template) uses(column string) bool {
	for _, name := range t.columns {
		if name == column {
			return true
		}
	}
	return false
}

// literal adds JSON that is the same for all rows.
func (t *Template) literal(s string) {
	if s == "" {
		return
	}
	if n := len(t.parts); n > 0 && t.parts[n-1].column == "" {
		t.parts[n-1].literal += s
		return
	}
	t.parts = append(t.parts, part{literal: s})
}

// Columns are the names of the placeholders, each once.
func (t *Template) Columns() []string { return append([]string(nil), t.columns...) }

// Digest tells templates apart: the SHA-256 of the template's normal form in hexadecimal. White
// space does not count.
func (t *Template) Digest() string { return t.digest }

// Render appends the packet for one row to dst: always valid JSON with the template's structure,
// whatever the values are. openID is the row's recipient, used when the template has no touser.
// value gives a column's value, or the rule that it breaks.
//
// The error is a [*schema.FieldError] that names the column.
func (t *Template) Render(
	dst []byte, openID string, value func(column string) (text, rule string),
) ([]byte, error) {
	for _, p := range t.parts {
		switch p.column {
		case "":
			dst = append(dst, p.literal...)
			continue
		case recipient:
			if !utf8.ValidString(openID) {
				return dst, &schema.FieldError{Field: "touser", Rule: notUTF8}
			}
			dst = appendEscaped(dst, openID)
			continue
		}
		text, rule := value(p.column)
		if rule == "" && !utf8.ValidString(text) {
			rule = notUTF8
		}
		if rule != "" {
			return dst, &schema.FieldError{Field: p.column, Rule: rule}
		}
		dst = appendEscaped(dst, text)
		if len(dst) > maxRow {
			return dst, &schema.FieldError{Field: "packet",
				Rule: fmt.Sprintf("larger than %d bytes", schema.MaxPacket)}
		}
	}
	return dst, nil
}

const notUTF8 = "must be UTF-8"

// appendEscaped appends s as it stands between the quotes of a JSON string. Nothing but what must
// be is escaped: the API shows \u escapes to users. Control characters are escaped to keep the JSON
// valid; schema.Decode refuses the row for them.
func appendEscaped(dst []byte, s string) []byte {
	const hexDigits = "0123456789abcdef"
	for i := range len(s) {
		switch c := s[i]; {
		case c == '"' || c == '\\':
			dst = append(dst, '\\', c)
		case c == '\n':
			dst = append(dst, '\\', 'n')
		case c == '\r':
			dst = append(dst, '\\', 'r')
		case c == '\t':
			dst = append(dst, '\\', 't')
		case c < ' ':
			dst = append(dst, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
		default:
			dst = append(dst, c)
		}
	}
	return dst
}
