package ledger

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/kefuhq/kefu/internal/broker"
)

// maxBatch is how many marks travel in one message: one message after the other
// still lets through 150,000 a second with a fsync or a round trip of 3 ms.
const maxBatch = 512

// flight is a batch on its way.
type flight struct {
	at      time.Time // when it was sent first
	number  uint64
	stored  bool // so far as it is known; it may be lost again until it is read back
	data    []byte
	entries []entry
}

// entry is a mark on its way, and who wants to know what came of it.
type entry struct {
	mark Mark
	done func(Standing, error)
}

func (e entry) answer(s Standing, err error) {
	if e.done != nil {
		e.done(s, err)
	}
}

// Write adds a mark to the log and has done called when it stands there, with
// what the log says about it: from the ledger's reading goroutine, so done
// must not block. done may be nil. While the broker is away marks wait.
func (l *Ledger) Write(m Mark, done func(Standing, error)) {
	e := entry{m, done}
	l.out.Lock()
	if l.closed {
		l.out.Unlock()
		e.answer(Standing{}, ErrClosed)
		return
	}
	l.queue = append(l.queue, e)
	l.flush()
	l.out.Unlock()
}

// Oldest is when the first batch was sent that has not been read back yet; zero
// when there is none. What waits for it to leave is younger. It never blocks:
// l.out is held while the broker is written to.
func (l *Ledger) Oldest() time.Time {
	if at := l.oldest.Load(); at != nil {
		return *at
	}
	return time.Time{}
}

// Drain waits until every mark stands in the log. The error, of ctx or
// ErrClosed, says that some may not.
func (l *Ledger) Drain(ctx context.Context) error {
	l.out.Lock()
	switch {
	case l.closed:
		l.out.Unlock()
		return ErrClosed
	case len(l.flights) == 0: // then nothing waits either
		l.out.Unlock()
		return nil
	case l.empty == nil:
		l.empty = make(chan struct{})
	}
	empty := l.empty
	l.out.Unlock()
	select {
	case <-empty:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("ledger: marks are still on their way: %w", context.Cause(ctx))
	}
}

// flush sends what waits. One mark alone leaves at once; under load batches grow
// by themselves while the one before is being stored. Where that takes long, up to
// mostFlights follow each other, or an intent would wait for two trips. l.out is
// held.
func (l *Ledger) flush() {
	if l.closed {
		return
	}
	if len(l.queue) == 0 {
		if l.empty != nil && len(l.flights) == 0 {
			close(l.empty)
			l.empty = nil
		}
		return
	}
	if n := len(l.flights); n > 0 {
		newest := l.flights[n-1]
		wait := max(minInterval, l.trip/mostFlights) - time.Since(newest.at)
		if n >= mostFlights || !newest.stored && wait > 0 {
			l.wakeAfter(wait)
			return
		}
	}
	if f := l.next(); f != nil {
		l.flights = append(l.flights, f)
		l.oldest.Store(&l.flights[0].at)
		l.publish(f)
	}
}

const (
	// mostFlights is how many batches are on their way at most.
	mostFlights = 4

	// minInterval is the time between two batches at least, unless the one before is
	// stored: near a broker larger batches cost less than they save.
	minInterval = 10 * time.Millisecond
)

// wakeAfter has flush called again. A batch that is stored calls it anyway. The
// first wait after an outage may be long, and a shorter one must not be held up by
// it. l.out is held.
func (l *Ledger) wakeAfter(wait time.Duration) {
	at := time.Now().Add(wait)
	if wait <= 0 || !l.wakeAt.IsZero() && !at.Before(l.wakeAt) {
		return
	}
	l.wakeAt = at
	if l.wake != nil {
		l.wake.Reset(wait)
		return
	}
	l.wake = time.AfterFunc(wait, func() {
		l.out.Lock()
		defer l.out.Unlock()
		l.wakeAt = time.Time{}
		l.flush()
	})
}

// next takes a batch off the queue: up to the first mark of an intent that has
// another one on its way; nil if that is the first of all. l.out is held.
func (l *Ledger) next() *flight {
	clear(l.inFlight)
	for _, f := range l.flights {
		for _, e := range f.entries {
			l.inFlight[e.mark.Key] = struct{}{}
		}
	}
	b := newBatch(l.number+1, min(len(l.queue), maxBatch))
	n := 0
	for n < min(len(l.queue), maxBatch) {
		m := l.queue[n].mark
		if _, before := l.inFlight[m.Key]; before || !b.add(m) {
			break
		}
		n++
	}
	if n == 0 {
		return nil
	}
	l.number++
	f := &flight{at: time.Now(), number: l.number, data: b.data, entries: l.queue[:n:n]}
	if l.queue = l.queue[n:]; len(l.queue) == 0 {
		l.queue = nil
	}
	return f
}

// publish sends a batch, and again after a refusal. Its id makes repeats harmless,
// the outbox's and ours. The outbox waits out silence only: a refusal is repeated
// here because a batch that was read back meanwhile must not be, and because the
// pool has to be told why nothing can be sent.
func (l *Ledger) publish(f *flight) {
	msg := &nats.Msg{Subject: l.subject, Data: f.data, Header: nats.Header{
		jetstream.MsgIDHeader: {l.worker + ":" + strconv.FormatUint(f.number, 10)},
	}}
	l.conn.Outbox.Publish(msg, func(_ broker.Ack, err error) {
		switch {
		case err == nil:
			l.trouble("")
			l.stored(f)
		case !errors.Is(err, broker.ErrClosed):
			// A refusal (a missing or read-only stream) is tried again, and nothing
			// overtakes it: without the ledger nothing is sent.
			l.log.Debug("ledger refused, trying again", "error", err)
			l.trouble(err.Error())
			time.AfterFunc(refusedPause, func() { l.publishAgain(f) })
		}
	})
}

const refusedPause = time.Second

// stored lets the next batch leave. What the log says about this one is learned
// by reading it back.
func (l *Ledger) stored(f *flight) {
	l.out.Lock()
	defer l.out.Unlock()
	f.stored = true
	l.flush()
}

// publishAgain publishes a batch once more, unless it was read back meanwhile.
func (l *Ledger) publishAgain(f *flight) {
	l.out.Lock()
	defer l.out.Unlock()
	if slices.Contains(l.flights, f) && !l.closed {
		l.publish(f)
	}
}

// readBack takes the batch that was read back out of those on their way, and sends
// what waited for it. One that did not count leaves again, under a number of its
// own and before anything that was written after it.
func (l *Ledger) readBack(number uint64, applied bool) []entry {
	l.out.Lock()
	defer l.out.Unlock()
	// A name that was used before goes on where it ended, or its batches would be
	// taken for repeats.
	l.number = max(l.number, number)
	i := slices.IndexFunc(l.flights, func(f *flight) bool { return f.number == number })
	if i < 0 {
		return nil
	}
	f := l.flights[i]
	l.flights = slices.Delete(l.flights, i, i+1)
	l.oldest.Store(nil)
	if len(l.flights) > 0 {
		l.oldest.Store(&l.flights[0].at)
	}
	entries := f.entries
	if applied {
		l.trip = time.Since(f.at)
	} else {
		l.queue, entries = slices.Concat(f.entries, l.queue), nil
	}
	l.flush()
	return entries
}
