package worker

import (
	"fmt"
	"time"

	"github.com/kefuhq/kefu/internal/gate"
	"github.com/kefuhq/kefu/internal/wechat"
	"github.com/kefuhq/kefu/schema"
)

// do is what a verdict orders.
type do uint8

const (
	doDone           do = iota + 1 // sent
	doRetry                        // after delay, as the next attempt
	doRetryUncounted               // after delay, as the same attempt: nothing was sent
	doBury                         // dead letter with reason
	doHold                         // hold the app, give the intent back
)

func (d do) String() string {
	return [...]string{"", "done", "retry", "again", "bury", "hold"}[d]
}

// Verdict is what is done about the outcome of an attempt.
type Verdict struct {
	do     do
	delay  time.Duration // doRetry, doRetryUncounted
	reason schema.Reason // doBury
	detail string        // doBury, doHold, doRetryUncounted of a refusal: one sentence for people
	hold   gate.Kind     // doHold
	hint   time.Time     // doHold: when the platform itself says that it ends
}

// policy is what the app's owner decided.
type policy struct {
	retry     Retry
	onUnknown schema.UnknownPolicy // the intent's own, or the app's
}

// outcome is what came of an attempt. The zero value of fault is success.
type outcome struct {
	fault      wechat.Fault
	coded      bool          // the answer has an errcode
	detail     string        // the error's own sentence
	retryAfter time.Duration // with minute_quota, when the answer named one
	quotaLeft  bool          // with day_quota: the quota call says that some of the day is left
	quotaSpent bool          // likewise, that none is
}

// circumstances is what decide needs to know of the intent and its app.
type circumstances struct {
	attempt  int           // number of the attempt that had this outcome, from 1
	unknown  int           // attempts of unknown outcome before it
	left     time.Duration // until the intent's deadline
	upstream int           // calls of this app in a row that could not leave, this one included
	standing gate.Standing // of an answer that speaks of the whole app: what its other messages say
	trial    bool          // it tried whether a hold is over
	since    time.Time     // trial: since when there is that hold, if it is a quota's
	now      time.Time
	jitter   float64 // 0..1, drawn by the caller
}

const (
	// breaker calls in a row that cannot leave hold the app. Before that the pause is
	// upstreamDelay.
	breaker       = 3
	upstreamDelay = 200 * time.Millisecond

	unlistedTries   = 2               // an errcode never seen might have been a hiccup
	unknownTries    = 2               // an unknown outcome is repeated once
	quotaSlack      = 2 * time.Second // the platform's clock is not ours
	dayQuotaJitter  = 2 * time.Minute // not everybody at midnight sharp
	minuteQuotaSpan = time.Second

	// resetLate is for how long after midnight a day's quota that is used up is
	// taken for one whose reset is late, or for a clock that is ahead: it is tried
	// again with growing pauses, and not a day later. A hold that is older than
	// midnight may be late by any time.
	resetLate = time.Hour

	// So many different messages in a row that draw an answer show that it is about
	// the account: an errcode that is not listed; an answer that only some messages
	// draw; such an answer where all of these are of a kind that is refused. The last
	// is fewer than a Hold tells the pool of.
	unlistedRow  = 3
	selectiveRow = 10
	kindRow      = 50

	// asideDelay is until a message is tried again that draws such an answer: others
	// are sent meanwhile. ownDelay is the same for one that only our own trouble stops.
	asideDelay = time.Second
	ownDelay   = time.Minute
)

// decide is the contract's table of what becomes of an intent. It is pure: no
// clock, no chance, no I/O; its test is the specification.
func decide(p policy, o outcome, s circumstances) Verdict {
	switch o.fault {
	case wechat.FaultNone:
		return Verdict{do: doDone}
	case wechat.FaultMessage:
		return bury(schema.ReasonRejected, o)
	case wechat.FaultRecipient:
		return bury(schema.ReasonRecipient, o)
	case wechat.FaultBusy:
		return retryOrBury(p, o, s, p.retry.Attempts, schema.ReasonExhausted)
	case wechat.FaultUnlisted:
		return unlisted(p, o, s)
	case wechat.FaultMinuteQuota:
		end := gate.NextMinute(s.now)
		if o.retryAfter > 0 {
			end = s.now.Add(o.retryAfter)
		}
		return minuteQuota(o, s, end)
	case wechat.FaultDayQuota:
		if o.quotaLeft { // the code stands for a minute's limit too, whatever its text says
			return minuteQuota(o, s, gate.NextMinute(s.now))
		}
		return dayQuotaUsedUp(o, s)
	case wechat.FaultConfig, wechat.FaultToken:
		return config(o, s)
	case wechat.FaultUpstream:
		if s.upstream >= breaker {
			return Verdict{do: doHold, hold: gate.Upstream, detail: o.detail}
		}
		return Verdict{do: doRetryUncounted, delay: upstreamDelay + spread(upstreamDelay, s.jitter)}
	default:
		// wechat.FaultUnknown, and whatever a later version adds: nobody knows whether it
		// was sent. The policy is to try once more, however many attempts there were.
		if p.onUnknown == schema.PolicyPark || s.unknown+1 >= unknownTries {
			return bury(schema.ReasonUnknown, o)
		}
		return retryOrBury(p, o, s, s.attempt+1, schema.ReasonUnknown)
	}
}

// config is the verdict on an answer that speaks of the app's settings or its
// standing. A message that draws it again after another one was sent draws it for
// itself; so does one whose whole kind is refused while others are sent (refusedKind).
// Where an answer is known for that, the app is not held for each of them: a
// message is put aside for a moment, unless nothing is sent any more.
//
// A token, or an answer without an errcode (a redirect, HTTP 412), is about this
// worker's own way to the API, whoever else is sent: what meets it waits alone and
// is never buried.
func config(o outcome, s circumstances) Verdict {
	ours := o.fault == wechat.FaultToken || !o.coded
	switch {
	case ours && (s.standing.Proven || refusedKind(s.standing)):
		return Verdict{do: doRetryUncounted, delay: ownDelay, detail: o.detail}
	case s.standing.Proven:
		return buryMessage(o)
	case refusedKind(s.standing):
		return buryKind(o)
	case selective(s):
		return Verdict{do: doRetryUncounted, delay: asideDelay, detail: o.detail}
	}
	return Verdict{do: doHold, hold: gate.Config, detail: o.detail}
}

// unlisted is the verdict on an errcode never seen: it may have been a hiccup,
// or be about the message, or about the account.
func unlisted(p policy, o outcome, s circumstances) Verdict {
	row, tries := unlistedRow, min(unlistedTries, p.retry.Attempts)
	if s.standing.Selective {
		row = rowOf(s.standing)
	}
	switch {
	case s.standing.Proven:
		return buryMessage(o)
	case refusedKind(s.standing):
		return buryKind(o)
	case s.standing.InRow >= row, s.standing.Selective && s.standing.Before && s.standing.InRow > 1:
		const why = "; %d messages in a row drew it, so it is about the app"
		o.detail += fmt.Sprintf(why, s.standing.InRow)
		return Verdict{do: doHold, hold: gate.Config, detail: o.detail}
	}
	return retryOrBury(p, o, s, tries, schema.ReasonRejected)
}

// refusedKind says whether a message that is refused again is so because its kind
// is. That this kind was refused while others were sent says nothing of an account
// that is limited since: others must have been sent a moment ago, and few be
// refused after that. A hold costs nothing where nothing else is queued.
func refusedKind(d gate.Standing) bool {
	return d.Before && d.OfKind && d.Lately && d.InRow < selectiveRow
}

// selective says whether a refusal is for now taken for the message's own, since
// only some draw the answer.
func selective(s circumstances) bool {
	return s.standing.Selective && !s.standing.Before && !s.trial &&
		s.standing.InRow < rowOf(s.standing)
}

// rowOf is how many in a row must draw an answer that only some draw, to be about
// the account after all.
func rowOf(d gate.Standing) int {
	if d.OfKind {
		return kindRow
	}
	return selectiveRow
}

// minuteQuota holds the app until end, unless the limit is this message's own:
// then that one waits alone.
func minuteQuota(o outcome, s circumstances, end time.Time) Verdict {
	end = end.Add(spread(minuteQuotaSpan, s.jitter))
	if s.standing.Proven || selective(s) {
		return Verdict{do: doRetryUncounted, delay: min(end.Sub(s.now), ownDelay), detail: o.detail}
	}
	return Verdict{do: doHold, hold: gate.Quota, detail: o.detail, hint: end}
}

// dayQuotaUsedUp holds the app until the platform's midnight. Shortly after it, and
// in a hold that it did not end, there is no named end, and the pauses grow from a
// minute. Where the quota
// call does not say so, it may be one message's own trouble.
func dayQuotaUsedUp(o outcome, s circumstances) Verdict {
	if !o.quotaSpent && (s.standing.Proven || selective(s)) {
		return Verdict{do: doRetryUncounted, delay: ownDelay, detail: o.detail}
	}
	v := Verdict{do: doHold, hold: gate.Quota, detail: o.detail}
	next := gate.NextDay(s.now)
	last := next.AddDate(0, 0, -1)
	crossed := s.trial && !s.since.IsZero() && s.since.Before(last)
	if s.now.Sub(last) >= resetLate && !crossed {
		v.hint = next.Add(quotaSlack + spread(dayQuotaJitter, s.jitter))
	}
	return v
}

// buryMessage buries a message that is refused with an answer that speaks of the
// whole app, while others are sent.
func buryMessage(o outcome) Verdict {
	o.detail += "; others were sent since it drew that first, so it is about this message"
	return bury(schema.ReasonRejected, o)
}

// buryKind is buryMessage for one of a kind that is refused, and of which none is sent.
func buryKind(o outcome) Verdict {
	o.detail += "; messages of its kind draw that while others are sent"
	return bury(schema.ReasonRejected, o)
}

func bury(r schema.Reason, o outcome) Verdict {
	return Verdict{do: doBury, reason: r, detail: o.detail}
}

// retryOrBury retries until attempts are spent. A retry that would come after the
// deadline is a letter now: nobody is helped by waiting for it.
func retryOrBury(p policy, o outcome, s circumstances, attempts int, spent schema.Reason) Verdict {
	if s.attempt >= attempts {
		return bury(spent, o)
	}
	delay := p.retry.delay(s.attempt, s.jitter)
	if delay >= s.left {
		reason := schema.ReasonExpired
		if spent == schema.ReasonUnknown || s.unknown > 0 {
			reason = schema.ReasonUnknown // it may have been sent
		}
		o.detail = "the next attempt would come after its deadline; the last one: " + o.detail
		return bury(reason, o)
	}
	return Verdict{do: doRetry, delay: delay}
}

func spread(d time.Duration, jitter float64) time.Duration {
	return time.Duration(float64(d) * jitter)
}

// Outcomes of attempts as letters and Kefu-Tried name them: the fault, or sent.
const (
	outcomeSent    = "sent"
	outcomeUnknown = "unknown"
)

// unknownOf counts the attempts of unknown outcome.
func unknownOf(tried []schema.Attempt) (n int) {
	for _, t := range tried {
		if t.Outcome == outcomeUnknown {
			n++
		}
	}
	return n
}
