// Package deadletter is the box of what was not sent, KEFU_DEAD: what goes
// into it (Message), how people find something there (Filter, List, Groups; by id
// through the index, IndexMessage) and why they found nothing (Excluded), taking it
// out for good (Discard), and keeping it elsewhere (Export) and bringing it back
// (Import). Sending it again is package replay's.
//
// A letter holds the message as it was published.
//
//	box := deadletter.Open(conn)
//	filter := deadletter.Filter{AppID: "wx…", Reasons: []schema.Reason{schema.ReasonExhausted}}
//	err := box.List(ctx, filter, func(i deadletter.Item) error { … })
package deadletter

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/errgroup"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/schema"
)

// Item is one letter in the box.
type Item struct {
	Letter schema.Letter
	Seq    uint64    // in KEFU_DEAD
	Stored time.Time // by the broker's clock
	Broken bool      // what is stored is no letter; Letter says what is known of it

	raw []byte // as it is stored
}

// Box is KEFU_DEAD.
type Box struct {
	conn *broker.Conn
}

// Open makes the box on a connection. It asks the broker nothing.
func Open(conn *broker.Conn) *Box { return &Box{conn: conn} }

// MaxGeneration is the highest that the ledger can hold.
const MaxGeneration = math.MaxUint16

// clockSkew is how much earlier than it died a letter may have been stored,
// by clocks that disagree.
const clockSkew = 10 * time.Minute

// List calls f for each letter that the filter matches, the oldest first. An
// error of f ends it and is returned, but for [broker.ErrStopScan], which only
// ends it.
func (b *Box) List(ctx context.Context, filter Filter, f func(Item) error) error {
	sieve := newSieve(filter)
	sieve.quick = true
	return b.read(ctx, sieve, 0, 0, f)
}

// Range is List from one sequence through another; 0 is no bound.
func (b *Box) Range(
	ctx context.Context, filter Filter, seq, through uint64, f func(Item) error,
) error {
	return b.read(ctx, newSieve(filter), seq, through, f)
}

// skim is List for who needs no more of a letter than [skim] reads.
func (b *Box) skim(ctx context.Context, filter Filter, f func(Item) error) error {
	return b.read(ctx, skimming(filter), 0, 0, f)
}

// read calls f for what a sieve lets pass, from one sequence through another.
func (b *Box) read(
	ctx context.Context, sieve sieve, seq, through uint64, f func(Item) error,
) error {
	found, ok, err := b.lookUp(ctx, sieve.filter)
	if err != nil {
		return err
	}
	if !ok {
		read := b.conn.Scan
		if sieve.quick {
			read = b.conn.Sweep
		}
		return b.scan(ctx, read, sieve, seq, through, f)
	}
	return b.scanFound(ctx, found, sieve, seq, through, f)
}

// scanner is Scan or Sweep of a connection.
type scanner func(context.Context, string, broker.ScanOptions, func(broker.Stored) error) error

// scan is read without the index.
func (b *Box) scan(
	ctx context.Context, read scanner, sieve sieve, seq, through uint64, f func(Item) error,
) error {
	filter := sieve.filter
	opts := broker.ScanOptions{Subject: filter.Subject(), Seq: seq, Through: through}
	if seq == 0 && !filter.Since.IsZero() {
		opts.Since = filter.Since.Add(-clockSkew)
	}
	return read(ctx, schema.StreamDead, opts, func(s broker.Stored) error {
		if item, ok := sieve.item(s); ok {
			return f(item)
		}
		return nil
	})
}

// Get returns the letters of one intent, the oldest first: one that was
// replayed may have died again. appID may be empty when the id is enough.
func (b *Box) Get(ctx context.Context, appID, id string) ([]Item, error) {
	var out []Item
	err := b.List(ctx, Filter{AppID: appID, IDs: []string{id}}, func(i Item) error {
		out = append(out, i)
		return nil
	})
	return out, err
}

// Delete takes a letter out of the box. One that is there no more is no error:
// two operators may replay at once.
func (b *Box) Delete(ctx context.Context, seq uint64) error {
	err := b.conn.Delete(ctx, schema.StreamDead, seq)
	if errors.Is(err, broker.ErrNoMessage) {
		return nil
	}
	return err
}

// Extent is which sequences a box holds. A box that is made anew counts from 1 again.
type Extent struct {
	Made        time.Time // the box
	First, Last uint64    // Last is below First while it is empty
}

// Extent asks the broker which sequences the box holds.
func (b *Box) Extent(ctx context.Context) (Extent, error) {
	info, err := b.info(ctx)
	if err != nil {
		return Extent{}, err
	}
	return Extent{madeAt(info), info.State.FirstSeq, info.State.LastSeq}, nil
}

func (b *Box) last(ctx context.Context) (uint64, error) {
	e, err := b.Extent(ctx)
	return e.Last, err
}

// atOnce is how many letters are asked for, or taken out, at the same time.
const atOnce = 64

// Items returns what the box holds under some sequences, and which of them it holds.
func (b *Box) Items(ctx context.Context, seqs []uint64) ([]Item, []bool, error) {
	items, held := make([]Item, len(seqs)), make([]bool, len(seqs))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(atOnce)
	for i, seq := range seqs {
		group.Go(func() error {
			ctx, cancel := context.WithTimeout(ctx, requestTimeout)
			defer cancel()
			s, err := b.conn.Get(ctx, schema.StreamDead, seq)
			if errors.Is(err, broker.ErrNoMessage) {
				return nil
			}
			items[i], held[i] = itemOf(s), err == nil
			return err
		})
	}
	return items, held, group.Wait()
}

func (b *Box) info(ctx context.Context) (*jetstream.StreamInfo, error) {
	s, err := b.conn.JS.Stream(ctx, schema.StreamDead)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return nil, fmt.Errorf("%s: %w (run kefu setup)", schema.StreamDead, broker.ErrNoStream)
	}
	if err != nil {
		return nil, fmt.Errorf("look at %s: %w", schema.StreamDead, err)
	}
	return s.CachedInfo(), nil
}
