package dead

import (
	"context"
	"slices"

	"github.com/spf13/cobra"

	"github.com/kefuhq/kefu/internal/cli"
	"github.com/kefuhq/kefu/internal/replay"
)

// replays is `kefu dead replays`, and what its subcommands share.
type replays struct {
	streams  *cli.Streams
	settings *cli.Settings
	broker   *cli.Broker
}

func newReplays(env *cli.Env) *cobra.Command {
	d := &replays{env.Streams, env.Settings, env.Broker}
	cmd := cli.Group(&cobra.Command{
		Use:   "replays",
		Short: "List the replays of dead letters, and govern them",
		Long: `Lists the replays that were ordered, the newest first; one that has ended is listed for 30 days.
REPLAYED counts the letters that are in their queue again, SENT and DEAD what became of them so far,
LEFT those that stay in the box. A replay is planned until a worker begins it, then running, paused
by an operator, halted by itself, and in the end done or aborted.

Exit code 3 when there is none, or none of that id.`,
		Example: `  kefu dead replays
  kefu dead replays show k3vq7a2m
  kefu dead replays pause k3vq7a2m`,
	}, newReplaysShow(d), newReplaysWatch(d),
		newTell(d, pausing), newTell(d, resuming), newTell(d, aborting))
	other := cmd.RunE
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) > 0 {
			return other(cmd, args)
		}
		return d.list(cmd.Context())
	}
	return cmd
}

func (d *replays) list(ctx context.Context) error {
	conn, err := d.broker.Connect(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	rows, err := replay.List(ctx, conn)
	if err != nil {
		return err
	}
	if appID := d.settings.AppID; appID != "" {
		rows = slices.DeleteFunc(rows, func(s replay.Status) bool {
			return !slices.Contains(s.Apps, appID)
		})
	}
	if err := cli.List(d.streams, rows, replayColumns()); err != nil {
		return err
	}
	if len(rows) == 0 {
		return cli.Nothingf("no replay was ordered in the last 30 days")
	}
	return nil
}

func replayColumns() []cli.Column[replay.Status] {
	number := func(n func(replay.Status) *int) func(replay.Status) string {
		return func(s replay.Status) string {
			if n := n(s); n != nil {
				return cli.Grouped(int64(*n))
			}
			return "-" // nobody counts
		}
	}
	return []cli.Column[replay.Status]{
		{Title: "JOB", Cell: func(s replay.Status) string { return s.Job }},
		{Title: "STATE", Cell: func(s replay.Status) string { return string(s.State) },
			Style: func(s replay.Status) cli.Style { return stateStyle(s.State) }},
		{Title: "CHOSEN", Right: true,
			Cell: number(func(s replay.Status) *int { return &s.Chosen })},
		{Title: "REPLAYED", Right: true,
			Cell: number(func(s replay.Status) *int { return &s.Published })},
		{Title: "SENT", Right: true, Cell: number(func(s replay.Status) *int { return s.Sent })},
		{Title: "DEAD", Right: true, Cell: number(func(s replay.Status) *int { return s.Dead })},
		{Title: "LEFT", Right: true, Cell: number(func(s replay.Status) *int { return &s.Left })},
		{Title: "STARTED", Cell: func(s replay.Status) string { return cli.MomentOfYear(s.StartedAt) }},
		{Title: "BY", Cell: func(s replay.Status) string { return s.By }, Spare: 1},
		{Title: "APP", Cell: appsOf, Cuts: true, Spare: 3},
		{Title: "FILTER", Cell: func(s replay.Status) string { return s.About }, Cuts: true, Spare: 2},
	}
}

// appsOf is the app of a replay, or the first and how many more there are.
func appsOf(s replay.Status) string {
	switch len(s.Apps) {
	case 0:
		return ""
	case 1:
		return s.Apps[0]
	}
	return s.Apps[0] + " and " + cli.Grouped(int64(len(s.Apps)-1)) + " more"
}

// ids lets the shell complete the id of a replay. It stays silent when the broker does not answer.
func (d *replays) ids(
	cmd *cobra.Command, args []string, _ string,
) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	ctx, cancel := context.WithTimeout(cmd.Context(), cli.AsideWait)
	defer cancel()
	conn, err := d.broker.ConnectWithin(ctx, cli.AsideWait)
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	defer conn.Close()
	list, _ := replay.List(ctx, conn)
	var choices []string
	for _, s := range list {
		choices = append(choices, s.Job+"\t"+string(s.State)+", "+cli.Clean(s.About))
	}
	return choices, cobra.ShellCompDirectiveNoFileComp
}
