package worker

import (
	"bytes"
	"fmt"
	"path"
	"runtime/debug"
	"strings"
	"time"

	"github.com/kefuhq/kefu/internal/failpoint"
	"github.com/kefuhq/kefu/internal/ledger"
	"github.com/kefuhq/kefu/internal/wire"
	"github.com/kefuhq/kefu/schema"
)

// turn is one intent's time in a slot. It says what happens to the delivery
// afterwards.
func (e *engine) turn(d *delivery) (next afterwards) {
	defer func() {
		if r := recover(); r != nil {
			e.metrics.panics.Inc()
			// The value of a panic may hold parts of the message: only where it happened is logged.
			e.log.Error("panic while handling an intent", "app", e.appID, "id", d.id,
				"kind", fmt.Sprintf("%T", r), "at", origin(debug.Stack()))
			next = e.carry(d, event{kind: evPanicked, now: time.Now()})
		}
		next.reached = d.reached
	}()
	return e.carry(d, event{kind: evTurn})
}

// carry takes a life on from an event until it needs its slot no more: nothing of
// what an end takes is waited for in it.
func (e *engine) carry(d *delivery, ev event) afterwards {
	for {
		s := d.next(&ev)
		switch s.kind {
		case stepIdentify:
			ev = event{kind: evIdentified, bad: e.identify(d)}
		case stepDecode:
			ev = event{kind: evDecoded, bad: e.decode(d)}
		case stepLook:
			ev = e.ruled(evLooked, d, e.ledger.Peek(d.mark(ledger.Start)))
		case stepMark:
			ev = e.mark(d, s)
		case stepAsk:
			ev = e.ask(d, s.seq)
		case stepCall:
			ev = e.call(d)
		case stepJudge:
			ev = e.judge(d, s.outcome, nil)
		case stepHold:
			e.hold(d)
			ev = event{kind: evDone}
		case stepClear:
			ev = e.takeStartBack(d)
		case stepClearUnwaited:
			e.ledger.Write(d.mark(ledger.Clear), nil)
			ev = event{kind: evDone}
		case stepRoom:
			ev = e.room()
		case stepCompose:
			ev = e.compose(d)
		case stepReport:
			e.report(d)
			ev = event{kind: evDone}
		case stepReportRepeat:
			e.reportRepeat(d)
			ev = event{kind: evDone}
		case stepWait:
			e.markHarmless(d) // while it waits, a crash is not its fault
			return afterwards{place: waiting, delay: s.delay, blocksRecipient: s.blocksRecipient}
		case stepGiveBack:
			return afterwards{place: returned}
		default:
			e.settle(d, s)
			return afterwards{place: settling}
		}
	}
}

// markHarmless takes the suspect mark back of a delivery that is released in good
// health: to be handed out again is then no sign of a crash. The mark says nothing
// else. The ledger has what the attempts have cost, of which this delivery may not
// know all.
func (e *engine) markHarmless(d *delivery) {
	if d.suspected {
		d.suspected = false
		e.ledger.Write(d.mark(ledger.Harmless), nil)
	}
}

// identify finds out which intent this is, as well as a broken one allows.
func (e *engine) identify(d *delivery) error {
	if now := e.queueMade.Load(); !d.stored.Before(*now) {
		d.queueMade = *now // made anew while the message was on its way
	}
	env, err := wire.ParseEnvelope(d.msg.Header, d.subject.Again)
	d.adopt(env)
	e.names.meet(d)
	d.sendAt, d.deadline = env.SendAt, env.Deadline(d.published, e.cfg().ExpireAfter)
	return err
}

// decode reads the packet; its error is a sentence for the letter.
func (e *engine) decode(d *delivery) error {
	err := e.read(d)
	failpoint.Reach(failpoint.Decoded, d.id)
	return err
}

func (e *engine) read(d *delivery) error {
	if _, err := wire.ParseSubject(d.msg.Subject); err != nil {
		return err
	}
	packet, err := schema.Decode(d.msg.Data, e.cfg().Limits)
	if err != nil {
		return err
	}
	if err := d.subject.CheckPacket(packet); err != nil {
		return err
	}
	d.packet = schema.Encode(packet)
	return nil
}

// ruled is the event that the ledger has said whether the intent may be sent, with
// what else that depends on now.
func (e *engine) ruled(kind eventKind, d *delivery, said ledger.Standing) event {
	now := time.Now()
	f := facts{said: said, ours: said.Worker == e.name, mustNotCall: e.mustNotCall(d, now)}
	switch said.Ruling {
	case ledger.Go:
		if f.withdrawn, f.withCampaign = e.recalled(d); f.withdrawn {
			break
		}
		generation := max(said.Generation, d.generation)
		f.withdrawn = e.withdrawals.Has(e.appID, d.id, generation, d.published) ||
			e.withdrawals.Forgotten(e.appID, d.campaignName(), d.published, d.recipient)
	case ledger.Started, ledger.Doomed:
		f.alive = !f.ours && e.pool.Alive(said.Worker)
		f.carrierOurs = e.holder.inHand(said.Carrier)
	}
	return event{kind: kind, now: now, facts: f}
}

// write puts a mark into the ledger and waits for what it says; an error means
// that the worker is stopping.
func (e *engine) write(m ledger.Mark) (ledger.Standing, error) {
	type answer struct {
		said ledger.Standing
		err  error
	}
	ch := make(chan answer, 1)
	e.ledger.Write(m, func(s ledger.Standing, err error) { ch <- answer{s, err} })
	select {
	case a := <-ch:
		return a.said, a.err
	case <-e.work.Done():
		return ledger.Standing{}, errGrace
	}
}

// mark writes a mark, and waits for the answer on which the next step depends.
func (e *engine) mark(d *delivery, s step) event {
	m := d.mark(s.mark)
	switch s.mark {
	case ledger.Start:
		d.term, _ = e.pool.Term(time.Now())
	case ledger.Gone:
		m.Seq = s.seq
	}
	said, err := e.write(m)
	if s.mark == ledger.Suspect {
		failpoint.Reach(failpoint.Suspected, d.id)
	}
	if err != nil {
		return event{kind: evStopping}
	}
	if s.mark != ledger.Start {
		return event{kind: evRuled, facts: facts{said: said}}
	}
	return e.ruled(evRuled, d, said)
}

// ask finds out whether what a message repeats waits for a message that was
// purged or deleted, and would wait for ever.
func (e *engine) ask(d *delivery, seq uint64) event {
	if !e.pool.AllFree() {
		return event{kind: evAsked}
	}
	stored, err := e.conn.Holds(e.work, schema.SendStream(e.appID), seq)
	switch {
	case e.work.Err() != nil:
		return event{kind: evStopping}
	case err != nil:
		e.log.Debug("taken for a repeat of what is queued",
			"app", e.appID, "id", d.id, "error", err)
		stored = true
	}
	return event{kind: evAsked, missing: !stored}
}

// takeStartBack takes our start back. Alone it would say that the call may have been
// made.
func (e *engine) takeStartBack(d *delivery) event {
	_, err := e.write(d.mark(ledger.Clear))
	failpoint.Reach(failpoint.Cleared, d.id)
	if err != nil { // the worker is being cut off, and the mark may be read as just that
		return event{kind: evStopping}
	}
	return event{kind: evDone}
}

// room asks whether KEFU_LATER has room for one more intent of the app.
func (e *engine) room() event {
	room, changed := e.laterShare.reserve(e.work)
	if changed && !room {
		e.log.Warn("the app has as many intents waiting for their time as its queue may hold: "+
			"its lanes wait for room", "app", e.appID, "limit", e.cfg().MostLater)
	}
	return event{kind: evRoom, now: time.Now(), free: room}
}

// origin is where in kefu a panic began, as folder/file.go:line: the first line
// of its stack that belongs to a function of ours.
func origin(stack []byte) string {
	_, below, _ := bytes.Cut(stack, []byte("\npanic("))
	ours := false
	for line := range strings.Lines(string(below)) {
		if ours {
			place, _, _ := strings.Cut(strings.TrimSpace(line), " ")
			dir, file := path.Split(place)
			return path.Join(path.Base(dir), file)
		}
		ours = strings.HasPrefix(line, "github.com/kefuhq/kefu/")
	}
	return "unknown"
}
