package worker

import (
	"time"

	"github.com/nats-io/nats.go"

	"github.com/kefuhq/kefu/internal/deadletter"
	"github.com/kefuhq/kefu/internal/wire"
	"github.com/kefuhq/kefu/schema"
)

// compose writes the letter, in memory.
func (e *engine) compose(d *delivery) event {
	letter := e.letter(d)
	msg, err := deadletter.Message(letter)
	if err != nil {
		e.log.Error("dead letter", "app", e.appID, "id", d.id, "error", err)
		return event{kind: evUnwritable}
	}
	d.burial = &burial{letter: letter, msg: msg}
	return event{kind: evDone}
}

// letter is all that is known about an intent that will not be sent.
func (e *engine) letter(d *delivery) *schema.Letter {
	end := &d.end
	l := &schema.Letter{
		ID: d.id, AppID: e.appID, Generation: d.generation, Lane: d.line.kind, Source: d.env.Source,
		Reason: end.reason, Detail: end.detail, PossibleDuplicate: d.possibleDuplicate() || end.reason == schema.ReasonUnknown,
		Attempts: d.tried, Sequence: d.seq,
		PublishedAt: d.published.UTC(), DiedAt: time.Now().UTC(), Worker: e.name,
	}
	l.Subject = d.subject.Subject.String()
	_, strange := wire.ParseSubject(d.msg.Subject)
	switch {
	case strange != nil:
		l.Subject, l.OpenID = d.msg.Subject, wire.PeekToUser(d.msg.Data) // as it came: nothing else is known of it
	case d.live:
		l.OpenID = d.subject.Key
	default:
		l.Campaign, l.OpenID = d.subject.Key, wire.PeekToUser(d.msg.Data)
	}
	if answer := end.answer; answer != nil {
		l.Errmsg, l.RID, l.HTTPStatus = answer.Msg, answer.RID, answer.HTTPStatus
		if answer.HasCode {
			l.Errcode = &answer.Code
		}
	}
	if n := len(d.tried); n > 0 {
		l.FirstAt, l.LastAt = d.tried[0].At, d.tried[n-1].At
	}
	wire.SetPacket(l, d.msg.Data)
	wire.SetHeader(l, d.publishedHeader())
	return l
}

// publishedHeader is the header as the producer wrote it, as far as it is known
// after a wait.
func (d *delivery) publishedHeader() map[string][]string {
	if !d.subject.Again {
		return d.msg.Header
	}
	return wire.ProducerHeader(d.msg.Header, d.id)
}

// laterMessage is the intent as KEFU_LATER holds it until its end's time.
func (e *engine) laterMessage(d *delivery) *nats.Msg {
	env := d.env
	env.ID, env.Generation, env.Attempt, env.PublishedAt, env.Tried = d.id, d.generation, d.attempt, d.published.UTC(), d.lastTried()
	env.Before = d.lastEnd.String()
	return laterMessage(e.appID, d.subject, env, 0, d.seq, d.end.until, headerOf(env, d.msg), d.msg.Data)
}

// lastTried is as much of what was tried as a header can carry: all of it, but
// for a long row of long answers.
func (d *delivery) lastTried() []schema.Attempt {
	const most, frame = 10 << 10, 220 // bytes; of an attempt without texts
	room, from := most, len(d.tried)
	for from > 0 {
		t := &d.tried[from-1]
		if room -= frame + len(t.Errmsg) + len(t.RID) + len(t.Worker); room < 0 {
			break
		}
		from--
	}
	return d.tried[from:]
}

// receipt is what became of an intent, for its producer; nil when none is wanted.
func (e *engine) receipt(d *delivery) *schema.Receipt {
	end := &d.end
	if !e.receipts.wanted(end.state) {
		return nil
	}
	r := &schema.Receipt{
		ID: d.id, AppID: e.appID, Generation: d.generation, State: end.state, Lane: d.line.kind, Source: d.env.Source,
		Reason: end.reason, Attempts: d.attempt - 1, PossibleDuplicate: d.possibleDuplicate() || end.reason == schema.ReasonUnknown,
		PublishedAt: d.published.UTC(), SettledAt: time.Now().UTC(),
	}
	if !d.live {
		r.Campaign = d.subject.Key
	}
	if n := len(d.tried); n > 0 && end.state == schema.StateDead {
		last := d.tried[n-1]
		r.Errcode, r.Errmsg, r.RID = last.Errcode, last.Errmsg, last.RID
	}
	return r
}
