package publisher

import (
	"context"
	"iter"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/kefuhq/kefu/schema"
)

// ReceiptsOptions say which receipts of an app to read. The zero value is all that are published
// from now on.
type ReceiptsOptions struct {
	After Position  // Those behind a receipt that was read before, as long as they are stored.
	Since time.Time // Without After, those stored since then. Receipts are kept for 3 days.

	Campaign string // Those of one campaign; "" is all.
	Source   string // Those of intents that one service has published ([WithSource]); "" is all.
}

// Match tells whether a receipt is one of those.
func (o ReceiptsOptions) Match(r schema.Receipt) bool {
	return (o.Campaign == "" || o.Campaign == r.Campaign) &&
		(o.Source == "" || o.Source == r.Source)
}

// Settled is how an intent ended, and where that is stored.
type Settled struct {
	schema.Receipt
	Position Position
}

// Receipts reads the receipts of an app, one after the other, in the order in which the broker has
// stored them. It waits for those to come, and goes on by itself after the broker was away: the
// loop ends when its body leaves it, or with an error, an [*Error], that comes alone. That is
// [ErrUnreadable], [ErrClosed], or why ctx has ended.
//
// A program that must miss none stores the Position of the last that it has dealt with, and goes on
// from there when it runs again. After a crash it may so meet a receipt twice, by its ID and
// Generation; so it may a few from the last minute when the stream of receipts was made anew.
//
// Each loop has a consumer of its own at the broker, which allows a thousand for all programs
// together: for single intents there is [Publisher.Wait].
func (p *Publisher) Receipts(
	ctx context.Context, appID string, o ReceiptsOptions,
) iter.Seq2[Settled, error] {
	return func(yield func(Settled, error) bool) {
		each := func(s Settled) bool { return yield(s, nil) }
		if err := p.eachReceipt(ctx, appID, o, each); err != nil {
			yield(Settled{}, &Error{AppID: appID, Err: err})
		}
	}
}

// eachReceipt calls each until that wants no more: then there is no error.
func (p *Publisher) eachReceipt(
	ctx context.Context, appID string, o ReceiptsOptions, each func(Settled) bool,
) error {
	if err := p.usable(ctx); err != nil {
		return err
	}
	if err := schema.CheckToken("appid", appID); err != nil {
		return err
	}
	life, done := p.whileOpen(ctx)
	defer done()
	r := reading{p: p, appID: appID, options: o, each: each}
	if !o.After.IsZero() {
		r.cursor = cursor{opened: true, next: o.After.Seq + 1, last: o.After, latest: o.After.Time}
	}
	var trouble trouble
	for {
		err := r.read(life, func() { trouble.times = 0 })
		switch {
		case err == nil:
			return nil
		case life.Err() != nil:
			return context.Cause(life)
		case p.nc.IsClosed():
			return unreadable(appID, nats.ErrConnectionClosed)
		}
		wait, report := trouble.add(err, p.timeout)
		if report {
			return unreadable(appID, err)
		}
		retry := time.NewTimer(wait)
		select {
		case <-retry.C:
		case <-life.Done():
		}
		retry.Stop()
	}
}

// whileOpen is a context that ends with the publisher, too. done ends it, and all that belongs to
// it.
func (p *Publisher) whileOpen(ctx context.Context) (life context.Context, done func()) {
	life, end := context.WithCancelCause(ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		select {
		case <-p.closed:
			end(errClosed)
		case <-life.Done():
		}
	}()
	return life, func() {
		end(nil)
		<-ended
	}
}

// reading is a loop over the receipts of an app.
type reading struct {
	p       *Publisher
	appID   string
	options ReceiptsOptions
	each    func(Settled) bool
	cursor  cursor
}

// read reads through one source until something goes wrong, or no more is wanted: then there is no
// error.
func (r *reading) read(ctx context.Context, begun func()) error {
	if !r.p.nc.IsConnected() {
		return nats.ErrDisconnected
	}
	s, first, err := r.p.resume(ctx, r.appID, r.cursor, since(r.options.Since))
	if err != nil {
		return err
	}
	defer s.close()
	r.cursor.begin(s)
	begun()
	if first != nil && !r.receive(*first) {
		return nil
	}
	for {
		m, err := s.next()
		if err != nil {
			return err
		}
		if !r.receive(m) {
			return nil
		}
	}
}

// receive tells whether more is wanted.
func (r *reading) receive(m storedReceipt) bool {
	if r.cursor.see(m) == seenBefore {
		return true
	}
	receipt, ok := readReceipt(m.data)
	if !ok || !r.options.Match(receipt) {
		return true
	}
	return r.each(Settled{Receipt: receipt, Position: r.cursor.last})
}
