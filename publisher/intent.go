package publisher

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nuid"

	"github.com/kefuhq/kefu/schema"
)

// Intent is one message to one user, and what is said about it.
type Intent struct {
	Packet  json.Marshaler  // As for [Publisher.Publish].
	Options []PublishOption // For this one. They take precedence over those of the batch.
}

// Message returns the message that a publisher puts into the queue of an app for the intent: its
// subject, its headers and the packet. limits are what the packet is checked against. It is for
// programs that store what they will publish, an outbox, say; any NATS client may publish it, with
// acknowledgement.
func (in Intent) Message(appID string, limits schema.Limits) (*nats.Msg, error) {
	pub := compose(appID, in, limits)
	return pub.msg, pub.result.Err
}

// Result is what became of one intent of several. Err is nil when it was accepted, else an
// [*Error]. The ID is set in either case.
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

	// Tries that left, and those of them of which the broker said that it has not stored them. More
	// of the former: it may be stored.
	sent, denied int
	why          error // what the broker said last

	due    time.Time // when to try (again)
	reply  string
	forget func()
}

// compose checks an intent and makes the message of it. A publication that is settled already has
// failed. More options are given from the least to the most.
func compose(
	appID string, in Intent, limits schema.Limits, common ...[]PublishOption,
) *publication {
	o := orderOf(append(common, in.Options)...)
	pub := &publication{live: !o.bulk}
	pub.result.Accepted = Accepted{AppID: appID, made: !o.named, At: time.Now()}
	if !o.named {
		o.envelope.ID = nuid.Next()
	}
	pub.result.ID = o.envelope.ID
	var err error
	if pub.msg, err = message(appID, in.Packet, limits, o); err != nil {
		pub.fail(err)
	}
	return pub
}

func message(
	appID string, packet json.Marshaler, limits schema.Limits, o order,
) (*nats.Msg, error) {
	raw, toUser, err := encode(packet, limits)
	if err != nil {
		return nil, err
	}
	subject := schema.LiveSubject(appID, toUser)
	if o.bulk {
		subject = schema.BulkSubject(appID, o.campaign)
	}
	if err := subject.Check(); err != nil {
		return nil, err
	}
	if err := o.setDeadline(time.Now()); err != nil {
		return nil, err
	}
	if err := checkEnvelope(o.envelope); err != nil {
		return nil, err
	}
	return &nats.Msg{Subject: subject.String(), Header: o.envelope.Header(), Data: raw}, nil
}

// encode checks a packet and returns the bytes to publish, and whom it is for.
func encode(packet json.Marshaler, limits schema.Limits) (raw []byte, toUser string, err error) {
	raw, toUser, err = encodeAny(packet, limits)
	if err != nil && len(raw) > schema.MaxPacket {
		err = &refusal{is: ErrTooLarge, text: err.Error(), cause: err}
	}
	return raw, toUser, err
}

func encodeAny(packet json.Marshaler, limits schema.Limits) (raw []byte, toUser string, err error) {
	switch packet := packet.(type) {
	case nil:
		return nil, "", errNoPacket
	case *schema.Packet:
		if packet == nil {
			return nil, "", errNoPacket
		}
		return schema.Encode(packet), packet.ToUser, packet.Check(limits)
	case schema.Packet:
		return encodeAny(&packet, limits)
	default:
		if raw, err = packet.MarshalJSON(); err != nil {
			return nil, "", fmt.Errorf("packet: %w", err)
		}
		decoded, err := schema.Decode(raw, limits)
		if err != nil {
			return raw, "", err
		}
		return raw, decoded.ToUser, nil
	}
}

var errNoPacket = &schema.FieldError{Field: "packet", Rule: "missing"}

func checkEnvelope(e schema.Envelope) error {
	if e.ID == "" {
		return schema.CheckID(e.ID) // Envelope.Check takes it for none
	}
	return checkTerms(e)
}

// checkTerms checks what is said about an intent besides its id.
func checkTerms(e schema.Envelope) error {
	if err := e.Check(); err != nil {
		return err
	}
	if !e.SendAt.IsZero() && !e.ExpiresAt.IsZero() && !e.SendAt.Before(e.ExpiresAt) {
		const rule = "not before " + schema.HeaderExpiresAt + ": it would never be sent"
		return &schema.FieldError{Field: schema.HeaderSendAt, Rule: rule}
	}
	return nil
}

// accept settles a publication as stored.
func (pub *publication) accept(stream string, seq uint64, duplicate bool) {
	pub.settled = true
	pub.result.Stream, pub.result.Seq = stream, seq
	// only its own echo can have an id that was made here
	pub.result.Duplicate = duplicate && !pub.result.made
}

func (pub *publication) fail(err error) {
	pub.settled = true
	pub.result.Err = &Error{AppID: pub.result.AppID, ID: pub.result.ID, Err: err}
}

// end settles a publication when no more of the same is taken. A try that is not answered, alone or
// with a batch, may have been stored all the same.
func (pub *publication) end(cause error) {
	if pub.sent > pub.denied {
		pub.abandon(cause)
	} else {
		pub.fail(cause)
	}
}

// abandon settles a publication that ran out of time or was not tried.
func (pub *publication) abandon(cause error) {
	if pub.sent > pub.denied {
		text := fmt.Sprintf("no answer from the broker: it may or may not be queued, "+
			"publishing it again under this id is safe: %v", cause)
		pub.fail(&refusal{is: ErrOutcomeOpen, cause: cause, text: text})
		return
	}
	if pub.why != nil {
		cause = fmt.Errorf("%w: %w", pub.why, cause)
	}
	pub.fail(notQueued(cause))
}
