package deadletter

import (
	"errors"
	"maps"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"

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
		"replay it with new ids"
	refuseTooEarly refusal = "its send-at lies ahead: replay it after that"
	refuseTooOften refusal = "it was replayed too often"
	refuseOtherApp refusal = "its subject is that of another app"
	refuseExpired  refusal = "its deadline has passed: give it a new one"
	refuseNoQueue  refusal = "its app has no queue: it is not configured, or kefu setup was not run"
	refuseSameID   refusal = "another letter with the same id is replayed: " +
		"replay this one with new ids"
	refuseContinued refusal = "its id went on without it, by another letter or by its producer: " +
		"look at it, and replay it with new ids if it is to be sent"
	refuseInFlight refusal = "another message under its id is under way: replay it later, " +
		"or with new ids"
	refuseMayDouble refusal = "a replay that was killed may have sent it, longer ago " +
		"than repeats are recognised"
)

// maxGeneration is the highest that the ledger can hold.
const maxGeneration = 1<<16 - 1

// target is what a replay publishes for a letter.
type target struct {
	id         string
	generation int
	msgID      string // at the broker
	ownID      bool   // the id is the letter's alone
}

// targetOf is the next generation of a letter's id, or the first of an id of its own.
func targetOf(item *Item, own bool) target {
	l := &item.Letter
	t := target{id: l.ID, generation: max(l.Generation, 1) + 1, ownID: own}
	if own {
		t.id, t.generation = newID(l), 1
	}
	t.msgID = wire.ReplayMsgID(l.AppID, t.id, t.generation, item.Seq)
	return t
}

// message is the message that sends a letter again: the packet byte for byte,
// under its own lane, with the producer's headers, as the target says. now is
// the time of publishing.
func (o Options) message(item *Item, t target, now time.Time) (*nats.Msg, error) {
	l := &item.Letter
	if item.Broken {
		return nil, refuseNoLetter
	}
	subject, err := wire.ParseSubject(l.Subject)
	if err != nil {
		return nil, refusal("its subject cannot be published to: " + ruleOf(err))
	}
	if subject.AppID != l.AppID {
		return nil, refuseOtherApp
	}
	env, err := wire.ParseEnvelope(l.Header(), subject.Again)
	if err != nil {
		return nil, refusal("its headers are not valid: " + err.Error())
	}
	if err := schema.CheckID(l.ID); err != nil {
		return nil, refusal("its " + err.Error())
	}
	switch {
	case l.Reason == schema.ReasonIDReuse && !o.NewIDs:
		return nil, refuseForeignID
	case env.SendAt.After(now):
		return nil, refuseTooEarly
	case l.Generation >= maxGeneration:
		return nil, refuseTooOften
	}
	env.ID, env.Generation = t.id, t.generation
	env.Attempt, env.Tried, env.SendAt = 1, nil, time.Time{}
	env.PublishedAt = l.PublishedAt
	if o.ExpiresIn > 0 {
		env.ExpiresAt = now.Add(o.ExpiresIn)
	}
	subject.Again = true
	header := nats.Header(env.Header())
	maps.Copy(header, wire.ForeignHeader(l.Header()))
	header.Set(schema.HeaderMsgID, t.msgID)
	return &nats.Msg{Subject: subject.String(), Header: header, Data: l.Packet()}, nil
}

// newID is an id of its own for a letter whose id is another's. It is the same
// each time, so that a replay that was interrupted finds its own message.
func newID(l *schema.Letter) string {
	suffix := "~" + strconv.FormatUint(l.Sequence, 10)
	const most = 128
	return l.ID[:min(len(l.ID), most-len(suffix))] + suffix
}

// deadline is when a letter is too late; zero for never.
func (o Options) deadline(l *schema.Letter, now time.Time) time.Time {
	if o.ExpiresIn > 0 {
		return now.Add(o.ExpiresIn)
	}
	env, err := wire.ParseEnvelope(l.Header(), wire.IsAgain(l.Subject))
	if err != nil {
		env = wire.Envelope{} // headers that cannot be read are refused elsewhere
	}
	return env.Deadline(l.PublishedAt, o.Apps[l.AppID].ExpireAfter)
}

// ruleOf is the rule that a schema error says was broken.
func ruleOf(err error) string {
	var broken *schema.FieldError
	if errors.As(err, &broken) {
		return broken.Field + " " + broken.Rule
	}
	return err.Error()
}
