package queue

import (
	"context"
	"fmt"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/wire"
	"github.com/kefuhq/kefu/schema"
)

// App is an app in which is looked.
type App struct {
	ID       string
	HasQueue bool
}

// Choice is which messages of an app are looked for.
type Choice struct{ openID, campaign string }

// OfRecipient chooses those of one recipient.
func OfRecipient(openID string) Choice { return Choice{openID: openID} }

// OfCampaign chooses those of one campaign.
func OfCampaign(name string) Choice { return Choice{campaign: name} }

// place is where messages lie that may be chosen.
type place struct {
	stream, subject string
	wanted          func(broker.Stored) bool
}

// places are where to look in an app. KEFU_LATER comes first: what moves from there to the queue
// meanwhile is seen there, if not before.
func (c Choice) places(app App) (out []place) {
	all := func(broker.Stored) bool { return true }
	names := func(s broker.Stored) bool { return wire.PeekToUser(s.Data) == c.openID }
	inLater, bulk := names, wire.LaneFilter(app.ID, schema.LaneBulk, wire.AnyToken)
	inQueue := names
	if c.campaign != "" {
		target := wire.Subject{Subject: schema.BulkSubject(app.ID, c.campaign), Again: true}.String()
		inLater = func(s broker.Stored) bool { return s.Header.Get(wire.HeaderTarget) == target }
		inQueue, bulk = all, wire.LaneFilter(app.ID, schema.LaneBulk, c.campaign)
	}
	for _, subject := range LaterSubjects(app.ID) {
		out = append(out, place{wire.StreamLater, subject, inLater})
	}
	if !app.HasQueue {
		return out
	}
	queue := schema.SendStream(app.ID)
	if c.campaign == "" { // the live lane tells by the subject whose a message is
		live := wire.LaneFilter(app.ID, schema.LaneLive, wire.AnyToken, c.openID)
		out = append(out, place{queue, live, all})
	}
	return append(out, place{queue, bulk, inQueue})
}

// Reader finds messages of an app. What it has looked at it does not look at again, so reading once
// more finds what was stored meanwhile.
type Reader struct {
	conn   *broker.Conn
	app    App
	places []place
	next   []uint64 // by place: where the next reading begins
}

// NewReader makes a Reader that has looked at nothing yet.
func NewReader(conn *broker.Conn, app App, c Choice) *Reader {
	places := c.places(app)
	return &Reader{conn, app, places, make([]uint64, len(places))}
}

// Read calls f for the messages that are new to the reader. Of those of one place the oldest comes
// first. What moves from KEFU_LATER to the queue meanwhile is seen there, if not before; the other
// way round it may be missed.
func (r *Reader) Read(ctx context.Context, f func(Message) error) error {
	for at, p := range r.places {
		read := func(s broker.Stored) Message { return ReadLater(r.app.ID, s) }
		if p.stream != wire.StreamLater {
			stream, err := r.conn.JS.Stream(ctx, p.stream)
			if err != nil {
				return fmt.Errorf("the queue of %s: %w", r.app.ID, err)
			}
			created := stream.CachedInfo().Created
			read = func(s broker.Stored) Message { return ReadQueued(r.app.ID, s, created) }
		}
		o := broker.ScanOptions{Subject: p.subject, Seq: r.next[at]}
		err := r.conn.Scan(ctx, p.stream, o, func(s broker.Stored) error {
			r.next[at] = s.Seq + 1
			if !p.wanted(s) {
				return nil
			}
			return f(read(s))
		})
		if err != nil {
			return err
		}
	}
	return nil
}
