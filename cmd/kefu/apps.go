package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/config"
	"github.com/kefuhq/kefu/schema"
)

// knownApp is an app that a command for operators can work on: one that is configured, or one that only has a queue, as with `kefu
// dev` or after it was taken out of the configuration.
type knownApp struct {
	config.App
	configured bool
	queue      bool
}

// knownApps are the configured apps in their order, then those that only have a queue. With --app it is that one, which must be known.
func (c *cli) knownApps(ctx context.Context, conn *broker.Conn) ([]knownApp, error) {
	cfg, err := c.config()
	if err != nil {
		return nil, err
	}
	queues, err := queueNames(ctx, conn)
	if err != nil {
		return nil, err
	}
	var apps []knownApp
	for _, app := range cfg.Apps {
		apps = append(apps, knownApp{App: app, configured: true, queue: slices.Contains(queues, app.AppID)})
	}
	for _, appID := range queues {
		if _, ok := cfg.App(appID); !ok {
			apps = append(apps, knownApp{App: config.App{AppID: appID, Settings: cfg.Defaults}, queue: true})
		}
	}
	if c.appID == "" {
		return apps, nil
	}
	at := slices.IndexFunc(apps, func(a knownApp) bool { return a.AppID == c.appID })
	if at < 0 {
		return nil, usagef("no app %s is configured, and none has a queue of that name", c.appID)
	}
	return apps[at : at+1], nil
}

// queueNames are the appids that have a queue, sorted.
func queueNames(ctx context.Context, conn *broker.Conn) ([]string, error) {
	lister := conn.JS.StreamNames(ctx)
	var names []string
	for name := range lister.Name() {
		if appID, ok := strings.CutPrefix(name, sendPrefix); ok && schema.SendStream(appID) == name {
			names = append(names, appID)
		}
	}
	if err := lister.Err(); err != nil && !errors.Is(err, jetstream.ErrEndOfData) {
		return nil, fmt.Errorf("list the queues: %w", err)
	}
	slices.Sort(names)
	return names, nil
}

// sendPrefix is what the name of every queue begins with.
var sendPrefix = strings.TrimSuffix(schema.SendStream("x"), "x")

// oneApp is the app a command changes: the one in its argument (pass "" for none), else in --app, else the only one there is.
func (c *cli) oneApp(ctx context.Context, conn *broker.Conn, argument string) (knownApp, error) {
	if argument != "" && c.appID != "" && argument != c.appID {
		return knownApp{}, usagef("two apps are named, %s and --app %s: which one?", argument, c.appID)
	}
	if argument != "" {
		c.appID = argument
	}
	apps, err := c.knownApps(ctx, conn)
	if err != nil {
		return knownApp{}, err
	}
	switch len(apps) {
	case 0:
		return knownApp{}, usagef("no app is configured, and none has a queue")
	case 1:
		return apps[0], nil
	}
	return knownApp{}, usagef("there are several apps: name one, see kefu app list")
}
