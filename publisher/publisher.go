package publisher

import (
	"context"
	"errors"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/kefuhq/kefu/schema"
)

// Publisher publishes intents. It is safe for concurrent use, and needs no closing: the connection is the caller's.
type Publisher struct {
	js     jetstream.JetStream
	nc     *nats.Conn
	limits schema.Limits
	source string
}

// Accepted is the broker's word that an intent is stored.
type Accepted struct {
	ID     string
	AppID  string
	Stream string
	Seq    uint64 // Where it is stored in Stream; of a duplicate, where the first one was.

	// Duplicate says that the id had been accepted before, and that nothing was stored now, whatever the packet. It is also true
	// when an earlier try of the same call got through and only its answer did not.
	Duplicate bool
}

// New returns a publisher on the connection of js. The error is a [*schema.FieldError] for a bad default source.
func New(js jetstream.JetStream, opts ...Option) (*Publisher, error) {
	if js == nil || js.Conn() == nil {
		return nil, errors.New("publisher: no connection")
	}
	p := &Publisher{js: js, nc: js.Conn()}
	for _, o := range opts {
		if o != nil {
			o(p)
		}
	}
	if err := (schema.Envelope{ID: "x", Source: p.source}).Check(); err != nil {
		return nil, err
	}
	return p, nil
}

// Publish checks the packet and puts it into the queue of the app. It returns when the broker has stored it. With an error, too,
// Accepted.ID is the id to publish again under.
func (p *Publisher) Publish(ctx context.Context, appID string, packet *schema.Packet, opts ...PublishOption) (Accepted, error) {
	return p.publish(ctx, appID, Intent{Packet: packet, Options: opts})
}

// PublishJSON is Publish for a packet that is JSON already. It is checked, and stored byte for byte.
func (p *Publisher) PublishJSON(ctx context.Context, appID string, raw []byte, opts ...PublishOption) (Accepted, error) {
	return p.publish(ctx, appID, Intent{JSON: raw, Options: opts})
}

func (p *Publisher) publish(ctx context.Context, appID string, in Intent) (Accepted, error) {
	acc := Accepted{AppID: appID}
	m, err := p.message(appID, in)
	if m != nil {
		acc.ID = idOf(m)
	}
	if err != nil {
		return acc, err
	}
	a, err := p.deliver(ctx, appID, m)
	if err != nil {
		return acc, err
	}
	return acc.with(a), nil
}

// message makes the message of one intent. With a bad intent whose id is good, it is one that holds nothing but the id.
func (p *Publisher) message(appID string, in Intent) (*nats.Msg, error) {
	i, err := p.intent(time.Now(), in.Options)
	if err != nil {
		return nil, err
	}
	m := &nats.Msg{Header: nats.Header(i.env.SendHeader())}
	packet, raw, err := p.packet(in)
	if err != nil {
		return m, err
	}
	s := schema.Subject{AppID: appID, Lane: schema.Live, Shard: -1, Key: packet.ToUser}
	if i.bulk {
		s.Lane, s.Key = schema.Bulk, i.campaign
	}
	if err := s.Check(); err != nil {
		return m, err
	}
	m.Subject, m.Data = s.String(), raw
	return m, nil
}

// packet returns the intent's packet, checked, and its bytes.
func (p *Publisher) packet(in Intent) (*schema.Packet, []byte, error) {
	switch {
	case in.Packet != nil && in.JSON != nil:
		return nil, nil, &schema.FieldError{Field: "packet", Rule: "given twice, in Go and as JSON"}
	case in.Packet != nil:
		if err := in.Packet.Check(p.limits); err != nil {
			return nil, nil, err
		}
		return in.Packet, schema.Encode(in.Packet), nil
	case in.JSON != nil:
		packet, err := schema.Decode(in.JSON, p.limits)
		return packet, in.JSON, err
	default:
		return nil, nil, &schema.FieldError{Field: "packet", Rule: "missing"}
	}
}

func idOf(m *nats.Msg) string { return m.Header[schema.HeaderMsgID][0] }

func (a Accepted) with(k pubAck) Accepted {
	a.Stream, a.Seq, a.Duplicate = k.Stream, k.Seq, k.Duplicate
	return a
}
