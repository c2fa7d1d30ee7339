package deadletter

import (
	"context"
	"errors"
	"time"

	"github.com/kefuhq/kefu/internal/pause"
)

const (
	// patience is how long the broker may not answer before a long operation gives up.
	patience = time.Minute

	// afterStop is how long an operation that is interrupted waits for the answers to what it has
	// begun.
	afterStop = 3 * time.Second

	requestTimeout = 5 * time.Second
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
		if pause.For(ctx, time.Second) != nil {
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
		if pause.For(within, time.Second) != nil {
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
