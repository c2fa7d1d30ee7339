package worker

import (
	"encoding/json"
	"strconv"
	"time"

	"github.com/kefuhq/kefu/schema"
)

// appendReceipt writes a receipt as encoding/json would, for the usual case
// (strings that need no escape): there is one for each intent, and reflection
// would be a tenth of what the worker does for it.
func appendReceipt(b []byte, r *schema.Receipt) ([]byte, error) {
	if r.Errcode != nil || r.Errmsg != "" || r.RID != "" || !plain(r.ID) || !plain(r.Source) {
		rest, err := json.Marshal(r)
		return append(b, rest...), err
	}
	b = append(b, `{"id":"`...)
	b = append(b, r.ID...)
	b = append(b, `","appid":"`...)
	b = append(b, r.AppID...)
	b = append(b, `","generation":`...)
	b = strconv.AppendInt(b, int64(r.Generation), 10)
	b = append(b, `,"state":"`...)
	b = append(b, r.State...)
	b = append(b, `","lane":"`...)
	b = append(b, r.Lane...)
	if r.Campaign != "" {
		b = append(b, `","campaign":"`...)
		b = append(b, r.Campaign...)
	}
	if r.Source != "" {
		b = append(b, `","source":"`...)
		b = append(b, r.Source...)
	}
	if r.Reason != "" {
		b = append(b, `","reason":"`...)
		b = append(b, r.Reason...)
	}
	b = append(b, `","attempts":`...)
	b = strconv.AppendInt(b, int64(r.Attempts), 10)
	if r.PossibleDuplicate {
		b = append(b, `,"possible_duplicate":true`...)
	}
	b = append(b, `,"published_at":"`...)
	b = r.PublishedAt.AppendFormat(b, time.RFC3339Nano)
	b = append(b, `","settled_at":"`...)
	b = r.SettledAt.AppendFormat(b, time.RFC3339Nano)
	return append(b, `"}`...), nil
}

// plain says whether a string stands in JSON as it is.
func plain(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < 0x20 || c > 0x7e || c == '"' || c == '\\' || c == '<' || c == '>' || c == '&' {
			return false
		}
	}
	return true
}
