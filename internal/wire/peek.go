package wire

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"

	"github.com/kefuhq/kefu/schema"
)

// PeekToUser returns the touser of a packet that [schema.Decode] may refuse, or "" when none can be
// found that might be an openid. It is for finding what is queued for a person and their letters:
// it forgives letter case, bad characters, and whatever is wrong after the touser.
func PeekToUser(packet []byte) string {
	d := json.NewDecoder(bytes.NewReader(withoutControls(packet)))
	if start, err := d.Token(); err != nil || start != json.Delim('{') {
		return ""
	}
	for d.More() {
		key, err := d.Token()
		if err != nil {
			return ""
		}
		if name, ok := key.(string); ok && strings.EqualFold(name, "touser") {
			return peekOpenID(d)
		}
		var skipped json.RawMessage
		if d.Decode(&skipped) != nil {
			return ""
		}
	}
	return ""
}

func peekOpenID(d *json.Decoder) string {
	var openid string
	if d.Decode(&openid) != nil || schema.CheckToken("touser", openid) != nil {
		return ""
	}
	return openid
}

// withoutControls returns the packet with blanks in place of control characters, at which
// encoding/json gives up when they stand in a string.
func withoutControls(packet []byte) []byte {
	isControl := func(c byte) bool { return c < ' ' }
	if !slices.ContainsFunc(packet, isControl) {
		return packet
	}
	clean := bytes.Clone(packet)
	for i, c := range clean {
		if isControl(c) {
			clean[i] = ' '
		}
	}
	return clean
}
