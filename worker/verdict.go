package worker

import (
	"time"

	"github.com/kefuhq/kefu/internal/gate"
	"github.com/kefuhq/kefu/internal/wechat"
	"github.com/kefuhq/kefu/schema"
)

// do is what a verdict orders.
type do uint8

const (
	doDone  do = iota + 1 // sent
	doRetry               // after delay, as the next attempt
	doAgain               // after delay, as the same attempt: nothing was sent
	doBury                // dead letter with reason
	doHold                // hold the app, give the intent back
)

func (d do) String() string {
	return [...]string{"", "done", "retry", "again", "bury", "hold"}[d]
}

// Verdict is what is done about the outcome of an attempt.
type Verdict struct {
	do     do
	delay  time.Duration // doRetry, doAgain
	reason schema.Reason // doBury
	detail string        // doBury, doHold: one sentence for people
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
	detail     string        // the error's own sentence
	retryAfter time.Duration // with minute_quota, when the answer named one
	quotaLeft  bool          // with day_quota: asked, the platform says that some of the day is left
}

// standing is what decide needs to know of the intent and its app.
type standing struct {
	attempt  int           // number of the attempt that had this outcome, from 1
	unknown  int           // attempts of unknown outcome before it
	left     time.Duration // until the intent's deadline
	upstream int           // calls of this app in a row that could not leave, this one included
	now      time.Time
	jitter   float64 // 0..1, drawn by the caller
}

const (
	breaker         = 3                      // so many calls in a row that cannot leave hold the app
	upstreamPause   = 200 * time.Millisecond // before the breaker trips
	unlistedTries   = 2                      // an errcode never seen might have been a hiccup
	unknownTries    = 2                      // an unknown outcome is repeated once
	quotaSlack      = 2 * time.Second        // the platform's clock is not ours
	dayQuotaJitter  = 2 * time.Minute        // not everybody at midnight sharp
	minuteQuotaSpan = time.Second
)

// decide is the contract's table of what becomes of an intent. It is pure: no
// clock, no chance, no I/O; its test is the specification.
func decide(p policy, o outcome, s standing) Verdict {
	switch o.fault {
	case wechat.FaultNone:
		return Verdict{do: doDone}
	case wechat.FaultMessage:
		return bury(schema.Rejected, o)
	case wechat.FaultRecipient:
		return bury(schema.Recipient, o)
	case wechat.FaultBusy:
		return again(p, o, s, p.retry.Attempts, schema.Exhausted)
	case wechat.FaultUnlisted:
		return again(p, o, s, min(unlistedTries, p.retry.Attempts), schema.Rejected)
	case wechat.FaultMinuteQuota:
		end := gate.NextMinute(s.now)
		if o.retryAfter > 0 {
			end = s.now.Add(o.retryAfter)
		}
		return Verdict{do: doHold, hold: gate.Quota, detail: o.detail, hint: end.Add(spread(minuteQuotaSpan, s.jitter))}
	case wechat.FaultDayQuota:
		if o.quotaLeft { // the code stands for a minute's limit too, whatever its text says
			return Verdict{do: doHold, hold: gate.Quota, detail: o.detail, hint: gate.NextMinute(s.now).Add(spread(minuteQuotaSpan, s.jitter))}
		}
		return Verdict{do: doHold, hold: gate.Quota, detail: o.detail, hint: gate.NextDay(s.now).Add(quotaSlack + spread(dayQuotaJitter, s.jitter))}
	case wechat.FaultConfig, wechat.FaultToken:
		return Verdict{do: doHold, hold: gate.Config, detail: o.detail}
	case wechat.FaultUpstream:
		if s.upstream >= breaker {
			return Verdict{do: doHold, hold: gate.Upstream, detail: o.detail}
		}
		return Verdict{do: doAgain, delay: upstreamPause + spread(upstreamPause, s.jitter)}
	default: // wechat.FaultUnknown, and whatever a later version adds: nobody knows whether it was sent
		if p.onUnknown == schema.Park || s.unknown+1 >= unknownTries {
			return bury(schema.Unknown, o)
		}
		return again(p, o, s, s.attempt+1, schema.Unknown) // however many attempts there were: once more is the policy
	}
}

func bury(r schema.Reason, o outcome) Verdict {
	return Verdict{do: doBury, reason: r, detail: o.detail}
}

// again retries until attempts are spent. A retry that would come after the
// deadline is a letter now: nobody is helped by waiting for it.
func again(p policy, o outcome, s standing, attempts int, spent schema.Reason) Verdict {
	if s.attempt >= attempts {
		return bury(spent, o)
	}
	delay := p.retry.delay(s.attempt, s.jitter)
	if delay >= s.left {
		reason := schema.Expired
		if spent == schema.Unknown || s.unknown > 0 {
			reason = schema.Unknown // it may have been sent
		}
		return Verdict{do: doBury, reason: reason, detail: "the next attempt would come after its deadline; the last one: " + o.detail}
	}
	return Verdict{do: doRetry, delay: delay}
}

func spread(d time.Duration, jitter float64) time.Duration {
	return time.Duration(float64(d) * jitter)
}
