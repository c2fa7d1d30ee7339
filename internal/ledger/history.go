package ledger

import (
	"context"
	"time"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/wire"
)

// Event is one mark of a history, when it was made and by whom.
type Event struct {
	Time   time.Time
	Worker string
	Mark   Mark
}

// Histories reads the log once and returns the marks of each of some intents,
// oldest first. It serves people who look for an intent; workers have the
// index.
func Histories(ctx context.Context, conn *broker.Conn, keys ...Key) (map[Key][]Event, error) {
	out := make(map[Key][]Event, len(keys))
	for _, k := range keys {
		out[k] = nil
	}
	err := conn.Scan(ctx, wire.StreamLedger, broker.ScanOptions{}, func(s broker.Stored) error {
		if _, err := checkBatch(s.Data); err != nil {
			return nil // workers skip it as well
		}
		readBatch(s.Data, func(m Mark) {
			if events, wanted := out[m.Key]; wanted {
				worker := wire.LedgerWorker(s.Subject)
				out[m.Key] = append(events, Event{Time: s.Time, Worker: worker, Mark: m})
			}
		})
		return nil
	})
	return out, err
}

// History returns the marks of one intent, oldest first.
func History(ctx context.Context, conn *broker.Conn, key Key) ([]Event, error) {
	all, err := Histories(ctx, conn, key)
	return all[key], err
}
