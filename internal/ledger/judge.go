package ledger

import "github.com/kefuhq/kefu/schema"

// Entry is what the ledger remembers of one intent: 24 bytes, of which a pool
// holds millions.
type Entry struct {
	Seq        uint64 // of the message that carries the intent now: the producer's, then those of its retries
	Body       uint32
	origin     uint32 // low half of the sequence of the message that began this life of the id
	Worker     uint16 // number of the worker that made the last Start
	Generation uint16
	Attempt    uint8
	Unknown    uint8
	Kind       Kind  // zero: nothing but Suspect and Harmless marks
	Suspects   uint8 // Suspect marks since the last sign that handling it works
}

// Renews says whether a producer's message, stored under seq, begins a new
// life of the id: the one before ended dead or cancelled, and this is not the
// message that it began with, handed out again because its acknowledgement was
// lost.
func (e Entry) Renews(seq uint64) bool {
	return (e.Kind == Dead || e.Kind == Cancelled) && uint32(seq) != e.origin
}

// of says whether a mark speaks of the message that carries the intent, or of
// a retry that carries it on (whose sequence may be lower: the stream may have
// been made anew meanwhile). Another message under the same id is a producer's
// repeat: what becomes of it says nothing about the intent.
func (e Entry) of(m Mark) bool { return m.Seq == e.Seq || m.Again }

// entry is what is remembered after a mark that decides for itself.
func (m Mark) entry(w uint16) Entry {
	return Entry{
		Seq: m.Seq, Body: m.Body, origin: uint32(m.Seq), Worker: w,
		Generation: max(m.Generation, 1), Attempt: m.Attempt, Unknown: m.Unknown, Kind: m.Kind,
	}
}

// Ruling is what the log says about a Start: whether this message may be sent.
type Ruling uint8

// The rulings.
const (
	Go      Ruling = iota + 1 // nobody was first: make the call
	Ended                     // this very message was dealt with: acknowledge it
	Repeat                    // the same id and body is, or was, on its way as another message: acknowledge it
	Reuse                     // the same id with another body: a letter `id-reuse`
	Started                   // started before and neither settled nor cleared, by Standing.Worker: unknown, unless that worker lives
	Doomed                    // its burial was begun by Standing.Worker, for Standing.Reason: finish it, unless that worker lives
)

func (r Ruling) String() string {
	return [...]string{"", "go", "ended", "repeat", "reuse", "started", "doomed"}[r]
}

// Standing is the answer to a mark.
type Standing struct {
	Ruling     Ruling
	Generation int    // of this message
	Attempts   int    // spent, of this generation
	Unknown    int    // attempts with unknown outcome, of this generation
	Kind       Kind   // what the ledger knew before; 0 for nothing
	Worker     string // who made the Start that Started speaks of, or began the burial that Doomed does
	Reason     schema.Reason
	Suspects   int // after a Suspect mark: how many times in a row

	// Overtaken: after a mark of an end, somebody else has gone on with the intent
	// meanwhile, and what the ledger remembers is not this mark.
	Overtaken bool
}

// apply says how a mark by worker w changes what is remembered, and, for a
// Start, what it may do. known is false when nothing is remembered of the key.
// It depends on nothing but its arguments: every worker that reads the log
// comes to the same result. Its table test is the specification.
func apply(e Entry, known bool, m Mark, w uint16) (Entry, Ruling) {
	switch m.Kind {
	case Start:
		return applyStart(e, known, m, w)
	case Suspect:
		if !known {
			e = m.entry(w)
			e.Kind, e.Attempt, e.Unknown = 0, 0, 0
		}
		if e.Suspects < 255 {
			e.Suspects++
		}
		return e, 0
	case Harmless:
		e.Suspects = 0
		return e, 0
	case Clear:
		return applyClear(e, m, w), 0
	case Later, Sent, Dead, Cancelled:
		return applyEnd(e, m, w), 0
	}
	if _, ok := m.Kind.Dying(); ok {
		return applyEnd(e, m, w), 0
	}
	return e, 0 // of a later version of kefu
}

func applyStart(e Entry, known bool, m Mark, w uint16) (Entry, Ruling) {
	next := m.entry(w)
	next.Suspects = e.Suspects
	if !known || e.Kind == 0 {
		return next, Go
	}
	if m.Generation == 0 { // a producer's message: it does not know the id's generation
		next.Generation = e.Generation
		if e.Renews(m.Seq) {
			next.Generation++
			next.Suspects = 0
			return next, Go
		}
	}
	switch {
	case next.Generation > e.Generation:
		next.Suspects = 0
		return next, Go
	case next.Generation < e.Generation:
		return e, Ended
	case m.Body != e.Body:
		return e, Reuse
	}
	next.origin = e.origin
	same := m.Seq == e.Seq
	onward := e.of(m) && m.Attempt > e.Attempt // the attempt after those that are remembered
	switch e.Kind {
	case Clear:
		if same {
			// Whoever starts it may not have read yet what was spent before.
			next.Attempt, next.Unknown = max(next.Attempt, e.Attempt+1), max(next.Unknown, e.Unknown)
			return next, Go
		}
		if onward {
			return next, Go
		}
		return e, Repeat // the first one is still queued and will go on by itself
	case Later: // its Attempt is the one to come
		switch {
		case same:
			return e, Ended
		case e.of(m) && m.Attempt >= e.Attempt:
			return next, Go
		}
		return e, Repeat
	case Start:
		switch {
		case same && w == e.Worker && m.Attempt >= e.Attempt:
			return next, Go // in the same hands, which know what they do
		case onward:
			return next, Go // taken over, or a retry whose predecessor's end was not written
		case same:
			return e, Started
		}
		return e, Repeat
	}
	if _, ok := e.Kind.Dying(); ok && same {
		return e, Doomed
	}
	if same {
		return e, Ended
	}
	return e, Repeat
}

// applyClear takes a Start back. A slow worker must not take back what its
// successor has started: only the worker that made a Start may say that nothing
// was sent, others only that its attempt is over.
func applyClear(e Entry, m Mark, w uint16) Entry {
	if e.Kind == 0 {
		return m.entry(w)
	}
	generation := max(m.Generation, 1)
	if generation < e.Generation {
		return e
	}
	e.Suspects = 0 // whoever wrote it is in good health
	switch {
	case generation > e.Generation, m.Seq != e.Seq: // not started yet: nothing to take back
		return e
	case e.Kind == Clear, e.Kind == Start && (e.Worker == w || m.Attempt >= e.Attempt):
		e.Kind, e.Attempt, e.Unknown = Clear, m.Attempt, m.Unknown
	}
	return e
}

// applyEnd takes Later, Dying and the terminal kinds. Sent is never overruled
// within a generation: it happened.
func applyEnd(e Entry, m Mark, w uint16) Entry {
	next := m.entry(w)
	_, isDying := m.Kind.Dying()
	if e.Kind == 0 || next.Generation > e.Generation {
		return next
	}
	next.origin = e.origin
	switch {
	case next.Generation < e.Generation, e.Kind == Sent:
		return e
	case m.Kind == Sent:
		return next
	case !e.of(m):
		return e
	case m.Kind == Later && (e.Kind.Terminal() || m.Attempt < e.Attempt || m.Attempt == e.Attempt && e.Kind != Later):
		return e // that attempt has begun already: a slow worker put off what its successor did
	case isDying && (e.Kind.Terminal() || m.Attempt < e.Attempt):
		return e // a slow worker as well
	}
	return next
}
