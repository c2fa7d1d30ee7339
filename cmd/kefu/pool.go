package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/pool"
)

func newPoolCmd(c *cli) *cobra.Command {
	return &cobra.Command{
		Use:     "pool",
		Short:   "See which workers are alive and which live shards each of them reads",
		GroupID: groupApp,
		Long: `The pool is all workers of one broker. All of them read bulk; a live shard is read by one worker at a time, and the shards
are spread evenly. A worker that was killed is listed until its lease is over, 12 s after its last sign of life; then the
others take its shards. What a shard without a reader holds waits until it has one again.

QUEUED is what the shards of a line hold that has not ended, OLDEST for how long the first of it has been there; the line
"all" tells the same of bulk. With --app the rates are those of that app alone.`,
		Example: `  kefu pool
  kefu pool --app wx0000000000000001
  kefu pool -o json`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error { return c.pool(cmd.Context()) },
	}
}

// workerRow is one worker as `kefu pool` shows it.
type workerRow struct {
	Worker  string    `json:"worker"` // empty for the shards that nobody reads, and for bulk
	Host    string    `json:"host,omitempty"`
	PID     int       `json:"pid,omitempty"`
	Version string    `json:"version,omitempty"`
	Started time.Time `json:"started,omitzero"`
	Seen    time.Time `json:"seen,omitzero"`
	Leaving bool      `json:"leaving"`
	pool.Activity
	Apps   int    `json:"apps"` // whose shards it may read
	Shards []held `json:"shards"`
	Bulk   []bulk `json:"bulk,omitempty"` // what waits for whichever worker is free
	lag           // of all these
}

// held is one live shard of a worker.
type held struct {
	App   string    `json:"app"`
	Shard int       `json:"shard"`
	Since time.Time `json:"since,omitzero"`
	lag
}

// bulk is the bulk lane of an app.
type bulk struct {
	App string `json:"app"`
	lag
}

func (c *cli) pool(ctx context.Context) error {
	conn, err := c.broker(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	workers, claims, err := pool.Read(ctx, conn)
	if err != nil {
		return err
	}
	queued, err := c.queues(ctx, conn)
	if err != nil {
		return err
	}
	rows := make([]workerRow, 0, len(workers))
	for _, w := range workers {
		row := workerRow{
			Worker: w.Name, Host: w.Host, PID: w.PID, Version: w.Version, Started: w.Started, Seen: w.Seen, Leaving: w.Leaving,
			Activity: w.Status.Activity, Apps: len(w.Apps), Shards: []held{},
		}
		if c.appID != "" {
			row.Activity = w.Status.Apps[c.appID]
		}
		for _, h := range claims {
			if h.Worker == w.Name && (c.appID == "" || c.appID == h.App) {
				row.reads(held{h.App, h.Shard, h.Since, queued.shard(h.App, h.Shard)})
			}
		}
		rows = append(rows, row)
	}
	nobody, all := workerRow{}, workerRow{Shards: []held{}}
	for _, app := range slices.Sorted(maps.Keys(queued)) {
		for n, shard := range queued[app].shards {
			if pool.Reader(claims, app, n) == "" {
				nobody.reads(held{App: app, Shard: n, lag: shard})
			}
		}
		if l := queued[app].bulk; l.Queued > 0 {
			all.Bulk = append(all.Bulk, bulk{app, l})
			all.add(l)
		}
	}
	if len(nobody.Shards) > 0 {
		rows = append(rows, nobody)
	}
	if len(all.Bulk) > 0 {
		rows = append(rows, all)
	}
	return list(c, rows, poolColumns(time.Now()))
}

// reads adds a shard to those that a row is about.
func (r *workerRow) reads(h held) {
	r.Shards = append(r.Shards, h)
	r.add(h.lag)
}

// queues are the lags of the apps there are, by appid.
type queues map[string]lags

// queues asks for those of every app that has a queue, or of the one that was
// asked for.
func (c *cli) queues(ctx context.Context, conn *broker.Conn) (queues, error) {
	apps, err := c.knownApps(ctx, conn)
	if err != nil {
		return nil, err
	}
	q := make(queues)
	for _, app := range apps {
		if app.queue && (c.appID == "" || c.appID == app.AppID) {
			if q[app.AppID], err = lagsOf(ctx, conn, app.AppID); err != nil {
				return nil, err
			}
		}
	}
	return q, nil
}

// shard is the lag of one; one whose queue is gone has none.
func (q queues) shard(appID string, n int) lag {
	if shards := q[appID].shards; n < len(shards) {
		return shards[n]
	}
	return lag{}
}

func poolColumns(now time.Time) []column[workerRow] {
	ifWorker := func(f func(workerRow) string) func(workerRow) string {
		return func(r workerRow) string {
			if r.Worker == "" {
				return ""
			}
			return f(r)
		}
	}
	return []column[workerRow]{
		{title: "WORKER", cell: func(r workerRow) string {
			switch {
			case r.Worker != "":
				return r.Worker
			case len(r.Bulk) > 0:
				return "all"
			default:
				return "nobody"
			}
		}, style: func(r workerRow) style {
			if r.Leaving || r.Worker == "" && len(r.Bulk) == 0 {
				return yellow
			}
			return ""
		}},
		{title: "PID", cell: ifWorker(func(r workerRow) string { return strconv.Itoa(r.PID) }), right: true},
		{title: "VERSION", cell: func(r workerRow) string { return r.Version }},
		{title: "UP", cell: ifWorker(func(r workerRow) string { return about(now.Sub(r.Started)) }), right: true},
		{title: "SEEN", cell: ifWorker(func(r workerRow) string {
			seen := about(max(now.Sub(r.Seen), 0)) + " ago"
			if r.Leaving {
				seen += ", leaving"
			}
			return seen
		})},
		{title: "IN FLIGHT", cell: ifWorker(func(r workerRow) string { return strconv.Itoa(r.InFlight) }), right: true},
		{title: "SENT/S", cell: ifWorker(func(r workerRow) string { return strconv.FormatFloat(r.PerSecond, 'f', 1, 64) }), right: true},
		{title: "QUEUED", cell: func(r workerRow) string { return r.number() }, right: true},
		{title: "OLDEST", cell: func(r workerRow) string { return r.age(now) }, right: true},
		{title: "READS", cell: func(r workerRow) string { return laneNames(&r) }, wraps: true},
	}
}

// laneNames names what a row is about, by app: "wx1: 0 2; wx2: 1", "wx1: bulk".
func laneNames(r *workerRow) string {
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
