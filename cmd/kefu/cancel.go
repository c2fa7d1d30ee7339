package main

import (
	"context"
	"errors"
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
cancelled. A call that is under way just now cannot be taken back, but it is not tried again.

Exit code 1 when it has ended already, 3 when nothing is known of it.`,
		Example: `  kefu cancel order-4711-reminder
  kefu cancel order-4711-reminder --app wx0000000000000001`,
		Args: arguments(1, 1, "ID"),
		RunE: func(cmd *cobra.Command, args []string) error { return c.cancelIntent(cmd.Context(), args[0]) },
	}
}

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
	found, err := locate(ctx, conn, apps, id)
	if err != nil {
		return err
	}
	w, err := theOneToCancel(found, id)
	if err != nil {
		return err
	}
	if !w.Withdrawn {
		if err := c.withdraw(ctx, conn, w); err != nil {
			return err
		}
	}
	if c.format != formatTable {
		return c.value(cancelled{w.ID, w.AppID, w.Generation, w.State, w.Withdrawn})
	}
	return c.printf("%s\n", clean(w.afterCancel()))
}

// cancelled is the answer as JSON.
type cancelled struct {
	ID         string       `json:"id"`
	AppID      string       `json:"appid"`
	Generation int          `json:"generation"`
	Was        schema.State `json:"was"` // in_flight: this attempt may still arrive
	Before     bool         `json:"withdrawn_before,omitempty"`
}

// theOneToCancel is the intent that has not ended. One that has is no mistake of whoever asks, but nothing was done.
func theOneToCancel(found []whereabouts, id string) (whereabouts, error) {
	var open []whereabouts
	for _, w := range found {
		if !w.State.Terminal() {
			open = append(open, w)
		}
	}
	switch {
	case len(open) == 1:
		return open[0], nil
	case len(open) > 1:
		return whereabouts{}, usagef("several apps have an intent %q: name one with --app", id)
	case len(found) == 0:
		return whereabouts{}, unknownIntent(id)
	}
	return whereabouts{}, errors.New(found[0].tooLate())
}

// tooLate says why there is nothing to cancel.
func (w whereabouts) tooLate() string {
	switch w.State {
	case schema.StateSent:
		return fmt.Sprintf("%q was sent already", w.ID)
	case schema.StateCancelled:
		return fmt.Sprintf("%q was cancelled already", w.ID)
	}
	reason := ""
	if w.Reason != "" {
		reason = " (" + string(w.Reason) + ")"
	}
	return fmt.Sprintf("%q is dead already%s: it is not sent unless somebody replays it", w.ID, reason)
}

func (w whereabouts) afterCancel() string {
	switch {
	case w.Withdrawn:
		return fmt.Sprintf("%q was withdrawn already, by %s: it will not be sent", w.ID, w.WithdrawnBy)
	case w.State == schema.StateInFlight:
		return fmt.Sprintf("%q is withdrawn. It is being sent just now, which cannot be taken back; it will not be tried again", w.ID)
	case w.State == schema.StateWaiting && !w.Until.IsZero():
		return fmt.Sprintf("%q is withdrawn. It was waiting until %s and will not be sent", w.ID, moment(w.Until))
	}
	return fmt.Sprintf("%q is withdrawn. It was %s and will not be sent", w.ID, w.State)
}

// withdrawalKeep is how long an order is kept after the intent's time has come: longer than a queue is ever behind.
const withdrawalKeep = 30 * 24 * time.Hour

func (c *cli) withdraw(ctx context.Context, conn *broker.Conn, w whereabouts) error {
	entry := broker.AuditEntry{Verb: "cancel", AppID: w.AppID, Filter: "id=" + w.ID, Count: 1, Detail: "was " + string(w.State)}
	if err := c.audit(ctx, conn, entry); err != nil {
		return err
	}
	now := time.Now().UTC()
	order := ledger.Withdrawal{Cancellation: schema.Cancellation{Generation: w.Generation, By: c.actor(), At: now}}
	keep := withdrawalKeep + max(0, w.Until.Sub(now)) // a send-at may be years ahead
	return ledger.Withdraw(ctx, conn, w.AppID, w.ID, order, keep)
}
