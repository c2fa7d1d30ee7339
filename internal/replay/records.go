package replay

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/deadletter"
	"github.com/kefuhq/kefu/internal/wire"
	"github.com/kefuhq/kefu/schema"
)

// records is what is known of letters: by the ledger, by the queues, and of what replays may have
// published. It is not safe for concurrent use.
type records struct {
	conn      *broker.Conn
	known     Known
	doubts    map[doubt]time.Time // since when
	queues    map[string]queue    // by app, once it was looked at
	read      time.Time           // when the ledger was read last
	published map[uint64]uint64   // hashes of app, id and generation → letter
	seed      maphash.Seed
}

// doubt is that a letter may have been published, under its id or under one of its own.
type doubt struct {
	seq   uint64
	ownID bool
}

// queue is what replays and retries have in the queue of an app.
type queue struct {
	exists  bool
	highest map[string]int  // by id: generation
	stored  map[string]bool // message ids at the broker
}

func newRecords(conn *broker.Conn, known Known) *records {
	return &records{
		conn: conn, known: known, doubts: make(map[doubt]time.Time),
		queues: make(map[string]queue), published: make(map[uint64]uint64),
		seed: maphash.MakeSeed(),
	}
}

// doubtful notes that a letter may have been published at a time.
func (r *records) doubtful(d doubt, at time.Time) {
	if earlier, ok := r.doubts[d]; !ok || at.Before(earlier) {
		r.doubts[d] = at
	}
}

// forgetQueue has the queue of an app looked at again: others may have published there.
func (r *records) forgetQueue(appID string) { delete(r.queues, appID) }

// look reads an app's queue, and has the ledger read after it: in this order, what leaves the one
// meanwhile is found in the other.
func (r *records) look(ctx context.Context, appID string) (queue, error) {
	if q, ok := r.queues[appID]; ok {
		return q, nil
	}
	q := queue{highest: make(map[string]int), stored: make(map[string]bool)}
	stream := schema.SendStream(appID)
	var err error
	if stream != "" {
		_, err = r.conn.JS.Stream(ctx, stream)
	}
	switch {
	case stream == "" || errors.Is(err, jetstream.ErrStreamNotFound):
		r.queues[appID] = q
		return q, nil
	case err != nil:
		return q, fmt.Errorf("look at %s: %w", stream, err)
	}
	q.exists = true
	o := broker.ScanOptions{Subject: wire.AgainFilter(appID)}
	err = r.conn.Scan(ctx, stream, o, func(s broker.Stored) error {
		env, err := wire.ParseEnvelope(s.Header, true)
		if err != nil {
			return nil // it will be a letter
		}
		q.highest[env.ID] = max(q.highest[env.ID], env.Generation)
		q.stored[s.Header.Get(schema.HeaderMsgID)] = true
		return nil
	})
	if err != nil {
		return q, err
	}
	r.queues[appID], r.read = q, time.Time{}
	return q, nil
}

// refresh is how old what is known of the ledger may be: a replay may take hours, and producers go
// on meanwhile.
const refresh = time.Second

// readLedger reads what is new in the ledger.
func (r *records) readLedger(ctx context.Context, now time.Time) error {
	if r.known.Ledger == nil || !r.read.IsZero() && now.Sub(r.read) < refresh {
		return nil
	}
	if err := r.known.Ledger.Read(ctx); err != nil {
		return err
	}
	r.read = now
	return nil
}

// evidence gathers what is known about the message that a replay would publish for a letter.
func (r *records) evidence(
	q queue, item *deadletter.Item, t target, packet []byte, now time.Time,
) evidence {
	e := evidence{
		queued: q.highest[t.id], stored: q.stored[t.msgID],
		doubt: r.doubts[doubt{item.Seq, t.ownID}],
	}
	twin, taken := r.published[r.hash(item.Letter.AppID, t)]
	e.idTaken = taken && twin != item.Seq
	if r.known.Ledger != nil {
		e.life, e.known = r.known.Ledger.Life(item.Letter.AppID, t.id, packet)
	}
	e.inDoubt = !e.doubt.IsZero() && r.known.Remembered > 0 &&
		now.Sub(e.doubt) >= r.known.Remembered
	return e
}

func (r *records) hash(appID string, t target) uint64 {
	return maphash.Comparable(r.seed, [3]any{appID, t.id, t.generation})
}

// notePublished notes that the message of a letter is published.
func (r *records) notePublished(item *deadletter.Item, t target) {
	r.published[r.hash(item.Letter.AppID, t)] = item.Seq
}

// assessment is what came before a letter's replay, and what is to be done therefore.
type assessment struct {
	target    target
	action    action
	refusal   refusal // of keepLetter
	queue     bool    // its app has one
	mayDouble bool    // it is published, and may have been before
	counted   bool    // its campaign counts it as the letter says: that ends when its replay does
}

// marksLate is for how long a letter may be in the box before the ledger knows of the death: a
// crash between the two is made up for when the message is handed out again.
const marksLate = time.Hour

// counted says whether a letter's campaign counts its id as the letter says. So it does when the
// ledger knows, or has forgotten, the life that the letter ended, unless the id has gone on since.
// A death that is not marked yet must not be taken back: its mark will come too late to be counted.
func (r *records) counted(item *deadletter.Item, own bool, now time.Time) bool {
	l := &item.Letter
	if r.known.Ledger == nil || l.Reason == schema.ReasonIDReuse {
		return true
	}
	life, known := r.known.Ledger.Life(l.AppID, l.ID, l.Packet())
	switch {
	case known:
		return life.Generation <= max(l.Generation, 1)
	case own: // its mark will come and be counted
		return true
	}
	return now.Sub(l.DiedAt) >= marksLate
}

// assess judges a letter whose replay would publish packet.
func (r *records) assess(
	ctx context.Context, item *deadletter.Item, packet []byte, o Options, now time.Time,
) (assessment, error) {
	t := targetOf(item, item.Letter.Reason == schema.ReasonIDReuse)
	p := assessment{target: t, action: publishLetter}
	if item.Broken {
		return p, nil
	}
	q, err := r.look(ctx, item.Letter.AppID)
	if p.queue = q.exists; err != nil || !q.exists {
		return p, err
	}
	if err := r.readLedger(ctx, now); err != nil {
		return p, err
	}
	e := r.evidence(q, item, t, packet, now)
	e.accepted = o.AllowDoubles
	p.action, p.refusal = e.next(t.generation, t.ownID)
	if p.action == keepLetter && p.refusal != refuseMayDouble && o.NewIDs && !t.ownID {
		p.target = targetOf(item, true)
		e = r.evidence(q, item, p.target, packet, now)
		e.accepted = o.AllowDoubles
		p.action, p.refusal = e.next(p.target.generation, p.target.ownID)
	}
	p.mayDouble = p.action == publishLetter && e.inDoubt
	p.counted = r.counted(item, p.target.ownID, now)
	return p, nil
}

// judge says what is to be done with a letter now, when its turn comes at a time.
func (r *records) judge(
	ctx context.Context, item *deadletter.Item, o Options, now, at time.Time,
) (verdict, error) {
	packet, err := o.packet(item)
	if err != nil {
		return verdict{action: keepLetter, why: err}, nil
	}
	p, err := r.assess(ctx, item, packet, o, now)
	if err != nil {
		return verdict{}, err
	}
	return r.known.verdict(item, packet, p, o, at), nil
}
