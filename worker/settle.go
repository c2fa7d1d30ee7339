package worker

import (
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/deadletter"
	"github.com/kefuhq/kefu/internal/failpoint"
	"github.com/kefuhq/kefu/internal/gate"
	"github.com/kefuhq/kefu/internal/ledger"
	"github.com/kefuhq/kefu/internal/wechat"
	"github.com/kefuhq/kefu/internal/wire"
	"github.com/kefuhq/kefu/schema"
)

// Settling carries a verdict out at the broker. Everything that must be stored
// for it is stored before the message is acknowledged, and the ledger learns
// each end before the acknowledgement. None of it is waited for in the slot:
// the outbox and the ledger call back.

// refusedPause is how long to wait before a letter or a retry that the broker
// refused (its stream is full or missing) is offered again.
const refusedPause = 5 * time.Second

func (d *delivery) settleSent() afterwards {
	d.observe(schema.StateSent, "", "")
	return d.tellSent()
}

// tellSent stores that the intent is sent.
func (d *delivery) tellSent() afterwards {
	receipt := d.receipt(schema.StateSent, "")
	// The receipt comes second: after a crash between the two the other way round
	// the message may be sent again, and the receipt that is stored would not say so.
	d.app.w.ledger.Write(d.mark(ledger.Sent), func(s ledger.Standing, _ error) {
		failpoint.Reach(failpoint.SentMarked, d.id)
		if s.Kind != 0 && s.Worker != d.app.w.cfg.Process.Name {
			// This worker was taken for dead, and another has begun to send it as well.
			d.unknown = max(d.unknown, s.Unknown, 1)
			receipt = d.receipt(schema.StateSent, "")
		}
		d.publishReceipt(receipt, d.ack)
	})
	d.progress = untouched
	return afterwards{place: settling}
}

// settleKnown acknowledges what was dealt with before: the answer to an
// acknowledgement that was lost, or a producer's repeat.
func (d *delivery) settleKnown(s ledger.Standing) afterwards {
	d.app.w.metrics.repeats.WithLabelValues(d.app.cfg().ID).Inc()
	d.app.w.log.Debug("known already", "app", d.app.cfg().ID, "id", d.id, "ruling", s.Ruling, "was", s.Kind)
	if s.Kind == ledger.Sent {
		// A producer may wait for the receipt of its repeat, or the worker may have
		// died between the ledger and the receipt. If that is stored already and
		// young, its id makes this one a duplicate.
		d.attempt, d.unknown = s.Attempts+1, s.Unknown
		d.publishReceipt(d.receipt(schema.StateSent, ""), d.ack)
	} else {
		d.ack()
	}
	return afterwards{place: settling}
}

// settleBury puts the intent into the dead letters: the ledger learns that it is
// dying, then letter, its entry in the index and receipt, then the ledger again,
// then the acknowledgement. So a crash on the way is followed by the same letter, which
// the broker drops, and not by another call.
func (d *delivery) settleBury(reason schema.Reason, detail string, e *wechat.Error) afterwards {
	letter := d.letter(reason, detail, e)
	msg, err := deadletter.Message(letter)
	if err != nil { // cannot be written as JSON: nothing a retry would mend
		d.app.w.log.Error("dead letter", "app", d.app.cfg().ID, "id", d.id, "error", err)
		return afterwards{place: waiting, delay: time.Minute, held: true}
	}
	if d.begun {
		d.app.w.ledger.Write(d.mark(ledger.Dying(reason)), func(s ledger.Standing, err error) {
			failpoint.Reach(failpoint.Dying, d.id)
			if err == nil && s.Overtaken {
				// This worker was taken for dead, and another has begun to send it: the end
				// is that one's to tell, and the acknowledgement too.
				d.app.settled(d)
				return
			}
			d.bury(letter, msg)
		})
		d.progress = untouched
	} else { // the same verdict would be reached again
		d.bury(letter, msg)
	}
	return afterwards{place: settling}
}

// settleExpired buries an intent whose time is over. One that may have been sent
// by an attempt of unknown outcome is not called expired.
func (d *delivery) settleExpired(detail string) afterwards {
	if d.unknown > 0 {
		return d.settleBury(schema.ReasonUnknown, detail+"; an attempt before is of unknown outcome", nil)
	}
	return d.settleBury(schema.ReasonExpired, detail, nil)
}

// takeBack takes our Start back: standing alone it would say that the call may
// have been made. false means that the worker is being cut off, and that the
// mark may be read as just that.
func (d *delivery) takeBack() bool {
	_, err := d.write(ledger.Clear)
	if err == nil {
		d.progress = untouched
	}
	return err == nil
}

// takenBack settles, after the Start, an intent whose call is not made.
func (d *delivery) takenBack(settle func() afterwards) afterwards {
	if !d.takeBack() {
		return afterwards{place: returned}
	}
	d.begun = false
	return settle()
}

// lapse is settleExpired after the Start.
func (d *delivery) lapse() afterwards {
	return d.takenBack(func() afterwards { return d.settleExpired("its deadline passed before the call") })
}

// bury stores a letter, msg, and its entry in the index, and settles the intent.
func (d *delivery) bury(letter *schema.Letter, msg *nats.Msg) {
	d.insist(msg, schema.StreamDead, "dead letters cannot be stored", func(stored broker.Ack) {
		failpoint.Reach(failpoint.LetterStored, d.id)
		entry := deadletter.IndexMessage(letter, stored.Seq)
		d.insist(entry, wire.StreamDeadIndex, "dead letters cannot be indexed", func(broker.Ack) { d.buried(letter) })
	})
}

// buried settles an intent whose letter is stored.
func (d *delivery) buried(letter *schema.Letter) {
	d.observe(schema.StateDead, letter.Reason, letter.Detail)
	d.publishReceipt(d.receipt(schema.StateDead, letter.Reason), func() {
		if letter.Reason == schema.ReasonIDReuse {
			d.ack() // the ledger's entry belongs to the intent that came first
			return
		}
		d.app.w.ledger.Write(d.mark(ledger.Dead), func(ledger.Standing, error) {
			failpoint.Reach(failpoint.DeadMarked, d.id)
			d.ack()
		})
	})
}

func (d *delivery) settleCancel() afterwards {
	d.observe(schema.StateCancelled, "", "")
	d.publishReceipt(d.receipt(schema.StateCancelled, ""), func() {
		d.app.w.ledger.Write(d.mark(ledger.Cancelled), func(ledger.Standing, error) {
			d.app.w.withdrawals.Met(d.app.cfg().ID, d.key)
			d.ack()
		})
	})
	return afterwards{place: settling}
}

// settleRetry puts the next attempt off: here, as long as that may hold back
// the recipient's later intents or is over in a moment; otherwise in KEFU_LATER.
func (d *delivery) settleRetry(delay time.Duration) afterwards {
	d.app.w.metrics.retries.WithLabelValues(d.app.cfg().ID).Inc()
	now := d.endAttempt()
	live := d.lane.kind == schema.LaneLive
	if delay < soon || live && now.Add(delay).Sub(d.retrying) <= d.app.cfg().HoldBack {
		return afterwards{place: waiting, delay: delay, held: true}
	}
	return d.settleLater(now.Add(delay))
}

// settleAgain tries once more in a moment; nothing was sent and no attempt spent.
// There may be many such moments: they hold back the recipient's later intents no
// longer than retries may, and fill no lane of bulk.
func (d *delivery) settleAgain(delay time.Duration) afterwards {
	d.untry()
	now := d.endAttempt()
	most := soon
	if d.lane.kind == schema.LaneLive {
		most = max(most, d.app.cfg().HoldBack)
	}
	if now.Add(delay).Sub(d.retrying) <= most {
		return afterwards{place: waiting, delay: delay, held: true}
	}
	return d.settleLater(now.Add(max(delay, soon)))
}

// endAttempt tells the ledger that nothing is under way any more, and notes since
// when the intent waits to be tried again. It returns now.
func (d *delivery) endAttempt() time.Time {
	d.app.w.ledger.Write(d.mark(ledger.Clear), nil)
	d.progress = untouched
	now := time.Now()
	if d.retrying.IsZero() {
		d.retrying = now
	}
	return now
}

// settleLater hands the intent to KEFU_LATER until a time, or keeps it here when
// its app has no room there.
func (d *delivery) settleLater(at time.Time) afterwards {
	room, changed := d.app.later.take(d.app.w.work)
	if changed && !room {
		d.app.w.log.Warn("the app has as many intents waiting for their time as its queue may hold: its lanes wait for room", "app", d.app.cfg().ID, "limit", d.app.cfg().MostLater)
	}
	if !room {
		wait := time.Until(at)
		if d.env.SendAt.Equal(at) { // may be hours, and there may be room in a moment
			wait = min(wait, refusedPause)
		}
		return afterwards{place: waiting, delay: wait}
	}
	d.insist(d.laterMessage(at), "KEFU_LATER", "intents cannot be put off", func(broker.Ack) {
		failpoint.Reach(failpoint.LaterStored, d.id)
		d.app.w.ledger.Write(d.mark(ledger.Later), func(ledger.Standing, error) {
			failpoint.Reach(failpoint.LaterMarked, d.id)
			d.ack()
		})
	})
	return afterwards{place: settling}
}

// settleHold holds the app and gives the intent back, no attempt spent. by is
// the refusal that drew the hold, if it was the answer to a message.
func (d *delivery) settleHold(v Verdict, e *wechat.Error, now time.Time, by ...gate.Draw) afterwards {
	h := gate.Hold{Kind: v.hold, Reason: v.detail, By: d.app.w.cfg.Process.Name, Drawn: by}
	if e != nil {
		h.Call, h.Errmsg, h.RID = string(e.Call), e.Msg, e.RID
		if e.HasCode {
			h.Errcode = e.Code
		}
	}
	attrs := []any{"app", d.app.cfg().ID, "kind", h.Kind, "why", h.Reason}
	for _, draw := range by {
		attrs = append(attrs, "id", draw.ID, "message", draw.What)
	}
	switch before, held := d.app.gate.Held(); {
	case !held || before.Kind != h.Kind:
		d.app.w.log.Warn("app held", attrs...)
	case d.permission.Trial:
		d.app.w.log.Info("app still held: its trial was refused", attrs...)
	}
	d.app.gate.Hold(h, d.permission, v.hint, now)
	failpoint.Reach(failpoint.Held, d.id)
	return d.settleReturn()
}

// settleReturn takes the Start back and gives the intent back. The ledger must
// know before the broker does, or the redelivery looks like a crash.
func (d *delivery) settleReturn() afterwards {
	d.untry()
	d.takeBack()
	failpoint.Reach(failpoint.Cleared, d.id)
	return afterwards{place: returned}
}

// untry takes the last call out of what was tried: it spent no attempt.
func (d *delivery) untry() {
	if n := len(d.tried); n > 0 && d.tried[n-1].Number == d.attempt {
		d.tried = d.tried[:n-1]
	}
}

// insist stores a message that the intent's acknowledgement depends on. While
// the broker refuses it, the original stays where it is.
func (d *delivery) insist(msg *nats.Msg, stream, trouble string, then func(broker.Ack)) {
	d.insistAgain(msg, stream, trouble, false, then)
}

// insistAgain is insist; refused says whether the broker has refused before.
func (d *delivery) insistAgain(msg *nats.Msg, stream, trouble string, refused bool, then func(broker.Ack)) {
	w := d.app.w
	w.conn.Outbox.Publish(msg, func(stored broker.Ack, err error) {
		switch {
		case err == nil:
			if refused {
				w.refused(stream, -1)
			}
			w.trouble(stream, "")
			then(stored)
		case errors.Is(err, broker.ErrClosed) || w.work.Err() != nil:
			// The worker is ending; the intent is handed out again.
		default:
			if !refused {
				w.refused(stream, +1)
			}
			w.trouble(stream, fmt.Sprintf("%s: %v", trouble, err))
			time.AfterFunc(refusedPause, func() {
				if !d.app.surrender(d) {
					d.insistAgain(msg, stream, trouble, true, then)
				} else if w.refused(stream, -1) == 0 {
					w.trouble(stream, "") // nothing of this worker waits for it any more
				}
			})
		}
	})
}

// surrender gives a delivery back whose end cannot be stored, when this worker
// has to let go of it anyway: it stops, or another one is to read the shard.
func (a *app) surrender(d *delivery) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.stopping && !d.lane.leaving {
		return false
	}
	d.unsuspect()
	_ = a.w.conn.NakReply(d.getReply())
	a.drop(d)
	a.pump()
	return true
}

// laterMessage is the intent as KEFU_LATER holds it until at.
func (d *delivery) laterMessage(at time.Time) *nats.Msg {
	env := d.env
	env.ID, env.Generation, env.Attempt, env.PublishedAt, env.Tried = d.id, d.generation, d.attempt, d.published.UTC(), d.lastTried()
	return laterMessage(d.app.cfg().ID, d.subject, env, 0, d.seq, at, headerOf(env, d.msg), d.msg.Data)
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

// letter is all that is known about an intent that will not be sent.
func (d *delivery) letter(reason schema.Reason, detail string, e *wechat.Error) *schema.Letter {
	l := &schema.Letter{
		ID: d.id, AppID: d.app.cfg().ID, Generation: d.generation, Lane: d.lane.kind, Source: d.env.Source,
		Reason: reason, Detail: detail, PossibleDuplicate: d.possibleDuplicate() || reason == schema.ReasonUnknown,
		Attempts: d.tried, Sequence: d.seq,
		PublishedAt: d.published.UTC(), DiedAt: time.Now().UTC(), Worker: d.app.w.cfg.Process.Name,
	}
	l.Subject = d.subject.Subject.String()
	_, strange := wire.ParseSubject(d.msg.Subject)
	switch {
	case strange != nil:
		l.Subject, l.OpenID = d.msg.Subject, schema.PeekToUser(d.msg.Data) // as it came: nothing else is known of it
	case d.lane.kind == schema.LaneLive:
		l.OpenID = d.subject.Key
	default:
		l.Campaign, l.OpenID = d.subject.Key, schema.PeekToUser(d.msg.Data)
	}
	if e != nil {
		l.Errmsg, l.RID, l.HTTPStatus = e.Msg, e.RID, e.HTTPStatus
		if e.HasCode {
			l.Errcode = &e.Code
		}
	}
	if n := len(d.tried); n > 0 {
		l.FirstAt, l.LastAt = d.tried[0].At, d.tried[n-1].At
	}
	l.SetPacket(d.msg.Data)
	l.SetHeader(d.publishedHeader())
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

// possibleDuplicate says whether the message may have reached the API more
// than once: an attempt of unknown outcome was followed by another.
func (d *delivery) possibleDuplicate() bool { return d.unknown > 0 }
