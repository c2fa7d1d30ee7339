package campaign

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"github.com/kefuhq/kefu/internal/campaign"
	"github.com/kefuhq/kefu/internal/cli"
)

// newList is `kefu campaign list`.
func newList(v *verbs) *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "List the campaigns and how far they have come",
		Long: `Lists all campaigns of the apps, the one that was started last first: those that were started
from a file, and those that services have published straight to the queue. LEFT counts what has no
end yet, TIME LEFT how long that takes at the rate of late.

Exit code 3 when there is none.`,
		Example: `  kefu campaign list
  kefu campaign list --app wx0000000000000001 -o json`,
		Args: cli.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return v.list(cmd.Context()) },
	}
}

func (v *verbs) list(ctx context.Context) error {
	conn, known, err := v.broker.ConnectApps(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	var rows []campaign.Status
	for _, app := range known {
		list, err := campaign.List(ctx, conn, app.AppID)
		if err != nil {
			return err
		}
		rows = append(rows, list...)
	}
	if err := cli.List(v.streams, rows, listColumns(len(known) > 1, time.Now())); err != nil {
		return err
	}
	if len(rows) == 0 {
		return cli.Nothingf("no campaign was started")
	}
	return nil
}

func listColumns(several bool, now time.Time) []cli.Column[campaign.Status] {
	number := func(
		title string, spare int, n func(campaign.Status) int,
	) cli.Column[campaign.Status] {
		return cli.Column[campaign.Status]{Title: title, Right: true, Spare: spare,
			Cell: func(s campaign.Status) string { return cli.Grouped(int64(n(s))) }}
	}
	columns := []cli.Column[campaign.Status]{
		{Title: "CAMPAIGN", Cuts: true, Cell: func(s campaign.Status) string { return s.Campaign }},
		{Title: "STATE", Cell: func(s campaign.Status) string { return string(s.State) },
			Style: func(s campaign.Status) cli.Style { return stateStyle(s.State) }},
		number("ROWS", 2, func(s campaign.Status) int { return s.Rows }),
		number("SENT", 0, func(s campaign.Status) int { return s.Sent }),
		number("DEAD", 0, deadOf),
		number("LEFT", 0, leftOf),
		{Title: "RATE", Right: true, Spare: 1, Cell: rateText},
		{Title: "TIME LEFT", Right: true, Cell: func(s campaign.Status) string {
			return leftText(s, now)
		}},
		{Title: "STARTED", Spare: 3, Cell: func(s campaign.Status) string {
			return cli.MomentOfYear(s.StartedAt)
		}},
		{Title: "BY", Spare: 4, Cell: func(s campaign.Status) string { return s.By }},
	}
	if several {
		columns = append(columns, cli.Column[campaign.Status]{Title: "APP", Cuts: true, Spare: 5,
			Cell: func(s campaign.Status) string { return s.AppID }})
	}
	return columns
}
