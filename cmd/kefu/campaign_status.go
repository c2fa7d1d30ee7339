package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/kefuhq/kefu/internal/campaign"
	"github.com/kefuhq/kefu/schema"
)

func newCampaignStatusCmd(c *cli) *cobra.Command {
	return &cobra.Command{
		Use:   "status NAME",
		Short: "Show how far a campaign has come",
		Long: `Shows how much of a campaign's file was published, what is still queued, and what became of the rest, as its receipts say: they
are kept for 3 days, and worker.receipts may have switched them off. What is open waits in the queue, for its time or for a retry;
in a campaign that began before the oldest receipts (outcomes_since in JSON), it may also have ended before.

Exit code 3 when no campaign of this name was started.`,
		Example: `  kefu campaign status double-11
  kefu campaign status double-11 -o json`,
		Args: arguments(1, 1, "NAME"),
		RunE: func(cmd *cobra.Command, args []string) error { return c.campaignStatus(cmd.Context(), args[0]) },
	}
}

// campaignStatus is `kefu campaign status`.
func (c *cli) campaignStatus(ctx context.Context, name string) error {
	if err := schema.CheckToken("NAME", name); err != nil {
		return usagef("%w", err)
	}
	conn, err := c.broker(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	app, err := c.oneApp(ctx, conn, "")
	if err != nil {
		return err
	}
	status, err := campaign.ReadStatus(ctx, conn, app.AppID, name)
	if errors.Is(err, campaign.ErrUnknown) {
		return nothingf("no campaign %s of %s was started", name, app.AppID)
	}
	if err != nil {
		return err
	}
	return record(c, printedStatus{status, status.Open()}, statusFields(status))
}

// printedStatus is a status as JSON.
type printedStatus struct {
	campaign.Status
	Open int `json:"open"` // accepted, and no outcome on record: with outcomes_since, some may have ended before that
}

func statusFields(s campaign.Status) []field {
	state := field{name: "state", value: "publishing, or interrupted", style: yellow}
	if s.Finished() {
		state = field{name: "state", value: "published " + moment(s.FinishedAt), style: green}
	}
	open := field{name: "open", value: grouped(int64(s.Open()))}
	if !s.OutcomesSince.IsZero() {
		open = field{
			name: "open or ended", style: yellow,
			value: grouped(int64(s.Open())) + ": what ended before " + moment(s.OutcomesSince) + " has no receipt any more",
		}
	}
	fields := []field{
		{name: "campaign", value: s.Campaign},
		{name: "app", value: s.AppID},
		state,
		{name: "started", value: moment(s.StartedAt) + " by " + s.By},
		{name: "rows done", value: fmt.Sprintf("%s of %s", grouped(int64(s.Next)), grouped(int64(s.Rows)))},
		{name: "published", value: grouped(int64(s.Published))},
		{name: "were queued already", value: someRows(s.Duplicates)},
		{name: "repeated", value: someRows(s.Repeated)},
		{name: "left out", value: someRows(s.Invalid), style: yellow},
		{name: "send at", value: moment(s.SendAt)},
		{name: "expires at", value: moment(s.ExpiresAt)},
		{name: "queued", value: grouped(int64(s.Queued))},
		open,
		{name: "sent", value: grouped(int64(s.Sent)), style: green},
	}
	for _, reason := range schema.Reasons() {
		fields = append(fields, field{name: "dead " + string(reason), value: someRows(s.Dead[reason]), style: red})
	}
	return append(fields,
		field{name: "cancelled", value: someRows(s.Cancelled)},
		field{name: "maybe twice", value: someRows(s.PossibleDuplicates), style: yellow},
	)
}
