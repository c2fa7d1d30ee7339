package ledger

// Story is a history as a worker reads it.
type Story struct {
	Events []Told
	Known  bool   // the ledger remembers the intent
	Now    Entry  // as it does
	Worker string // who made the last Start
}

// Told is an event and what came of it.
type Told struct {
	Event
	Ruling     Ruling // of a Start: whether its message was sent
	Generation int    // of the intent after it; 0 while there is none
}

// Tell goes through what History found, by the rules that hold for workers: a
// Start alone does not say that anything was sent. It serves people.
func Tell(history []Event) Story {
	var s Story
	x := newIndex(0)
	for _, e := range history {
		standing := x.mark(e.Mark, x.worker(e.Worker))
		s.Events = append(s.Events, Told{Event: e, Ruling: standing.Ruling, Generation: standing.Generation})
		s.Now, s.Known = x.get(e.Mark.Key)
		s.Worker = x.names[s.Now.Worker]
	}
	return s
}
