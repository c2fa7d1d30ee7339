package ledger

// Entry is what the ledger remembers of one intent.
type Entry struct {
	Seq        uint64
	Body       uint32
	Worker     uint32 // index of the worker that made the last Start
	Generation uint16
	Attempt    uint8
	Unknown    uint8
	Kind       Kind
	Suspects   uint8 // Suspect marks since the last sign that handling it works
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
)

func (r Ruling) String() string {
	return [...]string{"", "go", "ended", "repeat", "reuse", "started"}[r]
}

// Standing is the answer to a Start or Suspect mark.
type Standing struct {
	Ruling     Ruling
	Generation int    // of this message
	Attempts   int    // spent, of this generation
	Unknown    int    // attempts with unknown outcome, of this generation
	Kind       Kind   // what the ledger knew before; 0 for nothing
	Worker     string // who made the Start that Started speaks of
	Suspects   int    // after a Suspect mark: how many times in a row
}

// apply says how a mark by worker w changes what is remembered, and, for a
// Start, what it may do. known is false when nothing is remembered of the key.
// It depends on nothing but its arguments: every worker that reads the log
// comes to the same result.
func apply(e Entry, known bool, m Mark, w uint32) (Entry, Ruling) {
	switch m.Kind {
	case Start:
		return applyStart(e, known, m, w)
	case Suspect:
		if !known {
			e = Entry{Seq: m.Seq, Body: m.Body, Worker: w, Generation: max(m.Generation, 1)}
		}
		if e.Suspects < 255 {
			e.Suspects++
		}
		return e, 0
	case Clear:
		return applyClear(e, known, m, w), 0
	default:
		return applyEnd(e, known, m, w), 0
	}
}

func applyStart(e Entry, known bool, m Mark, w uint32) (Entry, Ruling) {
	next := Entry{
		Seq: m.Seq, Body: m.Body, Worker: w, Attempt: m.Attempt, Unknown: m.Unknown, Kind: Start,
		Generation: max(m.Generation, 1), Suspects: e.Suspects,
	}
	if !known || e.Kind == 0 {
		return next, Go
	}
	if m.Generation == 0 {
		// Published by a producer: after dead or cancelled it is a new life of the
		// id, unless it is the very message that ended so.
		next.Generation = e.Generation
		if (e.Kind == Dead || e.Kind == Cancelled) && e.Seq != m.Seq {
			next.Generation = e.Generation + 1
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
	same := m.Seq == e.Seq
	switch e.Kind {
	case Clear:
		if same || m.Again {
			return next, Go
		}
		return e, Repeat // the first one is still queued and will go on by itself
	case Later:
		if !same && m.Again && m.Attempt >= e.Attempt {
			return next, Go
		}
		if same {
			return e, Ended
		}
		return e, Repeat
	case Start:
		switch {
		case same && w == e.Worker && m.Attempt >= e.Attempt:
			return next, Go // the next attempt in the same hands, or the same batch read twice
		case m.Attempt > e.Attempt && (same || m.Again):
			return next, Go // taken over, or a retry whose predecessor's end was not written
		case same:
			return e, Started
		}
		return e, Repeat
	}
	if same {
		return e, Ended
	}
	return e, Repeat
}

// applyClear takes a Start back. Only the worker that made it may, or a slow
// worker could take back what its successor has started.
func applyClear(e Entry, known bool, m Mark, w uint32) Entry {
	if !known || e.Kind == 0 {
		return Entry{Seq: m.Seq, Body: m.Body, Worker: w, Generation: max(m.Generation, 1), Attempt: m.Attempt, Unknown: m.Unknown, Kind: Clear}
	}
	if e.Kind.Terminal() || e.Kind == Start && e.Worker != w || m.Generation < e.Generation {
		return e
	}
	e.Kind, e.Attempt, e.Unknown, e.Seq, e.Suspects = Clear, m.Attempt, m.Unknown, m.Seq, 0
	return e
}

// applyEnd takes Later and the terminal kinds. Sent is never overruled within
// a generation: it happened.
func applyEnd(e Entry, known bool, m Mark, w uint32) Entry {
	generation := max(m.Generation, 1)
	if known && generation < e.Generation {
		return e
	}
	if known && generation == e.Generation && e.Kind != 0 {
		if e.Kind == Sent || m.Kind == Later && e.Kind.Terminal() {
			return e
		}
		// A producer's other message under the same id (invalid, or withdrawn) ends
		// for itself; it says nothing about the one that came first.
		if !m.Again && m.Seq != e.Seq {
			return e
		}
	}
	return Entry{Seq: m.Seq, Body: m.Body, Worker: w, Generation: generation, Attempt: m.Attempt, Unknown: m.Unknown, Kind: m.Kind}
}
