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
	mu          sync.Mutex
	busy, again bool // again: lost once more while it is being mended
}

// mend has ensure called until it succeeds, and then done, in a goroutine of
// the worker's. A call while one is under way makes that one look once more.
func (m *mender) mend(w *Worker, ensure func() error, done func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.again = m.busy
	if m.busy {
		return
	}
	m.busy = true
	w.running.Go(func() {
		for {
			err := backoff.Retry(ensure, backoff.WithContext(patient(), w.work))
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
	m.busy = m.again
	m.again = false
	return m.busy
}

// bindTimeout is for one question to the broker while a consumer is mended.
const bindTimeout = 5 * time.Second

// bind sees to it that a consumer exists, and returns when it was made. While it
// cannot, the trouble says so.
func (w *Worker) bind(stream string, cfg jetstream.ConsumerConfig, subject, trouble string) (made time.Time, err error) {
	ctx, cancel := context.WithTimeout(w.work, bindTimeout)
	defer cancel()
	err = w.conn.Ask(ctx, func(ctx context.Context) error {
		c, err := w.conn.JS.CreateOrUpdateConsumer(ctx, stream, cfg)
		if err == nil {
			made = c.CachedInfo().Created
		}
		return err
	})
	if err != nil {
		w.unreadable(subject, trouble, err)
		return made, err
	}
	w.troubles.set(subject, "")
	return made, nil
}

// unreadable has the trouble say why a consumer cannot be had; that the broker
// is away says itself.
func (w *Worker) unreadable(subject, trouble string, err error) {
	if w.conn.Connected() {
		w.troubles.set(subject, fmt.Sprintf("%s: %v", trouble, err))
	}
}

// unbind deletes a consumer that another worker may still read: it is cut off,
// and all that it had not settled is handed out again at once, in order, by the
// one that is made next.
func (w *Worker) unbind(stream, consumer string) error {
	ctx, cancel := context.WithTimeout(w.work, bindTimeout)
	defer cancel()
	err := w.conn.Ask(ctx, func(ctx context.Context) error { return w.conn.JS.DeleteConsumer(ctx, stream, consumer) })
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
