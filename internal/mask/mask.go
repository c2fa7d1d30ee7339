// Package mask takes recipients, and what is said to them, out of what people are shown.
package mask

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/kefuhq/kefu/internal/plainjson"
)

// maskOpenID shows enough of a recipient to tell two apart at a glance, and too little to write to:
// the first four characters and the last two.
func maskOpenID(openid string) string {
	const first, last = 4, 2
	if len(openid) <= first+last {
		return strings.Repeat("*", min(len(openid), 3))
	}
	return openid[:first] + "…" + openid[len(openid)-last:]
}

// Mask takes the recipient and what is said to them out of what is shown. Revealed, it lets
// everything through.
type Mask struct{ Reveal bool }

// OpenID masks a recipient.
func (m Mask) OpenID(openid string) string {
	if m.Reveal {
		return openid
	}
	return maskOpenID(openid)
}

// Within masks a recipient wherever it stands in a text, such as a header.
func (m Mask) Within(s, openid string) string {
	const shortest = 8 // what is shorter may be a word of the text
	if m.Reveal || len(openid) < shortest {
		return s
	}
	return strings.ReplaceAll(s, openid, maskOpenID(openid))
}

// Subject masks the recipient that a subject ends with, however short it is.
func (m Mask) Subject(s, openid string) string {
	if m.Reveal || openid == "" || !strings.HasSuffix(s, "."+openid) {
		return s
	}
	return strings.TrimSuffix(s, openid) + maskOpenID(openid)
}

// shown are the fields of a packet that say how a message is made and not what it says or to whom.
// Any other field is masked, those that nobody knows too.
var shown = []string{
	"msgtype", "media_id", "thumb_media_id", "card_id", "article_id", "kf_account", "is_ai_msg",
	"appid", "id",
}

// Packet returns a packet for people: indented, its fields in their order, and what is said to whom
// masked. What is no JSON is only measured.
func (m Mask) Packet(raw []byte) string {
	if !json.Valid(raw) {
		if m.Reveal {
			return strings.ToValidUTF8(string(raw), "\ufffd")
		}
		return fmt.Sprintf("%d bytes that are no JSON", len(raw))
	}
	if !m.Reveal {
		raw = m.masked(raw)
	}
	var out bytes.Buffer
	_ = json.Indent(&out, raw, "", "  ") // it is valid
	return out.String()
}

// Recipient returns a valid packet as it is, on one line, but for whom it goes to: for who wrote
// what it says.
func (m Mask) Recipient(raw []byte, openid string) string {
	var out bytes.Buffer
	_ = json.Compact(&out, raw) // it is valid
	text, name := out.String(), `"touser":"`
	if begin := strings.Index(text, name+openid+`"`); begin >= 0 && !m.Reveal {
		begin += len(name)
		text = text[:begin] + maskOpenID(openid) + text[begin+len(openid):]
	}
	return m.Within(text, openid)
}

// masked copies valid JSON and masks the values in it.
func (m Mask) masked(raw []byte) []byte {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	var out bytes.Buffer
	_ = maskValue(&out, d, "") // it is valid
	return out.Bytes()
}

func maskValue(out *bytes.Buffer, d *json.Decoder, name string) error {
	token, err := d.Token()
	if err != nil {
		return err
	}
	switch v := token.(type) {
	case json.Delim:
		return maskMembers(out, d, v, name)
	case string:
		writeJSON(out, maskString(name, v))
	case json.Number:
		if slices.Contains(shown, name) {
			out.WriteString(v.String())
		} else {
			writeJSON(out, "(a number)")
		}
	default: // true, false and null tell nothing
		writeJSON(out, v)
	}
	return nil
}

func maskMembers(out *bytes.Buffer, d *json.Decoder, open json.Delim, name string) error {
	out.WriteString(open.String())
	for n := 0; d.More(); n++ {
		if n > 0 {
			out.WriteByte(',')
		}
		if open == '{' {
			key, err := d.Token()
			if err != nil {
				return err
			}
			name, _ = key.(string)
			writeJSON(out, name)
			out.WriteByte(':')
		}
		if err := maskValue(out, d, name); err != nil {
			return err
		}
	}
	end, err := d.Token()
	if err != nil {
		return err
	}
	_, err = fmt.Fprint(out, end)
	return err
}

func maskString(name, s string) string {
	switch {
	case name == "touser":
		return maskOpenID(s)
	case s == "" || slices.Contains(shown, name):
		return s
	}
	n, plural := utf8.RuneCountInString(s), "s"
	if n == 1 {
		plural = ""
	}
	return fmt.Sprintf("(%d character%s)", n, plural)
}

func writeJSON(out *bytes.Buffer, v any) {
	text, _ := plainjson.Marshal(v) // a string, a bool or nil always can be
	out.Write(text)
}
