package app

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/kefuhq/kefu/internal/apps"
	"github.com/kefuhq/kefu/internal/cli"
	"github.com/kefuhq/kefu/internal/gate"
)

// heldFor returns by what an app is held, for how long, and when it is tried again.
func heldFor(holds []gate.Hold, now time.Time) string {
	if len(holds) == 0 {
		return "no"
	}
	parts := make([]string, len(holds))
	for i, h := range holds {
		parts[i] = fmt.Sprintf("%s for %s", h.Kind, cli.About(now.Sub(h.Since)))
		if h.Trying {
			parts[i] += ", being tried now"
		} else if next := apps.NextTry(h, now); next.After(now) {
			parts[i] += ", next try in " + cli.About(next.Sub(now))
		}
	}
	return strings.Join(parts, "; ")
}

// drawnBy names the intents whose answers drew a hold, the newest first.
func drawnBy(draws []gate.Refusal) string {
	const most = 5
	var names []string
	for _, d := range slices.Backward(draws[max(len(draws)-most, 0):]) {
		if d.Kind != "" {
			d.ID += " (" + d.Kind + ")"
		}
		names = append(names, d.ID)
	}
	if more := len(draws) - most; more > 0 {
		names = append(names, fmt.Sprintf("and %d more", more))
	}
	return strings.Join(names, ", ")
}
