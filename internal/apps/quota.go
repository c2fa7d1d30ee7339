package apps

import (
	"context"
	"time"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/config"
	"github.com/kefuhq/kefu/internal/gate"
)

// SentToday returns how many of an app's sends of today the workers count, with what they have
// taken of the day's budget and not used yet; nil for an app whose sends nobody counts.
func SentToday(ctx context.Context, conn *broker.Conn, app config.App) (*int64, error) {
	days, err := gate.Days(ctx, conn, time.Now())
	if err != nil {
		return nil, err
	}
	day, counted := days[app.AppID]
	if !counted && app.Rate.PerDay == 0 {
		return nil, nil //nolint:nilnil // not counted
	}
	return &day.Used, nil
}
