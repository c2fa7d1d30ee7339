package app

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"github.com/kefuhq/kefu/internal/apps"
	"github.com/kefuhq/kefu/internal/cli"
)

// list is `kefu app list`.
type list struct {
	streams *cli.Streams
	broker  *cli.Broker
}

func newList(env *cli.Env) *cobra.Command {
	l := &list{env.Streams, env.Broker}
	return &cobra.Command{
		Use:   "list",
		Short: "List the apps: what is queued, what is held and why",
		Example: `  kefu app list
  kefu app list -o json`,
		Args: cli.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return l.run(cmd.Context()) },
	}
}

func (l *list) run(ctx context.Context) error {
	conn, known, err := l.broker.ConnectApps(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	rows, err := apps.List(ctx, conn, known)
	if err != nil {
		return err
	}
	return cli.List(l.streams, rows, listColumns(time.Now()))
}

func listColumns(now time.Time) []cli.Column[apps.Row] {
	return []cli.Column[apps.Row]{
		{Title: "APP", Cell: func(r apps.Row) string { return r.AppID }},
		{Title: "NAME", Cell: func(r apps.Row) string { return r.Name }},
		{Title: "LIVE", Cell: func(r apps.Row) string { return cli.Queued(r.Live) }, Right: true},
		{Title: "OLDEST", Cell: func(r apps.Row) string { return cli.Age(r.Live, now) },
			Right: true},
		{Title: "BULK", Cell: func(r apps.Row) string { return cli.Queued(r.Bulk) }, Right: true},
		{Title: "OLDEST", Cell: func(r apps.Row) string { return cli.Age(r.Bulk, now) },
			Right: true},
		{
			Title: "HELD", Cell: func(r apps.Row) string { return heldFor(r.Holds, now) },
			Style: func(r apps.Row) cli.Style {
				if r.Held {
					return cli.Yellow
				}
				return cli.Green
			},
		},
		{Title: "WHY", Cell: func(r apps.Row) string { return apps.Why(r.Holds) }, Wraps: true},
		{Title: "WHAT TO DO", Cell: func(r apps.Row) string { return r.Do }, Wraps: true},
	}
}
