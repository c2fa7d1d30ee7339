package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/ledger"
	"github.com/kefuhq/kefu/schema"
)

func newCancelCmd(c *cli) *cobra.Command {
	return &cobra.Command{
		Use:     "cancel ID",
		Short:   "Withdraw an intent: do not send it any more",
		GroupID: groupIntent,
		Long: `Withdraws an intent that is queued or waits for its time: workers do not send it when its turn comes, and its receipt says
cancelled. A call that is under way just now cannot be taken back.

Exit code 1 when it has ended already, 3 when nothing is known of it.`,
		Example: `  kefu cancel order-4711-reminder`,
		Args:    arguments(1, 1, "ID"),
		RunE:    func(cmd *cobra.Command, args []string) error { return c.cancelIntent(cmd.Context(), args[0]) },
	}
}

// withdrawalKeep outlives the longest wait that an intent may have by default.
const withdrawalKeep = 30 * 24 * time.Hour

func (c *cli) cancelIntent(ctx context.Context, id string) error {
	conn, err := c.broker(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	apps, err := c.knownApps(ctx, conn)
	if err != nil {
		return err
	}
	var ended *whereabouts
	for _, app := range apps {
		w, err := locate(ctx, conn, app.AppID, id)
		if err != nil {
			return err
		}
		switch {
		case w.State == "":
		case w.State.Terminal():
			ended = &w
		default:
			return c.withdraw(ctx, conn, w)
		}
	}
	if ended != nil {
		return fmt.Errorf("%s has ended already: %s", id, ended.State)
	}
	return nothingf("nothing is known of %s: it was never accepted, or all traces of it have expired", id)
}

func (c *cli) withdraw(ctx context.Context, conn *broker.Conn, w whereabouts) error {
	if err := c.audit(ctx, conn, broker.AuditEntry{Verb: "cancel", AppID: w.AppID, Filter: "id=" + w.ID, Count: 1}); err != nil {
		return err
	}
	order := ledger.Withdrawal{Generation: max(w.Generation, 1), By: c.actor(), At: time.Now().UTC()}
	if err := ledger.Withdraw(ctx, conn, w.AppID, w.ID, order, withdrawalKeep); err != nil {
		return err
	}
	if c.format != formatTable {
		return c.value(struct {
			ID    string       `json:"id"`
			AppID string       `json:"appid"`
			Was   schema.State `json:"was"`
		}{w.ID, w.AppID, w.State})
	}
	if w.State == schema.InFlight {
		return c.printf("%s withdrawn; it is being sent just now, which cannot be taken back\n", w.ID)
	}
	return c.printf("%s withdrawn; it was %s and will not be sent\n", w.ID, w.State)
}
