package letter

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strings"

	"github.com/kefuhq/kefu/internal/wechat"
	"github.com/kefuhq/kefu/schema"
)

// remedy returns the command lines that do what kefu advises about a letter. One letter of several
// with its id is chosen by its generation.
func remedy(l *schema.Letter, several bool) []string {
	choice, flags := quoted(l.ID), "--id "+quoted(l.ID)
	if strings.HasPrefix(l.ID, "-") {
		choice = flags // as an argument it would be a flag
	}
	if several {
		generation := fmt.Sprint(" --generation ", l.Generation)
		choice, flags = choice+generation, flags+generation
	}
	export := "kefu dead export " + flags + " letter.ndjson"
	replay := "kefu dead replay " + choice
	switch l.Reason {
	case schema.ReasonInvalid:
		return corrected(l, export, choice)
	case schema.ReasonRejected:
		if l.Errcode == nil ||
			wechat.Explain(wechat.CallSend, *l.Errcode).Fault == wechat.FaultMessage {
			return corrected(l, export, choice)
		}
		replay += "   # when what it says is mended"
	case schema.ReasonExpired:
		replay += " --expires-in 1h"
	case schema.ReasonIDReuse:
		replay += " --new-ids"
	case schema.ReasonPoison:
		return []string{export}
	case schema.ReasonRecipient:
		replay += "   # when the user has written again"
	default:
		if l.PossibleDuplicate {
			replay += "   # when it is known that it did not arrive"
		}
	}
	return []string{replay}
}

// corrected returns the commands that send a packet with a change. One that is no packet at all is
// published anew.
func corrected(l *schema.Letter, export, choice string) []string {
	var packet struct {
		MsgType string `json:"msgtype"`
	}
	if json.Unmarshal(l.Packet(), &packet) == nil && plain.MatchString(packet.MsgType) {
		return []string{fmt.Sprintf("kefu dead replay %s --set /%s/…=…   # what corrects the packet",
			choice, packet.MsgType)}
	}
	publish := "kefu send --packet packet.json"
	if l.Campaign != "" {
		publish += " --campaign " + quoted(l.Campaign)
	}
	return []string{
		export, "jq -r .body letter.ndjson > packet.json   # and correct it", publish,
		"kefu dead discard " + choice,
	}
}

// plain is what a shell takes as it is.
var plain = regexp.MustCompile(`^[A-Za-z0-9_.:@%+,/=-]+$`)

// quoted returns an argument as a shell takes it.
func quoted(s string) string {
	if plain.MatchString(s) {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
