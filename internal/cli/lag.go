package cli

import (
	"time"

	"github.com/kefuhq/kefu/internal/broker"
)

// Queued is a lag's number for people.
func Queued(l broker.Lag) string { return Grouped(int64(l.Queued)) }

// Age is for how long the first message of a lag has been there; empty when there is none.
func Age(l broker.Lag, now time.Time) string {
	if l.Oldest == nil {
		return ""
	}
	return About(max(now.Sub(*l.Oldest), 0))
}
