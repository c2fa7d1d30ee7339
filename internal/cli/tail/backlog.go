package tail

import (
	"context"
	"sync"

	"github.com/kefuhq/kefu/schema"
)

// backlogSize is how many receipts wait at most for a terminal or a pipe that is slower than they
// come.
const backlogSize = 1000

// backlog is what has been read and not been printed. Beyond its size receipts are only counted.
type backlog struct {
	space chan struct{} // there is some again

	mu       sync.Mutex
	receipts []schema.Receipt
	skipped  int // how many came after these
	closed   bool
	more     chan struct{} // there is something, or the end
}

func newBacklog() *backlog {
	return &backlog{space: make(chan struct{}, 1), more: make(chan struct{}, 1)}
}

// add takes a receipt, or counts it when there is no space.
func (b *backlog) add(r schema.Receipt) { b.put(r, false) }

// addWhenFree takes a receipt as soon as there is space, or never when ctx ends before.
func (b *backlog) addWhenFree(ctx context.Context, r schema.Receipt) {
	for !b.put(r, true) {
		select {
		case <-b.space:
		case <-ctx.Done():
			return
		}
	}
}

// put tells whether nothing is left to do for a receipt. After one that was not taken no other is
// taken before the count of those has been.
func (b *backlog) put(r schema.Receipt, needed bool) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case len(b.receipts) < backlogSize && b.skipped == 0:
		b.receipts = append(b.receipts, r)
	case needed:
		return false
	default:
		b.skipped++
	}
	notify(b.more)
	return true
}

// take returns all that waits, and how many came after that and are not kept; ok is false at the
// end.
func (b *backlog) take() (receipts []schema.Receipt, skipped int, ok bool) {
	for {
		b.mu.Lock()
		receipts, skipped = b.receipts, b.skipped
		b.receipts, b.skipped = nil, 0
		closed := b.closed
		b.mu.Unlock()
		notify(b.space)
		if len(receipts) > 0 || skipped > 0 {
			return receipts, skipped, true
		}
		if closed {
			return nil, 0, false
		}
		<-b.more
	}
}

// close is called after the last receipt.
func (b *backlog) close() {
	b.mu.Lock()
	b.closed = true
	b.mu.Unlock()
	notify(b.more)
}

func notify(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default: // it will be looked at
	}
}
