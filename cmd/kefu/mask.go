package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// maskOpenID shows enough of a recipient to tell two apart at a glance, and too little to write to: the first four characters and
// the last two.
func maskOpenID(openid string) string {
	const first, last = 4, 2
	if len(openid) <= first+last {
		return strings.Repeat("*", min(len(openid), 3))
	}
	return openid[:first] + "…" + openid[len(openid)-last:]
}

// masker takes the recipient and what is said to them out of what is shown. Revealed, it lets everything through.
type masker struct{ reveal bool }

func (m masker) openID(openid string) string {
	if m.reveal {
		return openid
	}
	return maskOpenID(openid)
}

// within masks a recipient wherever it stands in a text, such as a header.
func (m masker) within(s, openid string) string {
	const shortest = 8 // what is shorter may be a word of the text
	if m.reveal || len(openid) < shortest {
		return s
	}
	return strings.ReplaceAll(s, openid, maskOpenID(openid))
}

// subject masks the recipient that a subject ends with, however short it is.
func (m masker) subject(s, openid string) string {
	if m.reveal || openid == "" || !strings.HasSuffix(s, "."+openid) {
		return s
	}
	return strings.TrimSuffix(s, openid) + maskOpenID(openid)
}

// shown are the fields of a packet that say how a message is made and not what it says or to whom. Any other field is masked, those
// that nobody knows too.
var shown = []string{
	"msgtype", "media_id", "thumb_media_id", "card_id", "article_id", "kf_account", "is_ai_msg", "appid", "id",
}

// packet is a packet for people: indented, its fields in their order, and what is said to whom masked. What is no JSON is only measured.
func (m masker) packet(raw []byte) string {
	if !json.Valid(raw) {
		if m.reveal {
			return strings.ToValidUTF8(string(raw), "\ufffd")
		}
		return fmt.Sprintf("%d bytes that are no JSON", len(raw))
	}
	if !m.reveal {
		raw = m.masked(raw)
	}
	var out bytes.Buffer
	_ = json.Indent(&out, raw, "", "  ") // it is valid
	return out.String()
}

// masked copies valid JSON and masks the values in it.
func (m masker) masked(raw []byte) []byte {
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
	return fmt.Sprintf("(%s)", counted(utf8.RuneCountInString(s), "character"))
}

func writeJSON(out *bytes.Buffer, v any) {
	e := json.NewEncoder(out)
	e.SetEscapeHTML(false)
	_ = e.Encode(v) // a string, a bool or nil always can be
	out.Truncate(out.Len() - 1)
}

// counted is a number with its noun: "1 letter", "1,204 letters".
func counted(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return grouped(int64(n)) + " " + noun + "s"
}

// grouped writes a number with a comma between thousands.
func grouped(n int64) string {
	s := fmt.Sprint(n)
	digits := strings.TrimPrefix(s, "-")
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	if n < 0 {
		return "-" + digits
	}
	return digits
}
