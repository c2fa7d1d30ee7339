package deadletter

import (
	"errors"
	"maps"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/kefuhq/kefu/schema"
)

// refusal is why a letter cannot be sent again, as a sentence that many
// letters share: it names no id.
type refusal string

func (r refusal) Error() string { return string(r) }

// Refusals that do not depend on what a letter holds.
const (
	notALetter  refusal = "what is stored is no letter of kefu's"
	foreignID   refusal = "its id belongs to an earlier intent with another body: replay it with new ids"
	notYet      refusal = "its send-at lies ahead: replay it after that"
	wornOut     refusal = "it was replayed too often"
	otherApp    refusal = "its subject is that of another app"
	justNow     refusal = "another letter with the same id was replayed just now: replay this one later"
	pastDue     refusal = "its deadline has passed: give it a new one"
	noQueue     refusal = "its app has no queue: it is not configured, or kefu setup was not run"
	otherQueued refusal = "the queue holds another intent under its id: replay it later"
)

// maxGeneration is the highest that the ledger can hold.
const maxGeneration = 1<<16 - 1

// again is the message that sends a letter again: the packet byte for byte,
// under its own lane, with the producer's headers and the next generation of
// its id. now is the time of publishing.
func (o Options) again(item *Item, now time.Time) (*nats.Msg, error) {
	l := &item.Letter
	if item.Broken {
		return nil, notALetter
	}
	subject, err := schema.ParseSubject(l.Subject)
	if err != nil {
		return nil, refusal("its subject cannot be published to: " + ruleOf(err))
	}
	if subject.AppID != l.AppID {
		return nil, otherApp
	}
	env, err := schema.ParseEnvelope(l.Header(), subject.Again)
	if err != nil {
		return nil, refusal("its headers are not valid: " + err.Error())
	}
	if err := schema.CheckID(l.ID); err != nil {
		return nil, refusal("its " + err.Error())
	}
	switch {
	case l.Reason == schema.IDReuse && !o.NewIDs:
		return nil, foreignID
	case env.SendAt.After(now):
		return nil, notYet
	case l.Generation >= maxGeneration:
		return nil, wornOut
	}
	env.ID, env.Generation = l.ID, max(l.Generation, 1)+1
	if l.Reason == schema.IDReuse {
		env.ID, env.Generation = newID(l), 1
	}
	env.Attempt, env.Tried, env.SendAt = 1, nil, time.Time{}
	env.PublishedAt = l.PublishedAt
	if o.ExpiresIn > 0 {
		env.ExpiresAt = now.Add(o.ExpiresIn)
	}
	subject.Again, subject.Shard = true, -1
	header := nats.Header(env.Header())
	maps.Copy(header, schema.ForeignHeader(l.Header()))
	header.Set(schema.HeaderMsgID, schema.ReplayMsgID(l.AppID, env.ID, env.Generation))
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
	env, err := schema.ParseEnvelope(l.Header(), strings.HasPrefix(l.Subject, "kefu.again."))
	if err != nil {
		env = schema.Envelope{} // headers that cannot be read are refused elsewhere
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
