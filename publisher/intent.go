package publisher

import (
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nuid"

	"github.com/kefuhq/kefu/schema"
)

// Intent is one of those that are published together. It holds a packet in
// either form.
type Intent struct {
	Packet  *schema.Packet  // as for [Publisher.Publish]
	JSON    []byte          // as for [Publisher.PublishJSON]; instead of Packet
	Options []PublishOption // these go before those of the call
}

// Result is what became of one intent of several: Err is nil when it was
// accepted.
type Result struct {
	Accepted
	Err error
}

// publication is an intent on its way into the queue.
type publication struct {
	msg  *nats.Msg
	live bool // its recipient's are to be stored one after the other

	result  Result
	settled bool

	// Tries that left, and those of them of which the broker said that it has
	// not stored them. More of the former: it may be stored.
	sent, denied int
	why          error // what the broker said last

	due    time.Time // when to try (again)
	reply  string
	forget func()
}

// compose checks an intent and makes the message of it. A publication that is
// settled already has failed.
func (p *Publisher) compose(appID string, in Intent, common []PublishOption) *publication {
	o := order{}
	for _, opts := range [...][]PublishOption{p.defaults, common, in.Options} {
		for _, opt := range opts {
			if opt != nil {
				opt(&o)
			}
		}
	}
	pub := &publication{live: !o.bulk, result: Result{Accepted: Accepted{AppID: appID, made: !o.named}}}
	if !o.named {
		o.envelope.ID = nuid.Next()
	}
	pub.result.ID = o.envelope.ID
	if err := p.write(pub, appID, in, o); err != nil {
		pub.fail(err)
	}
	return pub
}

func (p *Publisher) write(pub *publication, appID string, in Intent, o order) error {
	raw, toUser, err := p.packet(in)
	if err != nil {
		return err
	}
	subject := schema.LiveSubject(appID, toUser)
	if o.bulk {
		subject = schema.BulkSubject(appID, o.campaign)
	}
	if err := subject.Check(); err != nil {
		return err
	}
	if o.expiresIn != nil {
		if *o.expiresIn <= 0 {
			return &schema.FieldError{Field: schema.HeaderExpiresAt, Rule: "must be later than now"}
		}
		o.envelope.ExpiresAt = time.Now().Add(*o.expiresIn)
	}
	if err := checkEnvelope(o.envelope); err != nil {
		return err
	}
	pub.msg = &nats.Msg{Subject: subject.String(), Header: o.envelope.Header(), Data: raw}
	return nil
}

// packet returns the bytes to publish, and whom the packet is for.
func (p *Publisher) packet(in Intent) (raw []byte, toUser string, err error) {
	packet := in.Packet
	switch {
	case packet != nil && in.JSON != nil:
		return nil, "", &schema.FieldError{Field: "packet", Rule: "given twice, as a packet and as JSON"}
	case packet != nil:
		err, raw = packet.Check(p.limits), schema.Encode(packet)
	default:
		raw = in.JSON
		packet, err = schema.Decode(raw, p.limits)
	}
	if err != nil && len(raw) > schema.MaxPacket {
		err = &refusal{is: ErrTooLarge, text: err.Error(), cause: err}
	}
	if err != nil {
		return nil, "", err
	}
	return raw, packet.ToUser, nil
}

func checkEnvelope(e schema.Envelope) error {
	if e.ID == "" {
		return schema.CheckID(e.ID) // Envelope.Check takes it for none
	}
	if err := e.Check(); err != nil {
		return err
	}
	if !e.SendAt.IsZero() && !e.ExpiresAt.IsZero() && !e.SendAt.Before(e.ExpiresAt) {
		return &schema.FieldError{Field: schema.HeaderSendAt, Rule: "not before " + schema.HeaderExpiresAt + ": it would never be sent"}
	}
	return nil
}

// accept settles a publication as stored.
func (pub *publication) accept(stream string, seq uint64, duplicate bool) {
	pub.settled = true
	pub.result.Stream, pub.result.Seq = stream, seq
	pub.result.Duplicate = duplicate && !pub.result.made // only its own echo can have an id that was made here
}

func (pub *publication) fail(err error) {
	pub.settled = true
	pub.result.Err = err
}

// end settles a publication when no more of the same is taken. A try that is not
// answered, alone or with a batch, may have been stored all the same.
func (pub *publication) end(cause error) {
	if pub.sent > pub.denied {
		pub.abandon(cause)
	} else {
		pub.fail(cause)
	}
}

// abandon settles a publication that ran out of time or was not tried.
func (pub *publication) abandon(cause error) {
	id := pub.result.ID
	if pub.sent > pub.denied {
		pub.fail(&refusal{
			is: ErrOutcomeOpen, cause: cause,
			text: fmt.Sprintf("no answer from the broker: intent %s may or may not be queued, publishing it again under this id is safe: %v", id, cause),
		})
		return
	}
	why := ""
	if pub.why != nil {
		why = pub.why.Error() + ": "
	}
	pub.fail(&refusal{
		is: ErrNotQueued, cause: errors.Join(cause, pub.why),
		text: fmt.Sprintf("intent %s was not queued: %s%v", id, why, cause),
	})
}
