package deadletter

import (
	"context"
	"errors"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/schema"
)

// walk is List through a sequence that goes on where it was when the broker went away: a long
// operation outlives a restart. Other readers of the box are done in seconds, and fail then.
func (b *Box) walk(
	ctx context.Context, filter Filter, through uint64, f func(Item) error,
) error {
	return b.walkSieved(ctx, newSieve(filter), through, f)
}

// walkSkimmed is walk for who is quick, and needs no more of a letter than [skim] reads and its
// bytes.
func (b *Box) walkSkimmed(
	ctx context.Context, filter Filter, through uint64, f func(Item) error,
) error {
	return b.walkSieved(ctx, skimming(filter), through, f)
}

func (b *Box) walkSieved(
	ctx context.Context, sieve sieve, through uint64, f func(Item) error,
) error {
	var own error // of f, which must not be taken for the scan's
	last := time.Now()
	next := uint64(0)
	for {
		err := b.read(ctx, sieve, next, through, func(item Item) error {
			own = f(item)
			last, next = time.Now(), item.Seq+1
			return own
		})
		if err == nil || own != nil || ctx.Err() != nil || time.Since(last) > patience {
			return err
		}
		if !pause(ctx, time.Second) {
			return context.Cause(ctx)
		}
	}
}

// patiently calls f until it succeeds, for at most patience. It ends at once when a permission
// is missing: no time cures that.
func (b *Box) patiently(ctx context.Context, f func(context.Context) error) error {
	within, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		err := f(within)
		if err == nil || within.Err() != nil {
			return err
		}
		if denied := b.conn.Denied(); denied != "" {
			return errors.New(denied)
		}
		if !pause(within, time.Second) {
			return err
		}
	}
}

// outliving returns a context for what was begun: it ends only afterStop after ctx. end must be
// called.
func outliving(ctx context.Context) (settling context.Context, end func()) {
	settling, cancel := context.WithCancel(context.WithoutCancel(ctx))
	release := context.AfterFunc(ctx, func() { time.AfterFunc(afterStop, cancel) })
	return settling, func() {
		release()
		cancel()
	}
}

// held says which of some sequences the box holds.
func (b *Box) held(ctx context.Context, seqs []uint64) ([]bool, error) {
	held := make([]bool, len(seqs))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(maxUnsettled)
	for i, seq := range seqs {
		group.Go(func() (err error) {
			held[i], err = b.holds(ctx, seq)
			if err != nil { // rarely: most letters pay for no more than the question
				err = b.patiently(ctx, func(ctx context.Context) error {
					held[i], err = b.holds(ctx, seq)
					return err
				})
			}
			return err
		})
	}
	return held, group.Wait()
}

func (b *Box) holds(ctx context.Context, seq uint64) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	_, err := b.conn.Get(ctx, schema.StreamDead, seq)
	if errors.Is(err, broker.ErrNoMessage) {
		return false, nil
	}
	return err == nil, err
}

// pause returns false when ctx ended first.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
