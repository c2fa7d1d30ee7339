// Package deadletter is the box of what was not sent, KEFU_DEAD: what goes
// into it (Message), how people find something there (Filter, List, Groups; by id
// through the index, IndexMessage) and why they found nothing (Excluded), what
// would happen if it were sent again (Plan), sending it again (Replay), taking it
// out for good (Discard), and keeping it elsewhere (Export) and bringing it back
// (Import).
//
// A letter holds the message as it was published. A replay publishes those
// very bytes to kefu.again as the next generation of the intent, waits until
// the queue has them, and only then takes the letter out of the box: killed in
// between, it leaves a letter too many and never a message too few. Which
// letters it is about to publish it writes down first (handover.go), so the next
// run knows what may be in the queue and in the box.
//
// A run takes the letters in their order (replay_run.go) and settles each when the queue
// has answered (replay_settle.go). What it may do with a letter is one pure function
// (evidence.go). A letter goes only when its own message is stored, or known by
// the ledger: one whose id went on without it, by another letter of the same id or
// by its producer, stays, since the ledger would let no message of that generation
// through.
//
//	box := deadletter.Open(conn)
//	filter := deadletter.Filter{AppID: "wx…", Reasons: []schema.Reason{schema.ReasonExhausted}}
//	plan, err := box.Plan(ctx, filter, options, time.Now())
//	fmt.Println(plan.Fates[deadletter.WillBeSent], "will be sent in", plan.Takes)
//	options.Through = plan.Through // what dies from here on is not of this replay
//	result, err := box.Replay(ctx, filter, options)
package deadletter

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

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

// from is List from one sequence through another; 0 is no bound.
func (b *Box) from(
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

// last is the highest sequence in the box.
func (b *Box) last(ctx context.Context) (uint64, error) {
	info, err := b.info(ctx)
	if err != nil {
		return 0, err
	}
	return info.State.LastSeq, nil
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
