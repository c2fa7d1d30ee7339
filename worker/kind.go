package worker

import (
	"encoding/json"
	"strings"
	"unicode"
)

// kindOf tells messages apart that WeChat may treat differently: the msgtype of
// a packet, and the kf_account that it names. "" when it cannot be read. Nothing
// else of the packet is checked.
func kindOf(packet []byte) string {
	var p struct {
		MsgType       string `json:"msgtype"`
		CustomService struct {
			KFAccount string `json:"kf_account"`
		} `json:"customservice"`
	}
	if json.Unmarshal(packet, &p) != nil {
		return ""
	}
	kind := strings.TrimSpace(p.MsgType + " " + p.CustomService.KFAccount)
	unprintable := func(r rune) bool { return !unicode.IsPrint(r) }
	if len(kind) > maxKind || strings.ContainsFunc(kind, unprintable) {
		return ""
	}
	return kind
}

// maxKind bounds a kind in bytes: it is stored with the hold and logged.
const maxKind = 160
