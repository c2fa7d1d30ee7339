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
// A log beats a key-value bucket here: the same guarantee costs one write for
// a hundred marks instead of two for each, and the broker no memory per id.
//
//	l.Start(ledger.Mark{Key: ledger.KeyOf(app, id), Seq: seq, Kind: ledger.Start, Attempt: 1}, func(s ledger.Standing, err error) {
//		if s.Ruling == ledger.Go { … }
//	})
package ledger

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/schema"
)

const (
	maxBatch  = 256 // marks in one message
	maxFlight = 2   // batches without an answer; what comes meanwhile joins the next one
)

// Options of a ledger.
type Options struct {
	Worker string        // this process's name in the log; new for each process, a subject token
	Keep   time.Duration // how long an intent is remembered; the stream's max age
	Log    *slog.Logger
}

// Ledger is one worker's view of the log. Open it, Close it.
type Ledger struct {
	conn    *broker.Conn
	worker  string
	subject string
	log     *slog.Logger

	mu    sync.RWMutex // index
	index *index
	seen  map[uint32]*window // by worker: batches already applied

	out     sync.Mutex // writing side
	queue   []entry
	flights map[uint64][]entry
	number  uint64
	closed  bool

	reader *broker.Follower
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
		conn: conn, worker: o.Worker, subject: schema.LedgerSubject(o.Worker), log: log,
		index: newIndex(o.Keep), seen: make(map[uint32]*window), flights: make(map[uint64][]entry),
	}
	var err error
	if l.reader, err = conn.Follow(ctx, schema.StreamLedger, broker.FollowOptions{Log: log}, l.take); err != nil {
		return nil, fmt.Errorf("ledger: %w", err)
	}
	return l, nil
}

// Close ends following. Marks without an answer fail with ErrClosed; they may
// or may not stand in the log.
func (l *Ledger) Close() {
	l.reader.Stop()
	l.out.Lock()
	l.closed = true
	left := l.queue
	for _, batch := range l.flights {
		left = append(left, batch...)
	}
	l.queue, l.flights = nil, nil
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

// Peek says what is remembered now, which may be a moment old.
func (l *Ledger) Peek(k Key) (Entry, bool) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.index.get(k)
}

// WorkerName resolves an Entry's worker.
func (l *Ledger) WorkerName(e Entry) string {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.index.names[e.Worker]
}

// Len is the number of intents remembered.
func (l *Ledger) Len() int {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.index.len()
}

// flush sends what waits, if not too much is under way. One mark alone leaves
// at once; under load batches grow by themselves. l.out is held.
func (l *Ledger) flush() {
	for len(l.queue) > 0 && len(l.flights) < maxFlight {
		n := min(len(l.queue), maxBatch)
		batch := l.queue[:n:n]
		l.queue = l.queue[n:]
		l.number++
		l.flights[l.number] = batch
		data := appendHeader(make([]byte, 0, headerSize+n*markSize), l.number)
		for _, e := range batch {
			data = appendMark(data, e.mark)
		}
		msg := &nats.Msg{Subject: l.subject, Data: data, Header: nats.Header{
			// Its own id makes the outbox's repeats harmless.
			jetstream.MsgIDHeader: {l.worker + ":" + strconv.FormatUint(l.number, 10)},
		}}
		number := l.number
		l.conn.Outbox.Publish(msg, func(_ broker.Ack, err error) {
			// Success is learned by reading the batch back. A refusal (a missing or
			// read-only stream) is tried again: without the ledger nothing is sent.
			if err != nil && !errors.Is(err, broker.ErrClosed) {
				l.log.Error("ledger refused, trying again", "error", err)
				time.AfterFunc(time.Second, func() { l.again(number) })
			}
		})
	}
}

// again puts a refused batch back in front.
func (l *Ledger) again(number uint64) {
	l.out.Lock()
	defer l.out.Unlock()
	if batch, ok := l.flights[number]; ok && !l.closed {
		delete(l.flights, number)
		l.queue = append(batch, l.queue...)
		l.flush()
	}
}

// take applies one message of the log.
func (l *Ledger) take(m jetstream.Msg, d broker.Delivery) {
	name := strings.TrimPrefix(m.Subject(), "kefu.ledger.")
	mine := name == l.worker
	var batch []entry
	if mine {
		batch = l.landed(m.Data())
	}
	standings := make([]Standing, 0, len(batch))
	l.mu.Lock()
	l.index.advance(d.Stored)
	w := l.index.worker(name)
	win := l.seen[w]
	if win == nil {
		win = &window{}
		l.seen[w] = win
	}
	number := batchNumber(m.Data())
	again := win.has(number)
	win.add(number)
	err := readBatch(m.Data(), func(mark Mark) {
		if again {
			return
		}
		s := l.index.mark(mark, w)
		if mine {
			standings = append(standings, s)
		}
	})
	l.mu.Unlock()
	if err != nil {
		l.log.Error("ledger: unreadable entry skipped", "sequence", d.Seq)
		return
	}
	for i, e := range batch {
		if i < len(standings) {
			e.answer(standings[i], nil)
		}
	}
}

// landed takes the batch that was read back out of those under way, and sends
// what waited for its place.
func (l *Ledger) landed(data []byte) []entry {
	number := batchNumber(data)
	l.out.Lock()
	defer l.out.Unlock()
	batch := l.flights[number]
	delete(l.flights, number)
	l.flush()
	return batch
}
