package worker

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path"
	"runtime/debug"
	"strings"
	"time"

	"github.com/kefuhq/kefu/internal/failpoint"
	"github.com/kefuhq/kefu/internal/gate"
	"github.com/kefuhq/kefu/internal/ledger"
	"github.com/kefuhq/kefu/internal/wechat"
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
			e.log.Error("panic while handling an intent", "app", e.appID, "id", d.id, "kind", fmt.Sprintf("%T", r), "at", origin(debug.Stack()))
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
			ev = event{kind: evLooked, now: time.Now(), facts: e.facts(d, e.ledger.Peek(d.mark(ledger.Start)))}
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
		case stepTakeStartBack:
			ev = e.takeStartBack(d)
		case stepTakeStartBackUnwaited:
			e.ledger.Write(d.mark(ledger.Clear), nil)
			ev = event{kind: evDone}
		case stepRoom:
			ev = e.room()
		case stepCompose:
			ev = e.compose(d)
		case stepTell:
			e.tell(d)
			ev = event{kind: evDone}
		case stepTellRepeat:
			e.tellRepeat(d)
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

// markHarmless takes the suspect mark back of what is let go of in good health: to be
// handed out again is then no sign of a crash. It says nothing else. What the
// attempts have cost was told when it was learned, and this delivery may not
// know all of it.
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
	d.env = env
	d.id = env.ID
	if d.id == "" {
		d.id = wire.DefaultID(d.queueMade, d.seq)
	}
	d.published = d.stored
	if !env.PublishedAt.IsZero() {
		d.published = env.PublishedAt
	}
	d.sendAt, d.deadline = env.SendAt, env.Deadline(d.published, e.cfg().ExpireAfter)
	d.generation, d.attempt = max(env.Generation, 1), max(env.Attempt, 1)
	d.tried, d.unknown = env.Tried, unknownOf(env.Tried)
	d.key = ledger.KeyOf(e.appID, d.id)
	d.body = ledger.BodyOf(d.msg.Data)
	d.campaign = ledger.NoCampaign
	if !d.live && d.subject.Key != "" {
		d.campaign = ledger.CampaignOf(e.appID, d.subject.Key)
	}
	d.lastEnd = ledger.ParseEnd(env.Before)
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

// facts are what is known now, where the ledger says so much.
func (e *engine) facts(d *delivery, said ledger.Standing) facts {
	f := facts{
		said:        said,
		mustNotCall: e.mustNotCall(d, time.Now()),
		withdrawn:   e.withdrawals.Has(e.appID, d.key, max(said.Generation, d.generation), d.published),
		ours:        said.Worker == e.name,
	}
	if said.Ruling == ledger.Started || said.Ruling == ledger.Doomed {
		f.alive = !f.ours && e.pool.Alive(said.Worker)
		f.carrierOurs = e.holder.inHand(said.Carrier)
	}
	return f
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

// mark writes a mark on which it depends what comes next.
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
	return event{kind: evRuled, now: time.Now(), facts: e.facts(d, said)}
}

// ask finds out whether what a message repeats waits for a message that was
// purged or deleted, and would wait for ever.
func (e *engine) ask(d *delivery, seq uint64) event {
	if !e.pool.AllFree() {
		return event{kind: evAsked}
	}
	held, err := e.conn.Holds(e.work, schema.SendStream(e.appID), seq)
	switch {
	case e.work.Err() != nil:
		return event{kind: evStopping}
	case err != nil:
		e.log.Debug("taken for a repeat of what is queued", "app", e.appID, "id", d.id, "error", err)
		held = true
	}
	return event{kind: evAsked, gone: !held}
}

// takeStartBack takes our start back: standing alone it would say that the call may have
// been made.
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
		e.log.Warn("the app has as many intents waiting for their time as its queue may hold: its lanes wait for room", "app", e.appID, "limit", e.cfg().MostLater)
	}
	return event{kind: evRoom, now: time.Now(), free: room}
}

// call makes the attempt and judges its outcome.
func (e *engine) call(d *delivery) event {
	failpoint.Reach(failpoint.Started, d.id)
	now := time.Now()
	err := e.probe(d)
	if err == nil {
		err = e.cfg().Sender.Deliver(e.work, wechat.Message{Packet: d.packet, Traceparent: d.env.Traceparent, Before: func() error { return e.mayLeave(d) }})
		if err == nil {
			d.accepted()
		}
		failpoint.Reach(failpoint.Answered, d.id)
	}
	took := time.Since(now)
	var failed *wechat.Error
	if errors.As(err, &failed) && failed.Fault == wechat.FaultUpstream {
		d.permission.Used = false // no connection could be had: it has certainly not left
	}
	switch {
	case errors.Is(err, errLate):
		return event{kind: evUnsent, late: true}
	case errors.Is(err, errNotNow):
		return event{kind: evUnsent}
	}
	if err != nil && errors.Is(context.Cause(e.work), errGrace) {
		switch {
		case failed == nil || failed.Fault == wechat.FaultUnknown:
			return event{kind: evCutOff}
		case failed.Fault == wechat.FaultUpstream:
			return event{kind: evUnsent} // our own end is no sign that there is no way out
		}
	}
	o, apiErr := outcomeOf(err)
	if o.fault == wechat.FaultDayQuota {
		some, said := false, true // if that was the quota call's own word
		if apiErr.Call != wechat.CallQuota {
			some, said = e.quota.left(e.work, e.cfg().Sender)
		}
		o.quotaLeft, o.quotaSpent = some, said && !some
	}
	e.metrics.called(e.appID, o.fault, took)
	ev := e.judge(d, o, apiErr)
	ev.called, ev.attempt = true, attemptOf(d.attempt, now, took, o, apiErr, e.name)
	return ev
}

// mustNotCall says whether no call of this intent may be started at now: the app is
// held, or the shard is not this worker's any more.
func (e *engine) mustNotCall(d *delivery, now time.Time) bool {
	return e.gate.Bars(d.permission, now) || !d.mine(now) || e.overtaken(d, now)
}

// overtaken says whether our start may have been taken for one of a dead
// worker, and the intent been sent by another. A live shard's claim does not say
// so: it may be another one than when the start was written.
func (e *engine) overtaken(d *delivery, now time.Time) bool {
	return d.stage != stageIdle && !e.pool.Holds(d.term, now)
}

// mayLeave is asked right before each time the packet leaves: the first time, and
// again after a token that was refused. To get a token may have taken long, and
// what allowed the call may be over; so the rate is taken here. What gets no
// further, for want of a token or of time, costs neither rate nor the day's budget.
func (e *engine) mayLeave(d *delivery) error {
	if err := e.lastLook(d); err != nil {
		return err
	}
	if turn := e.gate.Leave(&d.permission, d.line.kind); turn != nil {
		if err := e.await(d, turn); err != nil {
			return err
		}
	}
	d.permission.Used = true
	d.leaves()
	return nil
}

// await waits in line for the rate. The start stands meanwhile: to take it back
// would only make a slow ledger write more.
func (e *engine) await(d *delivery, turn *gate.Turn) error {
	e.asking.join(time.Now())
	defer e.asking.leave()
	look := time.NewTicker(lookAgain)
	defer look.Stop()
	for {
		var err error
		select {
		case <-turn.Ready():
			e.asking.served(time.Now())
			return e.lastLook(d)
		case <-look.C:
			err = e.lastLook(d)
		case <-e.work.Done():
			err = errNotNow
		}
		if err != nil {
			turn.GiveUp()
			return err
		}
	}
}

// lookAgain is how often whoever waits in line for the rate looks whether the
// call is still allowed.
const lookAgain = 50 * time.Millisecond

// lastLook says why the packet must not leave now; nil if it may, as far as the
// rate allows it.
func (e *engine) lastLook(d *delivery) error {
	now := time.Now()
	switch {
	case !now.Before(d.deadline):
		return errLate
	case e.mustNotCall(d, now):
		return errNotNow
	}
	return nil
}

var (
	errLate   = errors.New("the deadline has passed")
	errNotNow = errors.New("the app is held, or the shard is not this worker's any more")
)

// probe asks, before the one intent that tries whether a hold is over, whether
// the app can get a token at all: past every cache, since somebody may have
// mended just now what the last answer was about. After a quota's hold it asks
// for the quota as well, rather than spend a message on it.
func (e *engine) probe(d *delivery) error {
	if !d.permission.Trial {
		return nil
	}
	if p, ok := e.cfg().Sender.(Prober); ok {
		if err := p.Probe(e.work); err != nil {
			return err
		}
	}
	if h, _ := e.gate.Held(); h.Kind != gate.Quota {
		return nil
	}
	if q, ok := e.cfg().Sender.(QuotaTeller); ok {
		if left, err := q.RemainingSends(e.work); err == nil && left <= 0 {
			return &wechat.Error{Call: wechat.CallQuota, Fault: wechat.FaultDayQuota, Err: errQuotaSpent}
		}
	}
	return nil
}

var errQuotaSpent = errors.New("the day's quota of sends is used up, says the quota call")

// judge asks decide what is to be done about an outcome.
func (e *engine) judge(d *delivery, o outcome, answer *wechat.Error) event {
	now := time.Now()
	onUnknown := d.env.Unknown
	if onUnknown == "" {
		onUnknown = e.cfg().OnUnknown
	}
	draw, refused := d.refusal(o.fault, answer)
	refused = refused && !o.quotaSpent // that is no message's
	var says gate.Standing
	if refused {
		says = e.gate.Drew(draw, now)
	}
	v := decide(policy{e.cfg().Retry, onUnknown}, o, circumstances{
		attempt:  d.attempt,
		unknown:  d.unknown,
		left:     d.deadline.Sub(now),
		upstream: e.holder.countUnreachable(o.fault),
		draw:     says,
		trial:    d.permission.Trial,
		since:    e.limitedSince(d),
		now:      now,
		jitter:   rand.Float64(),
	})
	switch v.do {
	case doDone:
		if d.permission.Sent = true; e.gate.Suspects() {
			d.permission.What = kindOf(d.msg.Data)
		}
		e.gate.Ended(d.id)
	case doBury:
		e.gate.Ended(d.id)
	case doRetry:
		e.metrics.retries.WithLabelValues(e.appID).Inc()
	case doRetryUncounted:
		if refused {
			e.log.Info("put aside: others are sent", "app", e.appID, "id", d.id, "message", draw.What, "why", v.detail)
		}
	case doHold:
		d.drawn = &drawnHold{holdOf(v, answer, e.name), v.hint}
		if refused {
			d.drawn.Drawn = []gate.Draw{draw}
		}
	}
	return event{kind: evJudged, now: now, verdict: v, outcome: o, answer: answer, holdBack: e.cfg().HoldBack}
}

// limitedSince is since when there is the quota's hold that this one tries; zero
// if it tries none. The app's own budget of a day is another matter.
func (e *engine) limitedSince(d *delivery) time.Time {
	if !d.permission.Trial { // as nearly every intent: do not look at the hold for it
		return time.Time{}
	}
	if h, _ := e.gate.Held(); h.Kind == gate.Quota && h.PerDay == 0 {
		return h.Since
	}
	return time.Time{}
}

// holdOf is the hold that a verdict orders.
func holdOf(v Verdict, answer *wechat.Error, by string) gate.Hold {
	h := gate.Hold{Kind: v.hold, Reason: v.detail, By: by}
	if answer != nil {
		h.Call, h.Errmsg, h.RID = string(answer.Call), answer.Msg, answer.RID
		if answer.HasCode {
			h.Errcode = answer.Code
		}
	}
	return h
}

// hold holds the app.
func (e *engine) hold(d *delivery) {
	h := d.drawn.Hold
	attrs := []any{"app", e.appID, "kind", h.Kind, "why", h.Reason}
	for _, draw := range h.Drawn {
		attrs = append(attrs, "id", draw.ID, "message", draw.What)
	}
	switch before, held := e.gate.Held(); {
	case !held || before.Kind != h.Kind:
		e.log.Warn("app held", attrs...)
	case d.permission.Trial:
		e.log.Info("app still held: its trial was refused", attrs...)
	}
	e.gate.Hold(h, d.permission, d.drawn.hint, time.Now())
	failpoint.Reach(failpoint.Held, d.id)
}

// refusal is what the API refused the message with, if that speaks of the whole
// app. That no token was to be had, or no connection, is no answer to a message.
func (d *delivery) refusal(f wechat.Fault, answer *wechat.Error) (draw gate.Draw, refused bool) {
	switch f {
	case wechat.FaultConfig, wechat.FaultToken, wechat.FaultUnlisted, wechat.FaultMinuteQuota, wechat.FaultDayQuota:
	default:
		return gate.Draw{}, false
	}
	if answer == nil || answer.Call != wechat.CallSend || !answer.HasCode && answer.HTTPStatus == 0 {
		return gate.Draw{}, false
	}
	draw = gate.Draw{ID: d.id, What: kindOf(d.msg.Data), Answer: fmt.Sprintf("HTTP %d", answer.HTTPStatus)}
	if answer.HasCode {
		draw.Answer = fmt.Sprintf("errcode %d", answer.Code)
	}
	return draw, true
}

// outcomeOf reads what the sender returned.
func outcomeOf(err error) (outcome, *wechat.Error) {
	if err == nil {
		return outcome{}, nil
	}
	var e *wechat.Error
	if !errors.As(err, &e) {
		return outcome{fault: wechat.FaultUnknown, detail: err.Error()}, nil
	}
	return outcome{fault: e.Fault, coded: e.HasCode, detail: e.Error(), retryAfter: e.RetryAfter}, e
}

func attemptOf(n int, at time.Time, took time.Duration, o outcome, answer *wechat.Error, worker string) schema.Attempt {
	t := schema.Attempt{Number: n, At: at.UTC(), DurationMS: float64(took.Microseconds()) / 1000, Outcome: o.fault.String(), Worker: worker}
	if o.fault == wechat.FaultNone {
		t.Outcome = outcomeSent
	}
	if answer != nil {
		t.Errmsg, t.RID, t.HTTPStatus = answer.Msg, answer.RID, answer.HTTPStatus
		if answer.HasCode {
			t.Errcode = &answer.Code
		}
	}
	return t
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
