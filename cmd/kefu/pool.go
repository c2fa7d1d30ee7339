package main

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/pool"
	"github.com/kefuhq/kefu/schema"
)

func newPoolCmd(c *cli) *cobra.Command {
	return &cobra.Command{
		Use:     "pool",
		Short:   "See which workers are alive and which live shards each of them reads",
		GroupID: groupApp,
		Long: `The pool is all workers of one broker. All of them read bulk; a live shard is read by one worker at a time, and the shards
are spread evenly. A worker that was killed is listed until its lease is over, 12 s after its last sign of life; then the
others take its shards. What a shard without a reader holds waits until it has one again.`,
		Example: `  kefu pool
  kefu pool --app wx0000000000000001
  kefu pool -o json`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error { return c.pool(cmd.Context()) },
	}
}

// workerRow is one worker as `kefu pool` shows it.
type workerRow struct {
	Worker    string    `json:"worker"` // empty for the shards that nobody reads
	Host      string    `json:"host,omitempty"`
	PID       int       `json:"pid,omitempty"`
	Version   string    `json:"version,omitempty"`
	Started   time.Time `json:"started,omitzero"`
	Seen      time.Time `json:"seen,omitzero"`
	Leaving   bool      `json:"leaving"`
	InFlight  int       `json:"in_flight"`
	PerSecond float64   `json:"per_second"`
	Apps      int       `json:"apps"` // whose shards it may read
	Shards    []held    `json:"shards"`
}

// held is one live shard of a worker.
type held struct {
	App   string    `json:"app"`
	Shard int       `json:"shard"`
	Since time.Time `json:"since,omitzero"`
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
	rows := make([]workerRow, 0, len(workers))
	for _, w := range workers {
		rows = append(rows, workerRow{
			Worker: w.Name, Host: w.Host, PID: w.PID, Version: w.Version, Started: w.Started, Seen: w.Seen, Leaving: w.Leaving,
			InFlight: w.Status.InFlight, PerSecond: w.Status.PerSecond, Apps: len(w.Apps), Shards: c.shardsOf(claims, w.Name),
		})
	}
	unread, err := c.unread(ctx, conn, claims)
	if err != nil {
		return err
	}
	if len(unread) > 0 {
		rows = append(rows, workerRow{Shards: unread})
	}
	return list(c, rows, poolColumns(time.Now()))
}

// shardsOf are the shards that one worker reads, of the app that was asked for.
func (c *cli) shardsOf(claims []pool.Held, worker string) []held {
	out := []held{}
	for _, h := range claims {
		if h.Worker == worker && (c.appID == "" || c.appID == h.App) {
			out = append(out, held{h.App, h.Shard, h.Since})
		}
	}
	return out
}

// unread are the live shards of the apps there are that nobody reads.
func (c *cli) unread(ctx context.Context, conn *broker.Conn, claims []pool.Held) ([]held, error) {
	apps, err := c.knownApps(ctx, conn)
	if err != nil {
		return nil, err
	}
	var out []held
	for _, app := range apps {
		if !app.queue || c.appID != "" && c.appID != app.AppID {
			continue
		}
		stream, err := conn.JS.Stream(ctx, schema.SendStream(app.AppID))
		if err != nil {
			return nil, fmt.Errorf("the queue of %s: %w", app.AppID, err)
		}
		for n := range broker.Shards(stream.CachedInfo().Config) {
			if !slices.ContainsFunc(claims, func(h pool.Held) bool { return h.App == app.AppID && h.Shard == n }) {
				out = append(out, held{App: app.AppID, Shard: n})
			}
		}
	}
	return out, nil
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
			if r.Worker == "" {
				return "nobody"
			}
			return r.Worker
		}, style: func(r workerRow) style {
			if r.Worker == "" || r.Leaving {
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
		{title: "SHARDS", cell: func(r workerRow) string { return strconv.Itoa(len(r.Shards)) }, right: true},
		{title: "LIVE SHARDS READ", cell: func(r workerRow) string { return shardNames(r.Shards) }, wraps: true},
	}
}

// shardNames names shards by app: "wx1: 0 2; wx2: 1".
func shardNames(shards []held) string {
	const most = 8 // apps; the rest is in the JSON
	var parts []string
	last, apps := "", 0
	for _, h := range shards {
		if h.App != last {
			last = h.App
			if apps++; apps <= most {
				parts = append(parts, h.App+":")
			}
		}
		if apps <= most {
			parts[len(parts)-1] += " " + strconv.Itoa(h.Shard)
		}
	}
	if apps > most {
		parts = append(parts, fmt.Sprintf("… of %d more apps", apps-most))
	}
	return strings.Join(parts, "; ")
}
