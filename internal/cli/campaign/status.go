package campaign

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/kefuhq/kefu/internal/campaign"
	"github.com/kefuhq/kefu/internal/cli"
	"github.com/kefuhq/kefu/schema"
)

// status is `kefu campaign status`.
type status struct {
	streams *cli.Streams
	broker  *cli.Broker
}

func newStatus(env *cli.Env) *cobra.Command {
	s := &status{env.Streams, env.Broker}
	return &cobra.Command{
		Use:   "status NAME",
		Short: "Show how far a campaign has come",
		Long: `Shows how much of a campaign's file was published, what is still queued, and what
became of the rest. The workers count that where an intent ends; it shows here within about a
second. What is open waits in the queue, for its time or for a retry.

A campaign that began before all workers counted, or while one kept no ledger, is read from its
receipts: they are kept for 3 days, and worker.receipts may have switched them off. Of what began
before the oldest of them (outcomes_since in JSON), some that is open may have ended.

Exit code 3 when no campaign of this name was started.`,
		Example: `  kefu campaign status double-11
  kefu campaign status double-11 -o json`,
		Args: cli.Args(1, 1, "NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return s.run(cmd.Context(), args[0])
		},
	}
}

func (s *status) run(ctx context.Context, name string) error {
	if err := schema.CheckToken("NAME", name); err != nil {
		return cli.Usagef("%w", err)
	}
	conn, app, err := s.broker.ConnectApp(ctx, "")
	if err != nil {
		return err
	}
	defer conn.Close()
	read, err := campaign.ReadStatus(ctx, conn, app.AppID, name)
	if errors.Is(err, campaign.ErrUnknown) {
		return cli.Nothingf("no campaign %s of %s was started", name, app.AppID)
	}
	if err != nil {
		return err
	}
	return cli.Record(s.streams, read, statusFields(read))
}

func statusFields(s campaign.Status) []cli.Field {
	state := cli.Field{Name: "state", Value: string(s.State), Style: cli.Green}
	open := cli.Field{Name: "open", Value: cli.Grouped(int64(s.Open))}
	if !s.OutcomesSince.IsZero() {
		open = cli.Field{
			Name: "open or ended", Style: cli.Yellow,
			Value: cli.Grouped(int64(s.Open)) + ": what ended before " +
				cli.Moment(s.OutcomesSince) + " has no receipt any more",
		}
	}
	fields := []cli.Field{
		{Name: "campaign", Value: s.Campaign},
		{Name: "app", Value: s.AppID},
		state,
		{Name: "started", Value: cli.Moment(s.StartedAt) + " by " + s.By},
		{Name: "rows done", Value: fmt.Sprintf("%s of %s", cli.Grouped(int64(s.Next)),
			cli.Grouped(int64(s.Rows)))},
		{Name: "published", Value: cli.Grouped(int64(s.Published))},
		{Name: "were queued already", Value: someRows(s.Duplicates)},
		{Name: "repeated", Value: someRows(s.Repeated)},
		{Name: "left out", Value: someRows(s.Invalid), Style: cli.Yellow},
		{Name: "send at", Value: cli.Moment(s.SendAt)},
		{Name: "expires at", Value: cli.Moment(s.ExpiresAt)},
		{Name: "queued", Value: cli.Grouped(int64(s.Queued))},
		open,
		{Name: "sent", Value: cli.Grouped(int64(s.Sent)), Style: cli.Green},
	}
	for _, reason := range schema.Reasons() {
		fields = append(fields,
			cli.Field{Name: "dead " + string(reason), Value: someRows(s.Dead[reason]),
				Style: cli.Red})
	}
	return append(fields,
		cli.Field{Name: "cancelled", Value: someRows(s.Cancelled)},
		cli.Field{Name: "maybe twice", Value: someRows(s.PossibleDuplicates), Style: cli.Yellow},
	)
}
