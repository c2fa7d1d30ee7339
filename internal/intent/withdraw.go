package intent

import (
	"context"
	"time"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/withdrawal"
	"github.com/kefuhq/kefu/schema"
)

// withdrawalRetention is how long an order is kept after the intent's time has come: longer than a
// queue is ever behind.
const withdrawalRetention = 30 * 24 * time.Hour

// Withdraw has the workers not send an intent any more, and writes that down.
func Withdraw(ctx context.Context, conn *broker.Conn, w Whereabouts, by string) error {
	err := conn.Audit(ctx, broker.AuditEntry{
		Actor: by, Verb: "cancel", AppID: w.AppID, Filter: "id=" + w.ID, Count: 1,
		Detail: "was " + string(w.State),
	})
	if err != nil {
		return err
	}
	now := time.Now().UTC()
	order := withdrawal.Order{Cancellation: schema.Cancellation{
		Generation: w.Generation, By: by, At: now,
	}}
	keep := withdrawalRetention + max(0, w.Until.Sub(now)) // a send-at may be years ahead
	return withdrawal.Write(ctx, conn, w.AppID, w.ID, order, keep)
}
