// Package pool is `kefu pool`: which workers there are and what each of them reads.
package pool

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/kefuhq/kefu/internal/cli"
	"github.com/kefuhq/kefu/internal/pool"
)

// overview is the command.
type overview struct {
	streams  *cli.Streams
	settings *cli.Settings
	broker   *cli.Broker
}

// New returns the command.
func New(env *cli.Env) *cobra.Command {
	o := &overview{env.Streams, env.Settings, env.Broker}
	return &cobra.Command{
		Use:     "pool",
		Short:   "See which workers are alive and which live shards each of them reads",
		GroupID: cli.GroupApp,
		Long: `The pool is all workers of one broker. All of them read bulk; a live shard is read by
one worker at a time, and the shards are spread evenly. A worker that was killed is listed until its
lease is over, 12 s after its last sign of life; then the others take its shards. What a shard
without a reader holds waits until it has one again.

QUEUED is what the shards of a line hold that has not ended, OLDEST for how long the first of it has
been there; the line "all" tells the same of bulk. With --app the rates are those of that app
alone.`,
		Example: `  kefu pool
  kefu pool --app wx0000000000000001
  kefu pool -o json`,
		Args: cli.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return o.run(cmd.Context()) },
	}
}

func (o *overview) run(ctx context.Context) error {
	conn, apps, err := o.broker.ConnectApps(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	var queues []string
	for _, app := range apps {
		if app.HasQueue {
			queues = append(queues, app.AppID)
		}
	}
	rows, err := pool.Overview(ctx, conn, queues, o.settings.AppID)
	if err != nil {
		return err
	}
	return cli.List(o.streams, rows, columns(time.Now()))
}

func columns(now time.Time) []cli.Column[pool.Row] {
	ifWorker := func(f func(pool.Row) string) func(pool.Row) string {
		return func(r pool.Row) string {
			if r.Worker == "" {
				return ""
			}
			return f(r)
		}
	}
	return []cli.Column[pool.Row]{
		{Title: "WORKER", Cell: func(r pool.Row) string {
			switch {
			case r.Worker != "":
				return r.Worker
			case len(r.Bulk) > 0:
				return "all"
			default:
				return "nobody"
			}
		}, Style: func(r pool.Row) cli.Style {
			if r.Leaving || r.Worker == "" && len(r.Bulk) == 0 {
				return cli.Yellow
			}
			return ""
		}},
		{Title: "PID", Cell: ifWorker(func(r pool.Row) string { return strconv.Itoa(r.PID) }),
			Right: true},
		{Title: "VERSION", Cell: func(r pool.Row) string { return r.Version }},
		{Title: "UP", Right: true, Cell: ifWorker(func(r pool.Row) string {
			return cli.About(now.Sub(r.Started))
		})},
		{Title: "SEEN", Cell: ifWorker(func(r pool.Row) string {
			seen := cli.About(max(now.Sub(r.Seen), 0)) + " ago"
			if r.Leaving {
				seen += ", leaving"
			}
			return seen
		})},
		{Title: "IN FLIGHT",
			Cell:  ifWorker(func(r pool.Row) string { return strconv.Itoa(r.InFlight) }),
			Right: true},
		{Title: "SENT/S", Right: true, Cell: ifWorker(func(r pool.Row) string {
			return strconv.FormatFloat(r.PerSecond, 'f', 1, 64)
		})},
		{Title: "QUEUED", Cell: func(r pool.Row) string { return cli.Queued(r.Lag) }, Right: true},
		{Title: "OLDEST", Cell: func(r pool.Row) string { return cli.Age(r.Lag, now) },
			Right: true},
		{Title: "READS", Cell: func(r pool.Row) string { return laneNames(&r) }, Wraps: true},
	}
}

// laneNames names what a row is about, by app: "wx1: 0 2; wx2: 1", "wx1: bulk".
func laneNames(r *pool.Row) string {
	const most = 8 // apps; the rest is in the JSON
	var parts []string
	last, apps := "", 0
	add := func(app, lane string) {
		if app != last {
			last = app
			if apps++; apps <= most {
				parts = append(parts, app+":")
			}
		}
		if apps <= most {
			parts[len(parts)-1] += " " + lane
		}
	}
	for _, h := range r.Shards {
		add(h.App, strconv.Itoa(h.Shard))
	}
	for _, b := range r.Bulk {
		add(b.App, "bulk")
	}
	if apps > most {
		parts = append(parts, fmt.Sprintf("… of %d more apps", apps-most))
	}
	return strings.Join(parts, "; ")
}
