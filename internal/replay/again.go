package replay

import (
	"errors"
	"maps"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/kefuhq/kefu/internal/deadletter"
	"github.com/kefuhq/kefu/internal/wire"
	"github.com/kefuhq/kefu/schema"
)

// refusal is why a letter cannot be sent again, as a sentence that many
// letters share: it names no id.
type refusal string

func (r refusal) Error() string { return string(r) }

// Refusals that do not depend on what a letter holds.
const (
	refuseNoLetter  refusal = "what is stored is no letter of kefu's"
	refuseForeignID refusal = "its id belongs to an earlier intent with another body: " +
		"replay it with --new-ids"
	refuseTooEarly refusal = "its send-at lies ahead: replay it after that"
	refuseTooOften refusal = "it was replayed too often"
	refuseOtherApp refusal = "its subject is that of another app"
	refuseExpired  refusal = "its deadline has passed: give it a new one with --expires-in"
	refuseNoQueue  refusal = "its app has no queue: it is not configured, or kefu setup was not run"
	refuseSameID   refusal = "another letter with the same id is replayed: " +
		"replay this one with --new-ids"
	refuseContinued refusal = "its id went on without it, by another letter or by its producer: " +
		"look at it, and replay it with --new-ids if it is to be sent"
	refuseInFlight refusal = "another message under its id is under way: replay it later, " +
		"or with --new-ids"
	refuseMayDouble refusal = "a replay that was cut off may have sent it, longer ago " +
		"than repeats are recognised"
	refuseNoRecipient refusal = "nobody can tell who its recipient is: it cannot go to the live lane"
)

// target is what a replay publishes for a letter.
type target struct {
	id         string
	generation int
	msgID      string // at the broker
	ownID      bool   // the id is the letter's alone
}

// targetOf is the next generation of a letter's id, or the first of an id of its own.
func targetOf(item *deadletter.Item, own bool) target {
	l := &item.Letter
	t := target{id: l.ID, generation: max(l.Generation, 1) + 1, ownID: own}
	if own {
		t.id, t.generation = newID(l), 1
	}
	t.msgID = wire.ReplayMsgID(l.AppID, t.id, t.generation, item.Seq)
	return t
}

// packet is the packet that is sent again.
func (o Options) packet(item *deadletter.Item) ([]byte, error) {
	if item.Broken {
		return nil, nil
	}
	packet, err := o.Set.Apply(item.Letter.Packet())
	if err != nil {
		return nil, refusal("the change does not fit: " + err.Error())
	}
	return packet, nil
}

// campaignOfMoved is the campaign of live letters that a replay moves to the bulk lane.
const campaignOfMoved = "replay"

// subject is where a letter is published again.
func (o Options) subject(l *schema.Letter) (wire.Subject, error) {
	subject, err := wire.ParseSubject(l.Subject)
	switch {
	case err != nil:
		return subject, refusal("its subject cannot be published to: " + ruleOf(err))
	case subject.AppID != l.AppID:
		return subject, refuseOtherApp
	}
	subject.Again = true
	switch o.Lane {
	case "", subject.Lane:
	case schema.LaneBulk:
		subject.Subject = schema.BulkSubject(l.AppID, campaignOfMoved)
	default:
		subject.Subject = schema.LiveSubject(l.AppID, l.OpenID)
		if subject.Check() != nil {
			return subject, refuseNoRecipient
		}
	}
	return subject, nil
}

// message is the message that sends a letter again: packet, in the lane of the
// options, with the producer's headers, as the target says. at is the time of publishing.
func (o Options) message(
	item *deadletter.Item, packet []byte, t target, at time.Time,
) (*nats.Msg, error) {
	l := &item.Letter
	if item.Broken {
		return nil, refuseNoLetter
	}
	subject, err := o.subject(l)
	if err != nil {
		return nil, err
	}
	env, err := wire.ParseEnvelope(l.Header(), wire.IsAgain(l.Subject))
	if err != nil {
		return nil, refusal("its headers are not valid: " + err.Error())
	}
	if err := schema.CheckID(l.ID); err != nil {
		return nil, refusal("its " + err.Error())
	}
	switch {
	case l.Reason == schema.ReasonIDReuse && !o.NewIDs:
		return nil, refuseForeignID
	case env.SendAt.After(at):
		return nil, refuseTooEarly
	case l.Generation >= deadletter.MaxGeneration:
		return nil, refuseTooOften
	}
	env.ID, env.Generation = t.id, t.generation
	env.Attempt, env.Tried, env.SendAt = 1, nil, time.Time{}
	env.PublishedAt, env.Job = l.PublishedAt, ""
	if o.ExpiresIn > 0 {
		env.ExpiresAt = at.Add(o.ExpiresIn)
	}
	header := nats.Header(env.Header())
	maps.Copy(header, wire.ForeignHeader(l.Header()))
	header.Set(schema.HeaderMsgID, t.msgID)
	return &nats.Msg{Subject: subject.String(), Header: header, Data: packet}, nil
}

// verdict is what is to be done with a letter.
type verdict struct {
	action    action
	why       error // of keepLetter
	target    target
	msg       *nats.Msg // of publishLetter
	mayDouble bool
}

// verdict is what is to be done with a letter whose turn comes at a time.
func (k Known) verdict(
	item *deadletter.Item, packet []byte, p assessment, o Options, at time.Time,
) verdict {
	msg, why := o.message(item, packet, p.target, at)
	switch {
	case why != nil:
	case !p.queue:
		why = refuseNoQueue
	case p.action == keepLetter:
		why = p.refusal
	case p.action == publishLetter && k.late(item, o, at):
		why = refuseExpired
	case p.action == publishLetter && len(o.Set) > 0:
		if err := k.check(&item.Letter, msg); err != nil {
			why = refusal("the change makes it invalid: " + err.Error())
		}
	}
	if why != nil {
		return verdict{action: keepLetter, why: why}
	}
	l := &item.Letter
	switch moved := o.Lane != "" && o.Lane != l.Lane; {
	case moved: // into another campaign, or none
		msg.Header.Del(wire.HeaderBefore)
		msg.Header.Del(wire.HeaderBeforeErrcode)
	case p.counted:
		msg.Header.Set(wire.HeaderBefore,
			wire.Ended(schema.StateDead, l.Reason, l.PossibleDuplicate))
		msg.Header.Del(wire.HeaderBeforeErrcode)
		if l.Errcode != nil {
			msg.Header.Set(wire.HeaderBeforeErrcode, strconv.Itoa(*l.Errcode))
		}
	}
	return verdict{action: p.action, target: p.target, msg: msg, mayDouble: p.mayDouble}
}

// check says which rule a packet breaks: a [*schema.FieldError].
func (k Known) check(l *schema.Letter, msg *nats.Msg) error {
	packet, err := schema.Decode(msg.Data, k.Apps[l.AppID].Limits)
	if err != nil {
		return err
	}
	subject, err := wire.ParseSubject(msg.Subject)
	if err != nil {
		return err
	}
	if err := subject.CheckPacket(packet); err != nil {
		return err
	}
	if packet.ToUser != l.OpenID && l.OpenID != "" {
		return &schema.FieldError{Field: "touser", Rule: "must stay the recipient of the letter"}
	}
	return nil
}

func (k Known) late(item *deadletter.Item, o Options, at time.Time) bool {
	deadline := k.deadline(&item.Letter, o, at)
	return !deadline.IsZero() && !at.Before(deadline)
}

// newID is an id of its own for a letter whose id is another's. It is the same
// each time, so that a replay that was interrupted finds its own message.
func newID(l *schema.Letter) string {
	suffix := "~" + strconv.FormatUint(l.Sequence, 10)
	const most = 128
	return l.ID[:min(len(l.ID), most-len(suffix))] + suffix
}

// deadline is when a letter is too late; zero for never.
func (k Known) deadline(l *schema.Letter, o Options, at time.Time) time.Time {
	if o.ExpiresIn > 0 {
		return at.Add(o.ExpiresIn)
	}
	env, err := wire.ParseEnvelope(l.Header(), wire.IsAgain(l.Subject))
	if err != nil {
		env = wire.Envelope{} // headers that cannot be read are refused elsewhere
	}
	return env.Deadline(l.PublishedAt, k.Apps[l.AppID].ExpireAfter)
}

// ruleOf is the rule that a schema error says was broken.
func ruleOf(err error) string {
	var broken *schema.FieldError
	if errors.As(err, &broken) {
		return broken.Field + " " + broken.Rule
	}
	return err.Error()
}
