package publisher

import (
	"context"
	"errors"
	"iter"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/kefuhq/kefu/schema"
)

// ReceiptsOptions say which receipts of an app to read. The zero value is all that are published
// from now on.
//
// The broker leaves out those of other apps and, with State, of other ends. No subject tells the
// campaign or the source: with these all receipts of the app are read, some 300 bytes each and a
// hundred thousand in a second, and the others left out here.
type ReceiptsOptions struct {
	After Position  // Those behind a receipt that was read before, as long as they are stored.
	Since time.Time // Without After, those stored since then. Receipts are kept for 3 days.

	Campaign string       // Those of one campaign; "" is all.
	Source   string       // Those of intents that one service has published ([WithSource]); "" is all.
	State    schema.State // Those of intents that ended so; "" is all.

	// Progress also yields how far was read while nothing comes that is wanted, about every five
	// minutes, and at the beginning when nothing is stored yet: a [Settled] without a receipt. A
	// program that stores these positions goes on near the end after a quiet day, and is not told of
	// a gap ([Settled.Missed]) only because its last receipt was long ago.
	Progress bool
}

// Match tells whether a receipt is one of those.
func (o ReceiptsOptions) Match(r schema.Receipt) bool {
	return (o.Campaign == "" || o.Campaign == r.Campaign) &&
		(o.Source == "" || o.Source == r.Source) &&
		(o.State == "" || o.State == r.State)
}

// check says what is wrong with the options.
func (o ReceiptsOptions) check() error {
	if o.State != "" && !o.State.Terminal() {
		return &schema.FieldError{Field: "state", Rule: "must be sent, dead or cancelled"}
	}
	return nil
}

// Settled is how an intent ended, and where that is stored.
type Settled struct {
	// Receipt has no State when it tells how far was read, and of no intent
	// ([ReceiptsOptions.Progress]).
	schema.Receipt
	Position Position

	// Missed is a gap right before this one, nil when there is none.
	Missed *Missed
}

// Missed is a gap among the receipts of an app: some may have been stored in it, and are not any
// more. What became of an intent that was open then, kefu find may still tell.
type Missed struct {
	After  time.Time // When the last receipt before the gap was stored.
	Before time.Time // The end of the gap, at the latest.

	// How many receipts were stored in it, those of all apps together; 0 when nobody can tell,
	// because their stream was made anew.
	AtMost uint64
}

// Receipts reads the receipts of an app, one after the other, in the order in which the broker has
// stored them. It waits for those to come, and goes on by itself after the broker was away. The loop
// ends when its body leaves it, or with an error, an [*Error], that comes alone. That is
// [ErrUnreadable], [ErrClosed], a [*schema.FieldError], or why ctx has ended. When the broker is away
// for longer than 15 s ([WithTimeout]) it is an ErrUnreadable that is [Error.Retryable]: begin again,
// with the last position.
//
// A program that must miss none stores the Position of the last that it has dealt with, and goes on
// from there when it runs again; for its first run it gives a Since before its first publish. After
// a crash it may so meet a receipt twice, by its ID and Generation; so it may a few from the last
// minute when the stream of receipts was made anew. However long it was away, or cut off, it misses
// none that is still stored; of what was removed meanwhile it is told in [Settled.Missed].
//
// Among them is one for each campaign that was cancelled, with a Count
// ([schema.Receipt]): it stands for all of its intents that were not sent by then.
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
	if err := errors.Join(schema.CheckToken("appid", appID), o.check()); err != nil {
		return err
	}
	life, done := p.whileOpen(ctx)
	defer done()
	r := newReading(p, appID, o, each)
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
