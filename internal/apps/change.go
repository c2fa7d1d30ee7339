package apps

import (
	"context"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/gate"
)

// Changed is what an operator's change of an app came to.
type Changed struct {
	AppID   string      `json:"appid"`
	Changed bool        `json:"changed"`
	Holds   []gate.Hold `json:"holds"` // those in force afterwards
}

// Pause holds an app until somebody resumes it, and writes that down.
func Pause(ctx context.Context, conn *broker.Conn, appID, reason, by string) (Changed, error) {
	entry := broker.AuditEntry{Verb: "pause", AppID: appID, Count: 1, Detail: reason, Actor: by}
	if err := conn.Audit(ctx, entry); err != nil {
		return Changed{}, err
	}
	if err := gate.Pause(ctx, conn, appID, reason, by); err != nil {
		return Changed{}, err
	}
	return changed(ctx, conn, appID)
}

// Resume lifts the holds of an app, and writes that down. An app that is not held is left as it is.
func Resume(ctx context.Context, conn *broker.Conn, appID, by string) (Changed, error) {
	holds, err := gate.Holds(ctx, conn)
	if err != nil || len(holds[appID]) == 0 {
		return Changed{AppID: appID, Holds: []gate.Hold{}}, err
	}
	entry := broker.AuditEntry{Verb: "resume", AppID: appID, Count: 1, Actor: by}
	if err := conn.Audit(ctx, entry); err != nil {
		return Changed{}, err
	}
	if err := gate.Resume(ctx, conn, appID); err != nil {
		return Changed{}, err
	}
	return changed(ctx, conn, appID)
}

func changed(ctx context.Context, conn *broker.Conn, appID string) (Changed, error) {
	holds, err := gate.Holds(ctx, conn)
	return Changed{appID, true, append([]gate.Hold{}, holds[appID]...)}, err
}
