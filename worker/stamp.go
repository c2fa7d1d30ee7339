package worker

import (
	"sync"
	"sync/atomic"
	"time"
)

// stamp is a moment since which something holds, or none. It is cheap to set
// and to clear again and again, and the first set counts.
type stamp struct{ ns atomic.Int64 } // since stampBase; 0 for none

// stampBase keeps stamps free of what is done to the machine's clock.
var stampBase = time.Now().Add(-time.Nanosecond)

func (s *stamp) set(now time.Time) {
	if s.ns.Load() == 0 {
		s.ns.Store(int64(now.Sub(stampBase)))
	}
}

func (s *stamp) clear() {
	if s.ns.Load() != 0 {
		s.ns.Store(0)
	}
}

func (s *stamp) at() time.Time {
	if ns := s.ns.Load(); ns != 0 {
		return stampBase.Add(time.Duration(ns))
	}
	return time.Time{}
}

// rateWaiters are intents that wait for the rate in their slots.
type rateWaiters struct {
	mu    sync.Mutex
	n     int
	since time.Time // the first began, or one of them was served
}

func (a *rateWaiters) join(now time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.n++; a.n == 1 {
		a.since = now
	}
}

func (a *rateWaiters) served(now time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.since = now
}

func (a *rateWaiters) leave() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.n--
}

// oldest is since when none of them has been served; zero when there are none.
func (a *rateWaiters) oldest() time.Time {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.n == 0 {
		return time.Time{}
	}
	return a.since
}

// earlierKnown is the earlier of two times that may be zero: unknown.
func earlierKnown(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}
