package intent

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/wire"
	"github.com/kefuhq/kefu/schema"
)

// Message is what brings an intent to a worker: in the app's queue, or in KEFU_LATER.
type Message struct {
	AppID, ID string
	Stream    string
	Seq       uint64
	Made      time.Time // when its queue was; zero in KEFU_LATER
	Stored    time.Time
	Subject   wire.Subject
	Envelope  wire.Envelope
	Until     time.Time // what it waits for, in KEFU_LATER; zero when it is due
	Packet    []byte
}

// Waits says whether it is in KEFU_LATER.
func (m Message) Waits() bool { return m.Stream == wire.StreamLater }

// Published is when its producer published it; zero when nobody knows.
func (m Message) Published() time.Time {
	if m.Subject.Again {
		return m.Envelope.PublishedAt
	}
	return m.Stored
}

// Campaign is the campaign that it belongs to; "" for none.
func (m Message) Campaign() string {
	if m.Subject.Lane != schema.LaneBulk {
		return ""
	}
	return m.Subject.Key
}

// readQueued reads a message of an app's queue, and the id of its intent as a worker does.
func readQueued(appID string, s broker.Stored, created time.Time) Message {
	m := Message{AppID: appID, Stream: schema.SendStream(appID), Seq: s.Seq, Made: created,
		Stored: s.Time, Packet: s.Data}
	m.Subject, _ = wire.ParseSubject(s.Subject) // one that cannot be read has no key to show
	m.Envelope, _ = wire.ParseEnvelope(s.Header, m.Subject.Again)
	if m.ID = m.Envelope.ID; m.ID == "" {
		m.ID = wire.DefaultID(created, s.Seq)
	}
	return m
}

// readLater reads a message of KEFU_LATER.
func readLater(appID string, s broker.Stored) Message {
	m := Message{AppID: appID, Stream: wire.StreamLater, Seq: s.Seq, Stored: s.Time,
		Packet: s.Data}
	m.Subject, _ = wire.ParseSubject(s.Header.Get(wire.HeaderTarget))
	m.Envelope, _ = wire.ParseEnvelope(s.Header, true)
	m.ID = m.Envelope.ID
	if at, ok := strings.CutPrefix(s.Header.Get("Nats-Schedule"), "@at "); ok {
		m.Until, _ = time.Parse(time.RFC3339Nano, at) // zero: it is due
	}
	return m
}

// laterSubjects are where an app's intents lie in KEFU_LATER: what waits, and what is due.
func laterSubjects(appID string) []string {
	return []string{wire.LaterWaitFilter(appID), wire.LaterDueSubject(appID)}
}

// Reader finds the messages of one recipient in an app. What it has looked at it does not look at
// again, so reading once more finds what was stored meanwhile.
type Reader struct {
	conn   *broker.Conn
	app    App
	openID string
	next   map[string]uint64 // by stream and subject: where the next reading begins
}

// NewReader makes a Reader that has looked at nothing yet.
func NewReader(conn *broker.Conn, app App, openID string) *Reader {
	return &Reader{conn, app, openID, make(map[string]uint64)}
}

// Read calls f for the messages that are new to the reader. Of those of one place the oldest comes
// first. What moves from KEFU_LATER to the queue meanwhile is seen there, if not before; the other
// way round it may be missed.
func (r *Reader) Read(ctx context.Context, f func(Message) error) error {
	for _, subject := range laterSubjects(r.app.ID) {
		err := r.scan(ctx, wire.StreamLater, subject, func(s broker.Stored) error {
			if wire.PeekToUser(s.Data) != r.openID {
				return nil
			}
			return f(readLater(r.app.ID, s))
		})
		if err != nil {
			return err
		}
	}
	if !r.app.HasQueue {
		return nil
	}
	return r.readQueue(ctx, f)
}

// readQueue reads the live lane by the subject, and of the bulk lane all packets.
func (r *Reader) readQueue(ctx context.Context, f func(Message) error) error {
	name := schema.SendStream(r.app.ID)
	stream, err := r.conn.JS.Stream(ctx, name)
	if err != nil {
		return fmt.Errorf("the queue of %s: %w", r.app.ID, err)
	}
	created := stream.CachedInfo().Created
	live := wire.LaneFilter(r.app.ID, schema.LaneLive, wire.AnyToken, r.openID)
	err = r.scan(ctx, name, live, func(s broker.Stored) error {
		return f(readQueued(r.app.ID, s, created))
	})
	if err != nil {
		return err
	}
	bulk := wire.LaneFilter(r.app.ID, schema.LaneBulk, wire.AnyToken)
	return r.scan(ctx, name, bulk, func(s broker.Stored) error {
		if wire.PeekToUser(s.Data) != r.openID {
			return nil
		}
		return f(readQueued(r.app.ID, s, created))
	})
}

func (r *Reader) scan(
	ctx context.Context, stream, subject string, f func(broker.Stored) error,
) error {
	place := stream + " " + subject
	o := broker.ScanOptions{Subject: subject, Seq: r.next[place]}
	return r.conn.Scan(ctx, stream, o, func(s broker.Stored) error {
		r.next[place] = s.Seq + 1
		return f(s)
	})
}
