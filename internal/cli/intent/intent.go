// Package intent is the commands about single messages: `kefu send`, `kefu validate`, `kefu find`
// and `kefu cancel`.
package intent

import (
	"github.com/kefuhq/kefu/internal/apps"
	"github.com/kefuhq/kefu/internal/intent"
)

// placesOf returns the apps as an intent is looked for in them.
func placesOf(known []apps.App) []intent.App {
	places := make([]intent.App, len(known))
	for i, app := range known {
		places[i] = intent.App{ID: app.AppID, HasQueue: app.HasQueue}
	}
	return places
}
