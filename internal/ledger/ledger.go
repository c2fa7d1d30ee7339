// Package ledger is the guard against double sends: a log of what was started
// and how it ended, shared by the pool.
//
// Marks of many intents travel in one message to KEFU_LEDGER, every worker
// follows that stream into a map (index.go), and the order of the stream
// decides who was first. A Start counts when the worker that wrote it has read
// it back: its Standing then says whether the call may be made (judge.go holds
// the rules; they depend on nothing but the log). So two workers that are
// handed the same intent, however that comes about, never both get Go.
//
// What a campaign counts follows from the same log: account.go holds the rules,
// counters.go folds it, and one worker of the pool stores the result
// (storecounts.go), which is trusted while everybody counts (coverage.go).
//
// A log beats a key-value bucket here: the same guarantee costs one write for
// a hundred marks instead of two for each, and the broker no memory per id.
//
//	start := ledger.Mark{Key: ledger.KeyOf(app, id), Seq: seq, Kind: ledger.Start, Attempt: 1}
//	l.Write(start, func(s ledger.Standing, err error) {
//		if s.Ruling == ledger.Go { … }
//	})
package ledger

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/wire"
)

// maxBatch is how many marks travel in one message: one message after the other
// still lets through 150,000 a second with a fsync or a round trip of 3 ms.
const maxBatch = 512

// Options of a ledger.
type Options struct {
	Worker string        // this process's name in the log; new for each process, a subject token
	Keep   time.Duration // how long an intent is remembered; the stream's max age
	Log    *slog.Logger

	// Trouble is told why the log cannot be written to, each time, and "" when it
	// can. It must not block; nil if nobody wants to know.
	Trouble func(why string)
}

// Ledger is one worker's view of the log. Open it, Close it.
type Ledger struct {
	conn    *broker.Conn
	worker  string
	subject string
	log     *slog.Logger
	trouble func(why string)

	mu       sync.RWMutex // index and counters
	index    *index
	counters *counters
	top      map[uint16]uint64 // by worker: number of the newest batch that was applied
	writer   bool              // this worker has stored counts for the pool; StoreCounts'

	// Writing side. The log holds the marks of each intent in the order in which
	// they were written, whatever had to be repeated: a mark leaves when all marks
	// of its intent that left before were read back. That they were stored is not
	// enough: should the log be cut back before they are read, what follows would
	// stand before their repeat.
	out      sync.Mutex
	queue    []entry
	flights  []*flight        // not read back yet, in the order in which they left
	number   uint64           // of the newest
	trip     time.Duration    // from leaving to being read back, of the last that was
	inFlight map[Key]struct{} // of the flights; next's, which fills it anew each time
	wake     *time.Timer      // calls flush when the next batch may leave; nil before the first
	wakeAt   time.Time        // when it does; zero: it is not set
	closed   bool
	empty    chan struct{} // closed when nothing is on its way any more; nil: nobody waits

	oldest atomic.Pointer[time.Time] // see Oldest

	reader *broker.Follower
}

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

// ErrClosed is the answer to marks that were on their way when the ledger was closed.
var ErrClosed = errors.New("ledger closed")

// Open starts following the log and returns when everything that stands in it
// now has been read: about 0.2 s for a million marks.
func Open(ctx context.Context, conn *broker.Conn, o Options) (*Ledger, error) {
	log := o.Log
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	l := &Ledger{
		conn: conn, worker: o.Worker, subject: wire.LedgerSubject(o.Worker), log: log,
		trouble: o.Trouble,
		index:   newIndex(o.Keep), counters: newCounters(), top: make(map[uint16]uint64),
		inFlight: make(map[Key]struct{}),
	}
	l.index.ended = l.counters.ended
	if l.trouble == nil {
		l.trouble = func(string) {}
	}
	// Before the log: it goes on from where these end.
	err := conn.Ask(ctx, l.remembered)
	if err != nil && !errors.Is(err, broker.ErrNoStream) {
		return nil, fmt.Errorf("ledger: %w", err)
	}
	follow := broker.FollowOptions{Anew: l.anew, Begun: l.begun, Log: log}
	if l.reader, err = conn.Follow(ctx, wire.StreamLedger, follow, l.take); err != nil {
		return nil, fmt.Errorf("ledger: %w", err)
	}
	return l, nil
}

// Close ends following. Marks without an answer fail with ErrClosed; they may
// or may not stand in the log. It must not be called from a mark's done.
func (l *Ledger) Close() {
	l.reader.Stop()
	l.out.Lock()
	l.closed = true
	var left []entry
	for _, f := range l.flights {
		left = append(left, f.entries...)
	}
	left = append(left, l.queue...)
	l.queue, l.flights = nil, nil
	l.oldest.Store(nil)
	l.out.Unlock()
	for _, e := range left {
		e.answer(Standing{}, ErrClosed)
	}
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

// Peek says what a Start would be told now, which may be a moment old, of a
// worker that has nothing to do with the intent yet. It writes nothing. Kind is
// 0 when nothing is remembered.
func (l *Ledger) Peek(start Mark) Standing {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.index.peek(start)
}

// Len is the number of intents remembered.
func (l *Ledger) Len() int {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.index.len()
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
		wait := max(leastGap, l.trip/mostFlights) - time.Since(newest.at)
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

	// leastGap is the time between two batches at least, unless the one before is
	// stored: near a broker larger batches cost less than they save.
	leastGap = 10 * time.Millisecond
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

// publish sends a batch. Its id makes repeats harmless, the outbox's and ours.
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
			time.AfterFunc(refusedPause, func() { l.again(f) })
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

// again publishes a batch once more, unless it was read back meanwhile.
func (l *Ledger) again(f *flight) {
	l.out.Lock()
	defer l.out.Unlock()
	if slices.Contains(l.flights, f) && !l.closed {
		l.publish(f)
	}
}

// anew publishes again what was not read back: the log that it was stored in,
// if it was, is gone.
func (l *Ledger) anew() {
	l.log.Error("the ledger was lost or cut back: what was sent lately may not be remembered " +
		"after a restart")
	l.mu.Lock()
	l.counters.cut = true
	l.mu.Unlock()
	l.out.Lock()
	defer l.out.Unlock()
	for _, f := range l.flights {
		l.publish(f)
	}
}

// begun notes which log is read, and from when on all of it is counted.
func (l *Ledger) begun(made time.Time, last uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.counters.begun(made, last)
}

// take applies one message of the log.
func (l *Ledger) take(s broker.Stored) {
	name := wire.LedgerWorker(s.Subject)
	number, err := checkBatch(s.Data)
	if err != nil {
		l.log.Error("ledger: unreadable entry skipped", "sequence", s.Seq)
		return
	}
	own := name == l.worker
	var standings []Standing
	if own {
		standings = make([]Standing, 0, (len(s.Data)-headerSize)/markSize)
	}
	l.mu.Lock()
	l.index.advance(s.Time)
	l.counters.reads(s.Seq, s.Time)
	w := l.index.worker(name)
	// A batch that was stored twice (its repeat came later than the broker
	// remembers ids) must not undo what came between. Of batches that overtook each
	// other the later ones count; whoever wrote the others writes them again.
	applied := number > l.top[w]
	if applied {
		l.top[w] = number
		readBatch(s.Data, func(m Mark) {
			st := l.index.mark(m, w)
			if m.Campaign == 0 && m.Kind.Terminal() {
				l.counters.unsaid = s.Time
			}
			if own {
				standings = append(standings, st)
			}
		})
	}
	l.mu.Unlock()
	if !own {
		return
	}
	for i, e := range l.landed(number, applied) {
		if i < len(standings) {
			e.answer(standings[i], nil)
		} else {
			e.answer(Standing{}, errTwins)
		}
	}
}

var errTwins = errors.New("ledger: another process writes under this worker's name")

// landed takes the batch that was read back out of those on their way, and sends
// what waited for it. One that did not count leaves again, under a number of its
// own and before anything that was written after it.
func (l *Ledger) landed(number uint64, applied bool) []entry {
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
