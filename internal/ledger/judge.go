package ledger

import "github.com/kefuhq/kefu/schema"

// Entry is what the ledger remembers of one intent: 24 bytes, of which a pool
// holds millions.
type Entry struct {
	message message // that carries the intent now: the producer's, then those of its retries
	Body    uint32

	// producerSeq is the low half of the sequence of the producer's message that began this life;
	// 0: that message is gone with its queue.
	producerSeq uint32
	Worker      uint16 // number of the worker that made the last Start
	Generation  uint16
	Attempt     uint8
	Unknown     uint8
	Kind        Kind // zero: nothing but Suspect and Harmless marks
	tally       tally
}

// tally is, in its lower bits, the End that the campaign counts the id as: that of
// this generation, or of the one before while this one has none. Above it is how
// many Suspect marks there were since the last sign that handling it works.
type tally uint8

// mostSuspects is how many can be counted; the worker minds three.
const mostSuspects = 1<<(8-endBits) - 1

func (e Entry) suspects() uint8 { return uint8(e.tally >> endBits) }
func (e Entry) account() End    { return End(e.tally & endMask) }

func (e Entry) suspected(times uint8) Entry {
	e.tally = tally(min(times, mostSuspects))<<endBits | e.tally&endMask
	return e
}

func (e Entry) accounted(as End) Entry {
	e.tally = e.tally&^endMask | tally(as&endMask)
	return e
}

// message is a sequence, below 2^47, above it whether the broker has the message
// no more, and above that the number of its scope, the stream that it counts in
// and the campaign; 0 where neither is known.
type message uint64

const missing message = 1 << 47

func messageOf(scope uint16, seq uint64) message {
	return message(scope)<<48 | message(seq)&(missing-1)
}

// in is the message, or what replaces it, in another scope.
func (m message) in(scope uint16) message {
	return message(scope)<<48 | m&(1<<48-1)
}

func (m message) scope() uint16 { return uint16(m >> 48) }
func (m message) seq() uint64   { return uint64(m & (missing - 1)) }

// age is how the stream that a mark speaks of stands to the one that an entry
// does. A queue that is deleted and made anew counts from 1 again, and what the
// one before held is gone.
type age uint8

const (
	sameStream age = iota // or one of the two is not known: earlier versions of kefu do not say it
	newerStream
	olderStream
)

// source is what is known of a mark besides what it says.
type source struct {
	worker    uint16 // number of its writer
	scope     uint16 // number of its scope
	age       age    // of its stream, beside the entry's
	elsewhere bool   // it belongs to another campaign than the entry
}

// same says whether a mark speaks of the very message that carries the intent.
func (e Entry) same(m Mark, c source) bool {
	return c.age == sameStream && m.Seq == e.message.seq()
}

// inherits says whether a mark's message takes the place of the one that carried
// the intent, because that one is gone, with its queue or out of it. What waits in
// KEFU_LATER is not.
func (e Entry) inherits(m Mark, c source) bool {
	free := c.age == newerStream || c.age == sameStream && e.message&missing != 0 && !e.same(m, c)
	return free && m.Body == e.Body && e.Kind != Later
}

// continuesWith says whether the intent goes on with a mark's message.
func (e Entry) continuesWith(m Mark, c source) bool { return e.same(m, c) || e.inherits(m, c) }

// queued says whether nothing but the message that carries the intent makes it go
// on.
func (e Entry) queued() bool {
	_, dying := e.Kind.Dying()
	return dying || e.Kind == Clear || e.Kind == Start
}

// of says whether a mark speaks of the message that carries the intent, or of
// a retry that carries it on (whose sequence may be lower: the stream may have
// been made anew meanwhile). Another message under the same id is a producer's
// repeat: what becomes of it says nothing about the intent.
func (e Entry) of(m Mark, c source) bool { return e.continuesWith(m, c) || m.Again }

// renews says whether a producer's message begins a new life of the id: the one
// before ended dead or cancelled, and this is not the message that it began
// with, or that took its place, handed out again because its acknowledgement was
// lost.
func (e Entry) renews(m Mark, c source) bool {
	if m.Again || e.Kind != Dead && e.Kind != Cancelled {
		return false
	}
	return c.age == newerStream ||
		c.age == sameStream && uint32(m.Seq) != e.producerSeq && !e.same(m, c)
}

// entry is what is remembered after a mark that decides for itself.
func (m Mark) entry(c source) Entry {
	return Entry{
		message: messageOf(c.scope, m.Seq), Body: m.Body, producerSeq: uint32(m.Seq),
		Worker:     c.worker,
		Generation: max(m.Generation, 1), Attempt: m.Attempt, Unknown: m.Unknown, Kind: m.Kind,
	}
}

// continues is a mark's entry for the intent that e remembers.
func (m Mark) continues(e Entry, c source) Entry {
	next := m.entry(c)
	next.producerSeq = e.producerSeq
	switch {
	case c.age == newerStream && m.Again:
		next.producerSeq = 0
	case c.age == newerStream:
		next.producerSeq = uint32(m.Seq)
	case m.Stream == 0 && m.Seq == e.message.seq():
		next.message = e.message
	}
	if e.same(m, c) { // what is missing does not come back
		next.message |= e.message & missing
	}
	return next
}

// Ruling is what the log says about a Start: whether this message may be sent.
type Ruling uint8

// The rulings.
const (
	// Go: nobody was first. Make the call.
	Go Ruling = iota + 1

	// Ended: this very message was dealt with. Acknowledge it.
	Ended

	// Repeat: the same id and body is, or was, on its way as another message. Acknowledge it.
	Repeat

	// Reuse: the same id with another body. It becomes a letter `id-reuse`.
	Reuse

	// Started: Standing.Worker started it before, and it was neither settled nor cleared. Its
	// outcome is unknown, unless that worker lives.
	Started

	// Doomed: Standing.Worker has begun to write its dead letter, for Standing.Reason. Finish that,
	// unless that worker lives.
	Doomed
)

func (r Ruling) String() string {
	return [...]string{"", "go", "ended", "repeat", "reuse", "started", "doomed"}[r]
}

// Standing is the answer to a mark.
type Standing struct {
	Ruling     Ruling // of a Start, and of Peek
	Generation int    // of this message
	Attempts   int    // spent, of this generation
	Unknown    int    // attempts with unknown outcome, of this generation
	Kind       Kind   // what the ledger knew before; 0 for nothing
	Worker     string // who made the Start of Started, or began the dead letter of Doomed
	Reason     schema.Reason
	Suspects   int // after a Suspect mark: how many times in a row
	Before     End // of the generation before this one, while this one has none

	// Carrier is, after a Repeat, the sequence in the same stream of the message that
	// the intent goes on with; 0 when it has ended, or waits in KEFU_LATER. Should that
	// message not be there, a Gone mark of it has this one go on in its place: then it
	// is the sequence of the one that is Inherited from.
	Carrier uint64

	// Inherited: the message that carried the intent is gone, and this one takes its
	// place. Whoever had it in hand may still be at it.
	Inherited bool

	// Overtaken: after a mark of an end, somebody else has gone on with the intent
	// meanwhile, and what the ledger remembers is not this mark.
	Overtaken bool
}

// apply says how a mark changes what is remembered, and, for a Start, what it
// may do. known is false when nothing is remembered of the key. It depends on
// nothing but its arguments: every worker that reads the log comes to the same
// result. Its table test is the specification.
func apply(e Entry, known bool, m Mark, c source) (Entry, Ruling) {
	next, ruling := rule(e, known, m, c)
	if next != e {
		next = next.accounted(settle(e, known, next, m, c))
	}
	return next, ruling
}

// rule is apply but for what the campaign counts.
func rule(e Entry, known bool, m Mark, c source) (Entry, Ruling) {
	switch m.Kind {
	case Start:
		return applyStart(e, known, m, c)
	case Suspect:
		if !known {
			e = m.entry(c)
			e.Kind, e.Attempt, e.Unknown = 0, 0, 0
		}
		return e.suspected(e.suspects() + 1), 0
	case Harmless:
		return e.suspected(0), 0
	case Gone:
		// Whoever acknowledged the message has marked before what became of the
		// intent, and another may carry it on by now.
		if known && e.queued() && e.same(m, c) {
			e.message |= missing
		}
		return e, 0
	case Clear:
		return applyClear(e, m, c), 0
	case Later, Sent, Dead, Cancelled:
		return applyEnd(e, m, c), 0
	}
	if _, ok := m.Kind.Dying(); ok {
		return applyEnd(e, m, c), 0
	}
	return e, 0 // of a later version of kefu
}

func applyStart(e Entry, known bool, m Mark, c source) (Entry, Ruling) {
	begun := m.entry(c).suspected(e.suspects())
	if !known || e.Kind == 0 {
		return begun, Go
	}
	if m.Generation == 0 { // a producer's message: it does not know the id's generation
		begun.Generation = e.Generation
		if e.renews(m, c) {
			begun.Generation++
		}
	}
	switch {
	case begun.Generation > e.Generation:
		return begun.suspected(0), Go
	case begun.Generation < e.Generation:
		return e, Ended
	case m.Body != e.Body:
		return e, Reuse
	}
	next := m.continues(e, c).suspected(e.suspects())
	next.Generation = e.Generation
	same, carries := e.same(m, c), e.continuesWith(m, c)
	onward := e.of(m, c) && m.Attempt > e.Attempt // the attempt after those that are remembered
	switch e.Kind {
	case Clear:
		if carries {
			// Whoever starts it may not have read yet what was spent before.
			next.Attempt, next.Unknown = max(next.Attempt, e.Attempt+1),
				max(next.Unknown, e.Unknown)
			return next, Go
		}
		if onward {
			return next, Go
		}
		// The first one, which is queued as far as the log tells, goes on by itself.
		return e, Repeat
	case Later: // its Attempt is the one to come
		switch {
		case same:
			return e, Ended
		case e.of(m, c) && m.Attempt >= e.Attempt:
			return next, Go
		}
		return e, Repeat
	case Start:
		switch {
		case onward:
			return next, Go // taken over, or a retry whose predecessor's end was not written
		case carries:
			return e, Started
		}
		return e, Repeat
	}
	if _, ok := e.Kind.Dying(); ok && carries {
		return e, Doomed
	}
	if same {
		return e, Ended
	}
	return e, Repeat
}

// applyClear takes a Start back. A slow worker must not take back what its
// successor has started: only the worker that made a Start may say that nothing
// was sent, others only that its attempt is over. What was spent before that
// Start, and what of it is unknown, stays, whether the writer knew it or not.
func applyClear(e Entry, m Mark, c source) Entry {
	if e.Kind == 0 {
		return m.entry(c)
	}
	generation := max(m.Generation, 1)
	if generation < e.Generation {
		return e
	}
	e = e.suspected(0)                                       // whoever wrote it is in good health
	if generation > e.Generation || !e.continuesWith(m, c) { // not started: nothing to take back
		return e
	}
	own := e.same(m, c) && e.Worker == c.worker
	if e.Kind == Clear || e.Kind == Start && (own || m.Attempt >= e.Attempt) {
		next := m.continues(e, c)
		spent := e.Attempt
		if e.Kind == Start {
			spent = max(spent, 1) - 1
		}
		e.message, e.producerSeq = next.message, next.producerSeq
		e.Kind, e.Attempt, e.Unknown = Clear, max(m.Attempt, spent), max(m.Unknown, e.Unknown)
	}
	return e
}

// applyEnd takes Later, Dying and the terminal kinds. Sent is never overruled
// within a generation: it happened.
func applyEnd(e Entry, m Mark, c source) Entry {
	if e.Kind == 0 || max(m.Generation, 1) > e.Generation {
		return m.entry(c)
	}
	next := m.continues(e, c)
	_, isDying := m.Kind.Dying()
	switch {
	case next.Generation < e.Generation, e.Kind == Sent:
		return e
	case m.Kind == Sent:
		if e.Kind == Start {
			// A slow worker does not know what its successor has begun, and either may be lost
			// before it tells.
			next.Unknown = max(next.Unknown, e.Unknown)
		}
		return next
	case !e.of(m, c):
		return e
	case m.Kind == Later &&
		(e.Kind.Terminal() || m.Attempt < e.Attempt || m.Attempt == e.Attempt && e.Kind != Later):
		return e // that attempt has begun already: a slow worker put off what its successor did
	case isDying && (e.Kind.Terminal() || m.Attempt < e.Attempt):
		return e // a slow worker as well
	}
	return next
}
