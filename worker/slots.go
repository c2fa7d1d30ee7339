package worker

import (
	"slices"
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
	mu       sync.Mutex
	total    int
	free     int
	slowBulk int // of those that are taken, for bulk of apps that leave some to live
	waiting  [2][]*slotUser
}

// A request for a slot is of one of two kinds.
const (
	forLive = iota
	forBulk
)

// slotUser is what the slots know of an app, guarded by their lock.
type slotUser struct {
	reschedule      func()  // has the app look at everything anew; set once
	queued, granted [2]bool // whether it waits for a slot of a kind, or was given one
	kept            int     // slots of the process that its bulk leaves to live
	bulk            int     // that its bulk has, or was given
}

func slotFor(lane schema.Lane) int {
	if lane == schema.LaneLive {
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

// acquire gets a slot, or has the app rescheduled when one was set aside for it. live is
// the share of them that its bulk leaves to live, where an intent has a slot for
// so long.
func (s *slots) acquire(u *slotUser, lane schema.Lane, live float64, inSlot time.Duration) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	kind := slotFor(lane)
	s.keep(u, keptFor(live, s.total, inSlot))
	switch {
	case u.granted[kind]:
		u.granted[kind] = false
		return true
	case s.available(u, kind):
		s.count(u, kind, +1)
		return true
	}
	if !u.queued[kind] {
		u.queued[kind] = true
		s.waiting[kind] = append(s.waiting[kind], u)
	}
	return false
}

// keep sets how many slots an app's bulk leaves to live. s.mu is held.
func (s *slots) keep(u *slotUser, kept int) {
	before := u.kept > 0
	u.kept = kept
	switch after := kept > 0; {
	case after && !before:
		s.slowBulk += u.bulk
	case before && !after:
		s.slowBulk -= u.bulk
	}
}

// count notes that an app has n slots more, or fewer. s.mu is held.
func (s *slots) count(u *slotUser, kind, n int) {
	s.free -= n
	if kind == forBulk {
		u.bulk += n
		if u.kept > 0 {
			s.slowBulk += n
		}
	}
}

// available says whether there is a free slot that an app may have. What is kept for live is kept
// from all bulk whose calls take long together. Bulk of other apps gives back in
// a moment what it has: to wait until it has left as many free as are kept might
// be for ever. s.mu is held.
func (s *slots) available(u *slotUser, kind int) bool {
	return s.free > 0 && (kind == forLive || u.kept == 0 || s.slowBulk < s.total-u.kept)
}

// release gives a slot back. The app it returns, if any, was given the slot and
// must be rescheduled, with no app's lock held.
func (s *slots) release(u *slotUser, lane schema.Lane) *slotUser {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.count(u, slotFor(lane), -1)
	return s.grant()
}

// grant sets a slot aside for whoever has waited longest of those that may have
// it, live first. s.mu is held.
func (s *slots) grant() *slotUser {
	for kind, queue := range s.waiting {
		i := slices.IndexFunc(queue, func(u *slotUser) bool { return s.available(u, kind) })
		if i < 0 {
			continue
		}
		next := queue[i]
		s.waiting[kind] = slices.Delete(queue, i, i+1)
		next.queued[kind], next.granted[kind] = false, true
		s.count(next, kind, +1)
		return next
	}
	return nil
}

// returnUnused gives back a slot that was set aside for an app that has no use for it.
func (s *slots) returnUnused(u *slotUser) *slotUser {
	s.mu.Lock()
	defer s.mu.Unlock()
	for kind, granted := range u.granted {
		if granted {
			u.granted[kind] = false
			s.count(u, kind, -1)
		}
	}
	return s.grant()
}
