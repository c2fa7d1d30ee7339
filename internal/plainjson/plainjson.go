// Package plainjson writes JSON without the escapes that encoding/json makes for HTML: < stays <.
// WeChat's API takes \u003c in a text for these six characters, and people read what is stored.
package plainjson

import (
	"bytes"
	"encoding/json"
	"io"
)

// NewEncoder returns an encoder that writes to w.
func NewEncoder(w io.Writer) *json.Encoder {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	return e
}

// Marshal returns v as JSON on one line, without a line feed.
func Marshal(v any) ([]byte, error) {
	var b bytes.Buffer
	err := NewEncoder(&b).Encode(v)
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), err
}
