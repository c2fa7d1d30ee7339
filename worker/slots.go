package worker

import (
	"sync"
	"time"

	"github.com/kefuhq/kefu/schema"
)

// slots are the calls that this process may have in flight. When they are all
// taken, a freed one goes to the app that has waited longest: one app with a
// million intents and one with a single one take turns. Some are kept for live:
// where the API is slow, bulk would have them all, and live would wait until its
// calls end.
type slots struct {
	mu      sync.Mutex
	whole   int
	free    int
	waiting [2][]*app
}

// A request for a slot is of one of two kinds.
const (
	forLive = iota
	forBulk
)

// claimed is an app's part in the slots.
type claimed struct {
	queued, granted [2]bool // whether it waits for a slot of a kind, or was given one
	kept            int     // free slots of the process that its bulk leaves to live
}

func slotFor(lane schema.Lane) int {
	if lane == schema.Live {
		return forLive
	}
	return forBulk
}

// slotPatience is how long live may wait for as many slots as its share, when
// bulk has all others.
const slotPatience = 100 * time.Millisecond

// keptFor is how many of so many slots are kept for live: as much of its share
// as the end of other calls does not give it within slotPatience, where an
// intent has a slot for so long (0: nobody knows). So an API that answers quickly
// leaves bulk all slots. One is always bulk's.
func keptFor(live float64, slots int, inSlot time.Duration) int {
	if inSlot > 0 {
		live -= slotPatience.Seconds() / inSlot.Seconds()
	}
	return max(min(int(live*float64(slots)), slots-1), 0)
}

// take gets a slot, or has the app poked when one was set aside for it. live is
// the share of them that its bulk leaves to live, where an intent has a slot for
// so long.
func (s *slots) take(a *app, lane schema.Lane, live float64, inSlot time.Duration) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	kind := slotFor(lane)
	a.slots.kept = keptFor(live, s.whole, inSlot)
	switch {
	case a.slots.granted[kind]:
		a.slots.granted[kind] = false
		return true
	case s.open(a, kind):
		s.free--
		return true
	}
	if !a.slots.queued[kind] {
		a.slots.queued[kind] = true
		s.waiting[kind] = append(s.waiting[kind], a)
	}
	return false
}

// open says whether an app may take a free slot. s.mu is held.
func (s *slots) open(a *app, kind int) bool {
	if kind == forBulk {
		return s.free > a.slots.kept
	}
	return s.free > 0
}

// put gives a slot back. The app it returns, if any, was given the slot and
// must be poked, with no app's lock held.
func (s *slots) put() *app {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.free++
	return s.grant()
}

// grant sets a slot aside for whoever has waited longest, live first. s.mu is held.
func (s *slots) grant() *app {
	for kind := range s.waiting {
		if len(s.waiting[kind]) == 0 {
			continue
		}
		next := s.waiting[kind][0]
		if !s.open(next, kind) {
			continue
		}
		s.waiting[kind] = s.waiting[kind][1:]
		next.slots.queued[kind], next.slots.granted[kind] = false, true
		s.free--
		return next
	}
	return nil
}

// forgo gives back a slot that was set aside for an app that has no use for it.
func (s *slots) forgo(a *app) *app {
	s.mu.Lock()
	defer s.mu.Unlock()
	for kind, granted := range a.slots.granted {
		if granted {
			a.slots.granted[kind] = false
			s.free++
		}
	}
	return s.grant()
}
