package campaign

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/kefuhq/kefu/internal/pause"
)

// What stands for an answer.
var (
	errNoAnswer     = errors.New("no answer from the broker")
	errNotPublished = errors.New("not published yet")
)

// deliver publishes intents until each is acknowledged. A full queue and a broker that is away are
// waited for; anything else that goes wrong ends it, as does a wait after which a repeat is no
// longer recognised. There is one answer for each intent, in any case.
func (r *run) deliver(ctx context.Context, intents []Intent) ([]Accepted, error) {
	answers := make([]Accepted, len(intents))
	open := make([]int, len(intents)) // which are not acknowledged
	for i := range intents {
		answers[i].Err, open[i] = errNotPublished, i
	}
	inDoubt := func(at int) bool { return mayBeStored(answers[at]) }
	wait, since := firstWait, r.now()
	for len(open) > 0 {
		if err := ctx.Err(); err != nil {
			return answers, err
		}
		if !slices.ContainsFunc(open, inDoubt) {
			since = r.now() // before this the queue was full, and has taken none of them
		}
		published := since
		if open[0] < r.leftInDoubt && !r.options.AllowDoubles {
			published = r.leftSince
		}
		within := r.recognisedFor(published)
		if within <= 0 {
			return answers, ErrMayDouble
		}
		left, err := r.try(ctx, within, intents, answers, open)
		switch {
		case len(left) == 0:
			return answers, nil
		case ctx.Err() != nil:
			return answers, ctx.Err()
		case !errors.Is(err, ErrQueueFull) && !errors.Is(err, ErrAway):
			return answers, err
		case len(left) < len(open):
			wait = firstWait // there was room for some
		}
		open = left
		r.progress(transient(err).Error())
		if err := pause.For(ctx, wait); err != nil {
			return answers, err
		}
		wait = min(2*wait, maxWait)
	}
	return answers, nil
}

// recognisedFor is for how long from now on the repeat of what was published at a time will be
// known as one.
func (r *run) recognisedFor(published time.Time) time.Duration {
	if r.options.Remembered <= 0 {
		return math.MaxInt64
	}
	return r.options.Remembered - r.now().Sub(published)
}

// mayBeStored says whether the broker may hold an intent. A full queue's word is that it does not.
func mayBeStored(a Accepted) bool {
	return !errors.Is(a.Err, ErrQueueFull) && !errors.Is(a.Err, errNotPublished)
}

func transient(err error) error {
	if errors.Is(err, ErrQueueFull) {
		return ErrQueueFull
	}
	return ErrAway
}

// Waits until it is tried again. The workers empty a queue by hundreds a second.
const (
	firstWait = 200 * time.Millisecond
	maxWait   = 5 * time.Second
)

// try publishes once what is open, within a time, notes the answers, and returns what is left and
// why: an error that does not pass by itself, if there is one.
func (r *run) try(
	ctx context.Context, within time.Duration, intents []Intent, answers []Accepted, open []int,
) (left []int, why error) {
	some := make([]Intent, len(open))
	for i, at := range open {
		some[i] = intents[at]
	}
	got, err := r.publishGracefully(ctx, within, some)
	if err == nil && len(got) != len(some) {
		err = fmt.Errorf("%w: %d of %d answers", errNoAnswer, len(got), len(some))
	}
	for i, at := range open {
		answer := Accepted{Err: errNoAnswer}
		if i < len(got) {
			answer = got[i]
		}
		// That the queue is full now says nothing of an earlier try.
		if mayBeStored(answer) || !mayBeStored(answers[at]) {
			answers[at] = answer
		}
		cause := answer.Err
		if cause == nil {
			continue
		}
		left = append(left, at)
		if !errors.Is(cause, errNoAnswer) &&
			(why == nil || errors.Is(why, ErrQueueFull) || errors.Is(why, ErrAway)) {
			why = cause
		}
	}
	if err != nil {
		why = err
	}
	return left, why
}

// publishGracefully gives what is on its way when the run is told to stop a moment to be
// acknowledged. The publisher repeats what is not answered: beyond a time that might be stored
// twice.
func (r *run) publishGracefully(
	ctx context.Context, within time.Duration, intents []Intent,
) ([]Accepted, error) {
	grace, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	defer cancel(nil)
	stop := context.AfterFunc(ctx, func() {
		if pause.For(grace, stopGrace) == nil {
			cancel(context.Cause(ctx))
		}
	})
	defer stop()
	late := time.AfterFunc(within, func() { cancel(ErrMayDouble) })
	defer late.Stop()
	return r.options.Queue.PublishBulk(grace, r.job.AppID, r.terms, intents)
}
