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
	letter := newLetter(d, d.publishedHeader(), e.name)
	msg, err := deadletter.Message(letter)
	if err != nil {
		e.log.Error("dead letter", "app", e.appID, "id", d.id, "error", err)
		return event{kind: evUnwritable}
	}
	d.burial = &burial{letter: letter, msg: msg}
	return event{kind: evDone}
}

// newLetter is all that is known about an intent that will not be sent. header is as
// its producer wrote it.
func newLetter(d *delivery, header map[string][]string, worker string) *schema.Letter {
	l := &schema.Letter{
		ID: d.id, AppID: d.subject.AppID, Generation: d.generation, Source: d.env.Source,
		Lane: d.subject.Lane, Campaign: d.campaignName(), OpenID: d.recipient(),
		Reason: d.end.reason, Detail: d.end.detail, PossibleDuplicate: d.possibleDuplicate(),
		Attempts: d.tried, Subject: d.subject.Subject.String(), Sequence: d.seq,
		PublishedAt: d.published.UTC(), DiedAt: time.Now().UTC(), Worker: worker,
	}
	if d.subject.Key == "" {
		l.Subject = d.msg.Subject // as it came: nothing else is known of it
	}
	if answer := d.end.answer; answer != nil {
		l.Errmsg, l.RID, l.HTTPStatus = answer.Msg, answer.RID, answer.HTTPStatus
		if answer.HasCode {
			l.Errcode = &answer.Code
		}
	}
	if n := len(d.tried); n > 0 {
		l.FirstAt, l.LastAt = d.tried[0].At, d.tried[n-1].At
	}
	wire.SetPacket(l, d.msg.Data)
	wire.SetHeader(l, header)
	return l
}

// publishedHeader is the header as the producer wrote it. After a wait in KEFU_LATER
// only a part of it is known.
func (d *delivery) publishedHeader() map[string][]string {
	if !d.subject.Again {
		return d.msg.Header
	}
	return wire.ProducerHeader(d.msg.Header, d.id)
}

// laterMessage is the intent as KEFU_LATER holds it until its end's time.
func (e *engine) laterMessage(d *delivery) *nats.Msg {
	env := d.env
	env.ID, env.Generation, env.Attempt = d.id, d.generation, d.attempt
	env.PublishedAt, env.Tried = d.published.UTC(), d.lastTried()
	env.Before, env.BeforeErrcode = d.lastEnd.String(), d.lastEnd.Errcode()
	return laterMessage(e.appID, d.subject, env, 0, d.seq, d.end.until,
		headerOf(env, d.msg), d.msg.Data)
}

// lastTried is as much of what was tried as a header can carry: the last attempts, if
// there were many with long answers, or all of them.
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
