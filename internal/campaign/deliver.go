package campaign

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// errOpen stands for an answer that has not come.
var errOpen = errors.New("no answer from the broker")

// deliver publishes intents until each is acknowledged. A full queue and a broker that is away are waited for; anything else that goes
// wrong ends it, as does a wait after which a repeat would no longer be recognised. There is one answer for each intent, in any case.
func (r *run) deliver(ctx context.Context, intents []Intent) ([]Accepted, error) {
	answers := make([]Accepted, len(intents))
	open := make([]int, len(intents)) // which are not acknowledged
	for i := range intents {
		answers[i].Err, open[i] = errOpen, i
	}
	wait, began := firstWait, time.Now()
	for len(open) > 0 {
		if err := ctx.Err(); err != nil {
			return answers, err
		}
		left, err := r.try(ctx, intents, answers, open)
		switch {
		case len(left) == 0:
			return answers, nil
		case ctx.Err() != nil:
			return answers, ctx.Err()
		case !errors.Is(err, ErrQueueFull) && !errors.Is(err, ErrAway):
			return answers, err
		case r.tooLate(began) && slices.ContainsFunc(left, func(at int) bool { return mayBeStored(answers[at]) }):
			return answers, ErrMayDouble
		case len(left) < len(open):
			wait = firstWait // there was room for some
		}
		open = left
		r.progress(passing(err).Error())
		if err := pause(ctx, wait); err != nil {
			return answers, err
		}
		wait = min(2*wait, mostWait)
	}
	return answers, nil
}

// tooLate says whether what was published at a time may be published twice now.
func (r *run) tooLate(published time.Time) bool {
	o := r.options
	return o.Remembered > 0 && !o.AllowDoubles && time.Since(published) >= o.Remembered
}

// mayBeStored says whether the broker may hold an intent. A full queue's word is that it does not.
func mayBeStored(a Accepted) bool { return !errors.Is(a.Err, ErrQueueFull) }

func passing(err error) error {
	if errors.Is(err, ErrQueueFull) {
		return ErrQueueFull
	}
	return ErrAway
}

// Waits until it is tried again. The workers empty a queue by hundreds a second.
const (
	firstWait = 200 * time.Millisecond
	mostWait  = 5 * time.Second
)

// try publishes once what is open, notes the answers, and returns what is left and why: an error that does not pass by itself, if
// there is one.
func (r *run) try(ctx context.Context, intents []Intent, answers []Accepted, open []int) (left []int, why error) {
	some := make([]Intent, len(open))
	for i, at := range open {
		some[i] = intents[at]
	}
	got, err := r.publishGracefully(ctx, some)
	if err == nil && len(got) != len(some) {
		err = fmt.Errorf("%w: %d of %d answers", errOpen, len(got), len(some))
	}
	for i, at := range open {
		if i < len(got) {
			answers[at] = got[i]
		}
		cause := answers[at].Err
		if cause == nil {
			continue
		}
		left = append(left, at)
		if !errors.Is(cause, errOpen) && (why == nil || errors.Is(why, ErrQueueFull) || errors.Is(why, ErrAway)) {
			why = cause
		}
	}
	if err != nil {
		why = err
	}
	return left, why
}

// publishGracefully gives what is on its way when the run is told to stop a moment to be acknowledged.
func (r *run) publishGracefully(ctx context.Context, intents []Intent) ([]Accepted, error) {
	grace, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	defer cancel(nil)
	stop := context.AfterFunc(ctx, func() {
		if pause(grace, lastWords) == nil {
			cancel(context.Cause(ctx))
		}
	})
	defer stop()
	return r.options.Queue.PublishBulk(grace, r.job.AppID, r.terms, intents)
}

func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
