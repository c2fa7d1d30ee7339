package worker

import (
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/deadletter"
	"github.com/kefuhq/kefu/internal/failpoint"
	"github.com/kefuhq/kefu/internal/ledger"
	"github.com/kefuhq/kefu/internal/wire"
	"github.com/kefuhq/kefu/schema"
)

// Settling writes the end of an intent at the broker, in the order that life.go
// gives. None of it is waited for in the slot: the outbox and the ledger call
// back.

// settle carries out a step of an end, and those that follow it when it is done.
func (e *engine) settle(d *delivery, s step) {
	switch s.kind {
	case stepMarkSent:
		e.markEnd(d, ledger.Sent, failpoint.SentMarked)
	case stepMarkDying:
		e.markEnd(d, ledger.Dying(d.end.reason), failpoint.Dying)
	case stepMarkDead:
		e.markEnd(d, ledger.Dead, failpoint.DeadMarked)
	case stepMarkCancelled:
		e.markEnd(d, ledger.Cancelled, "")
	case stepMarkLater:
		e.markEnd(d, ledger.Later, failpoint.LaterMarked)
	case stepLetter:
		const trouble = "dead letters cannot be stored"
		e.publishUntilStored(d, d.burial.msg, schema.StreamDead, trouble, func(stored broker.Ack) {
			failpoint.Reach(failpoint.LetterStored, d.id)
			d.burial.seq = stored.Seq
			e.settleNext(d, ledger.Standing{})
		})
	case stepIndex:
		entry := deadletter.IndexMessage(d.burial.letter, d.burial.seq)
		const trouble = "dead letters cannot be indexed"
		e.publishUntilStored(d, entry, wire.StreamDeadIndex, trouble, func(broker.Ack) {
			e.settleNext(d, ledger.Standing{})
		})
	case stepLater:
		const trouble = "intents cannot be put off"
		e.publishUntilStored(d, e.laterMessage(d), wire.StreamLater, trouble, func(broker.Ack) {
			failpoint.Reach(failpoint.LaterStored, d.id)
			e.settleNext(d, ledger.Standing{})
		})
	case stepReceipt:
		e.receipts.store(e.receipts.of(d), d.seq, func() { e.settleNext(d, ledger.Standing{}) })
	case stepReport:
		e.report(d)
		e.settleNext(d, ledger.Standing{})
	case stepAck:
		e.ack(d)
	case stepForget:
		e.holder.settled(d)
	default:
		panic(fmt.Sprintf("step %d is none of an end", s.kind))
	}
}

// settleNext carries out the step that follows, by the ledger's word on a mark.
func (e *engine) settleNext(d *delivery, said ledger.Standing) {
	ev := event{kind: evDone, facts: facts{said: said, ours: said.Worker == e.name}}
	e.settle(d, d.next(&ev))
}

// markEnd tells the ledger of an end. What it cannot be told because the worker
// is ending is stored elsewhere already.
func (e *engine) markEnd(d *delivery, kind ledger.Kind, reached failpoint.Point) {
	m := d.mark(kind)
	if d.idReused {
		m = e.underLetterID(d, m)
	}
	e.ledger.Write(m, func(said ledger.Standing, err error) {
		if reached != "" {
			failpoint.Reach(reached, d.id)
		}
		if err != nil {
			said = ledger.Standing{}
		}
		if kind == ledger.Cancelled {
			e.withdrawals.Done(e.appID, d.id)
		}
		e.settleNext(d, said)
	})
}

// underLetterID is the mark of a message whose id belongs to another one. It stands in
// the ledger beside that one's, under the id that its letter has at the broker.
func (e *engine) underLetterID(d *delivery, m ledger.Mark) ledger.Mark {
	m.Key = ledger.KeyOf(e.appID, wire.LetterMsgID(e.appID, d.id, d.generation, d.seq))
	m.Generation, m.Before = 1, 0
	return m
}

// ack acknowledges the message and forgets the delivery.
func (e *engine) ack(d *delivery) {
	reply := d.getReply()
	if reply == "" {
		return // its queue was deleted, and its sequence is another intent's
	}
	if err := e.conn.AckReply(reply); err != nil {
		// It is handed out again, and the ledger knows its end.
		e.log.Debug("ack", "app", e.appID, "id", d.id, "error", err)
	}
	e.holder.settled(d)
}

// publishUntilStored stores a message that the intent's acknowledgement depends
// on. While the broker refuses it, the original stays where it is.
func (e *engine) publishUntilStored(d *delivery, msg *nats.Msg, stream, trouble string,
	then func(broker.Ack)) {
	e.publishAgain(d, msg, stream, trouble, false, then)
}

// publishAgain is publishUntilStored; refused says whether the broker has refused
// the message before.
func (e *engine) publishAgain(d *delivery, msg *nats.Msg, stream, trouble string, refused bool,
	then func(broker.Ack)) {
	e.conn.Outbox.Publish(msg, func(stored broker.Ack, err error) {
		switch {
		case err == nil:
			if refused {
				e.troubles.countRefused(stream, -1)
			}
			e.troubles.set(stream, "")
			then(stored)
		case errors.Is(err, broker.ErrClosed) || e.work.Err() != nil:
			// The worker is ending; the intent is handed out again.
		default:
			if !refused {
				e.troubles.countRefused(stream, +1)
			}
			e.troubles.set(stream, fmt.Sprintf("%s: %v", trouble, err))
			time.AfterFunc(refusedDelay, func() {
				if !e.holder.releaseUnsettled(d) {
					e.publishAgain(d, msg, stream, trouble, true, then)
				} else if e.troubles.countRefused(stream, -1) == 0 {
					e.troubles.set(stream, "") // nothing of this worker waits for it any more
				}
			})
		}
	})
}
