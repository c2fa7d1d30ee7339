// Package queue has the messages that bring intents to workers, as whoever looks at them from the
// outside needs it: those of an app's queue, and those of KEFU_LATER. It finds them (reader.go),
// and says how the intent of one ends that is taken out (end.go).
//
//	reader := queue.NewReader(conn, queue.App{ID: "wx…", HasQueue: true}, queue.OfCampaign("double-11"))
//	err := reader.Read(ctx, func(m queue.Message) error {
//		end := queue.EndOf(m, book.Peek(m.Start()))
//		…
//	})
package queue

import (
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

// ReadQueued reads a message of an app's queue, and the id of its intent as a worker does.
func ReadQueued(appID string, s broker.Stored, created time.Time) Message {
	m := Message{AppID: appID, Stream: schema.SendStream(appID), Seq: s.Seq, Made: created,
		Stored: s.Time, Packet: s.Data}
	m.Subject, _ = wire.ParseSubject(s.Subject) // one that cannot be read has no key to show
	m.Envelope, _ = wire.ParseEnvelope(s.Header, m.Subject.Again)
	if m.ID = m.Envelope.ID; m.ID == "" {
		m.ID = wire.DefaultID(created, s.Seq)
	}
	return m
}

// ReadLater reads a message of KEFU_LATER that waits for an app.
func ReadLater(appID string, s broker.Stored) Message {
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

// LaterSubjects are where an app's intents lie in KEFU_LATER: what waits, and what is due.
func LaterSubjects(appID string) []string {
	return []string{wire.LaterWaitFilter(appID), wire.LaterDueSubject(appID)}
}
