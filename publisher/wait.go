package publisher

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/kefuhq/kefu/schema"
)

const (
	// repeatAfter is how long a receipt is waited for before it is asked whether the intent may be
	// a repeat of one that was sent.
	repeatAfter = 2 * time.Second

	// clockSlack is how much the clocks of the broker's nodes may differ.
	clockSlack = time.Minute
)

// Wait returns the receipt of an intent when it has ended: sent, dead or cancelled. It may be
// called at any time after the publish, also when the intent has ended meanwhile, and by thousands
// at once. All who wait for receipts of an app share one consumer at the broker, which is closed a
// minute after the last of them, or by [Publisher.Close].
//
// ctx should have an end: an intent may wait for hours, workers may be set to publish no receipts,
// and what is cancelled with its campaign has none of its own. When ctx ends first the error is
// [ErrNoReceipt].
//
// [ErrUnreadable] says that receipts cannot be read. It is told at the first try when that does not
// pass by itself (a missing permission, no stream of receipts), else after 15 s ([WithTimeout]).
// The intent is queued by then, and is sent all the same: Publish opens no consumer, because most
// programs never wait. A program that must know before it publishes waits for any id when it
// starts, see the example.
//
// With any error the receipt holds the id and no state.
//
// An [Accepted] that was not kept is as good as its AppID and ID: then the newest receipt of the id
// is returned, be it from before or to come. Receipts from more than three hours before the first
// wait are not looked at, see [Publisher.Receipt].
//
// A repeat of an intent that was sent makes no new receipt: the one of that is returned. An intent
// that died or was cancelled lives again when its id is published again: the receipt of the earlier
// one is not taken for the new one's, unless the broker called the repeat a duplicate.
func (p *Publisher) Wait(ctx context.Context, a Accepted) (schema.Receipt, error) {
	r, err := p.wait(ctx, a)
	if err != nil {
		return schema.Receipt{ID: a.ID, AppID: a.AppID}, &Error{AppID: a.AppID, ID: a.ID, Err: err}
	}
	return r, nil
}

func (p *Publisher) wait(ctx context.Context, a Accepted) (schema.Receipt, error) {
	var none schema.Receipt
	if err := p.usable(ctx); err != nil {
		return none, err
	}
	if err := schema.CheckID(a.ID); err != nil {
		return none, err
	}
	f, err := p.feed(a.AppID)
	if err != nil {
		return none, err
	}
	defer f.release()
	if err := f.ready(ctx); err != nil {
		return none, err
	}
	return f.wait(ctx, a)
}

// wait waits for the receipt of an intent.
func (f *feed) wait(ctx context.Context, a Accepted) (schema.Receipt, error) {
	me, began, missed := f.enter(a)
	defer f.leave(me)
	if missed {
		f.searchFor(me, began)
	}
	var repeated <-chan time.Time
	if !a.made { // no other intent has an id that was made
		patience := repeatAfter
		if a.Duplicate || a.At.IsZero() {
			patience = 0 // it may have ended before
		}
		timer := time.NewTimer(patience)
		defer timer.Stop()
		repeated = timer.C
	}
	for {
		select {
		case <-me.wake:
			r, err := f.collect(me)
			if err != nil {
				return schema.Receipt{}, err
			}
			if r != nil {
				return *r, nil
			}
		case <-repeated:
			f.searchFor(me, time.Time{})
		case <-f.done:
			return schema.Receipt{}, f.ended()
		case <-ctx.Done():
			return schema.Receipt{}, f.noReceipt(context.Cause(ctx))
		}
	}
}

// noReceipt is the error when time is over.
func (f *feed) noReceipt(cause error) error {
	if failing := f.failing(); failing != nil {
		text := fmt.Sprintf("no receipt of app %s yet, and receipts cannot be read now: %v: %v",
			f.appID, failing, cause)
		both := errors.Join(cause, f.unreadable(failing))
		return &refusal{is: ErrNoReceipt, cause: both, text: text}
	}
	text := fmt.Sprintf("no receipt yet; is a worker of app %s running, "+
		"and does it publish them (worker.receipts: all)? %v", f.appID, cause)
	return &refusal{is: ErrNoReceipt, cause: cause, text: text}
}

// enter has the receipt of an intent given to the waiter that it returns, at once if it has been
// read. It tells when the intent was published, on the broker's clock, and whether it may have
// ended before the feed was opened.
func (f *feed) enter(a Accepted) (me *waiter, began time.Time, missed bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	began = a.At.Add(f.ahead - clockSlack)
	anyLife := a.Duplicate || a.At.IsZero()
	me = &waiter{id: a.ID, wake: make(chan struct{}, 1), fits: func(r schema.Receipt) bool {
		return anyLife || r.State == schema.StateSent || r.PublishedAt.After(began)
	}}
	if f.waiting[me.id] == nil {
		f.waiting[me.id] = make(map[*waiter]bool)
	}
	f.waiting[me.id][me] = true
	if h, ok := f.memory.recall(me.id); ok {
		f.found(me, h)
	}
	return me, began, !a.At.IsZero() && a.At.Before(f.since)
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
