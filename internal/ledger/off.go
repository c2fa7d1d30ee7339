package ledger

import (
	"context"
	"time"
)

// Off is the ledger of those who do without: every Start is allowed, nothing
// is remembered. A crash then repeats what was under way, and nobody can say
// what it was.
type Off struct{}

// Write answers at once.
func (Off) Write(m Mark, done func(Standing, error)) {
	if done == nil {
		return
	}
	done(Off{}.Peek(m), nil)
}

// Drain has nothing to wait for.
func (Off) Drain(context.Context) error { return nil }

// Peek knows nothing against it.
func (Off) Peek(start Mark) Standing {
	return Standing{
		Ruling: Go, Generation: int(max(start.Generation, 1)),
		Attempts: max(int(start.Attempt)-1, 0), Unknown: int(start.Unknown),
		Before: start.Before,
	}
}

// Oldest is zero: nothing waits.
func (Off) Oldest() time.Time { return time.Time{} }
