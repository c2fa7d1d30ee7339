package campaign

import (
	"context"
	"fmt"

	"github.com/kefuhq/kefu/internal/broker"
)

// Withdraw removes what was uploaded of a campaign that is not ordered after all, and what Announce
// has written down of it. What it leaves, after an error, the next start removes.
func (p *Prospect) Withdraw(ctx context.Context, conn *broker.Conn, u *Upload) error {
	if err := u.Abandon(ctx); err != nil {
		return err
	}
	r := p.Record
	if p.Earlier || r.Upload != u.ID || !r.OrderedAt.IsZero() {
		return nil // there is more to the record
	}
	m := broker.DeleteJob(recordKey(r.AppID, r.Campaign))
	if _, err := conn.SaveAfter(ctx, m, p.seq); err != nil {
		return fmt.Errorf("remove the record of campaign %s: %w", r.Campaign, err)
	}
	return nil
}
