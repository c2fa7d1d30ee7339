package gate

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/kefuhq/kefu/internal/broker"
)

// store is the broker as budgets use it.
type store interface {
	stateStore
	Connected() bool
	Last(ctx context.Context, stream, subject string) (broker.Stored, error)
	EnsureRateStream(ctx context.Context) (now, created time.Time, err error)
}

const (
	askTimeout  = 400 * time.Millisecond // of one question to the broker, while answers are quick
	askLongest  = 5 * time.Second        // of any; an answer that takes longer is no use to anybody
	askPatience = 4                      // round trips that a question may take
)

// trips measures how long the broker's answers take, for those who ask ahead.
type trips struct {
	span   trend
	recent recent
}

// lead is the round trip to allow for: what an answer may take.
func (r *trips) lead() time.Duration { return r.span.get() }

// usual is the round trip to reckon with: what most answers take. One that is late says nothing of
// the next ones.
func (r *trips) usual() time.Duration { return r.recent.median() }

// ask puts a question to the broker, and measures the answer.
func (r *trips) ask(ctx context.Context, question func(context.Context) error) error {
	patience := min(max(askPatience*r.lead(), askTimeout), askLongest)
	bounded, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	asked := time.Now()
	err := question(bounded)
	switch took := time.Since(asked); {
	case err == nil, errors.Is(err, broker.ErrOvertaken), errors.Is(err, broker.ErrNoMessage):
		took = min(took, askLongest)
		r.span.add(took)
		r.recent.add(took)
	case bounded.Err() != nil && ctx.Err() == nil:
		r.span.add(patience) // it takes that long at least: the next question gets more time
	}
	return err
}

// trend follows a span of time for those who must allow for it: it rises at once and falls slowly,
// by an eighth of the difference each time, or by more where a good part of trendFall has passed
// since the last.
type trend struct {
	mu   sync.Mutex
	span time.Duration
	at   time.Time // it was last learned
}

// trendFall is how long a span that was an exception may count.
const trendFall = 2 * time.Second

func (t *trend) add(d time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := time.Now()
	share := min(max(now.Sub(t.at).Seconds()/trendFall.Seconds(), 1./8), 1)
	t.span = max(d, t.span-time.Duration(share*float64(t.span-d)))
	t.at = now
}

func (t *trend) get() time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.span
}

// recent are the last few spans of time.
type recent struct {
	mu    sync.Mutex
	spans [5]time.Duration
	n     int // that were learned
}

func (r *recent) add(d time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.spans[r.n%len(r.spans)] = d
	r.n++
}

// median is the middle one; 0 before there is any.
func (r *recent) median() time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	sorted := r.spans
	known := sorted[:min(r.n, len(sorted))]
	if len(known) == 0 {
		return 0
	}
	slices.Sort(known)
	return known[len(known)/2]
}
