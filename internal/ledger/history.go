package ledger

import (
	"context"
	"strings"
	"time"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/schema"
)

// Event is one mark of a history, when it was made and by whom.
type Event struct {
	Time   time.Time
	Worker string
	Mark   Mark
}

// History reads the log for one intent, oldest first. It serves people who
// look for an intent; workers have the index.
func History(ctx context.Context, conn *broker.Conn, key Key) ([]Event, error) {
	var out []Event
	err := conn.Scan(ctx, schema.StreamLedger, broker.ScanOptions{}, func(s broker.Stored) error {
		if _, err := checkBatch(s.Data); err != nil {
			return nil // workers skip it as well
		}
		readBatch(s.Data, func(m Mark) {
			if m.Key == key {
				out = append(out, Event{Time: s.Time, Worker: strings.TrimPrefix(s.Subject, "kefu.ledger."), Mark: m})
			}
		})
		return nil
	})
	return out, err
}
