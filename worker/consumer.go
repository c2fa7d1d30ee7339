package worker

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v4"
	"github.com/nats-io/nats.go/jetstream"
)

// mender brings back a consumer that was lost: deleted by hand, or with a
// broker that restarted.
type mender struct {
	mu              sync.Mutex
	busy, lostAgain bool // lostAgain: lost once more while it is being mended
}

// mend has ensure called until it succeeds, and then done, in a goroutine of the
// worker's. A call while one is under way has that one call ensure once more.
func (m *mender) mend(s *services, ensure func() error, done func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.lostAgain = m.busy
	if m.busy {
		return
	}
	m.busy = true
	s.running.Go(func() {
		for {
			err := backoff.Retry(ensure, backoff.WithContext(patient(), s.work))
			if m.onceMore() {
				continue
			}
			if err == nil {
				done()
			}
			return
		}
	})
}

// onceMore says whether the consumer was lost again meanwhile; if not, the
// mending is over. One that had to be given up may be wanted again: a shard
// that was lost and claimed anew.
func (m *mender) onceMore() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.busy = m.lostAgain
	m.lostAgain = false
	return m.busy
}

// bindTimeout is for one question to the broker while a consumer is mended.
const bindTimeout = 5 * time.Second

// makeConsumer sees to it that a consumer exists, and returns when it was made. While it
// cannot, the trouble says so.
func (s *services) makeConsumer(stream string, cfg jetstream.ConsumerConfig,
	subject, trouble string) (made time.Time, err error) {
	ctx, cancel := context.WithTimeout(s.work, bindTimeout)
	defer cancel()
	err = s.conn.Ask(ctx, func(ctx context.Context) error {
		c, err := s.conn.JS.CreateOrUpdateConsumer(ctx, stream, cfg)
		if err == nil {
			made = c.CachedInfo().Created
		}
		return err
	})
	if err != nil {
		s.unreadable(subject, trouble, err)
		return made, err
	}
	s.troubles.set(subject, "")
	return made, nil
}

// unreadable has the trouble say why a consumer cannot be had; that the broker
// is away says itself.
func (s *services) unreadable(subject, trouble string, err error) {
	if s.conn.Connected() {
		s.troubles.set(subject, fmt.Sprintf("%s: %v", trouble, err))
	}
}

// deleteConsumer deletes a consumer that another worker may still read: it is cut off,
// and all that it had not settled is handed out again at once, in order, by the
// one that is made next.
func (s *services) deleteConsumer(stream, consumer string) error {
	ctx, cancel := context.WithTimeout(s.work, bindTimeout)
	defer cancel()
	err := s.conn.Ask(ctx, func(ctx context.Context) error {
		return s.conn.JS.DeleteConsumer(ctx, stream, consumer)
	})
	if errors.Is(err, jetstream.ErrConsumerNotFound) {
		return nil
	}
	return err
}

// patient is the pause between tries of something that must succeed some day.
func patient() backoff.BackOff {
	b := backoff.NewExponentialBackOff()
	b.InitialInterval = 100 * time.Millisecond
	b.MaxInterval = 5 * time.Second
	b.MaxElapsedTime = 0
	return b
}
