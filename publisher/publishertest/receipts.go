package publishertest

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"time"

	"github.com/kefuhq/kefu/publisher"
	"github.com/kefuhq/kefu/schema"
)

// Wait does what [publisher.Publisher.Wait] does.
func (p *Publisher) Wait(ctx context.Context, accepted publisher.Accepted) (schema.Receipt, error) {
	var r schema.Receipt
	err := schema.CheckID(accepted.ID)
	if err == nil {
		r, err = p.wait(ctx, accepted)
	}
	if err != nil {
		return schema.Receipt{ID: accepted.ID, AppID: accepted.AppID},
			&publisher.Error{AppID: accepted.AppID, ID: accepted.ID, Err: err}
	}
	return r, nil
}

func (p *Publisher) wait(ctx context.Context, accepted publisher.Accepted) (schema.Receipt, error) {
	anyLife := accepted.Duplicate || accepted.At.IsZero()
	find := func(a *app) *schema.Receipt {
		in := a.last(accepted.ID)
		if in == nil || in.State == schema.StateQueued && !anyLife {
			return nil // what there is belongs to an earlier life of the id
		}
		return a.newest(accepted.ID)
	}
	for {
		r, changed, err := p.look(accepted.AppID, find)
		if err != nil {
			return schema.Receipt{}, err
		}
		if r != nil {
			return *r, nil
		}
		select {
		case <-changed:
		case <-p.closed:
		case <-ctx.Done():
			cause := context.Cause(ctx)
			return schema.Receipt{}, fmt.Errorf("%w: %w", publisher.ErrNoReceipt, cause)
		}
	}
}

// Receipt does what [publisher.Publisher.Receipt] does.
func (p *Publisher) Receipt(_ context.Context, appID, id string) (schema.Receipt, error) {
	r, _, err := p.look(appID, func(a *app) *schema.Receipt { return a.newest(id) })
	if err == nil && r == nil {
		err = fmt.Errorf("%w of it is stored for app %s", publisher.ErrNoReceipt, appID)
	}
	if err != nil {
		return schema.Receipt{ID: id, AppID: appID},
			&publisher.Error{AppID: appID, ID: id, Err: err}
	}
	return *r, nil
}

// newest is the newest receipt of an id, nil for none.
func (a *app) newest(id string) *schema.Receipt {
	for _, s := range slices.Backward(a.receipts[a.expired:]) {
		if s.ID == id {
			return &s.Receipt
		}
	}
	return nil
}

// look finds a receipt; changed is closed when there is another.
func (p *Publisher) look(
	appID string, find func(*app) *schema.Receipt,
) (r *schema.Receipt, changed <-chan struct{}, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.isClosed() {
		return nil, nil, publisher.ErrClosed
	}
	if err := schema.CheckToken("appid", appID); err != nil {
		return nil, nil, err
	}
	a := p.apps[appID]
	if a == nil {
		return nil, nil, nil // a nil channel: there will never be one
	}
	return find(a), a.changed, nil
}

// Receipts does what [publisher.Publisher.Receipts] does. Of Progress it has the beginning only: a
// test that stores no receipts waits for none.
func (p *Publisher) Receipts(
	ctx context.Context, appID string, o publisher.ReceiptsOptions,
) iter.Seq2[publisher.Settled, error] {
	return func(yield func(publisher.Settled, error) bool) {
		each := func(s publisher.Settled) bool { return yield(s, nil) }
		r := reading{p: p, appID: appID, options: o, each: each}
		if err := r.run(ctx); err != nil {
			yield(publisher.Settled{}, &publisher.Error{AppID: appID, Err: err})
		}
	}
}

// reading is a loop over the receipts of an app.
type reading struct {
	p       *Publisher
	appID   string
	options publisher.ReceiptsOptions
	each    func(publisher.Settled) bool
	next    int               // how many receipts are behind
	missed  *publisher.Missed // to be told with what comes next
}

// run yields until no more is wanted: then there is no error.
func (r *reading) run(ctx context.Context) (err error) {
	if s := r.options.State; s != "" && !s.Terminal() {
		return &schema.FieldError{Field: "state", Rule: "must be sent, dead or cancelled"}
	}
	if r.next, r.missed, err = r.p.first(r.appID, r.options); err != nil {
		return err
	}
	for isFirst := true; ; isFirst = false {
		got, changed, err := r.p.behind(r.appID, r.next)
		if err != nil {
			return err
		}
		isEmpty := isFirst && r.options.After.IsZero() && len(got) == 0
		if r.options.Progress && (r.missed != nil || isEmpty) {
			at := publisher.Position{Seq: uint64(r.next), Time: time.Now()}
			if !r.yield(publisher.Settled{Position: at}) {
				return nil
			}
		}
		for _, s := range got {
			if r.next++; r.options.Match(s.Receipt) && !r.yield(s) {
				return nil
			}
		}
		select {
		case <-changed:
		case <-r.p.closed:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// yield tells whether more is wanted.
func (r *reading) yield(s publisher.Settled) bool {
	s.Missed, r.missed = r.missed, nil
	return r.each(s)
}

// behind is the receipts of an app but for the first n.
func (p *Publisher) behind(
	appID string, n int,
) (got []publisher.Settled, changed <-chan struct{}, err error) {
	_, changed, err = p.look(appID, func(a *app) *schema.Receipt {
		got = slices.Clone(a.receipts[n:])
		return nil
	})
	return got, changed, err
}

// first is how many receipts are behind where reading begins, and the gap before that.
func (p *Publisher) first(
	appID string, o publisher.ReceiptsOptions,
) (n int, missed *publisher.Missed, err error) {
	_, _, err = p.look(appID, func(a *app) *schema.Receipt {
		switch {
		case !o.After.IsZero():
			n = int(min(o.After.Seq, uint64(len(a.receipts))))
			if n < a.expired {
				missed = &publisher.Missed{
					After: o.After.Time, Before: time.Now(), AtMost: uint64(a.expired - n),
				}
			}
		case o.Since.IsZero():
			n = len(a.receipts)
		default:
			isSince := func(s publisher.Settled) bool { return !s.SettledAt.Before(o.Since) }
			if n = slices.IndexFunc(a.receipts, isSince); n < 0 {
				n = len(a.receipts)
			}
		}
		n = max(n, a.expired)
		return nil
	})
	return n, missed, err
}

// Cancel does what [publisher.Publisher.Cancel] does: an intent that is queued ends at once,
// cancelled.
func (p *Publisher) Cancel(_ context.Context, appID, id string, _ ...publisher.CancelOption) error {
	if err := schema.CheckID(id); err != nil {
		return &publisher.Error{AppID: appID, ID: id, Err: err}
	}
	known := false
	_, _, err := p.look(appID, func(a *app) *schema.Receipt {
		known = true
		if in := a.last(id); in != nil && in.State == schema.StateQueued {
			a.settle(in, schema.Receipt{AppID: appID, ID: id, State: schema.StateCancelled})
		}
		return nil
	})
	if err == nil && !known {
		err = fmt.Errorf("%w: no queue takes intents of app %s", publisher.ErrUnknownApp, appID)
	}
	if err != nil {
		return &publisher.Error{AppID: appID, ID: id, Err: err}
	}
	return nil
}
