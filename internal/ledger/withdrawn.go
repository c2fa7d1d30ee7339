package ledger

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/kefuhq/kefu/internal/broker"
)

// Withdrawn reads whether an intent was withdrawn and not met since. It serves
// people who look for an intent; workers have Withdrawals.
func Withdrawn(ctx context.Context, conn *broker.Conn, appID, id string) (Withdrawal, bool, error) {
	e, err := conn.LastState(ctx, cancelPrefix+cancelName(appID, KeyOf(appID, id)))
	if err != nil && !errors.Is(err, broker.ErrNoMessage) {
		return Withdrawal{}, false, fmt.Errorf("withdrawals: %w", err)
	}
	if err != nil || e.Deleted {
		return Withdrawal{}, false, nil
	}
	var v Withdrawal
	if err := json.Unmarshal(e.Value, &v); err != nil {
		return Withdrawal{}, false, fmt.Errorf("withdrawals: %s: %w", e.Key, err)
	}
	return v, true, nil
}
