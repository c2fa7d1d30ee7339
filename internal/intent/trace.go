package intent

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/deadletter"
	"github.com/kefuhq/kefu/internal/ledger"
	"github.com/kefuhq/kefu/internal/pool"
	"github.com/kefuhq/kefu/internal/queue"
	"github.com/kefuhq/kefu/internal/wire"
	"github.com/kefuhq/kefu/internal/withdrawal"
	"github.com/kefuhq/kefu/schema"
)

// trace is all that the broker holds of one intent of one app. Gathering it asks as little as it
// can: the queue, the receipts and what waits may be millions of messages, and the ledger mostly
// says where to look.
type trace struct {
	appID, id  string
	story      ledger.Story
	letters    []deadletter.Item
	queued     *queue.Message
	waiting    *queue.Message
	receipts   []schema.Receipt
	withdrawal *withdrawal.Order
	alive      map[string]bool // workers
}

// gather looks for an intent wherever the ledger and its letters do not tell all.
func (t *trace) gather(ctx context.Context, conn *broker.Conn, hasQueue bool) error {
	if hasQueue {
		if err := t.lookInQueue(ctx, conn); err != nil {
			return err
		}
	}
	if err := t.lookInLater(ctx, conn); err != nil {
		return err
	}
	if err := t.lookInReceipts(ctx, conn); err != nil {
		return err
	}
	if !t.found() {
		return nil
	}
	if err := t.lookForOrder(ctx, conn); err != nil {
		return err
	}
	workers, err := pool.Workers(ctx, conn)
	for _, w := range workers {
		t.alive[w.Name] = true
	}
	return err
}

// lookForOrder reads whether the intent was withdrawn, or its campaign cancelled.
func (t *trace) lookForOrder(ctx context.Context, conn *broker.Conn) error {
	m := cmp.Or(t.queued, t.waiting)
	if m != nil && m.Campaign() != "" {
		o, ok, err := withdrawal.ReadCampaignOrder(ctx, conn, t.appID, m.Campaign())
		if err != nil {
			return err
		}
		if ok { // it covers what is published later, too
			t.withdrawal = &withdrawal.Order{Cancellation: schema.Cancellation{
				Generation: math.MaxInt, By: o.By, At: o.At,
			}}
			return nil
		}
	}
	order, ok, err := withdrawal.Read(ctx, conn, t.appID, t.id)
	if ok {
		t.withdrawal = &order
	}
	return err
}

// found says whether anything is known at all.
func (t *trace) found() bool {
	return t.story.Known || len(t.letters) > 0 || t.queued != nil || t.waiting != nil ||
		len(t.receipts) > 0
}

// lookInQueue reads the sequences that are known, and only then goes through the queue.
func (t *trace) lookInQueue(ctx context.Context, conn *broker.Conn) error {
	name := schema.SendStream(t.appID)
	stream, err := conn.JS.Stream(ctx, name)
	if err != nil {
		return fmt.Errorf("the queue of %s: %w", t.appID, err)
	}
	created := stream.CachedInfo().Created
	take := func(s broker.Stored) bool {
		m := queue.ReadQueued(t.appID, s, created)
		if m.ID == t.id {
			t.queued = &m
		}
		return m.ID == t.id
	}
	own := defaultSequence(t.id, created)
	carrier := t.story.Seq(created)
	for _, seq := range []uint64{carrier, own} {
		if seq == 0 {
			continue
		}
		s, err := conn.Get(ctx, name, seq)
		if err == nil && take(s) {
			return nil
		}
		if err != nil && !errors.Is(err, broker.ErrNoMessage) {
			return err
		}
	}
	switch {
	case t.story.Known && t.story.Now.Kind == ledger.Sent:
		return nil // a repeat that is queued changes nothing
	case !t.story.Known && own > 0 && len(t.letters) == 0:
		// It could only be where it is not, or be sent again by kefu, which the ledger would know.
		return nil
	}
	// What carries it on, or its next life, was stored later than what the ledger knows.
	return conn.Scan(ctx, name, broker.ScanOptions{Seq: carrier + 1}, func(s broker.Stored) error {
		if take(s) {
			return broker.ErrStopScan
		}
		return nil
	})
}

// defaultSequence is the sequence in a queue that an id without a producer's own is made of; 0 for
// other ids.
func defaultSequence(id string, created time.Time) uint64 {
	at := strings.LastIndexByte(id, '-')
	seq, err := strconv.ParseUint(id[at+1:], 10, 64)
	if err != nil || wire.DefaultID(created, seq) != id {
		return 0
	}
	return seq
}

// lookInLater goes through what waits, unless the intent has ended.
func (t *trace) lookInLater(ctx context.Context, conn *broker.Conn) error {
	if t.queued != nil || t.story.Known && t.story.Now.Kind.Terminal() {
		return nil
	}
	for _, subject := range queue.LaterSubjects(t.appID) {
		err := conn.Scan(ctx, wire.StreamLater, broker.ScanOptions{Subject: subject},
			func(s broker.Stored) error {
				if m := queue.ReadLater(t.appID, s); m.ID == t.id {
					t.waiting = &m
					return broker.ErrStopScan
				}
				return nil
			})
		if err != nil || t.waiting != nil {
			return err
		}
	}
	return nil
}

// receiptMargin is how far apart, by the clocks and by how settling goes, a receipt and the mark of
// the same end can be.
const receiptMargin = 2 * time.Minute

// lookInReceipts reads the receipts around each end that is known, or all of them when nothing else
// is.
func (t *trace) lookInReceipts(ctx context.Context, conn *broker.Conn) error {
	var ends []time.Time
	for _, e := range t.story.Events {
		if e.Mark.Kind.Terminal() {
			ends = append(ends, e.Time)
		}
	}
	for _, l := range t.letters {
		ends = append(ends, l.Stored)
	}
	switch {
	case len(ends) > 0:
		for _, end := range ends {
			from, to := end.Add(-receiptMargin), end.Add(receiptMargin)
			if err := t.readReceipts(ctx, conn, from, to); err != nil {
				return err
			}
		}
		return nil
	case t.queued != nil || t.waiting != nil:
		return nil
	case t.story.Known: // settled a moment ago: the receipt comes before the mark
		last := t.story.Events[len(t.story.Events)-1].Time
		return t.readReceipts(ctx, conn, last.Add(-receiptMargin), time.Time{})
	}
	// The ledger may be off, or have forgotten.
	return t.readReceipts(ctx, conn, time.Time{}, time.Time{})
}

// readReceipts takes the intent's receipts of a span; a zero end is none.
func (t *trace) readReceipts(ctx context.Context, conn *broker.Conn, from, to time.Time) error {
	needle, err := json.Marshal(t.id)
	if err != nil {
		return err
	}
	return conn.Scan(ctx, schema.StreamReceipt,
		broker.ScanOptions{Subject: wire.ReceiptFilter(t.appID), Since: from},
		func(s broker.Stored) error {
			var r schema.Receipt
			switch {
			case !to.IsZero() && s.Time.After(to):
				return broker.ErrStopScan
			case !bytes.Contains(s.Data, needle), json.Unmarshal(s.Data, &r) != nil, r.ID != t.id,
				r.Count > 0: // of a campaign of that name
				return nil
			}
			for _, known := range t.receipts { // spans may overlap
				if known.Generation == r.Generation && known.State == r.State &&
					known.SettledAt.Equal(r.SettledAt) {
					return nil
				}
			}
			t.receipts = append(t.receipts, r)
			return nil
		})
}
