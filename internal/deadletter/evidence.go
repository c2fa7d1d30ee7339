package deadletter

import (
	"context"
	"fmt"
	"time"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/wire"
	"github.com/kefuhq/kefu/schema"
)

// Life is what the ledger remembers of an intent's id.
type Life struct {
	Generation int
	Ended      bool // sent, dead or cancelled; false: under way
	Same       bool // its packet is the one that was asked about
}

// Ledger answers what is remembered of intents. Want is called for each before Read, which may be
// called again for what is new.
type Ledger interface {
	Want(appID, id string, published time.Time)
	Read(ctx context.Context) error
	Life(appID, id string, packet []byte) (Life, bool)
}

// evidence is what is known of the message that a replay would publish for a letter: target is its
// id and generation.
type evidence struct {
	life     Life      // of the id, as the ledger remembers it
	known    bool      // it does
	queued   int       // highest generation of the id in the queue; 0: none
	stored   bool      // this very message is among them
	doubt    time.Time // when a replay that did not end may have published it; zero: none did
	idTaken  bool      // this run has published the same generation of the id, for another letter
	inDoubt  bool      // doubt is longer ago than a repeat is recognised
	accepted bool      // and the user accepts that it may be sent twice
}

// action is what a replay does with a letter.
type action uint8

// The moves.
const (
	publishLetter action = iota + 1
	removeLetter         // its message is known already: only the letter has to go
	keepLetter           // in the box, for a reason
)

// next judges a letter by what is known of the message that a replay would publish for it,
// generation of its id. own says that the id is the letter's alone, one of newID's. It decides what
// must never happen: that a letter goes though its message is not there, that a message is
// published which the ledger will not let through, and that somebody is sent to twice without
// having been asked for. Its test is the specification.
func (e evidence) next(generation int, own bool) (action, refusal) {
	onward := e.queued >= generation || e.known && e.life.Generation >= generation
	switch {
	case e.stored, own && onward:
		return removeLetter, ""
	case onward && !e.doubt.IsZero() && e.known && e.life.Same:
		// by the replay that did not end: nobody else has published these bytes under this
		// generation
		return removeLetter, ""
	case onward:
		return keepLetter, refuseContinued
	case e.idTaken:
		return keepLetter, refuseSameID
	case e.known && e.life.Generation == generation-1 && !e.life.Ended:
		return keepLetter, refuseInFlight
	case e.inDoubt && !e.accepted:
		return keepLetter, refuseMayDouble
	}
	return publishLetter, ""
}

// records is what the broker knows of letters: the ledger, the queues, and what replays have
// written down.
type records struct {
	box       *Box
	o         Options
	handovers []handover
	made      time.Time           // KEFU_DEAD
	doubts    map[doubt]time.Time // of the handovers: since when
	looked    map[string]bool     // apps whose queue was looked at
	read      time.Time           // when the ledger was read last
	queued    map[string]int      // app and id → highest generation
	stored    map[string]bool     // message ids of replays
	published map[string]uint64   // by this run: app, id and generation → letter
}

// doubt is that a letter may have been published, under its id or under one of its own.
type doubt struct {
	seq   uint64
	ownID bool
}

// records gathers what does not depend on single letters. With want it has the ledger look for
// those that the filter chooses.
func (b *Box) records(ctx context.Context, filter Filter, o Options, want bool) (*records, error) {
	r := &records{
		box: b, o: o, doubts: make(map[doubt]time.Time), looked: make(map[string]bool),
		queued: make(map[string]int),
		stored: make(map[string]bool), published: make(map[string]uint64),
	}
	info, err := b.info(ctx)
	if err != nil {
		return nil, err
	}
	r.made = madeAt(info)
	if r.handovers, err = readHandovers(ctx, b.conn, r.made); err != nil {
		return nil, err
	}
	for _, h := range r.handovers {
		for _, l := range h.Letters {
			d := doubt{l.Seq, l.NewID}
			if earlier, ok := r.doubts[d]; !ok || l.At.Before(earlier) {
				r.doubts[d] = l.At
			}
		}
	}
	if o.Ledger == nil || !want {
		return r, nil
	}
	return r, b.from(ctx, filter, 0, o.Through, func(item Item) error {
		l := &item.Letter
		o.Ledger.Want(l.AppID, l.ID, l.PublishedAt)
		if o.NewIDs {
			o.Ledger.Want(l.AppID, newID(l), l.PublishedAt)
		}
		return nil
	})
}

// look reads an app's queue, and has the ledger read after it: in this order, what leaves the one
// meanwhile is found in the other.
func (r *records) look(ctx context.Context, appID string) error {
	if r.looked[appID] {
		return nil
	}
	o := broker.ScanOptions{Subject: wire.AgainFilter(appID)}
	err := r.box.conn.Scan(ctx, schema.SendStream(appID), o, func(s broker.Stored) error {
		env, err := wire.ParseEnvelope(s.Header, true)
		if err != nil {
			return nil // it will be a letter
		}
		key := appID + " " + env.ID
		r.queued[key] = max(r.queued[key], env.Generation)
		r.stored[s.Header.Get(schema.HeaderMsgID)] = true
		return nil
	})
	if err != nil {
		return err
	}
	r.looked[appID], r.read = true, time.Time{}
	return nil
}

// refresh is how old what is known of the ledger may be: a replay may take hours, and producers go
// on meanwhile.
const refresh = time.Second

// readLedger reads what is new in the ledger.
func (r *records) readLedger(ctx context.Context, now time.Time) error {
	if r.o.Ledger == nil || !r.read.IsZero() && now.Sub(r.read) < refresh {
		return nil
	}
	if err := r.o.Ledger.Read(ctx); err != nil {
		return err
	}
	r.read = now
	return nil
}

// evidence gathers what is known about the message that a replay would publish for a letter.
func (r *records) evidence(item *Item, t target, now time.Time) evidence {
	l := &item.Letter
	key := l.AppID + " " + t.id
	e := evidence{
		queued: r.queued[key], stored: r.stored[t.msgID], accepted: r.o.AllowDoubles,
		doubt: r.doubts[doubt{item.Seq, t.ownID}],
	}
	twin, taken := r.published[t.key(l.AppID)]
	e.idTaken = taken && twin != item.Seq
	if r.o.Ledger != nil {
		e.life, e.known = r.o.Ledger.Life(l.AppID, t.id, l.Packet())
	}
	e.inDoubt = !e.doubt.IsZero() && r.o.Remembered > 0 && now.Sub(e.doubt) >= r.o.Remembered
	return e
}

// key tells the generations of ids apart.
func (t target) key(appID string) string { return fmt.Sprint(appID, " ", t.id, " ", t.generation) }

// assessment is what came before a letter's replay, and what is to be done therefore.
type assessment struct {
	target    target
	action    action
	refusal   refusal // of leave
	mayDouble bool    // it is published, and may have been before
	counted   bool    // its campaign counts it as the letter says: that ends when its replay does
}

// marksLate is for how long a letter may be in the box before the ledger knows of the death: a
// crash between the two is made up for when the message is handed out again.
const marksLate = time.Hour

// counted says whether a letter's campaign counts its id as the letter says. So it does when the
// ledger knows, or has forgotten, the life that the letter ended, unless the id has gone on since.
// A death that is not marked yet must not be taken back: its mark will come too late to be counted.
func (r *records) counted(item *Item, own bool, now time.Time) bool {
	l := &item.Letter
	if r.o.Ledger == nil || l.Reason == schema.ReasonIDReuse {
		return true
	}
	life, known := r.o.Ledger.Life(l.AppID, l.ID, l.Packet())
	switch {
	case known:
		return life.Generation <= max(l.Generation, 1)
	case own: // its mark will come and be counted
		return true
	}
	return now.Sub(l.DiedAt) >= marksLate
}

// assess judges a letter. queue says whether its app has one.
func (r *records) assess(
	ctx context.Context, item *Item, queue bool, now time.Time,
) (assessment, error) {
	t := targetOf(item, item.Letter.Reason == schema.ReasonIDReuse)
	p := assessment{target: t, action: publishLetter}
	if !queue || item.Broken {
		return p, nil
	}
	if err := r.look(ctx, item.Letter.AppID); err != nil {
		return p, err
	}
	if err := r.readLedger(ctx, now); err != nil {
		return p, err
	}
	e := r.evidence(item, p.target, now)
	p.action, p.refusal = e.next(p.target.generation, p.target.ownID)
	if p.action == keepLetter && p.refusal != refuseMayDouble && r.o.NewIDs && !p.target.ownID {
		p.target = targetOf(item, true)
		e = r.evidence(item, p.target, now)
		p.action, p.refusal = e.next(p.target.generation, p.target.ownID)
	}
	p.mayDouble = p.action == publishLetter && e.inDoubt
	p.counted = r.counted(item, p.target.ownID, now)
	return p, nil
}

// notePublished notes that this run publishes a letter.
func (r *records) notePublished(item *Item, t target) {
	r.published[t.key(item.Letter.AppID)] = item.Seq
}
