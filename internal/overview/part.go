package overview

import (
	"context"
	"sync"
	"time"
)

const (
	// lookedFor is for how long after a look everything is kept fresh.
	lookedFor = 10 * time.Second
	// share is how much of the time a part is being read at most: a twentieth.
	share = 20
)

// reading is what a part was when it was read last.
type reading[T any] struct {
	value T
	at    time.Time     // when it was asked for; zero: never
	took  time.Duration // to read it
	err   error         // of the last try; value is of the one before
	tries int
}

// part is one part of the overview, which is read again and again while somebody looks. Two looks
// never read it twice.
type part[T any] struct {
	every time.Duration // at least
	read  func(context.Context) (T, error)

	mu      sync.Mutex
	last    reading[T]
	news    chan struct{} // closed when there is another reading
	looked  time.Time     // when last
	running bool
}

func newPart[T any](every time.Duration, read func(context.Context) (T, error)) *part[T] {
	return &part[T]{every: every, read: read, news: make(chan struct{})}
}

// look has the part kept fresh for a while, in goroutines of a group, and returns what it was when
// it was read last.
func (p *part[T]) look(ctx context.Context, group *sync.WaitGroup) reading[T] {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.looked = time.Now()
	if !p.running && ctx.Err() == nil {
		p.running = true
		group.Go(func() { p.keep(ctx) })
	}
	return p.last
}

// fresh is look that waits for a reading that is not stale, or for a try that failed.
func (p *part[T]) fresh(ctx, keep context.Context, group *sync.WaitGroup) (reading[T], error) {
	first := p.look(keep, group)
	for r := first; ; r = p.look(keep, group) {
		if !r.stale(p.every) || r.tries > first.tries {
			return r, nil
		}
		p.mu.Lock()
		news := p.news
		done := p.last.tries > r.tries
		p.mu.Unlock()
		if done {
			continue
		}
		select {
		case <-news:
		case <-ctx.Done():
			return r, ctx.Err()
		case <-keep.Done():
			return r, keep.Err()
		}
	}
}

// stale says whether a reading is older than it would be if somebody had looked all the time.
func (r reading[T]) stale(every time.Duration) bool {
	return r.at.IsZero() || time.Since(r.at) > 2*max(every, share*r.took)+r.took+time.Second
}

// keep reads again and again until nobody looks any more.
func (p *part[T]) keep(ctx context.Context) {
	for {
		took := p.once(ctx)
		select {
		case <-ctx.Done():
		case <-time.After(max(p.every, share*took)):
		}
		p.mu.Lock()
		over := ctx.Err() != nil || time.Since(p.looked) > max(lookedFor, p.every)
		p.running = !over
		p.mu.Unlock()
		if over {
			return
		}
	}
}

// once reads once, and says how long that took.
func (p *part[T]) once(ctx context.Context) time.Duration {
	begun := time.Now()
	value, err := p.read(ctx)
	took := time.Since(begun)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.last.tries++
	if p.last.err = err; err == nil {
		p.last.value, p.last.at, p.last.took = value, begun, took
	}
	close(p.news)
	p.news = make(chan struct{})
	return took
}
