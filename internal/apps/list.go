package apps

import (
	"context"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/gate"
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
}

// List returns how each of some apps stands.
func List(ctx context.Context, conn *broker.Conn, apps []App) ([]Row, error) {
	holds, err := gate.Holds(ctx, conn)
	if err != nil {
		return nil, err
	}
	rows := make([]Row, 0, len(apps))
	for _, app := range apps {
		row := Row{AppID: app.AppID, Name: app.Name, Configured: app.Configured,
			Holds: holds[app.AppID]}
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
