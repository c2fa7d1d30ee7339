package apps

import (
	"context"
	"slices"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/campaign"
	"github.com/kefuhq/kefu/internal/intent"
	"github.com/kefuhq/kefu/schema"
)

// OfRecipient lists what is known of one recipient, the oldest first: what is queued, waits or died,
// and what campaigns have sent or did not send any more. What was sent in conversation is not among
// it: nothing that is kept of it says to whom.
func OfRecipient(
	ctx context.Context, conn *broker.Conn, known []App, openID string,
) ([]intent.Pending, error) {
	rows, err := intent.OfRecipient(ctx, conn, Places(known), openID)
	if err != nil {
		return nil, err
	}
	ids := make([]string, len(known))
	for i, app := range known {
		ids[i] = app.AppID
	}
	addressed, err := campaign.ToPerson(ctx, conn, ids, openID)
	if err != nil {
		return nil, err
	}
	for _, a := range addressed {
		seen := func(p intent.Pending) bool { return p.AppID == a.AppID && p.ID == a.ID }
		if slices.ContainsFunc(rows, seen) {
			continue
		}
		rows = append(rows, intent.Pending{AppID: a.AppID, ID: a.ID, State: a.State,
			Lane: schema.LaneBulk, Why: "campaign " + a.Campaign, At: a.At})
	}
	slices.SortStableFunc(rows, func(a, b intent.Pending) int { return a.At.Compare(b.At) })
	return rows, nil
}
