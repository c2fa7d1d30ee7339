package publisher

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/kefuhq/kefu/schema"
)

// Watcher hears what becomes of the intents of one app. It is opened before
// they are published:
//
//	w, err := p.Watch(ctx, appID)
//	...
//	defer w.Close()
//	accepted, err := p.Publish(ctx, appID, packet)
//	...
//	receipt, err := w.WaitFor(ctx, accepted)
//
// It may be used by many goroutines at once, lives for as long as it is needed,
// and goes on by itself after the broker was away. All watchers of an app share
// one consumer at the broker: thousands may be open.
type Watcher struct {
	feed   *feed
	since  position  // of the first receipt that belongs to it
	opened time.Time // on the broker's clock
	closed chan struct{}
	once   sync.Once
}

// Watch opens a watcher: each receipt that is published from now on is known to
// it, and the newest million of them are remembered. ctx is for the opening
// alone; [Watcher.Close] ends it. When the receipts cannot be read the error is
// [ErrUnreadable].
func (p *Publisher) Watch(ctx context.Context, appID string) (*Watcher, error) {
	if err := p.usable(ctx); err != nil {
		return nil, err
	}
	f, err := p.feed(appID)
	if err != nil {
		return nil, err
	}
	if err := f.ready(ctx); err != nil {
		f.release()
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return &Watcher{feed: f, since: f.memory.position(), opened: f.brokerTime(), closed: make(chan struct{})}, nil
}

// Close ends the watcher, and every Wait with [ErrWatcherClosed].
func (w *Watcher) Close() {
	w.once.Do(func() {
		close(w.closed)
		w.feed.release()
	})
}

// Wait returns the receipt of an intent when there is one: at once if it came
// since [Publisher.Watch], and the newest if there were several (a dead intent
// that was replayed has a second). It does not know of receipts from before, see
// [Publisher.Receipt].
//
// When ctx ends first the error is [ErrNoReceipt], when the receipts cannot be
// read any more, [ErrUnreadable]. The receipt then holds the id and no state.
func (w *Watcher) Wait(ctx context.Context, id string) (schema.Receipt, error) {
	return w.wait(ctx, id, func(schema.Receipt, bool) bool { return true }, nil)
}

const (
	// repeatAfter is how long a receipt is waited for before it is asked whether
	// the intent may be a repeat of one that was sent.
	repeatAfter = 2 * time.Second

	// clockSlack is how much the clocks of the broker's nodes may differ.
	clockSlack = time.Minute
)

// WaitFor is Wait for an intent that was published after the watcher was opened.
// A repeat of an intent that has ended makes no new receipt: then the one of
// that is returned, if it ended within the last three hours and was sent, or the
// broker called the repeat a duplicate.
//
// An intent that died or was cancelled lives again when its id is published
// again. The receipt of the earlier one is not taken for the new one's.
func (w *Watcher) WaitFor(ctx context.Context, a Accepted) (schema.Receipt, error) {
	fits := func(r schema.Receipt, past bool) bool {
		return a.Duplicate || r.State == schema.StateSent ||
			!past && (r.PublishedAt.IsZero() || r.PublishedAt.After(w.opened.Add(-clockSlack)))
	}
	if a.made { // no other intent ever had this id
		return w.wait(ctx, a.ID, fits, nil)
	}
	var patience time.Duration // of a duplicate: it may have ended before
	if !a.Duplicate {
		patience = repeatAfter
	}
	search := time.NewTimer(patience)
	defer search.Stop()
	return w.wait(ctx, a.ID, fits, search.C)
}

// wait waits for a receipt that fits; once search rings also for one from before.
func (w *Watcher) wait(ctx context.Context, id string, fits func(schema.Receipt, bool) bool, search <-chan time.Time) (schema.Receipt, error) {
	f := w.feed
	none := schema.Receipt{ID: id, AppID: f.appID}
	me := &waiter{id: id, fits: fits, wake: make(chan struct{}, 1)}
	w.enter(me)
	defer f.leave(me)
	for {
		select {
		case <-w.closed:
			return none, ErrWatcherClosed
		default:
		}
		select {
		case <-me.wake:
			r, err := f.collect(me)
			if err != nil {
				return none, err
			}
			if r != nil {
				return *r, nil
			}
		case <-search:
			f.searchFor(me)
		case <-w.closed:
		case <-f.done:
			return none, f.ended()
		case <-ctx.Done():
			return none, f.noReceipt(id, context.Cause(ctx))
		}
	}
}

func (f *feed) noReceipt(id string, cause error) error {
	if failing := f.failing(); failing != nil {
		return &refusal{is: ErrNoReceipt, cause: errors.Join(cause, f.unreadable(failing)), text: fmt.Sprintf(
			"no receipt of intent %s of app %s yet, and receipts cannot be read now: %v: %v", id, f.appID, failing, cause)}
	}
	return &refusal{is: ErrNoReceipt, cause: cause, text: fmt.Sprintf(
		"no receipt of intent %s of app %s yet; is a worker running, and does it publish them (worker.receipts: all)? %v", id, f.appID, cause)}
}

// enter has the waiter told of what comes, and of what has come since the
// watcher was opened.
func (w *Watcher) enter(me *waiter) {
	f := w.feed
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.waiting[me.id] == nil {
		f.waiting[me.id] = make(map[*waiter]bool)
	}
	f.waiting[me.id][me] = true
	h, ok := f.memory.recall(me.id)
	switch {
	case !ok || f.memory.before(h.seq, w.since):
		return
	case h.receipt == nil:
		f.lookUp(me, h.seq, false)
	case me.fits(*h.receipt, false):
		me.receipt = h.receipt
		me.notify()
	}
}

func (f *feed) leave(me *waiter) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.lookups.wanted.remove(me)
	delete(f.waiting[me.id], me)
	if len(f.waiting[me.id]) == 0 {
		delete(f.waiting, me.id)
	}
}

// collect returns what the waiter was woken for.
func (f *feed) collect(me *waiter) (*schema.Receipt, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if me.receipt != nil {
		return me.receipt, nil
	}
	return nil, me.err
}
