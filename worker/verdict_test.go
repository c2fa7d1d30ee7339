package worker

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kefuhq/kefu/internal/gate"
	"github.com/kefuhq/kefu/internal/wechat"
	"github.com/kefuhq/kefu/schema"
)

// TestDecide is the contract's table of verdicts.
func TestDecide(t *testing.T) {
	t.Parallel()
	noon := time.Date(2026, 11, 24, 12, 0, 30, 0, gate.Beijing)
	resend := policy{
		retry:     Retry{Attempts: 6, First: time.Second, Cap: 5 * time.Minute},
		onUnknown: schema.PolicyResend,
	}
	park := resend
	park.onUnknown = schema.PolicyPark
	first := circumstances{attempt: 1, left: time.Hour, now: noon, jitter: 0.5, upstream: 1}
	with := func(change func(*circumstances)) circumstances {
		s := first
		change(&s)
		return s
	}
	drew := func(says gate.Standing) circumstances {
		return with(func(s *circumstances) { s.standing = says })
	}
	const why = "the sentence of the error"
	const ownFault = "; others were sent since it drew that first, so it is about this message"
	midnight := time.Date(2026, 11, 25, 0, 0, 0, 0, gate.Beijing)
	fault := func(f wechat.Fault) outcome { return outcome{fault: f, coded: true, detail: why} }

	rows := []struct {
		name string
		p    policy
		o    outcome
		s    circumstances
		want Verdict
	}{
		{"errcode 0 is sent", resend, outcome{}, first, Verdict{do: doDone}},
		{
			"a code about the message buries it at once", resend, fault(wechat.FaultMessage), first,
			Verdict{do: doBury, reason: schema.ReasonRejected, detail: why},
		},
		{
			"a code about the user buries it at once", resend, fault(wechat.FaultRecipient), first,
			Verdict{do: doBury, reason: schema.ReasonRecipient, detail: why},
		},

		{
			"busy the first time waits a second", resend, fault(wechat.FaultBusy), first,
			Verdict{do: doRetry, delay: time.Second},
		},
		{
			"busy the fifth time waits five minutes", resend, fault(wechat.FaultBusy),
			with(func(s *circumstances) { s.attempt = 5 }),
			Verdict{do: doRetry, delay: 5 * time.Minute},
		},
		{
			"busy the sixth time is exhausted", resend, fault(wechat.FaultBusy),
			with(func(s *circumstances) { s.attempt = 6 }),
			Verdict{do: doBury, reason: schema.ReasonExhausted, detail: why},
		},
		{
			"a retry past the deadline is a letter now", resend, fault(wechat.FaultBusy),
			with(func(s *circumstances) { s.left = 900 * time.Millisecond }),
			Verdict{
				do: doBury, reason: schema.ReasonExpired,
				detail: "the next attempt would come after its deadline; the last one: " + why,
			},
		},

		{
			"a token still stale after its refresh holds the app", resend, fault(wechat.FaultToken),
			first,
			Verdict{do: doHold, hold: gate.Config, detail: why},
		},
		{
			"our configuration holds the app", resend, fault(wechat.FaultConfig), first,
			Verdict{do: doHold, hold: gate.Config, detail: why},
		},
		{
			"45011 holds until the next minute", resend, fault(wechat.FaultMinuteQuota), first,
			Verdict{
				do: doHold, hold: gate.Quota, detail: why,
				hint: noon.Truncate(time.Minute).Add(time.Minute + 500*time.Millisecond),
			},
		},
		{
			"Retry-After says how long", resend,
			outcome{fault: wechat.FaultMinuteQuota, detail: why, retryAfter: 5 * time.Second},
			first,
			Verdict{
				do: doHold, hold: gate.Quota, detail: why, hint: noon.Add(5500 * time.Millisecond),
			},
		},
		{
			"45009 holds until Beijing's midnight", resend, fault(wechat.FaultDayQuota), first,
			Verdict{
				do: doHold, hold: gate.Quota, detail: why,
				hint: time.Date(2026, 11, 25, 0, 1, 2, 0, gate.Beijing),
			},
		},

		{
			"unless the quota call says that some of the day is left: to the next minute then",
			resend, outcome{fault: wechat.FaultDayQuota, detail: why, quotaLeft: true}, first,
			Verdict{
				do: doHold, hold: gate.Quota, detail: why,
				hint: noon.Truncate(time.Minute).Add(time.Minute + 500*time.Millisecond),
			},
		},

		{
			"one call that cannot leave is tried again, no attempt spent", resend,
			fault(wechat.FaultUpstream), first,
			Verdict{do: doRetryUncounted, delay: 300 * time.Millisecond},
		},
		{
			"the third in a row holds the app", resend, fault(wechat.FaultUpstream),
			with(func(s *circumstances) { s.upstream = 3 }),
			Verdict{do: doHold, hold: gate.Upstream, detail: why},
		},
		{
			"no way out never buries, however many attempts were made", resend,
			fault(wechat.FaultUpstream), with(func(s *circumstances) { s.attempt = 6 }),
			Verdict{do: doRetryUncounted, delay: 300 * time.Millisecond},
		},

		{
			"an unknown outcome is sent once more", resend, fault(wechat.FaultUnknown), first,
			Verdict{do: doRetry, delay: time.Second},
		},
		{
			"the second unknown outcome is the end", resend, fault(wechat.FaultUnknown),
			with(func(s *circumstances) { s.attempt, s.unknown = 2, 1 }),
			Verdict{do: doBury, reason: schema.ReasonUnknown, detail: why},
		},
		{
			"park buries an unknown outcome at once", park, fault(wechat.FaultUnknown), first,
			Verdict{do: doBury, reason: schema.ReasonUnknown, detail: why},
		},
		{
			"an unknown outcome at the last attempt is sent once more, too", resend,
			fault(wechat.FaultUnknown), with(func(s *circumstances) { s.attempt = 6 }),
			Verdict{do: doRetry, delay: 5 * time.Minute},
		},
		{
			"an unknown outcome without time for a second attempt is unknown, not expired", resend,
			fault(wechat.FaultUnknown),
			with(func(s *circumstances) { s.left = 900 * time.Millisecond }),
			Verdict{
				do: doBury, reason: schema.ReasonUnknown,
				detail: "the next attempt would come after its deadline; the last one: " + why,
			},
		},
		{
			"and so is what was busy after it", resend, fault(wechat.FaultBusy),
			with(func(s *circumstances) { s.unknown, s.left = 1, 900*time.Millisecond }),
			Verdict{
				do: doBury, reason: schema.ReasonUnknown,
				detail: "the next attempt would come after its deadline; the last one: " + why,
			},
		},
		{
			"a fault of a later version counts as unknown", park, fault(wechat.Fault(200)), first,
			Verdict{do: doBury, reason: schema.ReasonUnknown, detail: why},
		},

		{
			"an account's answer to one message, while others are sent, buries that one", resend,
			fault(wechat.FaultConfig),
			drew(gate.Standing{Before: true, Proven: true, InRow: 1, Selective: true}),
			Verdict{do: doBury, reason: schema.ReasonRejected, detail: why + ownFault},
		},
		{
			"a token is our own trouble, whoever meets it: that one waits alone", resend,
			fault(wechat.FaultToken), drew(gate.Standing{Before: true, Proven: true}),
			Verdict{do: doRetryUncounted, delay: time.Minute, detail: why},
		},
		{
			"and so is an answer without an errcode, as a proxy gives it", resend,
			outcome{fault: wechat.FaultConfig, detail: why},
			drew(gate.Standing{Before: true, Proven: true}),
			Verdict{do: doRetryUncounted, delay: time.Minute, detail: why},
		},
		{
			"also to a kind of message that meets it", resend,
			outcome{fault: wechat.FaultConfig, detail: why},
			drew(gate.Standing{Before: true, Selective: true, OfKind: true, Lately: true}),
			Verdict{do: doRetryUncounted, delay: time.Minute, detail: why},
		},
		{
			"but not if nothing was sent of late", resend,
			outcome{fault: wechat.FaultConfig, detail: why},
			drew(gate.Standing{Before: true, Selective: true, OfKind: true}),
			Verdict{do: doHold, hold: gate.Config, detail: why},
		},
		{
			"met by others, it holds the app", resend,
			outcome{fault: wechat.FaultConfig, detail: why}, drew(gate.Standing{InRow: 1}),
			Verdict{do: doHold, hold: gate.Config, detail: why},
		},
		{
			"drawn again while nothing is sent, it is about the account", resend,
			fault(wechat.FaultConfig), drew(gate.Standing{Before: true, InRow: 40}),
			Verdict{do: doHold, hold: gate.Config, detail: why},
		},
		{
			"an answer that only some messages draw puts the next one aside", resend,
			fault(wechat.FaultConfig), drew(gate.Standing{InRow: 1, Selective: true}),
			Verdict{do: doRetryUncounted, delay: time.Second, detail: why},
		},
		{
			"and rejects it when it draws it again, if its whole kind does", resend,
			fault(wechat.FaultConfig),
			drew(
				gate.Standing{Before: true, InRow: 1, Selective: true, OfKind: true, Lately: true},
			),
			Verdict{
				do: doBury, reason: schema.ReasonRejected,
				detail: why + "; messages of its kind draw that while others are sent",
			},
		},
		{
			"unless nothing was sent of late: the account may be limited since", resend,
			fault(wechat.FaultConfig),
			drew(gate.Standing{Before: true, InRow: 1, Selective: true, OfKind: true}),
			Verdict{do: doHold, hold: gate.Config, detail: why},
		},
		{
			"or many of the kind are refused, and none of another is sent between", resend,
			fault(wechat.FaultConfig),
			drew(
				gate.Standing{Before: true, InRow: 10, Selective: true, OfKind: true, Lately: true},
			),
			Verdict{do: doHold, hold: gate.Config, detail: why},
		},
		{
			"unless it draws it again and nothing was sent between", resend,
			fault(wechat.FaultConfig), drew(gate.Standing{Before: true, InRow: 1, Selective: true}),
			Verdict{do: doHold, hold: gate.Config, detail: why},
		},
		{
			"or ten in a row draw it", resend, fault(wechat.FaultConfig),
			drew(gate.Standing{InRow: 10, Selective: true}),
			Verdict{do: doHold, hold: gate.Config, detail: why},
		},
		{
			"but those of a kind that is refused anyway", resend, fault(wechat.FaultConfig),
			drew(gate.Standing{InRow: 40, Selective: true, OfKind: true}),
			Verdict{do: doRetryUncounted, delay: time.Second, detail: why},
		},
		{
			"up to fifty: then they may be all that is queued while the account is limited", resend,
			fault(wechat.FaultConfig),
			drew(gate.Standing{InRow: 50, Selective: true, OfKind: true}),
			Verdict{do: doHold, hold: gate.Config, detail: why},
		},
		{
			"or it is the trial of a hold", resend, fault(wechat.FaultConfig),
			with(func(s *circumstances) {
				s.standing, s.trial = gate.Standing{InRow: 1, Selective: true}, true
			}),
			Verdict{do: doHold, hold: gate.Config, detail: why},
		},

		{
			"a limit of the minute that only one message meets makes that one wait", resend,
			fault(wechat.FaultMinuteQuota), drew(gate.Standing{Before: true, Proven: true}),
			Verdict{do: doRetryUncounted, delay: 30500 * time.Millisecond, detail: why},
		},
		{
			"for a minute at most", resend,
			outcome{fault: wechat.FaultMinuteQuota, detail: why, retryAfter: time.Hour},
			drew(gate.Standing{Before: true, Proven: true}),
			Verdict{do: doRetryUncounted, delay: time.Minute, detail: why},
		},
		{
			"met again while nothing is sent, it is the app's", resend,
			fault(wechat.FaultMinuteQuota), drew(gate.Standing{Before: true, InRow: 2}),
			Verdict{
				do: doHold, hold: gate.Quota, detail: why,
				hint: noon.Truncate(time.Minute).Add(time.Minute + 500*time.Millisecond),
			},
		},
		{
			"where only some messages meet it, the next one waits alone", resend,
			fault(wechat.FaultMinuteQuota), drew(gate.Standing{InRow: 1, Selective: true}),
			Verdict{do: doRetryUncounted, delay: 30500 * time.Millisecond, detail: why},
		},
		{
			"unless ten in a row meet it", resend, fault(wechat.FaultMinuteQuota),
			drew(gate.Standing{InRow: 10, Selective: true}),
			Verdict{
				do: doHold, hold: gate.Quota, detail: why,
				hint: noon.Truncate(time.Minute).Add(time.Minute + 500*time.Millisecond),
			},
		},
		{
			"a day's quota that one message meets, and the quota call does not know of, makes that one wait",
			resend, fault(wechat.FaultDayQuota), drew(gate.Standing{Before: true, Proven: true}),
			Verdict{do: doRetryUncounted, delay: time.Minute, detail: why},
		},
		{
			"and the next one, where only some meet it", resend, fault(wechat.FaultDayQuota),
			drew(gate.Standing{InRow: 1, Selective: true}),
			Verdict{do: doRetryUncounted, delay: time.Minute, detail: why},
		},
		{
			"a day's quota that the quota call says is used up is never one message's", resend,
			outcome{fault: wechat.FaultDayQuota, quotaSpent: true, detail: why},
			drew(gate.Standing{Before: true, Proven: true}),
			Verdict{
				do: doHold, hold: gate.Quota, detail: why,
				hint: time.Date(2026, 11, 25, 0, 1, 2, 0, gate.Beijing),
			},
		},
		{
			"used up some seconds after midnight, it is tried with growing pauses: the reset is late, or a clock ahead",
			resend, fault(wechat.FaultDayQuota),
			with(func(s *circumstances) { s.now = midnight.Add(14 * time.Second) }),
			Verdict{do: doHold, hold: gate.Quota, detail: why},
		},
		{
			"and so it is at midnight itself", resend, fault(wechat.FaultDayQuota),
			with(func(s *circumstances) { s.now = midnight }),
			Verdict{do: doHold, hold: gate.Quota, detail: why},
		},
		{
			"and up to an hour after it", resend, fault(wechat.FaultDayQuota),
			with(func(s *circumstances) { s.now = midnight.Add(time.Hour - time.Second) }),
			Verdict{do: doHold, hold: gate.Quota, detail: why},
		},
		{
			"but not a second before it", resend, fault(wechat.FaultDayQuota),
			with(func(s *circumstances) { s.now = midnight.Add(-time.Second) }),
			Verdict{
				do: doHold, hold: gate.Quota, detail: why, hint: midnight.Add(62 * time.Second),
			},
		},
		{
			"nor later: to the next midnight", resend, fault(wechat.FaultDayQuota),
			with(func(s *circumstances) { s.now = midnight.Add(time.Hour) }),
			Verdict{
				do: doHold, hold: gate.Quota, detail: why,
				hint: midnight.AddDate(0, 0, 1).Add(62 * time.Second),
			},
		},

		{
			"a trial of a hold from before midnight has growing pauses however late it is", resend,
			fault(wechat.FaultDayQuota),
			with(func(s *circumstances) {
				s.now, s.trial, s.since = midnight.Add(63*time.Minute), true,
					midnight.Add(-time.Hour)
			}),
			Verdict{do: doHold, hold: gate.Quota, detail: why},
		},
		{
			"also when the quota call says it", resend,
			outcome{fault: wechat.FaultDayQuota, quotaSpent: true, detail: why},
			with(func(s *circumstances) {
				s.now, s.trial, s.since = midnight.Add(13*time.Hour), true,
					midnight.Add(-12*time.Hour)
			}),
			Verdict{do: doHold, hold: gate.Quota, detail: why},
		},
		{
			"one of a hold of today waits for the next midnight", resend,
			fault(wechat.FaultDayQuota),
			with(func(s *circumstances) {
				s.now, s.trial, s.since = midnight.Add(3*time.Hour), true,
					midnight.Add(2*time.Hour)
			}),
			Verdict{
				do: doHold, hold: gate.Quota, detail: why,
				hint: midnight.AddDate(0, 0, 1).Add(62 * time.Second),
			},
		},
		{
			"and so does what draws it without a hold before", resend, fault(wechat.FaultDayQuota),
			with(func(s *circumstances) {
				s.now, s.since = midnight.Add(3*time.Hour), midnight.Add(-time.Hour)
			}),
			Verdict{
				do: doHold, hold: gate.Quota, detail: why,
				hint: midnight.AddDate(0, 0, 1).Add(62 * time.Second),
			},
		},

		{
			"a code never seen is tried twice", resend, fault(wechat.FaultUnlisted), first,
			Verdict{do: doRetry, delay: time.Second},
		},
		{
			"and then rejected", resend, fault(wechat.FaultUnlisted),
			with(func(s *circumstances) { s.attempt = 2 }),
			Verdict{do: doBury, reason: schema.ReasonRejected, detail: why},
		},
		{
			"two in a row draw it: tried twice all the same", resend, fault(wechat.FaultUnlisted),
			drew(gate.Standing{InRow: 2}),
			Verdict{do: doRetry, delay: time.Second},
		},
		{
			"three in a row draw it: about the account", resend, fault(wechat.FaultUnlisted),
			drew(gate.Standing{InRow: 3}),
			Verdict{
				do: doHold, hold: gate.Config,
				detail: why + "; 3 messages in a row drew it, so it is about the app",
			},
		},
		{
			"and then none is buried, whichever attempt it was", resend,
			fault(wechat.FaultUnlisted),
			with(func(s *circumstances) {
				s.attempt, s.standing = 2, gate.Standing{Before: true, InRow: 3}
			}),
			Verdict{
				do: doHold, hold: gate.Config,
				detail: why + "; 3 messages in a row drew it, so it is about the app",
			},
		},
		{
			"drawn again after another was sent, it is rejected", resend,
			fault(wechat.FaultUnlisted), drew(gate.Standing{Before: true, Proven: true}),
			Verdict{do: doBury, reason: schema.ReasonRejected, detail: why + ownFault},
		},
		{
			"where only some messages draw it, three in a row may be chance", resend,
			fault(wechat.FaultUnlisted), drew(gate.Standing{InRow: 3, Selective: true}),
			Verdict{do: doRetry, delay: time.Second},
		},
		{
			"but not if nothing was sent until they are tried again", resend,
			fault(wechat.FaultUnlisted),
			with(func(s *circumstances) {
				s.attempt, s.standing = 2, gate.Standing{Before: true, InRow: 3, Selective: true}
			}),
			Verdict{
				do: doHold, hold: gate.Config,
				detail: why + "; 3 messages in a row drew it, so it is about the app",
			},
		},
		{"nor if they are of a kind that is refused anyway", resend, fault(wechat.FaultUnlisted),
			with(func(s *circumstances) {
				s.attempt, s.standing = 2, gate.Standing{Before: true, InRow: 3, Selective: true,
					OfKind: true, Lately: true}
			}),
			Verdict{do: doBury, reason: schema.ReasonRejected,
				detail: why + "; messages of its kind draw that while others are sent"}},
		{"unless nothing was sent of late", resend, fault(wechat.FaultUnlisted),
			with(func(s *circumstances) {
				s.attempt, s.standing = 2, gate.Standing{Before: true, InRow: 3,
					Selective: true, OfKind: true}
			}),
			Verdict{do: doHold, hold: gate.Config,
				detail: why + "; 3 messages in a row drew it, so it is about the app"}},
		{"or they are all that there is", resend, fault(wechat.FaultUnlisted),
			with(func(s *circumstances) {
				s.attempt, s.standing = 2, gate.Standing{InRow: 50, Selective: true, OfKind: true}
			}),
			Verdict{do: doHold, hold: gate.Config,
				detail: why + "; 50 messages in a row drew it, so it is about the app"}},
		{
			"while one that is alone has its two attempts", resend, fault(wechat.FaultUnlisted),
			with(func(s *circumstances) {
				s.attempt, s.standing = 2, gate.Standing{Before: true, InRow: 1, Selective: true}
			}),
			Verdict{do: doBury, reason: schema.ReasonRejected, detail: why},
		},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			got := decide(row.p, row.o, row.s)
			require.True(t, row.want.hint.Equal(got.hint), "until %s, got %s",
				row.want.hint, got.hint)
			row.want.hint, got.hint = time.Time{}, time.Time{}
			require.Equal(t, row.want, got)
		})
	}
}

func TestRetryDelay(t *testing.T) {
	t.Parallel()
	r := Retry{Attempts: 20, First: time.Second, Cap: 5 * time.Minute}
	for n, want := range map[int]time.Duration{
		1: time.Second, 2: 4 * time.Second, 3: 15 * time.Second, 4: time.Minute,
		5: 5 * time.Minute, 6: 5 * time.Minute, 20: 5 * time.Minute,
	} {
		require.Equal(t, want, r.delay(n, 0.5), "attempt %d", n)
		require.InDelta(t, 0.8*want.Seconds(), r.delay(n, 0).Seconds(), 1e-6)
		require.InDelta(t, 1.2*want.Seconds(), r.delay(n, 1).Seconds(), 1e-6)
	}
}
