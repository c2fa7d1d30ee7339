package broker

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/kefuhq/kefu/schema"
)

// Lag is what has been queued and has not ended: not started, or under way.
type Lag struct {
	Queued uint64     `json:"queued"`
	Oldest *time.Time `json:"oldest,omitempty"` // when the first of them was queued
}

// Add puts another lag to this one.
func (l *Lag) Add(m Lag) {
	l.Queued += m.Queued
	if m.Oldest != nil && (l.Oldest == nil || m.Oldest.Before(*l.Oldest)) {
		l.Oldest = m.Oldest
	}
}

// Lags are an app's: of its live shards, in their order, and of bulk.
type Lags struct {
	Shards []Lag
	Bulk   Lag
}

// Live is the lag of all live shards.
func (l Lags) Live() (all Lag) {
	for _, shard := range l.Shards {
		all.Add(shard)
	}
	return all
}

// Shard is the lag of one; one that the queue does not have has none.
func (l Lags) Shard(n int) Lag {
	if n < len(l.Shards) {
		return l.Shards[n]
	}
	return Lag{}
}

// Lags asks what is queued of an app.
func (c *Conn) Lags(ctx context.Context, appID string) (l Lags, err error) {
	name := schema.SendStream(appID)
	stream, err := c.JS.Stream(ctx, name)
	if err != nil {
		return Lags{}, fmt.Errorf("the queue of %s: %w", appID, err)
	}
	l.Shards = make([]Lag, Shards(stream.CachedInfo().Config))
	if stream.CachedInfo().State.Msgs == 0 {
		return l, nil
	}
	of := func(filter string) (Lag, error) {
		n, first, err := c.Waiting(ctx, name, filter)
		if err != nil || n == 0 {
			return Lag{}, err
		}
		return Lag{n, &first.Time}, nil
	}
	for n := range l.Shards {
		if l.Shards[n], err = of(LiveConsumer(appID, n, 0).FilterSubject); err != nil {
			return Lags{}, err
		}
	}
	l.Bulk, err = of(BulkConsumer(appID, 0).FilterSubject)
	return l, err
}

// Queues are the appids that have a queue, sorted.
func (c *Conn) Queues(ctx context.Context) ([]string, error) {
	lister := c.JS.StreamNames(ctx)
	var appIDs []string
	for name := range lister.Name() {
		appID, ok := strings.CutPrefix(name, sendPrefix)
		if ok && schema.SendStream(appID) == name {
			appIDs = append(appIDs, appID)
		}
	}
	if err := lister.Err(); err != nil && !errors.Is(err, jetstream.ErrEndOfData) {
		return nil, fmt.Errorf("list the queues: %w", err)
	}
	slices.Sort(appIDs)
	return appIDs, nil
}

// sendPrefix is what the name of every queue begins with.
var sendPrefix = strings.TrimSuffix(schema.SendStream("x"), "x")
