package pool

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/kefuhq/kefu/internal/broker"
)

// Row is one worker and what it reads. One without a name is about the live shards that nobody
// reads, or about bulk, which waits for whichever worker is free.
type Row struct {
	Worker  string    `json:"worker"`
	Host    string    `json:"host,omitempty"`
	PID     int       `json:"pid,omitempty"`
	Version string    `json:"version,omitempty"`
	Started time.Time `json:"started,omitzero"`
	Seen    time.Time `json:"seen,omitzero"`
	Leaving bool      `json:"leaving"`
	Activity
	Apps       int        `json:"apps"`               // whose shards it may read
	Receipts   Receipts   `json:"receipts,omitempty"` // that it writes
	Shards     []ShardRow `json:"shards"`
	Bulk       []BulkRow  `json:"bulk,omitempty"`
	broker.Lag            // of all these
}

// ShardRow is one live shard of a worker.
type ShardRow struct {
	App   string    `json:"app"`
	Shard int       `json:"shard"`
	Since time.Time `json:"since,omitzero"`
	broker.Lag
}

// BulkRow is the bulk lane of an app.
type BulkRow struct {
	App string `json:"app"`
	broker.Lag
}

// Overview returns the workers there are, with what each of them reads of the queues of some apps.
// With an appID it counts what they do for that app alone.
func Overview(
	ctx context.Context, conn *broker.Conn, queues []string, appID string,
) ([]Row, error) {
	workers, claims, err := Read(ctx, conn)
	if err != nil {
		return nil, err
	}
	lags := make(map[string]broker.Lags)
	for _, app := range queues {
		if lags[app], err = conn.Lags(ctx, app); err != nil {
			return nil, err
		}
	}
	rows := make([]Row, 0, len(workers))
	for _, w := range workers {
		row := Row{
			Worker: w.Name, Host: w.Host, PID: w.PID, Version: w.Version, Started: w.Started,
			Seen: w.Seen, Leaving: w.Leaving, Activity: w.Status.Activity, Apps: len(w.Apps),
			Receipts: w.Receipts, Shards: []ShardRow{},
		}
		if appID != "" {
			row.Activity = w.Status.Apps[appID]
		}
		for _, h := range claims {
			if h.Worker == w.Name && (appID == "" || appID == h.App) {
				row.reads(ShardRow{h.App, h.Shard, h.Since, lags[h.App].Shard(h.Shard)})
			}
		}
		rows = append(rows, row)
	}
	return append(rows, unread(claims, lags)...), nil
}

// unread are the rows without a worker.
func unread(claims []Held, lags map[string]broker.Lags) (rows []Row) {
	nobody, all := Row{}, Row{Shards: []ShardRow{}}
	for _, app := range slices.Sorted(maps.Keys(lags)) {
		for n, shard := range lags[app].Shards {
			if Reader(claims, app, n) == "" {
				nobody.reads(ShardRow{App: app, Shard: n, Lag: shard})
			}
		}
		if l := lags[app].Bulk; l.Queued > 0 {
			all.Bulk = append(all.Bulk, BulkRow{app, l})
			all.Lag.Add(l)
		}
	}
	if len(nobody.Shards) > 0 {
		rows = append(rows, nobody)
	}
	if len(all.Bulk) > 0 {
		rows = append(rows, all)
	}
	return rows
}

// reads adds a shard to those that a row is about.
func (r *Row) reads(s ShardRow) {
	r.Shards = append(r.Shards, s)
	r.Lag.Add(s.Lag)
}
