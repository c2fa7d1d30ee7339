package bench

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/kefuhq/kefu/internal/sandbox"
	"github.com/kefuhq/kefu/internal/wire"
)

const (
	// patience is for how long nothing may be delivered before a run is given up.
	patience = 90 * time.Second
	// quiet is for how long nothing may be delivered before it is asked whether
	// anything is left to deliver: not all of it may have to be (dead letters).
	quiet = 3 * time.Second
	// notice is how often somebody who waits is told how far it is.
	notice = 5 * time.Second
)

// untilDone waits until the healthy apps' intents have been delivered: those
// that were offered at the rate, if any were, else the backlog. It is false when
// they were not, and will not be.
func (t *turn) untilDone(ctx context.Context) (bool, error) {
	k := backlog
	if t.Load.Rate > 0 {
		k = offered
	}
	waiting, cancel := context.WithCancel(ctx)
	reached := make(chan struct{})
	var missed error
	go func() {
		defer close(reached)
		missed = t.bed.box.WaitFor(waiting,
			sandbox.Filter{Call: sandbox.CallSend, Contains: k.sign(), Delivered: true},
			t.author.accepted[k])
	}()
	err := t.progress(ctx, reached)
	cancel()
	<-reached
	if err != nil || missed != nil {
		return false, err
	}
	if t.author.accepted[backlog] > 0 && k == offered {
		return true, nil // the backlog only had to be there
	}
	return true, t.untilEmpty(ctx)
}

// progress returns when all was delivered, or when there is no use to wait for
// it any longer.
func (t *turn) progress(ctx context.Context, reached <-chan struct{}) error {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	before, moved, told := 0, time.Now(), time.Now()
	for {
		select {
		case <-reached:
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-tick.C:
		}
		for _, p := range t.workers {
			if !p.running() {
				return p.failed(errors.New("ended by itself"))
			}
		}
		now, n := time.Now(), t.bed.box.Stats().Delivered
		if n != before {
			before, moved = n, now
		}
		if now.Sub(told) >= notice {
			told = now
			t.tell("%d delivered", n)
		}
		switch still := now.Sub(moved); {
		case still >= patience:
			t.tell("given up: nothing was delivered for %s", patience)
			return nil
		case still >= quiet:
			left, err := t.left(ctx)
			if err != nil || left == 0 {
				return err
			}
		}
	}
}

func (t *turn) left(ctx context.Context) (int, error) {
	queued, err := t.bed.queued(ctx, t.Load.healthy())
	if err != nil {
		return 0, err
	}
	later, err := t.bed.stored(ctx, wire.StreamLater)
	return queued + later, err
}

// untilEmpty waits for the acknowledgements of what was delivered: they are
// part of the work.
func (t *turn) untilEmpty(ctx context.Context) error {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for start := time.Now(); ; {
		n, err := t.bed.queued(ctx, t.Load.healthy())
		if err != nil || n == 0 {
			return err
		}
		if time.Since(start) > patience {
			return fmt.Errorf("%d intents were delivered and not acknowledged for %s", n, patience)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}
