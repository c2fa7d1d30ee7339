package publisher

import "time"

// What tests of the outside need of the inside.

// ReadersMost is how many receipts of an app are looked up at once.
const ReadersMost = readersMost

// Remember has the watcher's feed forget all but the newest n receipts.
func (w *Watcher) Remember(n int) {
	w.feed.mu.Lock()
	defer w.feed.mu.Unlock()
	w.feed.memory.keep = n
}

// Ahead has the newest receipt that was read, or the opening, have been stamped by
// a node whose clock is ahead by d.
func (w *Watcher) Ahead(d time.Duration) {
	w.feed.mu.Lock()
	defer w.feed.mu.Unlock()
	w.feed.memory.latest = w.feed.memory.latest.Add(d)
}

// Linger has feeds that nobody uses end after d.
func (p *Publisher) Linger(d time.Duration) { p.linger = d }

// Election has an app that cannot be asked about be unknown after d.
func (p *Publisher) Election(d time.Duration) { p.election = d }

// Waiting is how many receipts of an app are waited for.
func (p *Publisher) Waiting(appID string) int {
	p.mu.Lock()
	f := p.feeds[appID]
	p.mu.Unlock()
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.waiting)
}

// Failing tells whether the watcher cannot read.
func (w *Watcher) Failing() bool { return w.feed.failing() != nil }
