package publisher

import (
	"context"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/kefuhq/kefu/schema"
)

// What tests of the outside need of the inside.

// MaxReaders is how many receipts of an app are looked up at once.
const MaxReaders = maxReaders

// Watcher keeps the receipts of an app read, as one who waits does.
type Watcher struct {
	p      *Publisher
	feed   *feed
	opened time.Time
}

// Watch returns when each receipt that is published from now on will be read.
func (p *Publisher) Watch(ctx context.Context, appID string) (*Watcher, error) {
	f, err := p.feed(appID)
	if err != nil {
		return nil, err
	}
	if err := f.ready(ctx); err != nil {
		f.release()
		return nil, err
	}
	return &Watcher{p, f, time.Now()}, nil
}

// Close gives back what the watcher holds.
func (w *Watcher) Close() { w.feed.release() }

// Wait waits for the receipt of an intent as if it had just been published under an id made here.
func (w *Watcher) Wait(ctx context.Context, id string) (schema.Receipt, error) {
	return w.p.Wait(ctx, Accepted{AppID: w.feed.appID, ID: id, made: true, At: w.opened})
}

// Remember has the watcher's feed forget all but the newest n receipts.
func (w *Watcher) Remember(n int) {
	w.feed.mu.Lock()
	defer w.feed.mu.Unlock()
	w.feed.memory.keep = n
}

// Ahead has the newest receipt that was read, or the opening, have been stamped by a node whose
// clock is ahead by d.
func (w *Watcher) Ahead(d time.Duration) {
	w.feed.mu.Lock()
	defer w.feed.mu.Unlock()
	w.feed.memory.latest = w.feed.memory.latest.Add(d)
}

// Failing tells whether the watcher cannot read.
func (w *Watcher) Failing() bool { return w.feed.failing() != nil }

// Linger has feeds that nobody uses end after d.
func (p *Publisher) Linger(d time.Duration) { p.linger = d }

// Idle has the broker remove the consumer of one who is away after d.
func (p *Publisher) Idle(d time.Duration) { p.idle = d }

// Progress has it told how far was read after d without a receipt.
func (p *Publisher) Progress(d time.Duration) { p.progress = d }

// MissedBehind is what was stored behind a position and is not any more.
var MissedBehind = missedBehind

// Election has an app that cannot be asked about be unknown after d.
func (p *Publisher) Election(d time.Duration) { p.election = d }

// Waiting is how many receipts of an app are waited for.
func (p *Publisher) Waiting(appID string) int {
	p.mu.Lock()
	f := p.feeds[appID]
	p.mu.Unlock()
	if f == nil {
		return 0
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.waiting)
}

// Conn is the connection that the publisher was made with.
func (p *Publisher) Conn() *nats.Conn { return p.nc }
