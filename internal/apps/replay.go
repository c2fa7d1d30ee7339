package apps

import (
	"context"
	"fmt"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/config"
	"github.com/kefuhq/kefu/internal/gate"
	"github.com/kefuhq/kefu/internal/replay"
)

// ForReplay is what a plan of a replay of dead letters has to know of the apps, their holds and the
// ledger. Repeats count as remembered for the shortest time of any app.
func ForReplay(
	ctx context.Context, conn *broker.Conn, cfg *config.Config, known []App,
) (replay.Known, error) {
	k := replay.Known{
		Apps: make(map[string]replay.App), Ledger: replay.StoredLedger(conn),
	}
	holds, err := gate.Holds(ctx, conn)
	if err != nil {
		return k, err
	}
	for _, app := range known {
		k.Apps[app.AppID] = replay.App{
			ExpireAfter: app.ExpireAfter, Limits: app.Limits,
			Held: heldReason(app, holds[app.AppID]),
		}
		remembered := cfg.Remembered(app.App)
		if k.Remembered == 0 || remembered < k.Remembered {
			k.Remembered = remembered
		}
	}
	return k, nil
}

// heldReason says why an app is held; empty when it is not.
func heldReason(app App, holds []gate.Hold) string {
	if len(holds) == 0 {
		return ""
	}
	return fmt.Sprintf("%s is held (%s): %s", app.Label(), holds[0].Kind, holds[0].Reason)
}
