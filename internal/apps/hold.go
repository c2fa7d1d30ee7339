package apps

import (
	"strings"
	"time"

	"github.com/kefuhq/kefu/internal/gate"
	"github.com/kefuhq/kefu/internal/wechat"
)

// Why says why an app is held.
func Why(holds []gate.Hold) string {
	parts := make([]string, len(holds))
	for i, h := range holds {
		parts[i] = h.Reason
		if h.Kind == gate.Operator {
			parts[i] += " (" + h.By + ")"
		}
	}
	return strings.Join(parts, "; ")
}

// NextTry is when a held app is tried again with the messages that are queued for it: one of
// another kind than those that drew the hold is tried as soon as it comes.
func NextTry(h gate.Hold, now time.Time) time.Time {
	for _, at := range []time.Time{h.Until, h.AnotherAt} {
		if at.After(now) {
			return at
		}
	}
	return h.SameAt
}

// Advice is an operator's way out of a hold.
func Advice(holds []gate.Hold) string {
	var parts []string
	for _, h := range holds {
		parts = append(parts, advice(h))
	}
	return strings.Join(parts, "; ")
}

func advice(h gate.Hold) string {
	meaning := wechat.Explain(wechat.Call(h.Call), h.Errcode)
	switch {
	case h.Kind == gate.Operator:
		return "kefu app resume, when the time has come"
	case h.PerDay > 0:
		return "raise rate.per_day, if WeChat allows the app more; " +
			"it goes on by itself at Beijing's midnight"
	case len(h.Refusals) == 1 && h.Kind == gate.Config && h.Errcode != 0:
		return meaning.DoEn + " Only " + h.Refusals[0].ID +
			" drew it so far: the next message to somebody else tells whether it is about that one."
	case h.Errcode != 0:
		return meaning.DoEn
	case h.Kind == gate.Upstream:
		return "look at this machine's way to the API: DNS, routes, proxies; it goes on by itself"
	}
	return "mend what it says; it is tried again by itself, or at once with kefu app probe"
}
