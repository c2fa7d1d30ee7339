package gate

import (
	"context"
	"sync"
	"time"

	"github.com/nats-io/nuid"
)

// common is what the budgets of one worker have in common: the broker, its clock, and the
// goroutines that ask it.
type common struct {
	conn    store
	clock   *clock
	trips   *trips
	without heuristic            // the heuristics that are off: none but in a test
	jitter  func() time.Duration // spreads workers that want the same slots; never 0
	worker  string               // new for each Keeper
	by      string               // the worker's name for people
	ctx     context.Context
	stop    context.CancelFunc

	mu      sync.Mutex
	closed  bool
	running sync.WaitGroup
	warm    sync.Once
}

func newCommon(
	ctx context.Context, stop context.CancelFunc, conn store, by string, now func() time.Time,
) *common {
	s := &common{
		conn: conn, trips: &trips{}, jitter: jitter, worker: nuid.Next(), by: by,
		ctx: ctx, stop: stop,
	}
	s.clock = &clock{
		conn: conn, trips: s.trips, run: s.run, now: now, looking: make(chan struct{}, 1),
	}
	return s
}

// begin looks at the broker's clock before the first intent is there to wait for it. A failure is
// met again, and reported, when there is one.
func (s *common) begin() {
	s.warm.Do(func() {
		s.run(func() {
			_ = s.clock.sync(s.ctx)
		})
	})
}

// run has a goroutine do f, which must obey ctx. After close it does nothing.
func (s *common) run(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closed {
		s.running.Go(f)
	}
}

// close ends what run has started, and waits for it.
func (s *common) close() {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.stop()
	s.running.Wait()
}
