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
	// stallTimeout is for how long nothing may be delivered before a run is given up.
	stallTimeout = 90 * time.Second
	// checkLeftAfter is for how long nothing may be delivered before it is asked whether
	// anything is left to deliver: not all of it may have to be (dead letters).
	checkLeftAfter = 3 * time.Second
	// progressEvery is how often somebody who waits is told how far it is.
	progressEvery = 5 * time.Second
)

// awaitDone waits until the healthy apps' intents have been delivered: those that were offered at
// the rate, if any were, else the backlog. It is false when they were not, and will not be.
func (t *turn) awaitDone(ctx context.Context) (bool, error) {
	k := backlog
	if t.Load.Rate > 0 {
		k = offered
	}
	waiting, cancel := context.WithCancel(ctx)
	reached := make(chan struct{})
	var missed error
	go func() {
		defer close(reached)
		missed = t.testbed.sandbox.WaitFor(waiting,
			sandbox.Filter{Call: sandbox.CallSend, Contains: k.prefix(), Delivered: true},
			t.producer.accepted[k])
	}()
	err := t.awaitReached(ctx, reached)
	cancel()
	<-reached
	if err != nil || missed != nil {
		return false, err
	}
	if t.producer.accepted[backlog] > 0 && k == offered {
		return true, nil // the backlog only had to be there
	}
	return true, t.awaitEmpty(ctx)
}

// awaitReached returns when all was delivered, or when there is no use to wait for it any longer.
func (t *turn) awaitReached(ctx context.Context, reached <-chan struct{}) error {
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
		now, n := time.Now(), t.testbed.sandbox.Stats().Delivered
		if n != before {
			before, moved = n, now
		}
		if now.Sub(told) >= progressEvery {
			told = now
			t.notify("%d delivered", n)
		}
		switch still := now.Sub(moved); {
		case still >= stallTimeout:
			t.notify("given up: nothing was delivered for %s", stallTimeout)
			return nil
		case still >= checkLeftAfter:
			left, err := t.countLeft(ctx)
			if err != nil || left == 0 {
				return err
			}
		}
	}
}

func (t *turn) countLeft(ctx context.Context) (int, error) {
	queued, err := t.testbed.queued(ctx, t.Load.healthy())
	if err != nil {
		return 0, err
	}
	later, err := t.testbed.stored(ctx, wire.StreamLater)
	return queued + later, err
}

// awaitEmpty waits for the acknowledgements of what was delivered: they are part of the work.
func (t *turn) awaitEmpty(ctx context.Context) error {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for start := time.Now(); ; {
		n, err := t.testbed.queued(ctx, t.Load.healthy())
		if err != nil || n == 0 {
			return err
		}
		if time.Since(start) > stallTimeout {
			return fmt.Errorf("%d intents were delivered and not acknowledged for %s", n,
				stallTimeout)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}
