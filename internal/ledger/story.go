package ledger

import "time"

// Story is a history as a worker reads it.
type Story struct {
	Events []RuledEvent
	Known  bool   // the ledger remembers the intent
	Now    Entry  // as it does
	Worker string // who made the last Start

	seq    uint64 // of the message that carries it
	stream int64  // when the stream was made that it counts in
}

// Seq is the sequence, in a queue made at a time, of the message that carries
// the intent; 0 when that was in another queue, which is gone.
func (s Story) Seq(made time.Time) uint64 {
	if s.stream != 0 && s.stream != made.UnixNano() {
		return 0
	}
	return s.seq
}

// Generation is that of a producer's message under the id, in a queue made at
// a time; zero says nothing about it.
func (s Story) Generation(seq uint64, made time.Time) int {
	generation := max(int(s.Now.Generation), 1)
	c := source{}
	if !made.IsZero() {
		c.age = ageOf(s.stream, made.UnixNano())
	}
	if s.Now.renews(Mark{Seq: seq}, c) {
		generation++
	}
	return generation
}

// RuledEvent is an event and what came of it.
type RuledEvent struct {
	Event
	Ruling     Ruling // of a Start: whether its message was sent
	Generation int    // of the intent after it; 0 while there is none
}

// Interpret goes through what History found, by the rules that hold for workers: a
// Start alone does not say that anything was sent. It serves people.
func Interpret(history []Event) Story {
	var s Story
	x := newIndex(0)
	for _, e := range history {
		standing := x.mark(e.Mark, x.worker(e.Worker))
		s.Events = append(s.Events,
			RuledEvent{Event: e, Ruling: standing.Ruling, Generation: standing.Generation})
		s.Now, s.Known = x.get(e.Mark.Key)
		s.seq, s.stream = s.Now.message.seq(), x.scopes[s.Now.message.scope()].stream
		s.Worker = x.names[s.Now.Worker]
	}
	return s
}
