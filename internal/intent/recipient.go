package intent

import (
	"context"
	"time"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/deadletter"
	"github.com/kefuhq/kefu/internal/queue"
	"github.com/kefuhq/kefu/schema"
)

// Pending is an intent of one recipient that is queued, waiting or dead.
type Pending struct {
	AppID string       `json:"appid"`
	ID    string       `json:"id"`
	State schema.State `json:"state"`
	Lane  schema.Lane  `json:"lane"`
	Why   string       `json:"why,omitempty"`
	At    time.Time    `json:"at"` // since when
	Until time.Time    `json:"until,omitzero"`
}

// OfRecipient lists what is queued, waiting or dead of one recipient.
func OfRecipient(
	ctx context.Context, conn *broker.Conn, apps []App, openID string,
) (rows []Pending, err error) {
	for _, app := range apps {
		err := queue.NewReader(conn, app, queue.OfRecipient(openID)).Read(ctx, func(m queue.Message) error {
			rows = append(rows, pending(m))
			return nil
		})
		if err != nil {
			return nil, err
		}
		letters, err := deadLettersFor(ctx, conn, app, openID)
		if err != nil {
			return nil, err
		}
		rows = append(rows, letters...)
	}
	return rows, nil
}

func pending(m queue.Message) Pending {
	p := Pending{AppID: m.AppID, ID: m.ID, State: schema.StateQueued, Lane: m.Subject.Lane,
		At: m.Stored, Until: m.Until}
	if m.Waits() {
		p.State = schema.StateWaiting
	}
	return p
}

func deadLettersFor(
	ctx context.Context, conn *broker.Conn, app App, openID string,
) (rows []Pending, err error) {
	filter := deadletter.Filter{AppID: app.ID, OpenID: openID}
	err = deadletter.Open(conn).List(ctx, filter, func(i deadletter.Item) error {
		l := i.Letter
		rows = append(rows, Pending{AppID: app.ID, ID: l.ID, State: schema.StateDead, Lane: l.Lane,
			Why: string(l.Reason), At: l.DiedAt})
		return nil
	})
	return rows, err
}
