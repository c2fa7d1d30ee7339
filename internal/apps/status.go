package apps

import (
	"context"
	"slices"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/gate"
	"github.com/kefuhq/kefu/internal/pool"
	"github.com/kefuhq/kefu/internal/pulse"
	"github.com/kefuhq/kefu/internal/wire"
	"github.com/kefuhq/kefu/schema"
)

// The states of an app.
const (
	Open    = "open"
	Held    = "held"
	NoQueue = "no queue"
)

// Status is all about one app.
type Status struct {
	AppID      string     `json:"appid"`
	Name       string     `json:"name,omitempty"`
	Configured bool       `json:"configured"`
	State      string     `json:"state"` // Open, Held, NoQueue
	Live       broker.Lag `json:"live"`
	Bulk       broker.Lag `json:"bulk"`
	Waiting    uint64     `json:"waiting"` // for their time or their retry
	Dead       uint64     `json:"dead"`
	Workers    int        `json:"workers"` // that are alive, of all apps
	Readers    []Reader   `json:"readers"` // of its live shards; one without a name: nobody
	pool.Activity
	LastHour
	Holds []gate.Hold `json:"holds"`
	Do    string      `json:"do,omitempty"` // what an operator can do
}

// Reader is a worker that reads live shards of an app.
type Reader struct {
	Worker string `json:"worker"`
	Shards []int  `json:"shards"`
	Queued uint64 `json:"queued"`
}

// StatusOf reads how one app stands.
func StatusOf(ctx context.Context, conn *broker.Conn, app App) (Status, error) {
	s := Status{
		AppID: app.AppID, Name: app.Name, Configured: app.Configured, State: NoQueue,
		Holds: []gate.Hold{},
	}
	workers, claims, err := pool.Read(ctx, conn)
	if err != nil {
		return s, err
	}
	s.Workers = len(workers)
	for _, w := range workers {
		s.Add(w.Status.Apps[app.AppID])
	}
	hours, err := pulse.Read(ctx, conn)
	if err != nil {
		return s, err
	}
	s.LastHour = LastHourOf(hours.Apps[app.AppID])
	if app.HasQueue {
		if err := s.count(ctx, conn, claims); err != nil {
			return s, err
		}
	}
	holds, err := gate.Holds(ctx, conn)
	if err != nil {
		return s, err
	}
	if held := holds[app.AppID]; len(held) > 0 {
		s.State, s.Holds, s.Do = Held, held, Advice(held)
	}
	return s, nil
}

// count fills in what the broker holds of the app.
func (s *Status) count(ctx context.Context, conn *broker.Conn, claims []pool.Held) error {
	s.State = Open
	queued, err := conn.Lags(ctx, s.AppID)
	if err != nil {
		return err
	}
	s.Live, s.Bulk = queued.Live(), queued.Bulk
	s.Readers = readers(s.AppID, queued.Shards, claims)
	s.Waiting, err = conn.Count(ctx, wire.StreamLater, wire.LaterWaitFilter(s.AppID))
	if err != nil {
		return err
	}
	s.Dead, err = conn.Count(ctx, schema.StreamDead, wire.DeadFilter(s.AppID, wire.AnyToken))
	return err
}

// readers says who reads which of an app's live shards.
func readers(appID string, shards []broker.Lag, claims []pool.Held) []Reader {
	readers := []Reader{}
	for n, shard := range shards {
		name := pool.Reader(claims, appID, n)
		i := slices.IndexFunc(readers, func(r Reader) bool { return r.Worker == name })
		if i < 0 {
			i = len(readers)
			readers = append(readers, Reader{Worker: name})
		}
		readers[i].Shards = append(readers[i].Shards, n)
		readers[i].Queued += shard.Queued
	}
	return readers
}
