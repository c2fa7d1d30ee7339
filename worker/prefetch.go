package worker

import "sync/atomic"

// prefetch is what this process takes in hand before there is a slot for it,
// shared by all lanes that have something: one app with a backlog gets large
// batches, and hundreds of them do not fill the memory with intents that wait
// for minutes, renewed every few seconds.
type prefetch struct {
	total int64        // intents of all lanes
	busy  atomic.Int64 // lanes with anything in hand
}

const (
	// prefetchCalls is how many intents may wait for each call that may be in
	// flight.
	prefetchCalls = 16

	// leastAllowance is what a lane may always have waiting, and what one that has nothing
	// asks for: after the first of them it asks for its allowance.
	leastAllowance = 8
)

// allowance is how many intents may wait in a lane that has so many in hand.
func (p *prefetch) allowance(inHand int) int {
	if inHand == 0 {
		return leastAllowance
	}
	return int(max(leastAllowance, p.total/max(p.busy.Load(), 1)))
}

// took and dropped count a lane's intents in hand: inHand is how many it has then.
func (p *prefetch) took(inHand int) {
	if inHand == 1 {
		p.busy.Add(1)
	}
}

func (p *prefetch) dropped(inHand int) {
	if inHand == 0 {
		p.busy.Add(-1)
	}
}
