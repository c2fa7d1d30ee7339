package apps

import (
	"context"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/gate"
	"github.com/kefuhq/kefu/internal/pulse"
)

// Row is one app in a list.
type Row struct {
	AppID      string      `json:"appid"`
	Name       string      `json:"name,omitempty"`
	Configured bool        `json:"configured"`
	Live       broker.Lag  `json:"live"`
	Bulk       broker.Lag  `json:"bulk"`
	Held       bool        `json:"held"`
	Holds      []gate.Hold `json:"holds,omitempty"`
	Do         string      `json:"do,omitempty"` // what an operator can do
	LastHour
}

// LastHour is what became of an app's messages within the last hour, as the workers saw it.
type LastHour struct {
	SentLastHour int     `json:"sent_last_hour"`
	DeadLastHour int     `json:"dead_last_hour"`
	P50          float64 `json:"p50"` // seconds from publication to the end; 0 when nothing ended
	P99          float64 `json:"p99"`
}

// LastHourOf takes from an hour what is told of an app. Of live and bulk, live is what is waited
// for.
func LastHourOf(h pulse.Hour) LastHour {
	took := h.Hour.Live
	if took.Count == 0 {
		took = h.Hour.Bulk
	}
	return LastHour{h.Hour.Sent, h.Hour.Dead, took.P50, took.P99}
}

// List returns how each of some apps stands.
func List(ctx context.Context, conn *broker.Conn, apps []App) ([]Row, error) {
	holds, err := gate.Holds(ctx, conn)
	if err != nil {
		return nil, err
	}
	hours, err := pulse.Read(ctx, conn)
	if err != nil {
		return nil, err
	}
	rows := make([]Row, 0, len(apps))
	for _, app := range apps {
		row := Row{AppID: app.AppID, Name: app.Name, Configured: app.Configured,
			Holds: holds[app.AppID], LastHour: LastHourOf(hours.Apps[app.AppID])}
		row.Held, row.Do = len(row.Holds) > 0, Advice(row.Holds)
		if app.HasQueue {
			lags, err := conn.Lags(ctx, app.AppID)
			if err != nil {
				return nil, err
			}
			row.Live, row.Bulk = lags.Live(), lags.Bulk
		}
		rows = append(rows, row)
	}
	return rows, nil
}
