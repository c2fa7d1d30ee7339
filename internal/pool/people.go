package pool

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/kefuhq/kefu/internal/broker"
)

// Held is one live shard and its reader, for people.
type Held struct {
	App    string    `json:"app"`
	Shard  int       `json:"shard"`
	Worker string    `json:"worker"`
	Since  time.Time `json:"since"`
}

// Workers reads who is alive, for people.
func Workers(ctx context.Context, conn *broker.Conn) ([]Worker, error) {
	workers, _, err := Read(ctx, conn)
	return workers, err
}

// Read reads who is alive and which live shard each of them reads, for people. A shard that nobody
// reads just now is not among them.
func Read(ctx context.Context, conn *broker.Conn) ([]Worker, []Held, error) {
	entries, err := conn.ReadState(ctx, prefix)
	if err != nil {
		return nil, nil, err
	}
	workers := []Worker{}
	leases := make(map[string]uint64)
	for _, e := range entries {
		if !isWorkerKey(e.Key) {
			continue
		}
		var w Worker
		if err := json.Unmarshal(e.Value, &w); err != nil {
			return nil, nil, fmt.Errorf("%s: %w", e.Key, err)
		}
		w.Seen = e.Time
		workers = append(workers, w)
		leases[w.Name] = w.Lease
	}
	var held []Held
	for _, e := range entries {
		shard, ok := parseClaimKey(e.Key)
		if !ok {
			continue
		}
		var c stored
		if err := json.Unmarshal(e.Value, &c); err != nil {
			return nil, nil, fmt.Errorf("%s: %w", e.Key, err)
		}
		if lease, alive := leases[c.Worker]; alive && lease == c.Lease {
			held = append(held,
				Held{App: shard.App, Shard: shard.N, Worker: c.Worker, Since: e.Time})
		}
	}
	slices.SortFunc(workers, func(a, b Worker) int { return a.Started.Compare(b.Started) })
	slices.SortFunc(held, func(a, b Held) int {
		return compareShards(Shard{a.App, a.Shard}, Shard{b.App, b.Shard})
	})
	return workers, held, nil
}

// Reader is the worker that reads a live shard, by what Read returned; "" for nobody.
func Reader(claims []Held, appID string, shard int) string {
	for _, h := range claims {
		if h.App == appID && h.Shard == shard {
			return h.Worker
		}
	}
	return ""
}
