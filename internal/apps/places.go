package apps

import "github.com/kefuhq/kefu/internal/intent"

// Places returns the apps as intents are looked for in them.
func Places(known []App) []intent.App {
	places := make([]intent.App, len(known))
	for i, app := range known {
		places[i] = intent.App{ID: app.AppID, HasQueue: app.HasQueue}
	}
	return places
}
