package worker

import "github.com/kefuhq/kefu/internal/ledger"

// possibleDuplicate says whether the message may have reached the API more than
// once, or, if it is dead, at all: an attempt of unknown outcome was followed by
// another, or by the end.
func (l *life) possibleDuplicate() bool {
	return ledger.PossibleDuplicate(l.unknown, l.end.reason)
}

// mark is the ledger's entry for this life. A producer does not know an id's
// generation, so what comes on kefu.send leaves it to the ledger.
func (l *life) mark(kind ledger.Kind) ledger.Mark {
	m := ledger.Mark{
		Key: l.key, Seq: l.seq, Stream: l.queueMade.UnixNano(), Body: l.body, Kind: kind,
		Again: l.subject.Again, Campaign: l.campaign, Job: l.job, Before: l.lastEnd,
		Generation: uint16(min(l.generation, 1<<16-1)),
		Attempt:    uint8(min(l.attempt, 255)),
		Unknown:    uint8(min(l.unknown, 255)),
	}
	if kind == ledger.Dead {
		m.Reason = l.end.reason
		m.Closed = l.end.answer != nil && l.end.answer.Code == ledger.CodeClosed
	}
	if (kind == ledger.Start || kind == ledger.Suspect) && !l.subject.Again {
		m.Generation = 0
	}
	if _, dying := kind.Dying(); dying || kind == ledger.Clear || kind.Terminal() {
		m.Attempt-- // attempts spent
	}
	return m
}
