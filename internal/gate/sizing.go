package gate

// heuristic is a set of rules that make sharing a rate faster or cheaper. None is needed for the
// promise that no second holds more than the rate and the burst. What each is worth is measured in
// contention_test.go, which turns them off one at a time; nothing else turns any off.
type heuristic uint16

const (
	// earlySlots: live may use slots before their instant, out of the burst's reserve.
	earlySlots heuristic = 1 << iota
	// liveFurther: live takes slots further ahead of their instant than bulk.
	liveFurther
	// wakeForLive: live ends the pause of a fetch that waits until bulk may take slots again.
	wakeForLive
	// lookahead: a slot is reserved as long before its instant as a request takes to get ready.
	lookahead
	// prefetch: more slots are fetched before the last one in hand is used.
	prefetch
	// wholeChunks: a worker that has the app to itself takes whole chunks, used up or not.
	wholeChunks
	// shrinkUnused: after slots expired, a worker asks for no more than it used.
	shrinkUnused
	// stopStalled: nothing is fetched while requests that have a reservation do not leave.
	stopStalled
	// sharedLead: a worker near the broker asks no later than the farthest one has to.
	sharedLead
	// longSlowChunks: the chunks of a slow app are twice as long.
	longSlowChunks
)

func (h heuristic) has(one heuristic) bool { return h&one != 0 }

// aloneAfter is how many chunks in a row a worker must take without meeting another one before it
// counts as alone.
const aloneAfter = 20

// sizing decides how many slots a worker asks for, by what became of those before. It has no clock,
// no lock and no I/O.
type sizing struct {
	without heuristic // the heuristics that are off

	asked   int // slots asked for last
	chunks  int // taken since another worker was met
	used    int // slots, since the last chunk
	expired int // slots, since the last chunk
}

func newSizing(without heuristic) sizing {
	return sizing{without: without, asked: 1, chunks: aloneAfter}
}

// alone says whether no other worker has taken slots of the app lately.
func (s *sizing) alone() bool { return s.chunks >= aloneAfter && !s.without.has(wholeChunks) }

// met notes that another worker takes slots of the app.
func (s *sizing) met() { s.chunks = 0 }

// received notes that a chunk has come.
func (s *sizing) received() {
	s.chunks++
	s.used, s.expired = 0, 0
}

// next returns how many slots to ask for: a chunk. A slot that expires in one hand is lost to all,
// so where others take slots too, a worker whose slots expired asks for as many as it used:
//
//	asks for 50, uses 8, 42 expire → asks for 8, uses them all → asks for 50
func (s *sizing) next(chunk int) int {
	s.asked = chunk
	if s.expired > 0 && !s.alone() && !s.without.has(shrinkUnused) {
		s.asked = max(min(s.used, chunk), 1)
	}
	return s.asked
}

// busy says whether more slots will be used than are in hand, so that it pays to fetch them before
// the last one is used.
func (s *sizing) busy(reserved int) bool {
	if s.without.has(prefetch) {
		return false
	}
	return s.alone() || s.asked > 1 && s.used+reserved >= s.asked
}

// stalled says whether requests that have a reservation do not leave: the slots in hand expired
// meanwhile, and others would too. Of the reserved requests, waiting ones wait for a slot.
func (s *sizing) stalled(reserved, waiting int) bool {
	return s.used == 0 && s.expired > 0 && reserved > waiting && !s.without.has(stopStalled)
}
