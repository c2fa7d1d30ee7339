package replay

import "time"

// evidence is what is known of the message that a replay would publish for a letter: target is its
// id and generation.
type evidence struct {
	life     Life      // of the id, as the ledger remembers it
	known    bool      // it does
	queued   int       // highest generation of the id in the queue; 0: none
	stored   bool      // this very message is among them
	doubt    time.Time // since when a replay may have published it; zero: none did
	idTaken  bool      // the same generation of the id was published for another letter of late
	inDoubt  bool      // doubt is longer ago than a repeat is recognised
	accepted bool      // and the user accepts that it may be sent twice
}

// action is what a replay does with a letter.
type action uint8

// The moves.
const (
	publishLetter action = iota + 1
	removeLetter         // its message is known already: only the letter has to go
	keepLetter           // in the box, for a reason
)

// next judges a letter by what is known of the message that a replay would publish for it,
// generation of its id. own says that the id is the letter's alone, one of newID's. It decides what
// must never happen: that a letter goes though its message is not there, that a message is
// published which the ledger will not let through, and that somebody is sent to twice without
// having been asked for. Its test is the specification.
func (e evidence) next(generation int, own bool) (action, refusal) {
	onward := e.queued >= generation || e.known && e.life.Generation >= generation
	switch {
	case e.stored, own && onward:
		return removeLetter, ""
	case onward && !e.doubt.IsZero() && e.known && e.life.Same:
		// by the replay that was cut off: nobody else has published these bytes under this
		// generation
		return removeLetter, ""
	case onward:
		return keepLetter, refuseContinued
	case e.idTaken:
		return keepLetter, refuseSameID
	case e.known && e.life.Generation == generation-1 && !e.life.Ended:
		return keepLetter, refuseInFlight
	case e.inDoubt && !e.accepted:
		return keepLetter, refuseMayDouble
	}
	return publishLetter, ""
}
