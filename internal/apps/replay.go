package apps

import (
	"context"
	"fmt"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/config"
	"github.com/kefuhq/kefu/internal/deadletter"
	"github.com/kefuhq/kefu/internal/gate"
	"github.com/kefuhq/kefu/internal/ledger"
)

// SetupReplay completes the options of a replay of dead letters with what the box must know of the
// apps, their holds and the ledger. Repeats count as remembered for the shortest time of any app.
func SetupReplay(
	ctx context.Context, conn *broker.Conn, cfg *config.Config, known []App, o deadletter.Options,
) (deadletter.Options, error) {
	holds, err := gate.Holds(ctx, conn)
	if err != nil {
		return o, err
	}
	o.Apps, o.Ledger = make(map[string]deadletter.App), letterLedger{ledger.NewLookup(conn)}
	for _, app := range known {
		o.Apps[app.AppID] = deadletter.App{
			ExpireAfter: app.ExpireAfter, Limits: app.Limits,
			Held: heldReason(app, holds[app.AppID]),
		}
		remembered := cfg.Remembered(app.App)
		if o.Remembered == 0 || remembered < o.Remembered {
			o.Remembered = remembered
		}
	}
	return o, nil
}

// heldReason says why an app is held; empty when it is not.
func heldReason(app App, holds []gate.Hold) string {
	if len(holds) == 0 {
		return ""
	}
	return fmt.Sprintf("%s is held (%s): %s", app.Label(), holds[0].Kind, holds[0].Reason)
}

// letterLedger is the ledger as a replay sees it.
type letterLedger struct{ *ledger.Lookup }

// Life tells what is remembered of an id; nothing while its message has only been handed out.
func (l letterLedger) Life(appID, id string, packet []byte) (deadletter.Life, bool) {
	e, ok := l.Get(appID, id)
	if !ok || e.Kind == 0 {
		return deadletter.Life{}, false
	}
	_, dying := e.Kind.Dying()
	return deadletter.Life{
		Generation: max(int(e.Generation), 1), Ended: e.Kind.Terminal() || dying,
		Same: e.Body == ledger.BodyOf(packet),
	}, true
}
