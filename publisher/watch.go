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
//	receipt, err := w.Wait(ctx, accepted.ID)
//
// It may be used by many goroutines at once, lives for as long as it is needed,
// and goes on by itself after the broker was away.
type Watcher struct {
	p     *Publisher
	appID string
	keep  int // how many receipts it remembers
	stop  context.CancelCauseFunc
	done  chan struct{}

	mu      sync.Mutex
	begin   uint64 // sequence of the first receipt that belongs to it
	got     map[string]heard
	order   []mention // of got, oldest first
	count   uint64
	dropped bool // something was forgotten
	waiting map[string]map[chan schema.Receipt]bool
}

// heard is a receipt, and the how-manieth it was.
type heard struct {
	receipt schema.Receipt
	n       uint64
}

type mention struct {
	id string
	n  uint64
}

// remembered is how many receipts a watcher keeps for those who ask later. It
// looks up older ones at the broker.
const remembered = 16384

// Watch opens a watcher: each receipt that is published from now on is known
// to it. ctx is for the opening alone; [Watcher.Close] ends it.
func (p *Publisher) Watch(ctx context.Context, appID string) (*Watcher, error) {
	run, stop := context.WithCancelCause(context.WithoutCancel(ctx))
	opened := context.AfterFunc(ctx, func() { stop(context.Cause(ctx)) })
	s, err := p.open(run, appID, from{})
	if !opened() && err == nil { // ctx ended meanwhile, and the source with it
		s.close()
		err = context.Cause(ctx)
	}
	if err != nil {
		stop(nil)
		return nil, err
	}
	w := &Watcher{
		p: p, appID: appID, keep: remembered, stop: stop, done: make(chan struct{}), begin: s.start,
		got: make(map[string]heard), waiting: make(map[string]map[chan schema.Receipt]bool),
	}
	go w.run(run, s)
	return w, nil
}

// Close ends the watcher, and every Wait with [ErrWatcherClosed].
func (w *Watcher) Close() {
	w.stop(ErrWatcherClosed)
	<-w.done
}

// Wait returns the receipt of an intent when there is one: at once if it came
// since [Publisher.Watch], and the newest if there were several (a dead intent
// that was replayed has a second). It does not know of receipts from before, see
// [Publisher.Receipt].
//
// When ctx ends first the receipt holds the id and no state.
func (w *Watcher) Wait(ctx context.Context, id string) (schema.Receipt, error) {
	none := schema.Receipt{ID: id, AppID: w.appID}
	w.mu.Lock()
	if h, ok := w.got[id]; ok {
		w.mu.Unlock()
		return h.receipt, nil
	}
	ch := make(chan schema.Receipt, 1)
	if w.waiting[id] == nil {
		w.waiting[id] = make(map[chan schema.Receipt]bool)
	}
	w.waiting[id][ch] = true
	dropped := w.dropped
	w.mu.Unlock()
	defer w.leave(id, ch)

	if dropped { // it may have been among what was forgotten
		r, _, err := w.p.find(ctx, w.appID, id, from{seq: w.begin}, 0)
		if err != nil {
			return none, fmt.Errorf("look for the receipt of intent %s: %w", id, err)
		}
		if r != nil {
			return *r, nil
		}
	}
	select {
	case r := <-ch:
		return r, nil
	case <-w.done:
		return none, ErrWatcherClosed
	case <-ctx.Done():
		cause := context.Cause(ctx)
		return none, &refusal{is: ErrNoReceipt, cause: cause, text: fmt.Sprintf(
			"no receipt of intent %s of app %s yet; is a worker running, and does it publish them (worker.receipts: all)? %v", id, w.appID, cause)}
	}
}

// repeatAfter is how long a receipt is waited for before it is asked whether
// the intent may be a repeat of one that was sent.
const repeatAfter = 2 * time.Second

// WaitFor is Wait for an intent that was published just now. A repeat of an
// intent that has ended makes no new receipt: then the one of that is returned,
// if it was sent within the last three hours or the broker called the repeat a
// duplicate.
func (w *Watcher) WaitFor(ctx context.Context, a Accepted) (schema.Receipt, error) {
	if a.Duplicate { // it may have ended before the watcher was opened
		r, err := w.p.Receipt(ctx, w.appID, a.ID)
		if !errors.Is(err, ErrNoReceipt) {
			return r, err
		}
	}
	if a.made { // no other intent ever had this id
		return w.Wait(ctx, a.ID)
	}
	soon, cancel := context.WithTimeout(ctx, repeatAfter)
	defer cancel()
	r, err := w.Wait(soon, a.ID)
	if !errors.Is(err, ErrNoReceipt) || ctx.Err() != nil {
		return r, err
	}
	// Only what was sent stays ended: an id that died lives again with the repeat.
	before, err := w.p.receipt(ctx, w.appID, a.ID, ages[:len(ages)-1])
	if err == nil && before.State == schema.Sent {
		return before, nil
	}
	return w.Wait(ctx, a.ID)
}

func (w *Watcher) leave(id string, ch chan schema.Receipt) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.waiting[id], ch)
	if len(w.waiting[id]) == 0 {
		delete(w.waiting, id)
	}
}

// run reads for as long as the watcher lives, through one source after the other.
func (w *Watcher) run(ctx context.Context, s *source) {
	defer close(w.done)
	next := s.start
	for {
		for s != nil {
			m, err := s.next()
			if err != nil {
				s.close()
				break
			}
			next = m.seq + 1
			if r, ok := readReceipt(m.data); ok {
				w.take(r)
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(jitter(pause)):
		}
		if w.p.nc.IsClosed() {
			return
		}
		// The broker is asked again at every turn; an error is the next turn.
		s, _ = w.p.open(ctx, w.appID, from{seq: next})
	}
}

// take remembers a receipt and gives it to those who wait for it.
func (w *Watcher) take(r schema.Receipt) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.count++
	w.got[r.ID] = heard{r, w.count}
	w.order = append(w.order, mention{r.ID, w.count})
	if len(w.order) > w.keep {
		oldest := w.order[0]
		w.order = w.order[1:]
		if w.got[oldest.id].n == oldest.n {
			delete(w.got, oldest.id)
			w.dropped = true
		}
	}
	for ch := range w.waiting[r.ID] {
		select {
		case ch <- r:
		default: // has one
		}
	}
}
