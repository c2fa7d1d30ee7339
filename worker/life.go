package worker

import (
	"time"

	"github.com/kefuhq/kefu/internal/ledger"
	"github.com/kefuhq/kefu/internal/wechat"
	"github.com/kefuhq/kefu/schema"
)

// This file is what kefu promises: which mark, message and call follows which,
// on every way that an intent can take. next is a function of a life and an event;
// it has no clock, no lock and no I/O. Its test is the specification. steps.go has
// the types.
//
//	event     what follows
//	turn      identify → (mark suspect →) decode → look           it has a slot
//	looked    an end, put off, given back, or mark start          before the ledger has the start
//	ruled     call, an end, or left to the worker that has it     the ledger's answer to the start
//	judged    an end, tried again, or the app is held             the verdict on the call
//	panicked  by stage: no more and no less than was learned
//
// How each end is written. A crash between two steps is followed by the same end,
// never by a second call. (What is due and names no queue dies in dispatcher.go, in
// the same order.)
//
//	sent            report · mark sent · receipt · ack
//	sent before     report repeat · receipt · ack
//	dead            compose · mark dying · letter · index · report · receipt · mark dead · ack
//	dead, uncalled  compose · letter · index · report · receipt · mark dead · ack
//	cancelled       report · receipt · mark cancelled · ack
//	with campaign   report · mark cancelled · ack                 one receipt tells of all
//	tried again     clear · wait                                  in the process, for a moment
//	put off         clear · room · later · mark later · ack       in KEFU_LATER
//	held            hold · clear · give back
//	given back      clear · give back
//
// clear takes a start back. It comes first, too, where a start stands and no call
// was made: for a withdrawal, a deadline, a bad packet.
var (
	endSent      = []stepKind{stepReport, stepMarkSent, stepReceipt, stepAck}
	endSentAgain = []stepKind{stepMarkSent, stepReceipt, stepAck} // the report may have panicked
	endRepeat    = []stepKind{stepReportRepeat, stepReceipt, stepAck}
	endKnown     = []stepKind{stepReportRepeat, stepAck}
	endDead      = []stepKind{
		stepCompose, stepMarkDying,
		stepLetter, stepIndex, stepReport, stepReceipt, stepMarkDead, stepAck,
	}
	endUncalled = []stepKind{
		stepCompose, stepLetter, stepIndex, stepReport, stepReceipt, stepMarkDead, stepAck,
	}
	endCancelled = []stepKind{stepReport, stepReceipt, stepMarkCancelled, stepAck}
	endRecalled  = []stepKind{stepReport, stepMarkCancelled, stepAck}
	endRetried   = []stepKind{stepClearUnwaited, stepWait}
	endPutOff    = []stepKind{stepClearUnwaited, stepRoom} // goes on with endLater
	endLater     = []stepKind{stepLater, stepMarkLater, stepAck}
	endHeld      = []stepKind{stepHold, stepClear, stepGiveBack}
	endGivenBack = []stepKind{stepClear, stepGiveBack}

	// After a start that was followed by no call.
	endClearedUncalled = []stepKind{
		stepClear, stepCompose,
		stepLetter, stepIndex, stepReport, stepReceipt, stepMarkDead, stepAck,
	}
	endClearedCancelled = []stepKind{
		stepClear, stepReport, stepReceipt, stepMarkCancelled, stepAck,
	}

	endClearedRecalled = []stepKind{stepClear, stepReport, stepMarkCancelled, stepAck}

	onlyClear = []stepKind{stepClear} // of a panic before the call
)

const (
	// maxSuspects is how often handling an intent may fail, by a panic or because it
	// was handed out again without an end, before it is taken for what kills the
	// worker.
	maxSuspects = 3

	// minLaterDelay is the shortest time that KEFU_LATER is worth: it is a 250 ms
	// clock, and a round trip through it costs more than to wait here.
	minLaterDelay = time.Second

	// startedElsewhereDelay is how long to leave an intent alone that a living worker
	// has started: its call ends within 10 s.
	startedElsewhereDelay = time.Second

	// maxLeftAlone is how many times a burial is left alone.
	maxLeftAlone = 10

	// refusedDelay is how long to wait before a letter or a retry that the broker
	// refused (its stream is full or missing) is offered again.
	refusedDelay = 5 * time.Second

	// passedDelay is for how long an intent is put off that hides others in a hold.
	// After it the intent is the last of its queue.
	passedDelay = time.Minute
)

// next takes the life on by one event, and says what is to be done.
func (l *life) next(e *event) step {
	switch e.kind {
	case evTurn:
		l.reached, l.recovering = false, false
		if l.decoded {
			return step{kind: stepLook}
		}
		return step{kind: stepIdentify}
	case evIdentified:
		l.identified, l.bad = true, e.bad
		if l.redelivered { // it may be what killed the worker
			l.suspected = true
			return l.write(ledger.Suspect)
		}
		return l.readOn()
	case evDecoded:
		l.decoded = true
		if l.bad == nil {
			l.bad = e.bad
		}
		return step{kind: stepLook}
	case evLooked:
		if l.poison != "" {
			return l.poisoned(e)
		}
		return l.looked(e)
	case evRuled:
		return l.ruled(e)
	case evAsked:
		if !e.missing {
			return l.known(l.repeats)
		}
		s := l.write(ledger.Gone)
		s.seq = l.repeats.Carrier
		return s
	case evJudged:
		return l.judged(e)
	case evUnsent: // a request that was refused for its token has not been acted on
		l.stage, l.called = stageStarted, false
		switch {
		case e.withdrawn:
			return l.cancel(e)
		case e.late:
			return l.expire("its deadline passed before the call")
		}
		return l.giveBack()
	case evCutOff: // the start stands alone: its next worker takes the outcome for unknown
		return step{kind: stepGiveBack}
	case evRoom:
		return l.later(e)
	case evDone:
		return l.done(e)
	case evUnwritable: // a retry would not mend it
		return l.wait(time.Minute, true)
	case evStopping:
		return step{kind: stepGiveBack}
	default: // evPanicked
		return l.panicked(e)
	}
}

// write has a mark written on which it depends what comes next.
func (l *life) write(mark ledger.Kind) step {
	l.awaits = mark
	return step{kind: stepMark, mark: mark}
}

// ruled goes by what the ledger says of the mark that was waited for.
func (l *life) ruled(e *event) step {
	switch l.awaits {
	case ledger.Suspect:
		return l.ruledSuspect(e)
	case ledger.Gone: // whoever comes first takes the place of the message that is missing
		return step{kind: stepLook}
	}
	return l.ruledStart(e)
}

// ruledSuspect goes by the ledger's count of suspect marks.
func (l *life) ruledSuspect(e *event) step {
	if l.recovering {
		l.recovering = false
		if max(e.said.Suspects, l.panics) >= maxSuspects {
			return l.poisonedBy("handling it failed three times")
		}
		return l.wait(time.Second, true)
	}
	if e.said.Suspects >= maxSuspects {
		return l.poisonedBy("the worker died handling it three times")
	}
	return l.readOn()
}

// readOn reads the packet of an intent that is known to be harmless, or was marked.
func (l *life) readOn() step {
	if l.bad != nil {
		l.decoded = true
		return step{kind: stepLook}
	}
	return step{kind: stepDecode}
}

// looked decides what can be decided before the ledger has a start.
func (l *life) looked(e *event) step {
	if e.mustNotCall && !l.passing && !l.recalled {
		return step{kind: stepGiveBack}
	}
	l.adoptGeneration(e.said)
	if r := e.said.Ruling; l.bad != nil && (r == ledger.Repeat || r == ledger.Reuse) {
		l.idReused = !l.subject.Again
		// Whatever became of the first message with this id.
		return l.die(schema.ReasonInvalid, l.bad.Error(), nil)
	}
	if e.said.Ruling != ledger.Go {
		// No deadline, withdrawal or send-at may overrule what the ledger remembers: this
		// message was begun or has ended, or its id belongs to another one.
		if l.passing { // that is for a worker that may send
			return l.wait(passedDelay, false)
		}
		return l.write(ledger.Start)
	}
	l.adoptCosts(e.said)
	switch {
	case l.bad != nil:
		return l.die(schema.ReasonInvalid, l.bad.Error(), nil)
	case e.withdrawn:
		return l.cancel(e)
	case l.recalled: // its campaign goes on after all, and it has no permission
		return l.wait(minLaterDelay, false)
	case !e.now.Before(l.deadline):
		return l.expire("its deadline passed before it could be sent")
	}
	// The broker stored it by its own clock, which KEFU_LATER goes by as well. Where
	// ours is behind, what has become due would wait there again and again.
	if wait := l.sendAt.Sub(latest(e.now, l.stored)); wait > 0 {
		switch {
		case !l.sendAt.Before(l.deadline):
			return l.expire("its send-at is not before its deadline")
		case wait < minLaterDelay:
			return l.wait(wait, false)
		}
		return l.putOff(l.sendAt)
	}
	if l.passing { // it hides others: that costs it no attempt, and not all of its time
		return l.putOff(e.now.Add(min(passedDelay, l.deadline.Sub(e.now)/2)))
	}
	return l.write(ledger.Start)
}

// ruledStart goes by the ledger's answer to a start.
func (l *life) ruledStart(e *event) step {
	l.generation, l.lastEnd = e.said.Generation, e.said.Before
	switch e.said.Ruling {
	case ledger.Ended, ledger.Repeat:
		if e.said.Ruling == ledger.Repeat && e.said.Carrier != 0 && !l.asked {
			l.asked, l.repeats = true, e.said
			return step{kind: stepAsk, seq: e.said.Carrier}
		}
		return l.known(e.said)
	case ledger.Reuse:
		l.idReused = true
		return l.die(schema.ReasonIDReuse,
			"its id belongs to an earlier intent with another body", nil)
	case ledger.Started, ledger.Doomed:
		return l.abandoned(e)
	}
	l.adoptCosts(e.said)
	l.stage, l.called = stageStarted, false
	l.before = cost{l.attempt, l.unknown, len(l.tried)}
	// The wait for the ledger may have been long (a broker restart).
	switch {
	case e.mustNotCall, l.recalled && !e.withdrawn:
		return l.giveBack()
	case l.bad != nil:
		return l.die(schema.ReasonInvalid, l.bad.Error(), nil)
	case e.withdrawn:
		return l.cancel(e)
	case !e.now.Before(l.deadline):
		return l.expire("its deadline passed before the call")
	}
	return step{kind: stepCall}
}

// adoptGeneration takes over the id's generation, which a producer's message does not
// know.
func (l *life) adoptGeneration(s ledger.Standing) {
	l.lastEnd = s.Before
	if !l.subject.Again {
		l.generation = max(s.Generation, 1)
	}
}

// adoptCosts takes over what the ledger knows to have been spent: a header remembers
// the last tries only, and a producer's message none.
func (l *life) adoptCosts(s ledger.Standing) {
	l.attempt, l.unknown = max(l.attempt, s.Attempts+1), max(l.unknown, s.Unknown)
}

// leaves notes that the packet is about to leave.
func (l *life) leaves() { l.everCalled, l.stage = true, stageCalling }

// accepted notes that the API has said that it is sent.
func (l *life) accepted() { l.stage = stageSent }

// judged carries out a verdict.
func (l *life) judged(e *event) step {
	if e.called {
		l.everCalled, l.called = true, true
		l.tried = append(l.tried, e.attempt)
	}
	if e.outcome.fault == wechat.FaultUnknown {
		l.unknown++
	}
	switch v := e.verdict; v.do {
	case doDone:
		l.attempt++
		l.reached = true
		l.end = ending{steps: endSent, state: schema.StateSent}
		return l.onward()
	case doBury:
		l.attempt++
		l.reached = true
		return l.die(v.reason, v.detail, e.answer)
	case doRetry:
		l.attempt++
		l.reached = true
		waited := l.blockedUntil(e.now, v.delay)
		return l.retry(e, v.delay, v.delay < minLaterDelay || l.live() && waited <= e.holdBack)
	case doRetryUncounted: // there may be many such moments: they fill no lane of bulk
		l.uncountAttempt()
		most := minLaterDelay
		if l.live() {
			most = max(most, e.holdBack)
		}
		if l.blockedUntil(e.now, v.delay) <= most {
			return l.retry(e, v.delay, true)
		}
		return l.retry(e, max(v.delay, minLaterDelay), false)
	default: // doHold
		l.uncountAttempt()
		l.end = ending{steps: endHeld}
		return l.onward()
	}
}

// blockedUntil is for how long the recipient's later intents will have waited for
// this one at the end of a delay.
func (l *life) blockedUntil(now time.Time, delay time.Duration) time.Duration {
	if l.retrying.IsZero() {
		l.retrying = now
	}
	return now.Add(delay).Sub(l.retrying)
}

// retry puts the next attempt off: here, or in KEFU_LATER. What is withdrawn has none, and ends at
// once.
func (l *life) retry(e *event, delay time.Duration, here bool) step {
	if e.withdrawn {
		delay, here = 0, true
	}
	if here {
		l.end = ending{steps: endRetried, delay: delay, blocksRecipient: true}
	} else {
		l.end = ending{steps: endPutOff, until: e.now.Add(delay)}
	}
	return l.onward()
}

// putOff hands the intent to KEFU_LATER until a time.
func (l *life) putOff(until time.Time) step {
	l.end = ending{until: until}
	return step{kind: stepRoom}
}

// later goes on when it is known whether KEFU_LATER has room.
func (l *life) later(e *event) step {
	if e.free {
		l.end.steps = endLater
		return l.onward()
	}
	wait := l.end.until.Sub(e.now)
	if l.end.until.Equal(l.sendAt) { // may be hours, and there may be room in a moment
		wait = min(wait, refusedDelay)
	}
	return l.wait(wait, false)
}

func (l *life) wait(delay time.Duration, blocksRecipient bool) step {
	return step{kind: stepWait, delay: delay, blocksRecipient: blocksRecipient}
}

// giveBack takes a start back and gives the intent back. The ledger must know
// before the broker does, or the redelivery looks like a crash.
func (l *life) giveBack() step {
	l.uncountAttempt()
	l.end = ending{steps: endGivenBack}
	return l.onward()
}

// uncountAttempt takes the last call out of what was tried: it spent no attempt.
func (l *life) uncountAttempt() {
	if n := len(l.tried); n > 0 && l.tried[n-1].Number == l.attempt {
		l.tried = l.tried[:n-1]
	}
}

// die puts the intent into the dead letters.
func (l *life) die(reason schema.Reason, detail string, answer *wechat.Error) step {
	steps := endUncalled // the same verdict would be reached again
	switch {
	case l.stage == stageStarted && !l.called:
		steps = endClearedUncalled
	case l.everCalled:
		steps = endDead
	}
	l.end = ending{
		steps: steps, state: schema.StateDead, reason: reason, detail: detail, answer: answer,
	}
	return l.onward()
}

// expire buries an intent whose time is over. One that may have been sent by an
// attempt of unknown outcome is not called expired.
func (l *life) expire(detail string) step {
	if l.unknown > 0 {
		return l.die(schema.ReasonUnknown, detail+unknownBefore, nil)
	}
	return l.die(schema.ReasonExpired, detail, nil)
}

// unknownBefore is added to why an intent is dead that may have been sent.
const unknownBefore = "; an attempt before is of unknown outcome"

// cancel ends a withdrawn intent.
func (l *life) cancel(e *event) step {
	steps, cleared := endCancelled, endClearedCancelled
	if e.withCampaign {
		steps, cleared = endRecalled, endClearedRecalled
	}
	if l.stage == stageStarted {
		steps = cleared
	}
	l.end = ending{steps: steps, state: schema.StateCancelled}
	return l.onward()
}

// known acknowledges what was dealt with before: the answer to an
// acknowledgement that was lost, or a producer's repeat.
func (l *life) known(s ledger.Standing) step {
	l.end = ending{steps: endKnown}
	if s.Kind == ledger.Sent {
		// A producer may wait for the receipt of its repeat, or the worker may have
		// died between the ledger and the receipt. If that is stored already and
		// young, its id makes this one a duplicate.
		l.attempt, l.unknown = s.Attempts+1, s.Unknown
		l.end = ending{steps: endRepeat, state: schema.StateSent}
	}
	return l.onward()
}

// abandoned deals with an intent whose call, or burial, was begun by another
// worker and whose end nobody wrote.
func (l *life) abandoned(e *event) step {
	if l.leftToAnother(e) {
		return l.wait(startedElsewhereDelay, true)
	}
	if e.said.Ruling == ledger.Doomed {
		return l.doomed(e.said)
	}
	l.takeOver(e)
	return step{kind: stepJudge, outcome: outcome{
		fault:  wechat.FaultUnknown,
		detail: "the worker that had begun to send it is gone",
	}}
}

// leftToAnother says whether an intent is left alone for a moment, because the
// worker that has begun its call, or its burial, may live.
func (l *life) leftToAnother(e *event) bool {
	// A start of ours stands alone only when the end of a call was not written: of
	// this sequence only this delivery is in hand here. The message whose place this
	// one takes may be in hand as well.
	switch {
	case e.ours && !e.said.Inherited, !e.ours && !e.alive:
		return false
	case e.ours && e.said.Carrier != l.seq && e.carrierOurs:
		return true
	}
	// A worker that lives on may have let go of a burial. If it has not, the broker
	// drops the second letter as a duplicate. A call of ours is over by then.
	l.leftAlone++
	return !e.ours && e.said.Ruling != ledger.Doomed || l.leftAlone < maxLeftAlone
}

// doomed finishes a burial that was begun by a worker that is gone.
func (l *life) doomed(s ledger.Standing) step {
	l.everCalled = true
	l.attempt, l.unknown = s.Attempts+1, max(l.unknown, s.Unknown)
	return l.die(s.Reason,
		"the worker that was burying it is gone, and with it what the API had answered", nil)
}

// takeOver makes the last attempt of a worker that is gone one of ours, of
// unknown outcome.
func (l *life) takeOver(e *event) {
	l.everCalled = true
	l.attempt, l.unknown = max(e.said.Attempts, 1), max(l.unknown, e.said.Unknown)
	l.addUnknown(e, e.said.Worker)
}

// addUnknown adds an attempt of unknown outcome to what was tried.
func (l *life) addUnknown(e *event, worker string) {
	l.tried = append(l.tried, schema.Attempt{
		Number: l.attempt, At: e.now.UTC(), Outcome: outcomeUnknown, Worker: worker,
	})
}

// poisonedBy has an intent buried that must not be handled any more, unless the
// ledger says that it has ended, or is in the hands of a worker that lives.
func (l *life) poisonedBy(what string) step {
	l.poison = what
	return step{kind: stepLook}
}

func (l *life) poisoned(e *event) step {
	detail := l.poison
	l.poison = ""
	l.adoptGeneration(e.said)
	switch e.said.Ruling {
	case ledger.Ended, ledger.Repeat:
		return l.known(e.said)
	case ledger.Started, ledger.Doomed:
		if l.leftToAnother(e) {
			l.suspected = false // its mark stays
			return l.wait(startedElsewhereDelay, true)
		}
		if e.said.Ruling == ledger.Doomed {
			return l.doomed(e.said)
		}
		l.takeOver(e)
		l.attempt, l.unknown = l.attempt+1, l.unknown+1
	default:
		l.adoptCosts(e.said)
	}
	if l.unknown > 0 {
		detail += unknownBefore
	}
	return l.die(schema.ReasonPoison, detail, nil)
}

// panicked ends what a panic has interrupted, by how far it had come.
func (l *life) panicked(e *event) step {
	l.panics++
	l.reached, l.recovering, l.poison = false, false, ""
	if l.stage != stageIdle { // what came after the call may have changed these
		l.attempt, l.unknown = l.before.attempt, l.before.unknown
		l.tried = l.tried[:min(len(l.tried), l.before.tried)]
	}
	switch l.stage {
	case stageSent:
		l.attempt++
		l.end = ending{steps: endSentAgain, state: schema.StateSent}
		return l.onward()
	case stageCalling: // it may have been sent, and its answer is lost
		l.addUnknown(e, l.worker)
		return step{kind: stepJudge, outcome: outcome{
			fault: wechat.FaultUnknown, detail: "a panic during the call, or after it",
		}}
	case stageStarted:
		l.recovering = true
		l.end = ending{steps: onlyClear}
		return l.onward()
	}
	return l.countPanic()
}

// countPanic counts a panic in the ledger: an intent that panics again and again is
// poison.
func (l *life) countPanic() step {
	if !l.identified { // what makes identify panic would do it again
		return l.wait(time.Minute, false)
	}
	l.recovering = true
	return l.write(ledger.Suspect)
}

// onward is the next step of the end.
func (l *life) onward() step {
	l.doing, l.end.steps = l.end.steps[0], l.end.steps[1:]
	switch l.doing {
	case stepMarkSent, stepMarkDying:
		l.stage = stageIdle
	case stepWait:
		return l.wait(l.end.delay, l.end.blocksRecipient)
	}
	return step{kind: l.doing}
}

// done goes on after a step of the end.
func (l *life) done(e *event) step {
	switch l.doing {
	case stepClear, stepClearUnwaited:
		l.stage = stageIdle
		if l.recovering {
			return l.countPanic()
		}
		if l.end.state != "" { // no call was made: the same verdict would be reached again
			l.everCalled = false
		}
	case stepMarkSent:
		if e.said.Kind != 0 && !e.ours {
			// This worker was taken for dead, and another has begun to send it as well.
			l.unknown = max(l.unknown, e.said.Unknown, 1)
		}
	case stepMarkDying:
		if e.said.Overtaken {
			// This worker was taken for dead, and another has begun to send it: that one
			// writes the end, and acknowledges.
			return step{kind: stepForget}
		}
	}
	return l.onward()
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
