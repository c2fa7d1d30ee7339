package gate

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/kefuhq/kefu/internal/broker"
)

// store is the broker as budgets use it.
type store interface {
	Connected() bool
	Last(ctx context.Context, stream, subject string) (broker.Stored, error)
	LastState(ctx context.Context, key string) (broker.StateEntry, error)
	Swap(ctx context.Context, m *nats.Msg, last uint64) (seq uint64, err error)
	EnsureRateStream(ctx context.Context) (now, created time.Time, err error)
}

const (
	askTimeout  = 400 * time.Millisecond // of one question to the broker, while answers are quick
	askLongest  = 5 * time.Second        // of any; an answer that takes longer is no use to anybody
	askPatience = 4                      // round trips that a question may take
)

// trips measures how long the broker's answers take, for those who ask ahead.
type trips struct{ span trend }

// lead is the round trip to allow for.
func (r *trips) lead() time.Duration { return r.span.get() }

// ask puts a question to the broker, and measures the answer.
func (r *trips) ask(ctx context.Context, question func(context.Context) error) error {
	patience := min(max(askPatience*r.lead(), askTimeout), askLongest)
	bounded, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	asked := time.Now()
	err := question(bounded)
	switch took := time.Since(asked); {
	case err == nil, errors.Is(err, broker.ErrOvertaken), errors.Is(err, broker.ErrNoMessage):
		r.span.learn(min(took, askLongest))
	case bounded.Err() != nil && ctx.Err() == nil:
		r.span.learn(patience) // it takes that long at least: the next question gets more time
	}
	return err
}

// trend follows a span of time for those who must allow for it: it rises at once
// and falls slowly, by an eighth of the difference each time.
type trend struct {
	mu   sync.Mutex
	span time.Duration
}

func (t *trend) learn(d time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.span = max(d, t.span-(t.span-d)/8)
}

func (t *trend) get() time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.span
}
