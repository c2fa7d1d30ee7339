package worker

import (
	"time"

	"github.com/kefuhq/kefu/internal/ledger"
	"github.com/kefuhq/kefu/internal/wechat"
	"github.com/kefuhq/kefu/schema"
)

// This file is what kefu promises: which mark, message and call follows which,
// on every way that an intent can take. next is a function of a life and an event;
// it has no clock, no lock and no I/O. Its test is the specification.
//
//	event     what follows
//	turn      identify → (mark suspect →) decode → look           it has a slot
//	looked    an end, put off, given back, or mark start          known without the ledger's word
//	ruled     call, an end, or left to the worker that has it     the ledger's word on the start
//	judged    an end, tried again, or the app is held             the verdict on the call
//	panicked  by stage: no more and no less than was learned
//
// How each end is written. A crash between two steps is followed by the same end,
// never by a second call. (What is due and names no queue dies in dispatcher.go, in
// the same order.)
//
//	sent            tell · mark sent · receipt · ack
//	sent before     tell repeat · receipt · ack
//	dead            compose · mark dying · letter · index · tell · receipt · mark dead · ack
//	dead, uncalled  compose · letter · index · tell · receipt · mark dead · ack
//	cancelled       tell · receipt · mark cancelled · ack
//	tried again     clear · wait                                  in the process, for a moment
//	put off         clear · room · later · mark later · ack       in KEFU_LATER
//	held            hold · clear · give back
//	given back      clear · give back
//
// clear takes a start back. It comes first, too, where a start stands and no call
// was made: for a withdrawal, a deadline, a bad packet.

const (
	// maxSuspects is how often handling an intent may fail, by a panic or because it
	// was handed out again without an end, before it is taken for what kills the
	// worker.
	maxSuspects = 3

	// minLaterDelay is the shortest time that KEFU_LATER is worth: it is a 250 ms clock,
	// and a round trip through it costs more than to wait here.
	minLaterDelay = time.Second

	// startedElsewhereDelay is how long to leave an intent alone that a living worker has
	// started: its call ends within 10 s.
	startedElsewhereDelay = time.Second

	// maxLeftAlone is how many times a burial is left alone.
	maxLeftAlone = 10

	// refusedDelay is how long to wait before a letter or a retry that the broker
	// refused (its stream is full or missing) is offered again.
	refusedDelay = 5 * time.Second

	// passedDelay is for how long an intent is put off that hides others in a hold:
	// then it is behind all of them.
	passedDelay = time.Minute
)

// stage is how far an intent's own attempt has come. It says what the ledger
// must be told when something unforeseen ends the attempt.
type stage uint8

const (
	stageIdle    stage = iota // no start of ours stands, or its end is being written
	stageStarted              // our start stands; the packet has not left
	stageCalling              // the packet may have left; what came of it is not written
	stageSent                 // the API has said that it is sent; that is not written
)

// life is one intent's way from its delivery to its acknowledgement.
type life struct {
	// The message that brings the intent; set once.
	live        bool // its recipient's intents go in order
	viaAgain    bool // it came by kefu.again
	seq         uint64
	redelivered bool // it is, or may have been, handed out before
	stored      time.Time
	worker      string // this worker's name

	// Who the intent is; set by identify.
	identified bool
	queueMade  time.Time // when the stream was made that seq counts in
	id         string
	key        ledger.Key
	body       uint32
	campaign   ledger.Campaign
	sendAt     time.Time
	deadline   time.Time
	bad        error // why it cannot be sent, as a sentence for the letter

	// What it has cost so far.
	generation int
	lastEnd    ledger.End // how the id's life before this one ended
	attempt    int        // number of the next attempt
	unknown    int        // attempts of unknown outcome
	tried      []schema.Attempt

	// Where it stands.
	stage      stage
	decoded    bool
	begun      bool      // a call was made, by us or by somebody before us
	called     bool      // in this attempt, by us
	suspected  bool      // its suspect mark must be taken back when it is let go of in good health
	passing    bool      // it has its slot to be put off, and nothing else
	asked      bool      // whether the message that it repeats is still there
	stranger   bool      // its id belongs to another message
	reached    bool      // the API was reached in this turn, and gave no reason to hold the app
	leftAlone  int       // how often it was left to another worker
	panics     int       // while it was handled here
	recovering bool      // what a panic left behind is being cleared up
	poison     string    // why it must not be handled any more
	retrying   time.Time // since when it holds back its recipient

	before  cost            // what it had cost before the attempt that stage speaks of
	awaits  ledger.Kind     // the mark that was written last and is waited for
	repeats ledger.Standing // what the ledger said of the message that this one repeats
	end     ending
	doing   stepKind // of the end: the last one that was ordered
}

// cost is what an intent had spent at some point.
type cost struct{ attempt, unknown, tried int }

// ending is the end that is being written.
type ending struct {
	steps           []stepKind // still to come
	state           schema.State
	reason          schema.Reason
	detail          string
	answer          *wechat.Error // that it died of
	until           time.Time     // later: its time
	delay           time.Duration // wait
	blocksRecipient bool          // wait: the recipient's later intents wait as well
}

// stepKind is what is to be done next.
type stepKind uint8

const (
	stepIdentify stepKind = iota + 1 // → identified
	stepDecode                       // → decoded
	stepLook                         // → looked
	stepMark                         // write the mark and wait for the ledger's word → ruled
	stepAsk                          // whether the broker still has the message with this sequence → asked
	stepCall                         // → judged, unsent or cutOff
	stepJudge                        // an outcome that no call of ours had → judged
	stepRoom                         // whether KEFU_LATER has room → room

	// The steps of an end. Each is followed by done.
	stepCompose               // the letter, in memory → done, or unwritable
	stepTakeStartBack         // take the start back, and wait until that is known
	stepTakeStartBackUnwaited // the same; who tries again here need not wait
	stepHold                  // the app, by the verdict
	stepTell                  // log and metrics
	stepTellRepeat            // likewise, of what was dealt with before
	stepMarkDying
	stepMarkSent
	stepMarkDead
	stepMarkCancelled
	stepMarkLater
	stepLetter
	stepIndex // where the letter lies
	stepReceipt
	stepLater // hand it to KEFU_LATER

	// What ends a turn in the slot, or the life.
	stepAck      // acknowledge, and forget
	stepForget   // somebody else has gone on with it, and acknowledges
	stepWait     // in the process
	stepGiveBack // when the app gives back what it has
)

var stepNames = [...]string{
	stepIdentify: "identify", stepDecode: "decode", stepLook: "look", stepMark: "mark", stepAsk: "ask", stepCall: "call",
	stepJudge: "judge", stepRoom: "room", stepCompose: "compose", stepTakeStartBack: "clear", stepTakeStartBackUnwaited: "clear, not waited for",
	stepHold: "hold", stepTell: "tell", stepTellRepeat: "tell repeat", stepMarkDying: "mark dying", stepMarkSent: "mark sent",
	stepMarkDead: "mark dead", stepMarkCancelled: "mark cancelled", stepMarkLater: "mark later", stepLetter: "letter",
	stepIndex: "index", stepReceipt: "receipt", stepLater: "later", stepAck: "ack", stepForget: "forget", stepWait: "wait",
	stepGiveBack: "give back",
}

func (k stepKind) String() string { return stepNames[k] }

// step is one thing to be done, and what it needs besides the life.
type step struct {
	kind            stepKind
	mark            ledger.Kind // stepMark
	seq             uint64      // stepAsk, and stepMark of another message
	outcome         outcome     // stepJudge
	delay           time.Duration
	blocksRecipient bool
}

// The steps of each end, in the order in which they are carried out.
var (
	endsSent      = []stepKind{stepTell, stepMarkSent, stepReceipt, stepAck}
	endsSentAgain = []stepKind{stepMarkSent, stepReceipt, stepAck} // telling it may be what went wrong
	endsRepeat    = []stepKind{stepTellRepeat, stepReceipt, stepAck}
	endsKnown     = []stepKind{stepTellRepeat, stepAck}
	endsDead      = []stepKind{stepCompose, stepMarkDying, stepLetter, stepIndex, stepTell, stepReceipt, stepMarkDead, stepAck}
	endsUncalled  = []stepKind{stepCompose, stepLetter, stepIndex, stepTell, stepReceipt, stepMarkDead, stepAck}
	endsCancelled = []stepKind{stepTell, stepReceipt, stepMarkCancelled, stepAck}
	endsLater     = []stepKind{stepLater, stepMarkLater, stepAck}
	endsHeld      = []stepKind{stepHold, stepTakeStartBack, stepGiveBack}
	endsGivenBack = []stepKind{stepTakeStartBack, stepGiveBack}
	endsRetried   = []stepKind{stepTakeStartBackUnwaited, stepWait}
	endsPutOff    = []stepKind{stepTakeStartBackUnwaited, stepRoom}

	onlyClear = []stepKind{stepTakeStartBack}

	// After a start that was followed by no call.
	endsClearedUncalled  = append([]stepKind{stepTakeStartBack}, endsUncalled...)
	endsClearedCancelled = append([]stepKind{stepTakeStartBack}, endsCancelled...)
)

// eventKind is what has happened.
type eventKind uint8

const (
	evTurn       eventKind = iota + 1 // it has a slot
	evIdentified                      // bad says why it cannot be sent
	evDecoded                         // likewise
	evLooked                          // facts
	evRuled                           // facts; the ledger's word on a mark
	evAsked                           // gone says whether the broker has the message no more
	evJudged                          // verdict on outcome
	evUnsent                          // the packet did not leave; late: for its deadline
	evCutOff                          // the call was cut off by the end of the worker, and nobody knows
	evRoom                            // free says whether there is any
	evDone                            // the last step was carried out; said is the ledger's word, of a mark
	evUnwritable                      // the letter cannot be written as JSON
	evStopping                        // the last step was cut short: the worker is ending
	evPanicked
)

// event is what has happened, and what was known at that time.
type event struct {
	kind eventKind
	now  time.Time
	facts

	bad      error
	late     bool
	free     bool
	gone     bool
	verdict  Verdict
	outcome  outcome
	called   bool // a call was made: attempt
	attempt  schema.Attempt
	answer   *wechat.Error
	holdBack time.Duration // how long a retry may hold back the recipient's later intents
}

// facts are what is known of an intent besides itself.
type facts struct {
	said        ledger.Standing
	mustNotCall bool // no call may be started now: the app is held, or the shard is not ours
	withdrawn   bool
	alive       bool // said.Worker is another one that lives
	ours        bool // said.Worker is this one
	carrierOurs bool // said.Carrier is in hand here
}

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
		if !e.gone {
			return l.known(l.repeats)
		}
		s := l.write(ledger.Gone)
		s.seq = l.repeats.Carrier
		return s
	case evJudged:
		return l.judged(e)
	case evUnsent:
		l.stage, l.called = stageStarted, false // what was refused for its token has not been acted on
		if e.late {
			return l.expire("its deadline passed before the call")
		}
		return l.giveBack()
	case evCutOff: // the start stands alone, which says just that to whoever gets it next
		return step{kind: stepGiveBack}
	case evRoom:
		return l.later(e)
	case evDone:
		return l.done(e)
	case evUnwritable: // nothing a retry would mend
		return l.wait(time.Minute, true)
	case evStopping:
		return step{kind: stepGiveBack}
	default: // evPanicked
		return l.panicked(e)
	}
}

// readOn reads the packet of what is known to be harmless, or was marked.
func (l *life) readOn() step {
	if l.bad != nil {
		l.decoded = true
		return step{kind: stepLook}
	}
	return step{kind: stepDecode}
}

// looked decides what can be decided without the ledger's word on a start.
func (l *life) looked(e *event) step {
	if e.mustNotCall && !l.passing {
		return step{kind: stepGiveBack}
	}
	l.adoptGeneration(e.said)
	if r := e.said.Ruling; l.bad != nil && (r == ledger.Repeat || r == ledger.Reuse) {
		l.stranger = !l.viaAgain
		return l.die(schema.ReasonInvalid, l.bad.Error(), nil) // whatever became of the id's first
	}
	if e.said.Ruling != ledger.Go {
		// What it remembers no deadline, withdrawal or send-at may overrule: this
		// message was begun or has ended, or its id belongs to another one.
		if l.passing { // that is for whoever may send
			return l.wait(passedDelay, false)
		}
		return l.write(ledger.Start)
	}
	l.adoptCosts(e.said)
	switch {
	case l.bad != nil:
		return l.die(schema.ReasonInvalid, l.bad.Error(), nil)
	case e.withdrawn:
		return l.cancel()
	case !e.now.Before(l.deadline):
		return l.expire("its deadline passed before it could be sent")
	}
	// It was stored by the broker's clock, by which KEFU_LATER goes: where ours is
	// behind, what has become due would wait there again and again.
	if wait := l.sendAt.Sub(latest(e.now, l.stored)); wait > 0 {
		switch {
		case !l.sendAt.Before(l.deadline):
			return l.expire("its send-at is not before its deadline")
		case wait < minLaterDelay:
			return l.wait(wait, false)
		}
		return l.putOff(l.sendAt)
	}
	if l.passing { // it hides others: that costs nothing of what it may be tried, and not its time either
		return l.putOff(e.now.Add(min(passedDelay, l.deadline.Sub(e.now)/2)))
	}
	return l.write(ledger.Start)
}

// ruled goes by the ledger's word on a mark that was waited for.
func (l *life) ruled(e *event) step {
	switch {
	case l.awaits == ledger.Suspect && l.recovering:
		l.recovering = false
		if max(e.said.Suspects, l.panics) >= maxSuspects {
			return l.poisonedBy("handling it failed three times")
		}
		return l.wait(time.Second, true)
	case l.awaits == ledger.Suspect:
		if e.said.Suspects >= maxSuspects {
			return l.poisonedBy("the worker died handling it three times")
		}
		return l.readOn()
	case l.awaits == ledger.Gone: // whoever comes first takes the place of what is gone
		return step{kind: stepLook}
	}
	l.generation, l.lastEnd = e.said.Generation, e.said.Before
	switch e.said.Ruling {
	case ledger.Ended, ledger.Repeat:
		if e.said.Ruling == ledger.Repeat && e.said.Carrier != 0 && !l.asked {
			l.asked, l.repeats = true, e.said
			return step{kind: stepAsk, seq: e.said.Carrier}
		}
		return l.known(e.said)
	case ledger.Reuse:
		l.stranger = true
		return l.die(schema.ReasonIDReuse, "its id belongs to an earlier intent with another body", nil)
	case ledger.Started, ledger.Doomed:
		return l.abandoned(e)
	}
	l.adoptCosts(e.said)
	l.stage, l.called, l.before = stageStarted, false, cost{l.attempt, l.unknown, len(l.tried)}
	// The wait for the ledger may have been long (a broker restart).
	switch {
	case e.mustNotCall:
		return l.giveBack()
	case l.bad != nil:
		return l.die(schema.ReasonInvalid, l.bad.Error(), nil)
	case e.withdrawn:
		return l.cancel()
	case !e.now.Before(l.deadline):
		return l.expire("its deadline passed before the call")
	}
	return step{kind: stepCall}
}

// leaves notes that the packet is about to leave.
func (l *life) leaves() { l.begun, l.stage = true, stageCalling }

// accepted notes that the API has said that it is sent.
func (l *life) accepted() { l.stage = stageSent }

// judged carries out a verdict.
func (l *life) judged(e *event) step {
	if e.called {
		l.begun, l.called = true, true
		l.tried = append(l.tried, e.attempt)
	}
	if e.outcome.fault == wechat.FaultUnknown {
		l.unknown++
	}
	switch v := e.verdict; v.do {
	case doDone:
		l.attempt++
		l.reached = true
		l.end = ending{steps: endsSent, state: schema.StateSent}
		return l.onward()
	case doBury:
		l.attempt++
		l.reached = true
		return l.die(v.reason, v.detail, e.answer)
	case doRetry:
		l.attempt++
		l.reached = true
		held := l.heldBack(e.now, v.delay)
		return l.retry(e, v.delay, v.delay < minLaterDelay || l.live && held <= e.holdBack)
	case doRetryUncounted: // there may be many such moments: they fill no lane of bulk
		l.uncountAttempt()
		most := minLaterDelay
		if l.live {
			most = max(most, e.holdBack)
		}
		if l.heldBack(e.now, v.delay) <= most {
			return l.retry(e, v.delay, true)
		}
		return l.retry(e, max(v.delay, minLaterDelay), false)
	default: // doHold
		l.uncountAttempt()
		l.end = ending{steps: endsHeld}
		return l.onward()
	}
}

// heldBack is for how long the recipient's later intents will have waited for
// this one after a delay.
func (l *life) heldBack(now time.Time, delay time.Duration) time.Duration {
	if l.retrying.IsZero() {
		l.retrying = now
	}
	return now.Add(delay).Sub(l.retrying)
}

// retry puts the next attempt off: here, or in KEFU_LATER.
func (l *life) retry(e *event, delay time.Duration, here bool) step {
	if here {
		l.end = ending{steps: endsRetried, delay: delay, blocksRecipient: true}
	} else {
		l.end = ending{steps: endsPutOff, until: e.now.Add(delay)}
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
		l.end.steps = endsLater
		return l.onward()
	}
	wait := l.end.until.Sub(e.now)
	if l.end.until.Equal(l.sendAt) { // may be hours, and there may be room in a moment
		wait = min(wait, refusedDelay)
	}
	return l.wait(wait, false)
}

func (l *life) wait(delay time.Duration, held bool) step {
	return step{kind: stepWait, delay: delay, blocksRecipient: held}
}

// giveBack takes a start back and gives the intent back. The ledger must know
// before the broker does, or the redelivery looks like a crash.
func (l *life) giveBack() step {
	l.uncountAttempt()
	l.end = ending{steps: endsGivenBack}
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
	steps := endsUncalled // the same verdict would be reached again
	switch {
	case l.stage == stageStarted && !l.called:
		steps = endsClearedUncalled
	case l.begun:
		steps = endsDead
	}
	l.end = ending{steps: steps, state: schema.StateDead, reason: reason, detail: detail, answer: answer}
	return l.onward()
}

// expire buries an intent whose time is over. One that may have been sent by an
// attempt of unknown outcome is not called expired.
func (l *life) expire(detail string) step {
	if l.unknown > 0 {
		return l.die(schema.ReasonUnknown, detail+"; an attempt before is of unknown outcome", nil)
	}
	return l.die(schema.ReasonExpired, detail, nil)
}

func (l *life) cancel() step {
	steps := endsCancelled
	if l.stage == stageStarted {
		steps = endsClearedCancelled
	}
	l.end = ending{steps: steps, state: schema.StateCancelled}
	return l.onward()
}

// known acknowledges what was dealt with before: the answer to an
// acknowledgement that was lost, or a producer's repeat.
func (l *life) known(s ledger.Standing) step {
	l.end = ending{steps: endsKnown}
	if s.Kind == ledger.Sent {
		// A producer may wait for the receipt of its repeat, or the worker may have
		// died between the ledger and the receipt. If that is stored already and
		// young, its id makes this one a duplicate.
		l.attempt, l.unknown = s.Attempts+1, s.Unknown
		l.end = ending{steps: endsRepeat, state: schema.StateSent}
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
	return step{kind: stepJudge, outcome: outcome{fault: wechat.FaultUnknown, detail: "the worker that had begun to send it is gone"}}
}

// leftToAnother says whether an intent is left alone for a moment, because the
// worker that has begun its call, or its burial, may live.
func (l *life) leftToAnother(e *event) bool {
	// A start of ours stands alone only when the end of a call was not written:
	// nothing of this sequence is in hand here but this delivery. The message whose
	// place this one takes may be.
	switch {
	case e.ours && !e.said.Inherited, !e.ours && !e.alive:
		return false
	case e.ours && e.said.Carrier != l.seq && e.carrierOurs:
		return true
	}
	// A burial may have been surrendered by a worker that lives on. Should it not
	// have been, the broker drops the second letter. A call of ours is over by then.
	l.leftAlone++
	return !e.ours && e.said.Ruling != ledger.Doomed || l.leftAlone < maxLeftAlone
}

// doomed finishes a burial that was begun by a worker that is gone.
func (l *life) doomed(s ledger.Standing) step {
	l.begun = true
	l.attempt, l.unknown = s.Attempts+1, max(l.unknown, s.Unknown)
	return l.die(s.Reason, "the worker that was burying it is gone, and with it what the API had answered", nil)
}

// takeOver makes the last attempt of somebody who is gone one of ours, of
// unknown outcome.
func (l *life) takeOver(e *event) {
	l.begun = true
	l.attempt, l.unknown = max(e.said.Attempts, 1), max(l.unknown, e.said.Unknown)
	l.tried = append(l.tried, schema.Attempt{Number: l.attempt, At: e.now.UTC(), Outcome: outcomeUnknown, Worker: e.said.Worker})
}

// poisonedBy has an intent buried that must not be handled any more, unless the
// ledger knows better: it may have ended, or be in the hands of a worker that lives.
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
			l.suspected = false // and stays what it is
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
		detail += "; an attempt before is of unknown outcome"
	}
	return l.die(schema.ReasonPoison, detail, nil)
}

// panicked ends what a panic has interrupted, by how far it had come.
func (l *life) panicked(e *event) step {
	l.panics++
	l.reached, l.recovering, l.poison = false, false, ""
	if l.stage != stageIdle { // what came after the call may have changed these
		l.attempt, l.unknown, l.tried = l.before.attempt, l.before.unknown, l.tried[:min(len(l.tried), l.before.tried)]
	}
	switch l.stage {
	case stageSent:
		l.attempt++
		l.end = ending{steps: endsSentAgain, state: schema.StateSent}
		return l.onward()
	case stageCalling: // it may have been sent: an answer that was forgotten is none
		l.tried = append(l.tried, schema.Attempt{Number: l.attempt, At: e.now.UTC(), Outcome: outcomeUnknown, Worker: l.worker})
		return step{kind: stepJudge, outcome: outcome{fault: wechat.FaultUnknown, detail: "a panic during the call, or after it"}}
	case stageStarted:
		l.recovering = true
		l.end = ending{steps: onlyClear}
		return l.onward()
	}
	return l.countPanic()
}

// countPanic counts a panic at the ledger: an intent that does it again and again is
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
	case stepTakeStartBack, stepTakeStartBackUnwaited:
		l.stage = stageIdle
		if l.recovering {
			return l.countPanic()
		}
		if l.end.state != "" { // no call was made: the same verdict would be reached again
			l.begun = false
		}
	case stepMarkSent:
		if e.said.Kind != 0 && !e.ours {
			// This worker was taken for dead, and another has begun to send it as well.
			l.unknown = max(l.unknown, e.said.Unknown, 1)
		}
	case stepMarkDying:
		if e.said.Overtaken {
			// This worker was taken for dead, and another has begun to send it: the end
			// is that one's to tell, and the acknowledgement too.
			return step{kind: stepForget}
		}
	}
	return l.onward()
}

// write has a mark written on which it depends what comes next.
func (l *life) write(mark ledger.Kind) step {
	l.awaits = mark
	return step{kind: stepMark, mark: mark}
}

// adoptGeneration tells a producer's message, which does not know it, the id's generation.
func (l *life) adoptGeneration(s ledger.Standing) {
	l.lastEnd = s.Before
	if !l.viaAgain {
		l.generation = max(s.Generation, 1)
	}
}

// adoptCosts takes over what the ledger knows to have been spent: a header remembers
// the last tries only, and a producer's message none.
func (l *life) adoptCosts(s ledger.Standing) {
	l.attempt, l.unknown = max(l.attempt, s.Attempts+1), max(l.unknown, s.Unknown)
}

// possibleDuplicate says whether the message may have reached the API more
// than once: an attempt of unknown outcome was followed by another.
func (l *life) possibleDuplicate() bool { return l.unknown > 0 }

// mark is the ledger's entry for this life. A producer does not know an id's
// generation, so what comes on kefu.send leaves it to the ledger.
func (l *life) mark(kind ledger.Kind) ledger.Mark {
	m := ledger.Mark{
		Key: l.key, Seq: l.seq, Stream: l.queueMade.UnixNano(), Body: l.body, Kind: kind, Again: l.viaAgain,
		Generation: uint16(l.generation), Attempt: uint8(min(l.attempt, 255)), Unknown: uint8(min(l.unknown, 255)),
		Campaign: l.campaign, Before: l.lastEnd,
	}
	if kind == ledger.Dead {
		m.Reason = l.end.reason
	}
	if (kind == ledger.Start || kind == ledger.Suspect) && !l.viaAgain {
		m.Generation = 0
	}
	_, dying := kind.Dying()
	if dying || kind == ledger.Clear || kind == ledger.Sent || kind == ledger.Dead || kind == ledger.Cancelled {
		m.Attempt-- // attempts spent
	}
	return m
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
