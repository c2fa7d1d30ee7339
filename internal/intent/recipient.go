package intent

import (
	"context"
	"fmt"
	"time"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/deadletter"
	"github.com/kefuhq/kefu/internal/wire"
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
	looks := []func(context.Context, *broker.Conn, App, string) ([]Pending, error){
		queuedFor, waitingFor, deadLettersFor,
	}
	for _, app := range apps {
		for _, look := range looks {
			more, err := look(ctx, conn, app, openID)
			if err != nil {
				return nil, err
			}
			rows = append(rows, more...)
		}
	}
	return rows, nil
}

// queuedFor lists a recipient's queued intents: live ones by their subject, bulk ones by their
// packet.
func queuedFor(
	ctx context.Context, conn *broker.Conn, app App, openID string,
) (rows []Pending, err error) {
	if !app.HasQueue {
		return nil, nil
	}
	name := schema.SendStream(app.ID)
	stream, err := conn.JS.Stream(ctx, name)
	if err != nil {
		return nil, fmt.Errorf("the queue of %s: %w", app.ID, err)
	}
	created := stream.CachedInfo().Created
	add := func(s broker.Stored) {
		p, id := readQueued(name, s, created)
		rows = append(rows, Pending{AppID: app.ID, ID: id, State: schema.StateQueued,
			Lane: p.subject.Lane, At: p.stored})
	}
	err = conn.Scan(ctx, name,
		broker.ScanOptions{
			Subject: wire.LaneFilter(app.ID, schema.LaneLive, wire.AnyToken, openID),
		},
		func(s broker.Stored) error {
			add(s)
			return nil
		})
	if err != nil {
		return nil, err
	}
	err = conn.Scan(ctx, name,
		broker.ScanOptions{Subject: wire.LaneFilter(app.ID, schema.LaneBulk, wire.AnyToken)},
		func(s broker.Stored) error {
			if wire.PeekToUser(s.Data) == openID {
				add(s)
			}
			return nil
		})
	return rows, err
}

func waitingFor(
	ctx context.Context, conn *broker.Conn, app App, openID string,
) (rows []Pending, err error) {
	err = conn.Scan(ctx, wire.StreamLater,
		broker.ScanOptions{Subject: wire.LaterWaitFilter(app.ID)},
		func(s broker.Stored) error {
			if wire.PeekToUser(s.Data) == openID {
				p, id := readLater(s)
				rows = append(rows, Pending{AppID: app.ID, ID: id, State: schema.StateWaiting,
					Lane: p.subject.Lane, At: p.stored, Until: p.until})
			}
			return nil
		})
	return rows, err
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
