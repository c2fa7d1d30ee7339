package cli

import (
	"time"

	"github.com/kefuhq/kefu/internal/broker"
)

// Queued returns how many intents are queued, for people.
func Queued(l broker.Lag) string { return Grouped(int64(l.Queued)) }

// Age returns how long the oldest queued intent has waited; "" when there is none.
func Age(l broker.Lag, now time.Time) string {
	if l.Oldest == nil {
		return ""
	}
	return About(max(now.Sub(*l.Oldest), 0))
}
