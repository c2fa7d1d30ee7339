package intent

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/kefuhq/kefu/internal/apps"
	"github.com/kefuhq/kefu/internal/cli"
	"github.com/kefuhq/kefu/internal/intent"
	"github.com/kefuhq/kefu/schema"
)

// cancel is `kefu cancel`.
type cancel struct {
	streams  *cli.Streams
	settings *cli.Settings
	broker   *cli.Broker
}

// NewCancel returns `kefu cancel`.
func NewCancel(env *cli.Env) *cobra.Command {
	c := &cancel{env.Streams, env.Settings, env.Broker}
	return &cobra.Command{
		Use:     "cancel ID",
		Short:   "Withdraw an intent: do not send it any more",
		GroupID: cli.GroupIntent,
		Long: `Withdraws an intent that is queued or waits for its time: workers do not send it when
its turn comes, and its receipt says cancelled. A call that is under way just now cannot be taken
back, but it is not tried again.

Exit code 1 when it has ended already, 3 when nothing is known of it.`,
		Example: `  kefu cancel order-4711-reminder
  kefu cancel order-4711-reminder --app wx0000000000000001`,
		Args: cli.Args(1, 1, "ID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.run(cmd.Context(), args[0])
		},
	}
}

func (c *cancel) run(ctx context.Context, id string) error {
	conn, known, err := c.broker.ConnectApps(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	found, err := intent.Find(ctx, conn, apps.Places(known), id)
	if err != nil {
		return err
	}
	w, err := openIntent(found, id)
	if err != nil {
		return err
	}
	if !w.Withdrawn {
		if err := intent.Withdraw(ctx, conn, w, c.settings.Actor()); err != nil {
			return err
		}
	}
	return c.streams.Answer(Cancelled{w.ID, w.AppID, w.Generation, w.State, w.Withdrawn},
		"%s\n", cli.Clean(afterCancel(w)))
}

// Cancelled is the answer as JSON.
type Cancelled struct {
	ID         string       `json:"id"`
	AppID      string       `json:"appid"`
	Generation int          `json:"generation"`
	Was        schema.State `json:"was"` // in_flight: this attempt may still arrive
	Before     bool         `json:"withdrawn_before,omitempty"`
}

// openIntent returns the intent that has not ended. One that has is no mistake of whoever asks, but
// nothing was done.
func openIntent(found []intent.Whereabouts, id string) (intent.Whereabouts, error) {
	var open []intent.Whereabouts
	for _, w := range found {
		if !w.State.Terminal() {
			open = append(open, w)
		}
	}
	switch {
	case len(open) == 1:
		return open[0], nil
	case len(open) > 1:
		return intent.Whereabouts{},
			cli.Usagef("several apps have an intent %q: name one with --app", id)
	case len(found) == 0:
		return intent.Whereabouts{}, unknownIntent(id)
	}
	return intent.Whereabouts{}, errors.New(tooLate(found[0]))
}

// tooLate returns why there is nothing to cancel.
func tooLate(w intent.Whereabouts) string {
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
	return fmt.Sprintf("%q is dead already%s: it is not sent unless somebody replays it", w.ID,
		reason)
}

func afterCancel(w intent.Whereabouts) string {
	switch {
	case w.Withdrawn:
		return fmt.Sprintf("%q was withdrawn already, by %s: it will not be sent", w.ID,
			w.WithdrawnBy)
	case w.State == schema.StateInFlight:
		return fmt.Sprintf("%q is withdrawn. It is being sent just now, "+
			"which cannot be taken back; it will not be tried again", w.ID)
	case w.State == schema.StateWaiting && !w.Until.IsZero():
		return fmt.Sprintf("%q is withdrawn. It was waiting until %s and will not be sent", w.ID,
			cli.Moment(w.Until))
	}
	return fmt.Sprintf("%q is withdrawn. It was %s and will not be sent", w.ID, w.State)
}
