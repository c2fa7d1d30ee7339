package worker

import "sync"

// slots are the calls that this process may have in flight. When they are all
// taken, a freed one goes to the app that has waited longest: one app with a
// million intents and one with a single one take turns.
type slots struct {
	mu      sync.Mutex
	free    int
	waiting []*app
}

// take gets a slot, or has the app poked when one was set aside for it.
func (s *slots) take(a *app) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if a.granted {
		a.granted = false
		return true
	}
	if s.free > 0 {
		s.free--
		return true
	}
	if !a.queued {
		a.queued = true
		s.waiting = append(s.waiting, a)
	}
	return false
}

// put gives a slot back. The app it returns, if any, was given the slot and
// must be poked, with no app's lock held.
func (s *slots) put() *app {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.waiting) == 0 {
		s.free++
		return nil
	}
	next := s.waiting[0]
	s.waiting = s.waiting[1:]
	next.queued, next.granted = false, true
	return next
}

// forgo gives back a slot that was set aside for an app that has no use for it.
func (s *slots) forgo(a *app) *app {
	s.mu.Lock()
	granted := a.granted
	a.granted = false
	s.mu.Unlock()
	if !granted {
		return nil
	}
	return s.put()
}
