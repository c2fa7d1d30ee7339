package worker

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/kefuhq/kefu/internal/failpoint"
	"github.com/kefuhq/kefu/internal/gate"
	"github.com/kefuhq/kefu/internal/ledger"
	"github.com/kefuhq/kefu/internal/wechat"
	"github.com/kefuhq/kefu/schema"
)

const (
	// maxSuspects is how often an intent may be handed out again without an end
	// before it is taken for what kills the worker.
	maxSuspects = 3

	// soon is the shortest time that KEFU_LATER is worth: it is a 250 ms clock,
	// and a round trip through it costs more than to wait here.
	soon = time.Second

	// otherHands is how long to leave an intent alone that a living worker has
	// started: its call ends within 10 s.
	otherHands = time.Second

	// maxLeft is how many times a burial is left alone.
	maxLeft = 10

	// lookAgain is how often whoever waits in line for the rate looks whether the
	// call is still allowed.
	lookAgain = 50 * time.Millisecond
)

// run handles one intent, once: from the message to the verdict that is then
// settled. It says what happens to the delivery afterwards, and whether the
// API was reached without a reason to hold the app.
func (d *delivery) run() (next afterwards, reached bool) {
	if !d.parsed {
		if next, done := d.read(); done {
			return next, false
		}
	}
	if next, done := d.beforeCall(); done {
		return next, false
	}
	if d.passed {
		return d.putBehind(), false
	}
	d.term, _ = d.app.w.pool.Term(time.Now())
	s, err := d.write(ledger.Start)
	if err != nil {
		return afterwards{place: returned}, false
	}
	d.generation = s.Generation
	switch s.Ruling {
	case ledger.Ended, ledger.Repeat:
		switch free, err := d.orphaned(s); {
		case err != nil:
			return afterwards{place: returned}, false
		case free:
			return d.run()
		}
		return d.settleKnown(s), false
	case ledger.Reuse:
		return d.settleBury(schema.ReasonIDReuse, "its id belongs to an earlier intent with another body", nil), false
	case ledger.Started, ledger.Doomed:
		return d.abandoned(s), false
	}
	d.learn(s)
	d.progress, d.spent = started, spent{d.attempt, d.unknown, len(d.tried)}
	// The wait for the ledger may have been long (a broker restart): look again.
	now := time.Now()
	if d.barred(now) {
		return d.settleReturn(), false
	}
	switch {
	case d.bad != nil:
		return d.takenBack(func() afterwards { return d.settleBury(schema.ReasonInvalid, d.bad.Error(), nil) }), false
	case d.app.w.withdrawals.Has(d.app.cfg().ID, d.key, d.generation):
		return d.takenBack(d.settleCancel), false
	case !now.Before(d.deadline):
		return d.lapse(), false
	}
	failpoint.Reach(failpoint.Started, d.id)
	return d.call(now)
}

// orphaned finds out, once, whether what a message repeats waits for a message
// that was purged or deleted, and would wait for ever. If so it tells the
// ledger: whoever comes first then takes the place of that one. An error means
// that the worker is stopping.
func (d *delivery) orphaned(s ledger.Standing) (bool, error) {
	w := d.app.w
	if s.Ruling != ledger.Repeat || s.Carrier == 0 || d.asked || !w.pool.AllFree() {
		return false, nil
	}
	d.asked = true
	held, err := w.conn.Holds(w.work, schema.SendStream(d.app.cfg().ID), s.Carrier)
	switch {
	case w.work.Err() != nil:
		return false, errGrace
	case err != nil:
		w.log.Debug("taken for a repeat of what is queued", "app", d.app.cfg().ID, "id", d.id, "error", err)
		return false, nil
	case held:
		return false, nil
	}
	m := d.mark(ledger.Gone)
	m.Seq = s.Carrier
	_, err = d.put(m)
	return err == nil, err
}

// read makes sense of the message. What was, or may have been, handed out
// before is marked before it is parsed: it may be what killed the worker.
func (d *delivery) read() (next afterwards, done bool) {
	d.bad = d.identify()
	d.identified = true
	if d.nth > 1 || d.taken {
		d.suspect = true
		s, err := d.write(ledger.Suspect)
		failpoint.Reach(failpoint.Suspected, d.id)
		switch {
		case err != nil:
			return afterwards{place: returned}, true
		case s.Suspects >= maxSuspects:
			return d.poisoned("the worker died handling it three times"), true
		}
	}
	if d.bad == nil {
		d.bad = d.decode()
		failpoint.Reach(failpoint.Decoded, d.id)
	}
	d.parsed = true
	return afterwards{}, false
}

// beforeCall is what can be known without the API and the ledger's word.
func (d *delivery) beforeCall() (next afterwards, done bool) {
	now := time.Now()
	if !d.passed && d.barred(now) {
		return afterwards{place: returned}, true
	}
	known := d.peek()
	if d.bad != nil && (known.Ruling == ledger.Repeat || known.Ruling == ledger.Reuse) {
		return d.settleBury(schema.ReasonInvalid, d.bad.Error(), nil), true // whatever became of the id's first
	}
	if known.Ruling != ledger.Go {
		// What it remembers no deadline, withdrawal or send-at may overrule: this
		// message was begun or has ended, or its id belongs to another one.
		return afterwards{}, false
	}
	d.learn(known)
	if d.bad != nil {
		return d.settleBury(schema.ReasonInvalid, d.bad.Error(), nil), true
	}
	if d.app.w.withdrawals.Has(d.app.cfg().ID, d.key, d.generation) {
		return d.settleCancel(), true
	}
	if !now.Before(d.deadline) {
		return d.settleExpired("its deadline passed before it could be sent"), true
	}
	// It was stored by the broker's clock, by which KEFU_LATER goes: where ours is
	// behind, what has become due would wait there again and again.
	if wait := d.env.SendAt.Sub(latest(now, d.stored)); wait > 0 {
		if !d.env.SendAt.Before(d.deadline) {
			return d.settleExpired("its send-at is not before its deadline"), true
		}
		if wait < soon {
			return afterwards{place: waiting, delay: wait}, true
		}
		return d.settleLater(d.env.SendAt), true
	}
	return afterwards{}, false
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// leave says whether an intent is to be left to the worker that has begun its
// call, or its burial.
func (d *delivery) leave(s ledger.Standing) (next afterwards, leave bool) {
	// Ours stands alone only when the end of a call was not written: nothing of
	// this sequence is in hand here but this delivery. The message that this one
	// takes the place of may be.
	ours := s.Worker == d.app.w.cfg.Process.Name
	switch {
	case ours && !s.Inherited, !ours && !d.app.w.pool.Alive(s.Worker):
		return afterwards{}, false
	case ours && s.Carrier != d.seq && d.app.has(s.Carrier):
		return afterwards{place: waiting, delay: otherHands, held: true}, true
	}
	// A burial may have been surrendered by a worker that lives on. Should it not
	// have been, the broker drops the second letter. A call of ours is over by then.
	if d.left++; !ours && s.Ruling != ledger.Doomed || d.left < maxLeft {
		return afterwards{place: waiting, delay: otherHands, held: true}, true
	}
	return afterwards{}, false
}

// takeOver makes the last attempt of somebody who is gone one of ours, of
// unknown outcome.
func (d *delivery) takeOver(s ledger.Standing) {
	d.begun = true
	d.attempt, d.unknown = max(s.Attempts, 1), max(d.unknown, s.Unknown)
	d.tried = append(d.tried, schema.Attempt{Number: d.attempt, At: time.Now().UTC(), Outcome: outcomeUnknown, Worker: s.Worker})
}

// abandoned deals with an intent whose call, or burial, was begun by another
// worker and whose end nobody wrote.
func (d *delivery) abandoned(s ledger.Standing) afterwards {
	if next, leave := d.leave(s); leave {
		return next
	}
	if s.Ruling == ledger.Doomed {
		d.begun = true
		d.attempt, d.unknown = s.Attempts+1, max(d.unknown, s.Unknown)
		return d.settleBury(s.Reason, "the worker that was burying it is gone, and with it what the API had answered", nil)
	}
	d.takeOver(s)
	next, _ := d.act(outcome{fault: wechat.FaultUnknown, detail: "the worker that had begun to send it is gone"}, nil)
	return next
}

// call makes the attempt and acts on its outcome.
func (d *delivery) call(now time.Time) (afterwards, bool) {
	w := d.app.w
	err := d.probe()
	if err == nil {
		err = d.app.cfg().Sender.Deliver(w.work, wechat.Message{Packet: d.packet, Traceparent: d.env.Traceparent, Before: d.may})
		d.begun = true
		if err == nil {
			d.progress = accepted
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
		return d.lapse(), false
	case errors.Is(err, errNotNow):
		return d.settleReturn(), false
	}
	if err != nil && errors.Is(context.Cause(w.work), errGrace) {
		var e *wechat.Error
		if !errors.As(err, &e) || e.Fault == wechat.FaultUnknown {
			// Cut off by the end of the grace period: nobody knows. The mark stands
			// alone in the ledger, which says just that to whoever gets it next.
			return afterwards{place: returned}, false
		}
		if e.Fault == wechat.FaultUpstream {
			return d.settleReturn(), false // our own end is no sign that there is no way out
		}
	}
	o, apiErr := outcomeOf(err)
	if o.fault == wechat.FaultDayQuota {
		some, said := false, true // if that was the quota call's own word
		if apiErr.Call != wechat.CallQuota {
			some, said = d.app.quota.left(w.work, d.app.cfg().Sender)
		}
		o.quotaLeft, o.quotaSpent = some, said && !some
	}
	w.metrics.called(d.app.cfg().ID, o.fault, took)
	d.tried = append(d.tried, attemptOf(d.attempt, now, took, o, apiErr, w.cfg.Process.Name))
	return d.act(o, apiErr)
}

// barred says whether no call of this intent may be started at now: the app is
// held, or the shard is not this worker's any more.
func (d *delivery) barred(now time.Time) bool {
	return d.app.gate.Bars(d.permission, now) || !d.lane.mine(now) || d.overtaken(now)
}

// overtaken says whether our Start may have been taken for one of a dead
// worker, and the intent been sent by another. A live shard's claim does not say
// so: it may be another one than when the Start was written.
func (d *delivery) overtaken(now time.Time) bool {
	return d.progress != untouched && !d.app.w.pool.Holds(d.term, now)
}

// may is asked right before each time the packet leaves: the first time, and again
// after a token that was refused. To get a token may have taken long, and what
// allowed the call may be over; so the rate is taken here. What gets no further,
// for want of a token or of time, costs neither rate nor the day's budget.
func (d *delivery) may() error {
	if err := d.lastLook(); err != nil {
		return err
	}
	if turn := d.app.gate.Leave(&d.permission, d.lane.kind); turn != nil {
		if err := d.await(turn); err != nil {
			return err
		}
	}
	d.permission.Used = true
	d.begun, d.progress = true, called
	return nil
}

// await waits in line for the rate. The Start stands meanwhile: to take it back
// would only make a slow ledger write more.
func (d *delivery) await(turn *gate.Turn) error {
	d.app.asking.join(time.Now())
	defer d.app.asking.leave()
	look := time.NewTicker(lookAgain)
	defer look.Stop()
	for {
		var err error
		select {
		case <-turn.Ready():
			d.app.asking.served(time.Now())
			return d.lastLook()
		case <-look.C:
			err = d.lastLook()
		case <-d.app.w.work.Done():
			err = errNotNow
		}
		if err != nil {
			turn.GiveUp()
			return err
		}
	}
}

// lastLook says why the packet must not leave now; nil if it may, as far as the
// rate allows it.
func (d *delivery) lastLook() error {
	now := time.Now()
	switch {
	case !now.Before(d.deadline):
		return errLate
	case d.barred(now):
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
func (d *delivery) probe() error {
	if !d.permission.Trial {
		return nil
	}
	if p, ok := d.app.cfg().Sender.(Prober); ok {
		if err := p.Probe(d.app.w.work); err != nil {
			return err
		}
	}
	if h, _ := d.app.gate.Held(); h.Kind != gate.Quota {
		return nil
	}
	if q, ok := d.app.cfg().Sender.(QuotaTeller); ok {
		if left, err := q.RemainingSends(d.app.w.work); err == nil && left <= 0 {
			return &wechat.Error{Call: wechat.CallQuota, Fault: wechat.FaultDayQuota, Err: errQuotaSpent}
		}
	}
	return nil
}

var errQuotaSpent = errors.New("the day's quota of sends is used up, says the quota call")

// act decides, and settles the verdict.
func (d *delivery) act(o outcome, e *wechat.Error) (next afterwards, reached bool) {
	now := time.Now()
	onUnknown := d.env.Unknown
	if onUnknown == "" {
		onUnknown = d.app.cfg().OnUnknown
	}
	draw, refused := d.refusal(o.fault, e)
	refused = refused && !o.quotaSpent // that is no message's
	var says gate.Standing
	if refused {
		says = d.app.gate.Drew(draw, now)
	}
	v := decide(policy{d.app.cfg().Retry, onUnknown}, o, standing{
		attempt:  d.attempt,
		unknown:  d.unknown,
		left:     d.deadline.Sub(now),
		upstream: d.app.blocked(o.fault),
		draw:     says,
		trial:    d.permission.Trial,
		since:    d.limitedSince(),
		now:      now,
		jitter:   rand.Float64(),
	})
	if o.fault == wechat.FaultUnknown {
		d.unknown++
	}
	switch v.do {
	case doDone:
		if d.permission.Sent = true; d.app.gate.Suspects() {
			d.permission.What = kindOf(d.msg.Data)
		}
		d.app.gate.Ended(d.id)
		d.attempt++
		return d.settleSent(), true
	case doBury:
		d.app.gate.Ended(d.id)
		d.attempt++
		return d.settleBury(v.reason, v.detail, e), true
	case doRetry:
		d.attempt++
		return d.settleRetry(v.delay), true
	case doAgain:
		if refused {
			d.app.w.log.Info("put aside: others are sent", "app", d.app.cfg().ID, "id", d.id, "message", draw.What, "why", v.detail)
		}
		return d.settleAgain(v.delay), false
	default: // doHold
		if refused {
			return d.settleHold(v, e, now, draw), false
		}
		return d.settleHold(v, e, now), false
	}
}

// limitedSince is since when there is the quota's hold that this one tries; zero
// if it tries none. The app's own budget of a day is another matter.
func (d *delivery) limitedSince() time.Time {
	if !d.permission.Trial { // as nearly every intent: do not look at the hold for it
		return time.Time{}
	}
	if h, _ := d.app.gate.Held(); h.Kind == gate.Quota && h.PerDay == 0 {
		return h.Since
	}
	return time.Time{}
}

// refusal is what the API refused the message with, if that speaks of the whole
// app. That no token was to be had, or no connection, is no answer to a message.
func (d *delivery) refusal(f wechat.Fault, e *wechat.Error) (draw gate.Draw, refused bool) {
	switch f {
	case wechat.FaultConfig, wechat.FaultToken, wechat.FaultUnlisted, wechat.FaultMinuteQuota, wechat.FaultDayQuota:
	default:
		return gate.Draw{}, false
	}
	if e == nil || e.Call != wechat.CallSend || !e.HasCode && e.HTTPStatus == 0 {
		return gate.Draw{}, false
	}
	draw = gate.Draw{ID: d.id, What: kindOf(d.msg.Data), Answer: fmt.Sprintf("HTTP %d", e.HTTPStatus)}
	if e.HasCode {
		draw.Answer = fmt.Sprintf("errcode %d", e.Code)
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

// Outcomes of attempts as letters and Kefu-Tried name them: the fault, or sent.
const (
	outcomeSent    = "sent"
	outcomeUnknown = "unknown"
)

func attemptOf(n int, at time.Time, took time.Duration, o outcome, e *wechat.Error, worker string) schema.Attempt {
	t := schema.Attempt{Number: n, At: at.UTC(), DurationMS: float64(took.Microseconds()) / 1000, Outcome: o.fault.String(), Worker: worker}
	if o.fault == wechat.FaultNone {
		t.Outcome = outcomeSent
	}
	if e != nil {
		t.Errmsg, t.RID, t.HTTPStatus = e.Msg, e.RID, e.HTTPStatus
		if e.HasCode {
			t.Errcode = &e.Code
		}
	}
	return t
}
