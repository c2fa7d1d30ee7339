package console

import (
	"context"
	"sync"
	"time"
)

const (
	// Something that was read counts as fresh for so long at least, and for twenty times as long as
	// it took to read: what costs much is read seldom.
	cachedFor   = 3 * time.Second
	cachedTimes = 20
	// cachedWait is how long a page waits for something that was never read.
	cachedWait = 1500 * time.Millisecond
	// cachedMost is how many things are kept.
	cachedMost = 64
	// cachedPatience is how long reading may take.
	cachedPatience = 2 * time.Minute
)

// cached reads something that costs the broker much, once for all pages that show it and in the
// background.
type cached[T any] struct {
	ctx     context.Context
	working *sync.WaitGroup

	mu   sync.Mutex
	kept map[string]*keptValue[T]
}

// keptValue is one thing that was read.
type keptValue[T any] struct {
	value T
	err   error
	at    time.Time // zero: never
	took  time.Duration
	asked time.Time
	done  chan struct{} // closed when it was read; nil while nobody reads
}

// look returns what was read last, and when; a zero time while it is read for the first time.
func (c *cached[T]) look(
	ctx context.Context, key string, read func(context.Context) (T, error),
) (value T, at time.Time, err error) {
	c.mu.Lock()
	if c.kept == nil {
		c.kept = make(map[string]*keptValue[T])
	}
	k, ok := c.kept[key]
	if !ok {
		c.forget()
		k = &keptValue[T]{}
		c.kept[key] = k
	}
	k.asked = time.Now()
	stale := k.at.IsZero() || time.Since(k.at) > max(cachedFor, cachedTimes*k.took)
	if stale && k.done == nil {
		k.done = make(chan struct{})
		c.working.Go(func() { c.read(k, read) })
	}
	done, first := k.done, k.at.IsZero()
	c.mu.Unlock()
	if first && done != nil {
		wait := time.NewTimer(cachedWait)
		defer wait.Stop()
		select {
		case <-done:
		case <-wait.C:
		case <-ctx.Done():
			return value, at, ctx.Err()
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return k.value, k.at, k.err
}

func (c *cached[T]) read(k *keptValue[T], read func(context.Context) (T, error)) {
	ctx, cancel := context.WithTimeout(c.ctx, cachedPatience)
	defer cancel()
	began := time.Now()
	value, err := read(ctx)
	c.mu.Lock()
	defer c.mu.Unlock()
	k.value, k.err, k.at, k.took = value, err, time.Now(), time.Since(began)
	close(k.done)
	k.done = nil
}

// forget makes space by what nobody has asked for the longest.
func (c *cached[T]) forget() {
	for len(c.kept) >= cachedMost {
		oldest := ""
		for key, k := range c.kept {
			if oldest == "" || k.asked.Before(c.kept[oldest].asked) {
				oldest = key
			}
		}
		delete(c.kept, oldest)
	}
}

// drop forgets all that was read: somebody has changed it.
func (c *cached[T]) drop() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for key, k := range c.kept {
		if k.done == nil {
			delete(c.kept, key)
		}
	}
}
