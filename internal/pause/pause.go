// Package pause waits, unless there is nothing left to wait for.
package pause

import (
	"context"
	"time"
)

// For returns after d, or as soon as ctx ends, with its cause.
func For(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
