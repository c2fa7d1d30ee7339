package worker

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/wire"
)

// share is what one app may have in KEFU_LATER. That stream can have no limits
// of its own (schedules and discard-new exclude each other), so who adds to it
// looks first: an app that puts off more than its queue may hold must not fill
// the disk for all. What finds no room waits in its lane, which so fills up, and
// in the end producers of this app are told that its queue is full.
type share struct {
	conn  *broker.Conn
	appID string

	mu      sync.Mutex
	limit   int64 // intents; 0: no limit
	waiting int64 // as the broker counted them, and what this worker added since
	counted time.Time

	full atomic.Bool // the last one to ask was refused; changed with mu, which is held while the broker counts
}

// countEvery bounds how often the broker is asked: counting walks the app's
// waiting intents. Other workers' additions are so seen a moment late.
const countEvery = time.Second

func (s *share) setLimit(intents int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.limit = intents
}

// take asks for room for one more. changed says that the answer is another than
// the one before.
func (s *share) take(ctx context.Context) (room, changed bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.limit <= 0 {
		return true, false
	}
	if now := time.Now(); now.Sub(s.counted) >= countEvery {
		s.counted = now
		ask, cancel := context.WithTimeout(ctx, countEvery)
		n, err := s.conn.Count(ask, wire.StreamLater, wire.LaterWaitSubject(s.appID, "*"))
		cancel()
		if err == nil { // else the last count stands: the broker has other troubles
			s.waiting = int64(n) //nolint:gosec // a stream's length
		}
	}
	room = s.waiting < s.limit
	if room {
		s.waiting++
	}
	changed = s.full.Swap(!room) == room
	return room, changed
}

// isFull says whether the last one to ask was refused. It never blocks.
func (s *share) isFull() bool { return s.full.Load() }
