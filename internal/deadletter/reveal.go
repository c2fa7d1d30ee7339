package deadletter

import (
	"context"

	"github.com/kefuhq/kefu/internal/broker"
)

// Viewer is who is shown the recipients of letters, and by which command.
type Viewer struct {
	Actor   string
	Command string // such as "dead list"
}

// AuditReveal writes to the audit that a viewer is about to be shown n letters with their
// recipients. chosen says which: Words of a filter, or an id; "" for all.
func (b *Box) AuditReveal(ctx context.Context, v Viewer, appID, chosen string, n int) error {
	if n == 0 {
		return nil
	}
	if chosen == "" {
		chosen = "all"
	}
	return b.conn.Audit(ctx, broker.AuditEntry{
		Actor: v.Actor, Verb: "reveal", AppID: appID, Filter: v.Command + " " + chosen, Count: n,
		Detail: "recipients shown unmasked",
	})
}

// AuditRevealOf is AuditReveal for letters that a filter chose.
func (b *Box) AuditRevealOf(ctx context.Context, v Viewer, filter Filter, n int) error {
	pseudonyms, err := b.conn.Pseudonyms(ctx)
	if err != nil {
		return err
	}
	return b.AuditReveal(ctx, v, filter.AppID, filter.Words(pseudonyms), n)
}

// ListRevealed is ListPage for a viewer who is shown the recipients. The audit comes before the
// first letter: they are counted first, and no more than were written down are listed.
func (b *Box) ListRevealed(
	ctx context.Context, v Viewer, filter Filter, page Page, f func(Item) error,
) error {
	left := 0
	count := page
	count.NewestFirst = false
	err := b.ListPage(ctx, filter, count, func(Item) error { left++; return nil })
	if err != nil {
		return err
	}
	if err := b.AuditRevealOf(ctx, v, filter, left); err != nil {
		return err
	}
	return b.ListPage(ctx, filter, page, func(i Item) error {
		if left == 0 {
			return broker.ErrStopScan
		}
		left--
		return f(i)
	})
}
