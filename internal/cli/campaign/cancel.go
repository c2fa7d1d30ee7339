package campaign

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/campaign"
	"github.com/kefuhq/kefu/internal/cli"
	"github.com/kefuhq/kefu/internal/job"
	"github.com/kefuhq/kefu/internal/pause"
)

// cancelWait is for how long a cancel waits until nothing of the campaign is queued any more.
const cancelWait = 8 * time.Second

// newCancel is `kefu campaign cancel`.
func newCancel(v *verbs) *cobra.Command {
	return &cobra.Command{
		Use:   "cancel NAME",
		Short: "End a campaign; what was not sent never is",
		Long: `Ends a campaign for good: nothing of it is sent any more but what is in flight just then. What
was not sent counts as cancelled, with one receipt for all of it. That holds also for what is
published straight to the queue under this name, now and later: the name is spent. It asks first,
waits a few seconds until nothing of it is queued, and says how many were not sent. It is written to
the audit.

Exit codes: 1 when it has ended, 3 when there is no campaign of this name, 4 when some of it is
queued still.`,
		Example:           "  kefu campaign cancel double-11",
		Args:              cli.Args(1, 1, "NAME"),
		ValidArgsFunction: v.names,
		RunE: func(cmd *cobra.Command, args []string) error {
			return v.cancel(cmd.Context(), args[0])
		},
	}
}

func (v *verbs) cancel(ctx context.Context, name string) error {
	conn, app, err := v.open(ctx, name)
	if err != nil {
		return err
	}
	defer conn.Close()
	s, err := read(ctx, conn, app.AppID, name)
	switch {
	case err != nil:
		return err
	case s.State == campaign.StateCancelled && leftOf(s) == 0:
		return v.streams.Answer(s, "campaign %s was cancelled already: nothing was changed\n", name)
	case s.State == campaign.StateDone && s.Upload != "":
		return hasEnded(s)
	}
	if s.State != campaign.StateCancelled {
		if err := v.streams.Confirm(ctx, cancelQuestion(s)); err != nil {
			return err
		}
		err = campaign.Cancel(ctx, conn, app.AppID, name, v.settings.Actor())
	}
	if errors.Is(err, job.ErrFinal) {
		if s, err = read(ctx, conn, app.AppID, name); err == nil {
			return hasEnded(s)
		}
	}
	if err != nil {
		return err
	}
	if s, err = v.emptied(ctx, conn, s); err != nil {
		return fmt.Errorf("campaign %s is cancelled; what became of it: %w", name, err)
	}
	return v.cancelled(ctx, conn, s)
}

func cancelQuestion(s campaign.Status) string {
	if leftOf(s) == 0 {
		return fmt.Sprintf("Cancel campaign %s? Nothing of it is queued; what is published under "+
			"this name from now on is not sent.", s.Campaign)
	}
	return fmt.Sprintf("Cancel campaign %s? What has no end yet is never sent: %s of %s.",
		s.Campaign, cli.Grouped(int64(leftOf(s))),
		cli.Counted(s.Rows-s.Invalid-s.Repeated, "message"))
}

// emptied waits a while until nothing of a cancelled campaign is queued or in flight, and all of it
// is counted.
func (v *verbs) emptied(
	ctx context.Context, conn *broker.Conn, before campaign.Status,
) (campaign.Status, error) {
	name := before.Campaign
	panel := v.streams.Panel()
	defer panel.Clear()
	for end := time.Now().Add(cancelWait); ; {
		s, err := read(ctx, conn, before.AppID, name)
		if err != nil {
			return s, err
		}
		// What was published straight has as many rows as are queued or counted.
		empty := s.State == campaign.StateCancelled && leftOf(s) == 0 && s.Rows >= before.Rows
		if empty || time.Now().After(end) {
			return s, nil
		}
		panel.Draw(fmt.Sprintf("campaign %s is cancelled; %s queued, %s open", name,
			cli.Grouped(int64(s.Queued)), cli.Grouped(int64(s.Open))))
		if err := pause.For(ctx, watchEvery); err != nil {
			return s, err
		}
	}
}

// cancelled says what came of a cancel.
func (v *verbs) cancelled(ctx context.Context, conn *broker.Conn, s campaign.Status) error {
	err := v.streams.Answer(s, "campaign %s is cancelled: %s not sent, %s sent before\n",
		s.Campaign, rowsWere(s.Cancelled, "message"), cli.Grouped(int64(s.Sent)))
	if err != nil || leftOf(s) == 0 {
		return err
	}
	newCarriers(v.streams, conn, s.Campaign).Look(ctx, []string{s.AppID})
	return cli.Partlyf("%s of it queued or in flight still: the workers end them; "+
		"kefu campaign watch %s follows that", areMessages(leftOf(s)), s.Campaign)
}

func areMessages(n int) string {
	if n == 1 {
		return "1 message is"
	}
	return cli.Counted(n, "message") + " are"
}
