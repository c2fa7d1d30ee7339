// Package intent is what operators do with one intent, or with those of one recipient: find out
// where they are and what happened to them, and withdraw them.
package intent

import (
	"context"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/deadletter"
	"github.com/kefuhq/kefu/internal/ledger"
	"github.com/kefuhq/kefu/internal/queue"
)

// App is an app in which is looked.
type App = queue.App

// Find finds an intent in every app that knows it. The ledger and the dead letters are read once
// for all of them.
func Find(ctx context.Context, conn *broker.Conn, apps []App, id string) ([]Whereabouts, error) {
	keys := make([]ledger.Key, len(apps))
	for i, app := range apps {
		keys[i] = ledger.KeyOf(app.ID, id)
	}
	histories, err := ledger.Histories(ctx, conn, keys...)
	if err != nil {
		return nil, err
	}
	letters := make(map[string][]deadletter.Item)
	filter := deadletter.Filter{IDs: []string{id}}
	if len(apps) == 1 {
		filter.AppID = apps[0].ID
	}
	err = deadletter.Open(conn).List(ctx, filter, func(i deadletter.Item) error {
		letters[i.Letter.AppID] = append(letters[i.Letter.AppID], i)
		return nil
	})
	if err != nil {
		return nil, err
	}
	var found []Whereabouts
	for i, app := range apps {
		t := &trace{appID: app.ID, id: id, alive: make(map[string]bool)}
		t.story, t.letters = ledger.Interpret(histories[keys[i]]), letters[app.ID]
		err := t.gather(ctx, conn, app.HasQueue)
		if err != nil {
			return nil, err
		}
		if t.found() {
			found = append(found, t.judge())
		}
	}
	return found, nil
}
