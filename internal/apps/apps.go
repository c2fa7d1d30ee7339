// Package apps says how the apps stand, for operators: which there are, what is queued of each, who
// reads it, what is held and why, and what can be done about it.
package apps

import (
	"context"
	"slices"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/config"
)

// App is an app that operators can work on: one that is configured, or one that only has a queue,
// as with `kefu dev` or after it was taken out of the configuration.
type App struct {
	config.App
	Configured bool
	HasQueue   bool
}

// DevAppID is the app that `kefu dev` makes up when none is configured.
const DevAppID = "wx0000000000000001"

// Known are the configured apps in their order, then those that only have a queue.
func Known(ctx context.Context, conn *broker.Conn, cfg *config.Config) ([]App, error) {
	queues, err := conn.Queues(ctx)
	if err != nil {
		return nil, err
	}
	var apps []App
	for _, app := range cfg.Apps {
		hasQueue := slices.Contains(queues, app.AppID)
		apps = append(apps, App{App: app, Configured: true, HasQueue: hasQueue})
	}
	for _, appID := range queues {
		if _, ok := cfg.App(appID); !ok {
			app := config.App{AppID: appID, Settings: cfg.Defaults}
			apps = append(apps, App{App: app, HasQueue: true})
		}
	}
	return apps, nil
}
