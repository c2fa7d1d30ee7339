package ledger

import (
	"context"
	"time"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/wire"
)

// Lookup reads the log for many intents in one pass. It serves commands; workers have the index.
// Want every intent, Read, then Get.
type Lookup struct {
	conn  *broker.Conn
	keys  map[Key]struct{}
	since time.Time // the earliest that is wanted
	index *index
	next  uint64 // where the next Read goes on; 0 at the beginning
}

// NewLookup makes a Lookup that wants nothing yet.
func NewLookup(conn *broker.Conn) *Lookup {
	return &Lookup{conn: conn, keys: make(map[Key]struct{}), index: newIndex(0)}
}

// lookupSkew is by how much a mark may seem older than the publishing of its intent.
const lookupSkew = time.Minute

// Want has Read look for an intent that was published then.
func (l *Lookup) Want(appID, id string, published time.Time) {
	published = published.Add(-lookupSkew)
	key := KeyOf(appID, id)
	if _, ok := l.keys[key]; ok && !published.Before(l.since) {
		return
	}
	if len(l.keys) == 0 || published.Before(l.since) {
		l.since = published
	}
	l.keys[key] = struct{}{}
	if l.next > 0 {
		l.index, l.next = newIndex(0), 0
	}
}

// Read reads the log from where the Read before ended, or from the time of the earliest intent
// wanted.
func (l *Lookup) Read(ctx context.Context) error {
	if len(l.keys) == 0 {
		return nil
	}
	o := broker.ScanOptions{Seq: l.next}
	if l.next == 0 {
		o.Since = l.since
	}
	return l.conn.Scan(ctx, wire.StreamLedger, o, func(s broker.Stored) error {
		l.next = s.Seq + 1
		if _, err := checkBatch(s.Data); err != nil {
			return nil // workers skip it as well
		}
		worker := wire.LedgerWorker(s.Subject)
		readBatch(s.Data, func(m Mark) {
			if _, ok := l.keys[m.Key]; ok {
				l.index.mark(m, l.index.worker(worker))
			}
		})
		return nil
	})
}

// Get is what the log says of an intent, as far as it was read.
func (l *Lookup) Get(appID, id string) (Entry, bool) { return l.index.get(KeyOf(appID, id)) }

// End is how the latest life of an intent ended, as far as the log was read; zero while it has not.
// known is false for an intent that the log does not have.
func (l *Lookup) End(appID, id string) (end End, known bool) {
	e, known := l.Get(appID, id)
	return e.endOf(e.Generation), known
}

// Peek is what a worker that has nothing to do with an intent yet would be told of a Start, as far
// as the log was read.
func (l *Lookup) Peek(start Mark) Standing { return l.index.peek(start) }
