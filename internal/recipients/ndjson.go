package recipients

import (
	"bytes"
	"errors"
	"slices"
	"strings"

	"github.com/kefuhq/kefu/schema"
)

// object reads rows of NDJSON for a template.
type object struct {
	template *Template
	any      bool     // some row was an object
	met      []bool   // of the template's columns, which some row had
	raw      [][]byte // their values in this row as JSON; nil for those it has not
	openID   []byte   // the same of the recipient
	toUser   []byte
	values   [][]byte
	text     []byte // the memory of values that were escaped
}

func newObject(t *Template) *object {
	n := len(t.columns)
	return &object{template: t, met: make([]bool, n), raw: make([][]byte, n),
		values: make([][]byte, n)}
}

// render appends the packet for a row.
func (o *object) render(dst, line []byte) ([]byte, *schema.FieldError) {
	// The strict reading: no key twice, no lone surrogates. What it returns is in normal form.
	member, err := schema.NewMember("row", line)
	if err != nil {
		var broken *schema.FieldError
		if err = ownName(err); errors.As(err, &broken) {
			return dst, broken
		}
		return dst, &schema.FieldError{Field: "row", Rule: err.Error()}
	}
	if member.Value[0] != '{' {
		return dst, &schema.FieldError{Field: "row", Rule: "must be a JSON object"}
	}
	o.read(member.Value)
	openID, broken := o.recipient()
	if broken != nil {
		return dst, broken
	}
	for i, name := range o.template.columns {
		text, rule := o.textOf(o.raw[i])
		if rule == "" && len(bytes.TrimSpace(text)) == 0 {
			rule = emptyPlace
		}
		if rule != "" {
			return dst, &schema.FieldError{Field: name, Rule: rule}
		}
		o.values[i] = text
	}
	return o.template.render(dst, openID, o.values)
}

// read takes the values that matter from an object in normal form.
func (o *object) read(normal []byte) {
	clear(o.raw)
	o.any = true
	o.openID, o.toUser, o.text = nil, nil, o.text[:0]
	for rest := normal[1:]; rest[0] != '}'; {
		rest = bytes.TrimPrefix(rest, []byte(","))[1:]
		end := stringEnd(rest)
		name := string(rest[:end]) // no escapes in those that are looked for
		rest = rest[end+len(`":`):]
		size := valueSize(rest)
		if i := slices.Index(o.template.columns, name); i >= 0 {
			o.raw[i], o.met[i] = rest[:size], true
		}
		switch {
		case strings.EqualFold(name, columnOpenID):
			o.openID = rest[:size]
		case strings.EqualFold(name, columnToUser):
			o.toUser = rest[:size]
		}
		rest = rest[size:]
	}
}

// recipient returns the row's recipient, if the template wants to know it.
func (o *object) recipient() ([]byte, *schema.FieldError) {
	if o.template.toUser {
		return nil, nil
	}
	raw := o.openID
	if raw == nil {
		raw = o.toUser
	}
	text, rule := o.textOf(raw)
	if o.openID != nil && o.toUser != nil {
		rule = "given as openid and as touser"
	}
	if rule != "" {
		return nil, &schema.FieldError{Field: columnOpenID, Rule: rule}
	}
	return text, nil
}

// textOf is a value as text: a number digit for digit as it was written.
func (o *object) textOf(raw []byte) (text []byte, rule string) {
	switch {
	case raw == nil:
		return nil, "missing"
	case raw[0] == '{', raw[0] == '[', raw[0] == 'n':
		return nil, "must be a string, a number, true or false"
	case raw[0] != '"':
		return raw, ""
	}
	text = raw[1 : len(raw)-1]
	if bytes.IndexByte(text, '\\') < 0 {
		return text, ""
	}
	begin := len(o.text)
	for i := 0; i < len(text); i++ {
		c := text[i]
		if c == '\\' {
			i++
			c = text[i]
			if at := strings.IndexByte("nrt", c); at >= 0 {
				c = "\n\r\t"[at]
			}
		}
		o.text = append(o.text, c)
	}
	return o.text[begin:len(o.text):len(o.text)], ""
}

// valueSize is the size of the value in normal form that s begins with.
func valueSize(s []byte) int {
	depth := 0
	for i := 0; ; i++ {
		switch s[i] {
		case '"':
			i += 1 + stringEnd(s[i+1:])
		case '{', '[':
			depth++
		case '}', ']':
			if depth--; depth < 0 {
				return i // it was a number or a word
			}
		case ',':
			if depth == 0 {
				return i
			}
			continue
		default:
			continue
		}
		if depth == 0 {
			return i + 1
		}
	}
}
