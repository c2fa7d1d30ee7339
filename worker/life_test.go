package worker

import (
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kefuhq/kefu/internal/ledger"
	"github.com/kefuhq/kefu/internal/wechat"
	"github.com/kefuhq/kefu/internal/wire"
	"github.com/kefuhq/kefu/schema"
)

// lifeNoon is when every life of these tests is looked at.
var lifeNoon = time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)

// newLife is an intent as it arrives: live, with an hour to its deadline.
func newLife(change ...func(*life)) *life {
	l := &life{
		subject: wire.Subject{Subject: schema.Subject{Lane: schema.LaneLive}},
		seq:     7, stored: lifeNoon, queueMade: lifeNoon, worker: "me",
		generation: 1, attempt: 1, deadline: lifeNoon.Add(time.Hour),
	}
	for _, f := range change {
		f(l)
	}
	return l
}

// Events, as sentences.
func on(kind eventKind, change ...func(*event)) event {
	e := event{kind: kind, now: lifeNoon, holdBack: 2 * time.Second}
	e.said.Ruling, e.said.Generation = ledger.Go, 1
	for _, f := range change {
		f(&e)
	}
	return e
}

func says(r ledger.Ruling, change ...func(*ledger.Standing)) func(*event) {
	return func(e *event) {
		e.said.Ruling = r
		for _, f := range change {
			f(&e.said)
		}
	}
}

func gives(v Verdict, fault wechat.Fault) func(*event) {
	return func(e *event) {
		e.verdict, e.outcome.fault = v, fault
		e.called, e.attempt = true, schema.Attempt{Number: 1}
	}
}

func ended(as ledger.Kind) func(*event) {
	return says(ledger.Ended, func(s *ledger.Standing) { s.Kind = as })
}

func repeats(carrier uint64) func(*event) {
	return says(ledger.Repeat, func(s *ledger.Standing) { s.Carrier = carrier })
}

func doomed(r schema.Reason) func(*event) {
	return says(ledger.Doomed, func(s *ledger.Standing) { s.Reason = r })
}

func suspects(n int) func(*event) {
	return says(0, func(s *ledger.Standing) { s.Suspects = n })
}

// takesForUnknown is the verdict on an outcome that no call of this worker had.
func takesForUnknown(v Verdict) func(*event) {
	return func(e *event) { e.verdict, e.outcome.fault = v, wechat.FaultUnknown }
}

func redelivered(l *life)   { l.redelivered = true }
func mustNotCall(e *event)  { e.mustNotCall = true }
func withdrawn(e *event)    { e.withdrawn = true }
func withCampaign(e *event) { e.withdrawn, e.withCampaign = true, true }
func recalled(l *life)      { l.recalled = true }
func tooLate(e *event)      { e.now = lifeNoon.Add(2 * time.Hour) }
func broken(e *event)       { e.bad = errors.New("text.content: missing") }
func forDeadline(e *event)  { e.late = true }
func free(e *event)         { e.free = true }
func missing(e *event)      { e.missing = true }
func alive(e *event)        { e.alive = true }
func byAnother(e *event)    { e.said.Overtaken = true }

// stepsOf goes through a life and writes down the steps. A step that ends the turn, or
// the life, ends it; the steps of an end are done one after the other.
func stepsOf(t *testing.T, l *life, events ...event) string {
	t.Helper()
	var steps []string
	for i := 0; ; {
		e := on(evDone, says(0))
		if i < len(events) {
			e = events[i]
		}
		s := l.next(&e)
		if i < len(events) {
			i++
		} else {
			require.Equal(t, l.doing, s.kind, "nothing is to be done without an event: %v", steps)
		}
		name := s.kind.String()
		if s.kind == stepMark {
			name += " " + s.mark.String()
		}
		if s.kind == stepCall { // the packet leaves, and is answered
			l.leaves()
			if i < len(events) && events[i].verdict.do == doDone && events[i].kind == evJudged {
				l.accepted()
			}
		}
		steps = append(steps, name)
		switch s.kind {
		case stepAck, stepForget, stepWait, stepGiveBack:
			require.Equal(t, len(events), i, "the life ended early: %v", steps)
			return strings.Join(steps, " · ")
		}
	}
}

func TestTheOrderOfWhatIsWritten(t *testing.T) {
	t.Parallel()
	sent := gives(Verdict{do: doDone}, wechat.FaultNone)
	rejected := gives(Verdict{do: doBury, reason: schema.ReasonRejected}, wechat.FaultMessage)
	nobodyKnows := gives(Verdict{do: doRetry, delay: time.Minute}, wechat.FaultUnknown)
	decoded := func(more ...event) []event {
		return append([]event{on(evTurn), on(evIdentified), on(evDecoded)}, more...)
	}
	asked := func(more ...event) []event { return append(decoded(on(evLooked)), more...) }
	begun := func(more ...event) []event { return append(asked(on(evRuled)), more...) }
	const start = "identify · decode · look · mark start · "
	for _, row := range []struct {
		name   string
		life   *life
		events []event
		want   string
	}{
		{
			"it is sent", newLife(), begun(on(evJudged, sent)),
			start + "call · report · mark sent · receipt · ack",
		},
		{
			"the API refuses it", newLife(), begun(on(evJudged, rejected)),
			start + "call · compose · mark dying · letter · index · report · receipt · mark dead · ack",
		},
		{
			"nobody knows, and it may wait no longer here", newLife(),
			begun(on(evJudged, nobodyKnows), on(evDone), on(evRoom, free)),
			start + "call · clear, not waited for · room · later · mark later · ack",
		},
		{
			"nobody knows, and KEFU_LATER is full", newLife(),
			begun(on(evJudged, nobodyKnows), on(evDone), on(evRoom)),
			start + "call · clear, not waited for · room · wait",
		},
		{
			"busy, for a moment", newLife(),
			begun(on(evJudged, gives(Verdict{do: doRetry, delay: time.Second}, wechat.FaultBusy))),
			start + "call · clear, not waited for · wait",
		},
		{
			"it draws a hold", newLife(),
			begun(on(evJudged, gives(Verdict{do: doHold}, wechat.FaultConfig))),
			start + "call · hold · clear · give back",
		},
		{
			"the app is held before the call", newLife(), begun(on(evUnsent)),
			start + "call · clear · give back",
		},
		{
			"its deadline passes before the call", newLife(), begun(on(evUnsent, forDeadline)),
			start + "call · clear · compose · letter · index · report · receipt · mark dead · ack",
		},
		{
			"the worker ends during the call", newLife(), begun(on(evCutOff)),
			start + "call · give back",
		},

		{
			"the app is held while it is decoded", newLife(), decoded(on(evLooked, mustNotCall)),
			"identify · decode · look · give back",
		},
		{
			"a broken header", newLife(),
			[]event{on(evTurn), on(evIdentified, broken), on(evLooked)},
			"identify · look · compose · letter · index · report · receipt · mark dead · ack",
		},
		{
			"a broken packet", newLife(),
			[]event{on(evTurn), on(evIdentified), on(evDecoded, broken), on(evLooked)},
			"identify · decode · look · compose · letter · index · report · receipt · mark dead · ack",
		},
		{
			"it is withdrawn", newLife(), decoded(on(evLooked, withdrawn)),
			"identify · decode · look · report · receipt · mark cancelled · ack",
		},
		{
			"its campaign is cancelled", newLife(), decoded(on(evLooked, withCampaign)),
			"identify · decode · look · report · mark cancelled · ack",
		},
		{
			"its campaign is cancelled, and the app is held", newLife(recalled),
			decoded(on(evLooked, withCampaign, mustNotCall)),
			"identify · decode · look · report · mark cancelled · ack",
		},
		{
			"the order about its campaign ends before it has its slot", newLife(recalled),
			decoded(on(evLooked)),
			"identify · decode · look · wait",
		},
		{
			"the order about its campaign ends while the ledger is asked", newLife(recalled),
			decoded(on(evLooked, says(ledger.Started)), on(evRuled)),
			start + "clear · give back",
		},
		{
			"its time is over", newLife(), decoded(on(evLooked, tooLate)),
			"identify · decode · look · compose · letter · index · report · receipt · mark dead · ack",
		},
		{
			"its time has not come",
			newLife(func(l *life) { l.sendAt = lifeNoon.Add(time.Minute) }),
			asked(on(evRoom, free)),
			"identify · decode · look · room · later · mark later · ack",
		},
		{
			"its time comes in a moment",
			newLife(func(l *life) { l.sendAt = lifeNoon.Add(time.Second / 2) }), asked(),
			"identify · decode · look · wait",
		},
		{
			"it hides others in a hold", newLife(func(l *life) { l.passing = true }),
			decoded(on(evLooked, mustNotCall), on(evRoom, free)),
			"identify · decode · look · room · later · mark later · ack",
		},

		{
			"held while the ledger is asked", newLife(), asked(on(evRuled, mustNotCall)),
			start + "clear · give back",
		},
		{
			"withdrawn while the ledger is asked", newLife(), asked(on(evRuled, withdrawn)),
			start + "clear · report · receipt · mark cancelled · ack",
		},
		{
			"its campaign is cancelled while the ledger is asked", newLife(),
			asked(on(evRuled, withCampaign)),
			start + "clear · report · mark cancelled · ack",
		},
		{
			"its campaign is cancelled while it waits for the rate", newLife(),
			begun(on(evUnsent, withCampaign)),
			start + "call · clear · report · mark cancelled · ack",
		},
		{
			"its campaign is cancelled while a call goes wrong", newLife(),
			begun(on(evJudged, nobodyKnows, withdrawn)),
			start + "call · clear, not waited for · wait",
		},
		{
			"late while the ledger is asked", newLife(), asked(on(evRuled, tooLate)),
			start + "clear · compose · letter · index · report · receipt · mark dead · ack",
		},
		{
			"the worker ends while the ledger is asked", newLife(), asked(on(evStopping)),
			start + "give back",
		},
		{
			"it was sent before", newLife(), asked(on(evRuled, ended(ledger.Sent))),
			start + "report repeat · receipt · ack",
		},
		{
			"it died before", newLife(), asked(on(evRuled, ended(ledger.Dead))),
			start + "report repeat · ack",
		},
		{
			"another body under its id", newLife(), asked(on(evRuled, says(ledger.Reuse))),
			start + "compose · letter · index · report · receipt · mark dead · ack",
		},
		{
			"a repeat of what is queued", newLife(), asked(on(evRuled, repeats(3)), on(evAsked)),
			start + "ask · report repeat · ack",
		},
		{
			"a repeat of what was purged", newLife(),
			asked(
				on(evRuled, repeats(3)), on(evAsked, missing), on(evRuled), on(evLooked),
				on(evRuled), on(evJudged, sent),
			),
			start + "ask · mark gone · look · mark start · call · report · mark sent · receipt · ack",
		},
		{
			"a worker that lives has begun it", newLife(),
			asked(on(evRuled, says(ledger.Started), alive)),
			start + "wait",
		},
		{
			"a worker that is gone had begun it, and the policy is to park", newLife(),
			asked(
				on(evRuled, says(ledger.Started)),
				on(evJudged, takesForUnknown(Verdict{do: doBury, reason: schema.ReasonUnknown})),
			),
			start + "judge · compose · mark dying · letter · index · report · receipt · mark dead · ack",
		},
		{
			"a worker that is gone was burying it", newLife(),
			asked(on(evRuled, doomed(schema.ReasonRejected))),
			start + "compose · mark dying · letter · index · report · receipt · mark dead · ack",
		},
		{
			"somebody else goes on while it is buried", newLife(),
			begun(on(evJudged, rejected), on(evDone), on(evDone, byAnother)),
			start + "call · compose · mark dying · forget",
		},
		{
			"its letter cannot be written", newLife(),
			begun(on(evJudged, rejected), on(evUnwritable)),
			start + "call · compose · wait",
		},

		{
			"handed out again", newLife(redelivered),
			[]event{
				on(evTurn), on(evIdentified), on(evRuled), on(evDecoded), on(evLooked), on(evRuled),
				on(evJudged, sent),
			},
			"identify · mark suspect · decode · look · mark start · call · report · mark sent · receipt · ack",
		},
		{
			"handed out again for the third time without an end", newLife(redelivered),
			[]event{on(evTurn), on(evIdentified), on(evRuled, suspects(maxSuspects)), on(evLooked)},
			"identify · mark suspect · look · compose · letter · index · report · receipt · mark dead · ack",
		},
		{
			"poison, but it was sent", newLife(redelivered),
			[]event{
				on(evTurn), on(evIdentified), on(evRuled, suspects(maxSuspects)),
				on(evLooked, ended(ledger.Sent)),
			},
			"identify · mark suspect · look · report repeat · receipt · ack",
		},

		{
			"a panic before it is known", newLife(), []event{on(evTurn), on(evPanicked)},
			"identify · wait",
		},
		{
			"a panic while it is decoded", newLife(),
			[]event{on(evTurn), on(evIdentified), on(evPanicked), on(evRuled)},
			"identify · decode · mark suspect · wait",
		},
		{
			"the third panic", newLife(func(l *life) { l.panics = 2 }),
			[]event{on(evTurn), on(evIdentified), on(evPanicked), on(evRuled), on(evLooked)},
			"identify · decode · mark suspect · look · compose · letter · index · report · receipt · mark dead · ack",
		},
		{
			"a panic after the packet has left", newLife(),
			begun(
				on(evPanicked),
				on(evJudged, takesForUnknown(Verdict{do: doRetry, delay: time.Second})),
			),
			start + "call · judge · clear, not waited for · wait",
		},
		{
			"a panic after the API has said that it is sent", newLife(),
			begun(on(evJudged, sent), on(evPanicked)),
			start + "call · report · mark sent · receipt · ack",
		},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			require.Equal(t, row.want, stepsOf(t, row.life, row.events...))
		})
	}
}

// world is what the promises are about, as the steps of a life change it.
type world struct {
	posts, unknown    int  // the packet left; nobody knows what came of it
	started           bool // our start stands at the ledger
	ended             bool // the ledger knows an end, or KEFU_LATER has it
	stored            bool // a letter is stored, or KEFU_LATER has it
	claimsNoDuplicate bool // the last receipt
	unwritable        bool // a letter could not be written: a start of unknown outcome stands
}

// TestRandomLivesBreakNoPromise lets chance choose among all that can happen after each
// step, and looks at what the steps have done.
func TestRandomLivesBreakNoPromise(t *testing.T) {
	t.Parallel()
	for seed := range uint64(20_000) {
		walk(t, seed)
	}
}

func walk(t *testing.T, seed uint64) {
	t.Helper()
	r := rand.New(rand.NewPCG(seed, 0))
	maybe := func() bool { return r.IntN(4) == 0 }
	var w world
	var trace []string
	l := newLife(func(l *life) {
		l.redelivered, l.subject.Again, l.passing = maybe(), maybe(), maybe()
		l.recalled = !l.passing && maybe()
	})
	promise := func(ok bool, what string) {
		require.True(t, ok, "seed %d: %s after %s", seed, what, strings.Join(trace, " · "))
	}
	facts := func(e *event) {
		e.mustNotCall, e.withdrawn, e.alive = maybe(), maybe(), maybe()
		e.withCampaign = e.withdrawn && maybe()
		if maybe() {
			e.now = lifeNoon.Add(2 * time.Hour)
		}
		if w.posts == 0 && !w.unwritable && maybe() { // others have had it, too
			e.said.Ruling = ledger.Ruling(1 + r.IntN(6))
			e.said.Kind, e.said.Reason = ledger.Sent, schema.ReasonRejected
			e.said.Carrier = uint64(r.IntN(2))
		}
	}
	e := on(evTurn)
	for range 200 {
		s := l.next(&e)
		trace = append(trace, s.kind.String())
		if s.kind < stepMarkDying && maybe() {
			e = on(evPanicked)
			if s.kind == stepCall && maybe() {
				l.leaves()
				w.posts, w.unknown = w.posts+1, w.unknown+1
			}
			continue
		}
		switch s.kind {
		case stepIdentify:
			l.generation, l.attempt, l.unknown, l.tried = 1, 1, 0, nil
			if e = on(evIdentified); maybe() {
				broken(&e)
			}
		case stepDecode:
			if e = on(evDecoded); maybe() {
				broken(&e)
			}
		case stepLook:
			e = on(evLooked, facts)
			e.said.Attempts, e.said.Unknown = w.posts, w.unknown
		case stepMark:
			if e = on(evRuled, facts); maybe() {
				e.kind = evStopping
				break
			}
			e.said.Attempts, e.said.Unknown = w.posts, w.unknown
			e.said.Suspects = r.IntN(4)
			w.started = w.started || s.mark == ledger.Start && e.said.Ruling == ledger.Go
		case stepAsk:
			e = on(evAsked, func(e *event) { e.missing = maybe() })
		case stepCall:
			promise(w.started, "a call without a start")
			promise(!l.recalled, "a call without a permission")
			promise(w.posts == w.unknown, "a second call after one whose outcome is known")
			e = call(l, &w, r)
		case stepJudge:
			e = on(evJudged, verdictOf(r, wechat.FaultUnknown))
			e.called = false
		case stepRoom:
			e = on(evRoom, func(e *event) { e.free = maybe() })
		case stepClear, stepClearUnwaited:
			w.started, e = false, on(evDone)
		case stepCompose:
			if e = on(evDone); maybe() {
				e.kind, w.unwritable = evUnwritable, true
			}
		case stepReceipt:
			w.claimsNoDuplicate = !l.possibleDuplicate()
			e = on(evDone)
		case stepMarkSent, stepMarkDying, stepMarkDead, stepMarkCancelled, stepMarkLater:
			w.started = w.started && s.kind == stepMarkLater
			w.ended = w.ended || s.kind != stepMarkDying
			e = on(evDone, says(0))
		case stepLetter, stepLater:
			w.stored, e = true, on(evDone)
		case stepAck:
			known := l.end.state == "" || slices.Contains(trace[len(trace)-3:], "report repeat")
			promise(w.ended || known, "an acknowledgement without an end")
			promise(!w.started, "an acknowledgement while a start stands")
			promise(l.end.state != schema.StateDead || w.stored, "a dead intent without a letter")
			twice := l.end.state == schema.StateSent && w.posts > 1 && !known
			promise(!twice || !w.claimsNoDuplicate, "two calls, and the receipt does not say so")
			return
		case stepForget:
			return
		case stepWait, stepGiveBack:
			ending := e.kind == evCutOff || e.kind == evStopping
			promise(!w.started || ending || w.unwritable, "let go of with a start that stands")
			if ending {
				return
			}
			e = on(evTurn)
		default:
			e = on(evDone)
		}
	}
}

// call is a call that ends in any way that it can.
func call(l *life, w *world, r *rand.Rand) event {
	switch r.IntN(5) {
	case 0:
		return on(evUnsent, func(e *event) {
			e.late, e.withdrawn, e.withCampaign = r.IntN(2) == 0, r.IntN(2) == 0, r.IntN(2) == 0
		})
	case 1:
		l.leaves()
		w.posts, w.unknown = w.posts+1, w.unknown+1
		return on(evCutOff)
	case 2:
		l.leaves()
		w.posts, w.unknown = w.posts+1, w.unknown+1
		return on(evJudged, verdictOf(r, wechat.FaultUnknown))
	case 3:
		l.leaves()
		w.posts++
		l.accepted()
		return on(evJudged, gives(Verdict{do: doDone}, wechat.FaultNone))
	default: // refused: not sent
		l.leaves()
		return on(evJudged, verdictOf(r, wechat.FaultBusy))
	}
}

func verdictOf(r *rand.Rand, fault wechat.Fault) func(*event) {
	v := Verdict{do: doRetry, delay: time.Duration(r.IntN(3)) * time.Second}
	switch r.IntN(4) {
	case 0:
		v = Verdict{do: doBury, reason: schema.ReasonUnknown}
	case 1:
		if fault != wechat.FaultUnknown {
			v = Verdict{do: do(int(doRetryUncounted) + 2*r.IntN(2)), delay: time.Second}
		}
	}
	return gives(v, fault)
}
