package worker

import "sync/atomic"

// prefetch is what this process takes in hand before there is a slot for it,
// shared by all lanes that have something: one app with a backlog gets large
// batches, and hundreds of them do not fill the memory with intents that wait
// for minutes, renewed every few seconds.
type prefetch struct {
	whole int64        // intents of all lanes
	busy  atomic.Int64 // lanes with anything in hand
}

const (
	// prefetchCalls is how many intents may wait for each call that may be in
	// flight.
	prefetchCalls = 16

	// sip is what a lane may always have waiting, and what one that has nothing
	// asks for: after the first of them it asks for its allowance.
	sip = 8
)

// allowance is how many intents may wait in a lane that has so many in hand.
func (p *prefetch) allowance(held int) int {
	if held == 0 {
		return sip
	}
	return int(max(sip, p.whole/max(p.busy.Load(), 1)))
}

// took and dropped count a lane's intents in hand: held is how many it has then.
func (p *prefetch) took(held int) {
	if held == 1 {
		p.busy.Add(1)
	}
}

func (p *prefetch) dropped(held int) {
	if held == 0 {
		p.busy.Add(-1)
	}
}
