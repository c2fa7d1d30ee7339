package recipients

import (
	"encoding/json"
	"errors"
	"strings"

	"github.com/kefuhq/kefu/schema"
)

// object reads rows of NDJSON for a template.
type object struct {
	template *Template
	met      []bool // of the template's columns, which some row had
	openID   []byte
	values   [][]byte
}

func newObject(t *Template) *object {
	return &object{template: t, met: make([]bool, len(t.columns)),
		values: make([][]byte, len(t.columns))}
}

// render appends the packet for a row.
func (o *object) render(dst, line []byte) ([]byte, *schema.FieldError) {
	// The strict reading: encoding/json would take the last of two equal keys and mangle lone
	// surrogates.
	member, err := schema.NewMember("row", line)
	if err != nil {
		var broken *schema.FieldError
		if err = ownName(err); errors.As(err, &broken) {
			return dst, broken
		}
		return dst, &schema.FieldError{Field: "row", Rule: err.Error()}
	}
	var columns map[string]json.RawMessage
	if err := json.Unmarshal(member.Value, &columns); err != nil || columns == nil {
		return dst, &schema.FieldError{Field: "row", Rule: "must be a JSON object"}
	}
	for i, name := range o.template.columns {
		_, ok := columns[name]
		o.met[i] = o.met[i] || ok
	}
	o.openID = nil
	if !o.template.toUser {
		openID, rule := recipientOf(columns)
		if rule != "" {
			return dst, &schema.FieldError{Field: columnOpenID, Rule: rule}
		}
		o.openID = []byte(openID)
	}
	for i, name := range o.template.columns {
		text, rule := columnText(columns, name)
		if rule == "" && strings.TrimSpace(text) == "" {
			rule = emptyPlace
		}
		if rule != "" {
			return dst, &schema.FieldError{Field: name, Rule: rule}
		}
		o.values[i] = []byte(text)
	}
	return o.template.render(dst, o.openID, o.values)
}

func recipientOf(columns map[string]json.RawMessage) (openID, rule string) {
	_, one := columns[columnOpenID]
	_, other := columns[columnToUser]
	switch {
	case one && other:
		return "", "given as openid and as touser"
	case other:
		return columnText(columns, columnToUser)
	default:
		return columnText(columns, columnOpenID)
	}
}

// columnText is a value as text: a number digit for digit as it was written.
func columnText(columns map[string]json.RawMessage, name string) (text, rule string) {
	raw, ok := columns[name]
	if !ok {
		return "", "missing"
	}
	switch raw[0] {
	case '{', '[', 'n':
		return "", "must be a string, a number, true or false"
	case '"':
		if err := json.Unmarshal(raw, &text); err != nil {
			return "", "must be a string"
		}
		return text, ""
	default:
		return string(raw), ""
	}
}
