package worker

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/kefuhq/kefu/internal/failpoint"
	"github.com/kefuhq/kefu/internal/gate"
	"github.com/kefuhq/kefu/internal/wechat"
	"github.com/kefuhq/kefu/schema"
)

// call makes the attempt and judges its outcome.
func (e *engine) call(d *delivery) event {
	failpoint.Reach(failpoint.Started, d.id)
	now := time.Now()
	err := e.probe(d)
	if err == nil {
		err = e.cfg().Sender.Deliver(e.work, wechat.Message{
			Packet: d.packet, Traceparent: d.env.Traceparent,
			Before: func() error { return e.checkBeforeSend(d) },
		})
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
	case errors.Is(err, errRecalled):
		ev := event{kind: evUnsent}
		ev.withdrawn, ev.withCampaign = e.recalled(d)
		return ev
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
	e.pulse.Called(time.Now(), took)
	ev := e.judge(d, o, apiErr)
	ev.called, ev.attempt = true, attemptOf(d.attempt, now, took, o, apiErr, e.name)
	return ev
}

// mustNotCall says whether no call of this intent may be started at now: the app is
// held, or the shard is not this worker's any more.
func (e *engine) mustNotCall(d *delivery, now time.Time) bool {
	return e.gate.Revoked(d.permission, now) || !d.mayCall(now) || e.overtaken(d, now)
}

// overtaken says whether our start may have been taken for one of a dead
// worker, and the intent been sent by another. A live shard's claim does not say
// so: it may be another one than when the start was written.
func (e *engine) overtaken(d *delivery, now time.Time) bool {
	return d.stage != stageIdle && !e.pool.Holds(d.term, now)
}

// checkBeforeSend is asked right before each time the packet leaves: the first time, and
// again after a token that was refused. To get a token may have taken long, and
// what allowed the call may be over; so the rate is taken here. What gets no
// further, for want of a token or of time, costs neither rate nor the day's budget.
func (e *engine) checkBeforeSend(d *delivery) error {
	if err := e.checkStillAllowed(d); err != nil {
		return err
	}
	if turn := e.gate.Leave(&d.permission, d.subject.Lane); turn != nil {
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
	e.waiters.join(time.Now())
	defer e.waiters.leave()
	look := time.NewTicker(checkEvery)
	defer look.Stop()
	for {
		var err error
		select {
		case <-turn.Ready():
			e.waiters.served(time.Now())
			return e.checkStillAllowed(d)
		case <-look.C:
			err = e.checkStillAllowed(d)
		case <-e.work.Done():
			err = errNotNow
		}
		if err != nil {
			turn.GiveUp()
			return err
		}
	}
}

// checkEvery is how often whoever waits in line for the rate looks whether the
// call is still allowed.
const checkEvery = 50 * time.Millisecond

// checkStillAllowed says why the packet must not leave now; nil if it may, as far as the
// rate allows it.
func (e *engine) checkStillAllowed(d *delivery) error {
	now := time.Now()
	if recalled, _ := e.recalled(d); recalled && !e.overtaken(d, now) {
		return errRecalled
	}
	switch {
	case !now.Before(d.deadline):
		return errLate
	case e.mustNotCall(d, now):
		return errNotNow
	}
	return nil
}

var (
	errLate     = errors.New("the deadline has passed")
	errRecalled = errors.New("its campaign was cancelled")
	errNotNow   = errors.New("the app is held, or the shard is not this worker's any more")
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
			return &wechat.Error{
				Call: wechat.CallQuota, Fault: wechat.FaultDayQuota, Err: errQuotaSpent,
			}
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
	refusal, refused := d.refusal(o.fault, answer)
	refused = refused && !o.quotaSpent // that is no message's
	var says gate.Standing
	if refused {
		says = e.gate.NoteRefusal(refusal, now)
	}
	v := decide(policy{e.cfg().Retry, onUnknown}, o, circumstances{
		attempt:  d.attempt,
		unknown:  d.unknown,
		left:     d.deadline.Sub(now),
		upstream: e.holder.countUnreachable(o.fault),
		standing: says,
		trial:    d.permission.Trial,
		since:    e.limitedSince(d),
		now:      now,
		jitter:   rand.Float64(),
	})
	switch v.do {
	case doDone:
		if d.permission.Sent = true; e.gate.HasRefusals() {
			d.permission.MessageKind = kindOf(d.msg.Data)
		}
		e.gate.Forget(d.id)
	case doBury:
		e.gate.Forget(d.id)
	case doRetry:
		e.metrics.retries.WithLabelValues(e.appID).Inc()
	case doRetryUncounted:
		if refused {
			e.log.Info("put aside: others are sent", "app", e.appID, "id", d.id,
				"message", refusal.Kind, "why", v.detail)
		}
	case doHold:
		d.hold = &orderedHold{holdOf(v, answer, e.name), v.hint}
		if refused {
			d.hold.Refusals = []gate.Refusal{refusal}
		}
	}
	recalled, _ := e.recalled(d)
	return event{
		kind: evJudged, now: now, verdict: v, outcome: o, answer: answer,
		facts: facts{withdrawn: recalled}, holdBack: e.cfg().HoldBack,
	}
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
	h := d.hold.Hold
	attrs := []any{"app", e.appID, "kind", h.Kind, "why", h.Reason}
	for _, r := range h.Refusals {
		attrs = append(attrs, "id", r.ID, "message", r.Kind)
	}
	switch before, held := e.gate.Held(); {
	case !held || before.Kind != h.Kind:
		e.log.Warn("app held", attrs...)
	case d.permission.Trial:
		e.log.Info("app still held: its trial was refused", attrs...)
	}
	e.gate.Hold(h, d.permission, d.hold.hint, time.Now())
	failpoint.Reach(failpoint.Held, d.id)
}

// refusal is what the API refused the message with, if that speaks of the whole
// app. That no token was to be had, or no connection, is no answer to a message.
func (d *delivery) refusal(f wechat.Fault, answer *wechat.Error) (r gate.Refusal, refused bool) {
	switch f {
	case wechat.FaultConfig, wechat.FaultToken, wechat.FaultUnlisted,
		wechat.FaultMinuteQuota, wechat.FaultDayQuota:
	default:
		return gate.Refusal{}, false
	}
	if answer == nil || answer.Call != wechat.CallSend ||
		!answer.HasCode && answer.HTTPStatus == 0 {
		return gate.Refusal{}, false
	}
	said := fmt.Sprintf("HTTP %d", answer.HTTPStatus)
	if answer.HasCode {
		said = fmt.Sprintf("errcode %d", answer.Code)
	}
	return gate.Refusal{ID: d.id, Kind: kindOf(d.msg.Data), Answer: said}, true
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

func attemptOf(n int, at time.Time, took time.Duration, o outcome, answer *wechat.Error,
	worker string) schema.Attempt {
	t := schema.Attempt{
		Number: n, At: at.UTC(), DurationMS: float64(took.Microseconds()) / 1000,
		Outcome: o.fault.String(), Worker: worker,
	}
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
