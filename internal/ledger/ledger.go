// Package ledger is the guard against double sends: a log of what was started
// and how it ended, shared by the pool.
//
// Marks of many intents travel in one message to KEFU_LEDGER, every worker
// follows that stream into a map (index.go), and the order of the stream
// decides who was first. flight.go is the writing side. A Start counts when the
// worker that wrote it has read it back: its Standing then says whether the call
// may be made (judge.go holds the rules; they depend on nothing but the log). So
// two workers that are handed the same intent, however that comes about, never
// both get Go.
//
// What campaigns and jobs count follows from the same log: account.go holds the
// rules, counters.go folds it, and one worker of the pool stores the result
// (storecounts.go), and with a campaign's how fast its intents end (pace.go). For
// campaigns it is trusted while everybody counts (coverage.go). names.go keeps their
// names.
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
	"sync"
	"sync/atomic"
	"time"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/wire"
)

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
	newest   map[uint16]uint64 // by worker: number of the newest batch that was applied
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
		index:   newIndex(o.Keep), counters: newCounters(), newest: make(map[uint16]uint64),
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
	follow := broker.FollowOptions{Anew: l.publishUnread, Begun: l.startReading, Log: log}
	if l.reader, err = conn.Follow(ctx, wire.StreamLedger, follow, l.readMessage); err != nil {
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

// Peek says what a Start would be told now, which may be a moment old, of a
// worker that has nothing to do with the intent yet. It writes nothing. Kind is
// 0 when nothing is remembered.
func (l *Ledger) Peek(start Mark) Standing {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.index.peek(start)
}

// Get is what the log says of an intent, which may be a moment old.
func (l *Ledger) Get(appID, id string) (Entry, bool) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.index.get(KeyOf(appID, id))
}

// catchUpEvery is between two looks whether the log has been read so far.
const catchUpEvery = 2 * time.Millisecond

// CatchUp returns when everything that stands in the log now has been read.
func (l *Ledger) CatchUp(ctx context.Context) error {
	s, err := l.conn.JS.Stream(ctx, wire.StreamLedger)
	if err != nil {
		return fmt.Errorf("look at %s: %w", wire.StreamLedger, err)
	}
	info := s.CachedInfo()
	t := time.NewTicker(catchUpEvery)
	defer t.Stop()
	for !l.hasRead(info.State.LastSeq) {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-t.C:
		}
	}
	return nil
}

func (l *Ledger) hasRead(seq uint64) bool {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.counters.now.Seq >= seq
}

// Len is the number of intents remembered.
func (l *Ledger) Len() int {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.index.len()
}

// publishUnread publishes again what was not read back: the log that it was stored in,
// if it was, is gone.
func (l *Ledger) publishUnread() {
	l.log.Error("the ledger was lost or cut back: what was sent lately may not be remembered " +
		"after a restart")
	l.mu.Lock()
	l.counters.rereading = true
	l.mu.Unlock()
	l.out.Lock()
	defer l.out.Unlock()
	for _, f := range l.flights {
		l.publish(f)
	}
}

// startReading notes which log is read, and from when on all of it is counted.
func (l *Ledger) startReading(made time.Time, last uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.counters.startReading(made, last)
}

// readMessage applies one message of the log.
func (l *Ledger) readMessage(s broker.Stored) {
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
	applied := number > l.newest[w]
	if applied {
		l.newest[w] = number
		readBatch(s.Data, func(m Mark) {
			st := l.index.mark(m, w)
			if m.Campaign == 0 && m.Kind.Terminal() {
				l.counters.lastWithoutCampaign = s.Time
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
	for i, e := range l.readBack(number, applied) {
		if i < len(standings) {
			e.answer(standings[i], nil)
		} else {
			e.answer(Standing{}, errTwins)
		}
	}
}

var errTwins = errors.New("ledger: another process writes under this worker's name")
