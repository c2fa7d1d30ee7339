package deadletter

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/notes"
	"github.com/kefuhq/kefu/schema"
)

// DiscardOptions are those of a discard and of its plan.
type DiscardOptions struct {
	Limit int    // letters at most, the oldest; 0 for all
	By    string // who asks, for the audit

	// Through is the last sequence in the box that takes part: DiscardPlan.Through, or 0 for
	// what is there now. What dies while a discard runs is not of it.
	Through uint64

	// Progress is called after each letter, by one goroutine at a time; it must not block.
	// waiting is for what, when the broker does not answer just now.
	Progress func(discarded int, waiting string)

	InHand InHand // nil when no replay can have one in hand
}

// InHand tells which letters of the box that was made at a time replays have in hand, or had when
// they were killed: these may be in their queue as well.
type InHand func(ctx context.Context, made time.Time) (map[uint64]bool, error)

func (f InHand) letters(ctx context.Context, made time.Time) (map[uint64]bool, error) {
	if f == nil {
		return nil, nil
	}
	return f(ctx, made)
}

// DiscardPlan says what a discard would take out of the box.
type DiscardPlan struct {
	Tally
	Left    int    `json:"left"` // more that the filter chooses, of which a replay has some in hand
	Through uint64 `json:"through"`
}

// PlanDiscard looks at every letter that the filter chooses and changes nothing.
func (b *Box) PlanDiscard(
	ctx context.Context, filter Filter, o DiscardOptions,
) (DiscardPlan, error) {
	p := DiscardPlan{Through: o.Through}
	info, err := b.info(ctx)
	if err != nil {
		return p, err
	}
	if p.Through == 0 {
		p.Through = info.State.LastSeq
	}
	if p.Through == 0 {
		return p, nil
	}
	handed, err := o.InHand.letters(ctx, madeAt(info))
	if err != nil {
		return p, err
	}
	err = b.walkSkimmed(ctx, filter, p.Through, func(i Item) error {
		switch {
		case handed[i.Seq]:
			p.Left++
		case o.Limit > 0 && p.Total >= o.Limit:
			return errEnough
		default:
			p.add(&i.Letter)
		}
		return nil
	})
	if err != nil && !errors.Is(err, errEnough) {
		return p, err
	}
	p.sort()
	return p, nil
}

// DiscardResult is what a discard did.
type DiscardResult struct {
	Discarded int           `json:"discarded"`
	Left      int           `json:"left"` // in the box; Notes say why
	Notes     notes.List    `json:"notes,omitempty"`
	Took      time.Duration `json:"-"`
}

func (r DiscardResult) words(err error) string {
	s := fmt.Sprintf("discarded %d, left %d", r.Discarded, r.Left)
	if err != nil {
		s += "; interrupted"
	}
	return s
}

// Discard takes every letter that the filter chooses out of the box, the oldest first. It begins
// and ends with an entry in the audit, and can be interrupted and run again at any time.
//
// A letter that a replay has written down is left: its message may be on its way, and only a
// replay can tell.
//
// The error is that of the context or of a box that cannot be reached; the result says how far it
// came in either case.
func (b *Box) Discard(
	ctx context.Context, filter Filter, o DiscardOptions,
) (DiscardResult, error) {
	info, err := b.info(ctx)
	if err != nil {
		return DiscardResult{}, err
	}
	if o.Through == 0 {
		o.Through = info.State.LastSeq
	}
	pseudonyms, err := b.conn.Pseudonyms(ctx)
	if err != nil {
		return DiscardResult{}, err
	}
	entry := broker.AuditEntry{
		Actor: o.By, Verb: "discard", AppID: filter.AppID, Filter: filter.Words(pseudonyms),
	}
	options := ""
	if o.Limit > 0 {
		options = fmt.Sprintf(", %d at most", o.Limit)
	}
	d := discard{box: b, o: o, made: madeAt(info), slots: make(chan struct{}, atOnce)}
	err = b.conn.Audited(ctx, entry, options, func() (_ int, _ string, err error) {
		begin := time.Now()
		if o.Through > 0 {
			err = d.run(ctx, filter)
		}
		d.result.Took, d.result.Notes = time.Since(begin), d.notes.Sorted()
		return d.result.Discarded, d.result.words(err), err
	})
	return d.result, err
}

// errEnough ends a scan at the limit.
var errEnough = errors.New("enough letters")

// discardBatch is how many letters are deleted before replays are looked at again.
const discardBatch = 256

const noteHandedOver = "left: a replay has it in hand, or was killed and may have published it"

// NoteTakenOut is about a letter that another replay or discard was quicker with.
const NoteTakenOut = "taken out of the box by somebody else meanwhile"

// discard is one run of Discard.
type discard struct {
	box     *Box
	o       DiscardOptions
	made    time.Time // KEFU_DEAD
	batch   []Item
	begun   int // letters whose deletion was begun
	slots   chan struct{}
	running sync.WaitGroup

	mu     sync.Mutex
	result DiscardResult
	notes  notes.List
	stop   context.CancelCauseFunc
}

func (d *discard) run(ctx context.Context, filter Filter) error {
	reading, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	d.stop = stop
	// What was begun is finished even when somebody interrupts.
	settling, end := outliving(reading)
	defer end()

	err := d.box.walk(reading, filter, d.o.Through, func(item Item) error {
		d.batch = append(d.batch, item)
		if len(d.batch) < discardBatch && (d.o.Limit == 0 || d.begun+len(d.batch) < d.o.Limit) {
			return nil
		}
		return d.flush(reading, settling)
	})
	if err == nil {
		err = d.flush(reading, settling)
	}
	d.running.Wait()
	switch {
	case reading.Err() != nil: // the caller's interrupt, or the first deletion that failed
		return context.Cause(reading)
	case errors.Is(err, errEnough):
		return nil
	}
	return err
}

// flush begins to delete the batch, but for what replays have in hand.
func (d *discard) flush(reading, settling context.Context) error {
	batch := d.batch
	d.batch = nil
	if len(batch) == 0 {
		return nil
	}
	var handed map[uint64]bool
	err := d.box.patiently(reading, func(ctx context.Context) (err error) {
		handed, err = d.o.InHand.letters(ctx, d.made)
		return err
	})
	if err != nil {
		return err
	}
	for _, item := range batch {
		if handed[item.Seq] {
			d.leave(&item.Letter, noteHandedOver)
			continue
		}
		select {
		case d.slots <- struct{}{}:
		case <-reading.Done():
			return context.Cause(reading)
		}
		d.begun++
		d.running.Go(func() {
			defer func() { <-d.slots }()
			d.remove(settling, &item.Letter, item.Seq)
		})
	}
	if d.o.Limit > 0 && d.begun >= d.o.Limit {
		return errEnough
	}
	return nil
}

func (d *discard) leave(l *schema.Letter, why string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.result.Left++
	d.notes.Add(why, l.ID)
}

func (d *discard) remove(ctx context.Context, l *schema.Letter, seq uint64) {
	asked, missing := 0, false
	err := d.box.patiently(ctx, func(ctx context.Context) error {
		err := d.box.conn.Ask(ctx, func(ctx context.Context) error {
			asked++
			return d.box.conn.Delete(ctx, schema.StreamDead, seq)
		})
		if errors.Is(err, broker.ErrNoMessage) {
			missing = asked == 1 // else the answer to an earlier request was lost
			return nil
		}
		if err != nil {
			d.progress("the broker does not answer")
		}
		return err
	})
	d.mu.Lock()
	switch {
	case err != nil:
		d.result.Left++
		d.notes.Add("the broker did not take it out", l.ID)
		d.stop(err)
	case missing:
		d.notes.Add(NoteTakenOut, l.ID)
	default:
		d.result.Discarded++
	}
	d.mu.Unlock()
	d.progress("")
}

func (d *discard) progress(waiting string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.o.Progress != nil {
		d.o.Progress(d.result.Discarded, waiting)
	}
}
