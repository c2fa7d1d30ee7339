package main

import (
	"context"
	"fmt"
	"time"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/schema"
)

// lag is what has been queued and has not ended: not started, or under way.
type lag struct {
	Queued uint64     `json:"queued"`
	Oldest *time.Time `json:"oldest,omitempty"` // when the first of them was queued
}

// add puts another lane's lag to this one's.
func (l *lag) add(m lag) {
	l.Queued += m.Queued
	if m.Oldest != nil && (l.Oldest == nil || m.Oldest.Before(*l.Oldest)) {
		l.Oldest = m.Oldest
	}
}

// lags are an app's: of its live shards, in their order, and of bulk.
type lags struct {
	shards []lag
	bulk   lag
}

func (l lags) live() (all lag) {
	for _, shard := range l.shards {
		all.add(shard)
	}
	return all
}

// lagsOf asks the broker what is queued of an app.
func lagsOf(ctx context.Context, conn *broker.Conn, appID string) (l lags, err error) {
	name := schema.SendStream(appID)
	stream, err := conn.JS.Stream(ctx, name)
	if err != nil {
		return lags{}, fmt.Errorf("the queue of %s: %w", appID, err)
	}
	l.shards = make([]lag, broker.Shards(stream.CachedInfo().Config))
	if stream.CachedInfo().State.Msgs == 0 {
		return l, nil
	}
	of := func(filter string) (lag, error) {
		n, first, err := conn.Waiting(ctx, name, filter)
		if err != nil || n == 0 {
			return lag{}, err
		}
		return lag{n, &first.Time}, nil
	}
	for n := range l.shards {
		if l.shards[n], err = of(broker.LiveConsumer(appID, n, 0).FilterSubject); err != nil {
			return lags{}, err
		}
	}
	l.bulk, err = of(broker.BulkConsumer(appID, 0).FilterSubject)
	return l, err
}

// cells of a table.
func (l lag) number() string { return grouped(int64(l.Queued)) } //nolint:gosec // a queue's length

func (l lag) sentence(now time.Time) string {
	if l.Oldest == nil {
		return l.number() + " queued"
	}
	return l.number() + " queued, the oldest for " + l.age(now)
}

func (l lag) age(now time.Time) string {
	if l.Oldest == nil {
		return ""
	}
	return about(max(now.Sub(*l.Oldest), 0))
}
