package dead

import (
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
	publish := "kefu send --packet packet.json"
	if l.Campaign != "" {
		publish += " --campaign " + quoted(l.Campaign)
	}
	corrected := []string{
		export, "jq -r .body letter.ndjson > packet.json   # and correct it", publish,
		"kefu dead discard " + choice,
	}
	replay := "kefu dead replay " + choice
	switch l.Reason {
	case schema.ReasonInvalid:
		return corrected
	case schema.ReasonRejected:
		if l.Errcode == nil ||
			wechat.Explain(wechat.CallSend, *l.Errcode).Fault == wechat.FaultMessage {
			return corrected
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

// plain is what a shell takes as it is.
var plain = regexp.MustCompile(`^[A-Za-z0-9_.:@%+,/=-]+$`)

// quoted returns an argument as a shell takes it.
func quoted(s string) string {
	if plain.MatchString(s) {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
