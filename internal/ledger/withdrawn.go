package ledger

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/kefuhq/kefu/internal/broker"
)

// Withdrawn reads whether an intent was withdrawn and not met since. It serves
// people who look for an intent; workers have Withdrawals.
func Withdrawn(ctx context.Context, conn *broker.Conn, appID, id string) (Withdrawal, bool, error) {
	entries, err := conn.ReadState(ctx, cancelPrefix+appID+".")
	if err != nil {
		return Withdrawal{}, false, fmt.Errorf("withdrawals: %w", err)
	}
	key := cancelPrefix + cancelName(appID, KeyOf(appID, id))
	for _, e := range entries {
		if e.Key != key {
			continue
		}
		var v Withdrawal
		if err := json.Unmarshal(e.Value, &v); err != nil {
			return Withdrawal{}, false, fmt.Errorf("withdrawals: %s: %w", e.Key, err)
		}
		return v, true, nil
	}
	return Withdrawal{}, false, nil
}
