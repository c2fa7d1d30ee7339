package deadletter

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"math"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"golang.org/x/time/rate"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/schema"
)

// Progress is how far a replay has come.
type Progress struct {
	Replayed int
	Left     int    // in the box: skipped and failed
	Waiting  string // for what, when the queue takes nothing just now
}

// Result is what a replay did.
type Result struct {
	Replayed   int    `json:"replayed"`   // the queue has them
	Duplicates int    `json:"duplicates"` // of those: an earlier run had got that far
	Kept       int    `json:"kept"`       // of those: their letter could not be taken out of the box; running again does it
	Skipped    int    `json:"skipped"`    // left in the box; Notes say why
	Failed     int    `json:"failed"`     // left in the box because the broker refused them; Notes say why
	Notes      []Note `json:"notes,omitempty"`

	// Stopped says why the replay ended before the last letter; "" when it did not.
	Stopped string        `json:"stopped,omitempty"`
	Took    time.Duration `json:"-"`
}

const (
	window   = 64 // letters between publish and deletion
	maxInRow = 20 // refusals in a row that end a replay: what is wrong is not the letters

	fullPause = 500 * time.Millisecond // between two offers to a full queue

	// afterStop is how long an interrupted replay waits for the answers to what
	// it has published, so that their letters can go.
	afterStop = 3 * time.Second

	// patience is how long the box may not answer before a replay gives up.
	patience = time.Minute

	requestTimeout = 5 * time.Second
)

// Replay publishes every letter that the filter chooses to its lane again and
// takes it out of the box. It begins and ends with an entry in the audit.
//
// It can be interrupted and run again at any time: a letter is taken out only
// when the queue has the message, and a message that the queue already has is
// known by its id there, later to the ledger.
//
// The error is that of the context or of a box that cannot be read; what one
// letter met with is in the Result, which says how far it came in either case.
func (b *Box) Replay(ctx context.Context, filter Filter, o Options) (Result, error) {
	if o.Through == 0 {
		var err error
		if o.Through, err = b.last(ctx); err != nil {
			return Result{}, err
		}
	}
	pseudonyms, err := b.conn.Pseudonyms(ctx)
	if err != nil {
		return Result{}, err
	}
	entry := broker.AuditEntry{
		Actor: o.By, Verb: "replay", AppID: filter.AppID, Filter: filter.Words(pseudonyms),
		Detail: "begins" + o.words(),
	}
	if err := b.conn.Audit(ctx, entry); err != nil {
		return Result{}, err
	}
	r := newReplay(b, o)
	begin := time.Now()
	err = r.run(ctx, filter)
	r.result.Took = time.Since(begin)
	r.result.Notes = r.notes.sorted()

	entry.Time, entry.Count, entry.Detail = time.Time{}, r.result.Replayed, r.result.words(err)
	after, cancel := context.WithTimeout(context.WithoutCancel(ctx), requestTimeout)
	defer cancel()
	return r.result, errors.Join(err, b.conn.Audit(after, entry))
}

// words are the options as the audit keeps them.
func (o Options) words() string {
	s := ""
	if o.Rate > 0 {
		s += fmt.Sprintf(", %g a second", o.Rate)
	}
	if o.Limit > 0 {
		s += fmt.Sprintf(", %d at most", o.Limit)
	}
	if o.ExpiresIn > 0 {
		s += fmt.Sprintf(", new deadline in %s", o.ExpiresIn)
	}
	if o.NewIDs {
		s += ", new ids"
	}
	return s
}

func (r Result) words(err error) string {
	s := fmt.Sprintf("replayed %d, skipped %d, failed %d", r.Replayed, r.Skipped, r.Failed)
	switch {
	case r.Stopped != "":
		return s + "; stopped: " + r.Stopped
	case err != nil:
		return s + "; interrupted"
	}
	return s
}

// replay is one run of Replay.
type replay struct {
	box     *Box
	o       Options
	limiter *rate.Limiter
	queues  queues
	seed    maphash.Seed
	seen    map[uint64]struct{} // message ids published by this run, hashed
	taken   int

	slots   chan struct{}
	running sync.WaitGroup

	mu      sync.Mutex
	result  Result
	notes   notes
	inRow   int // refusals since the last success
	waiting int // letters before a full queue
	stop    context.CancelCauseFunc
}

func newReplay(b *Box, o Options) *replay {
	limit, burst := rate.Inf, 0
	if o.Rate > 0 {
		// A tenth of a second's worth: with less, timers that wake late make it slower than asked.
		limit, burst = rate.Limit(o.Rate), int(math.Ceil(o.Rate/10))
	}
	return &replay{
		box: b, o: o, limiter: rate.NewLimiter(limit, burst), queues: queues{box: b},
		seed: maphash.MakeSeed(), seen: make(map[uint64]struct{}), slots: make(chan struct{}, window),
	}
}

// errStopped is the cause of a context that the replay itself ended.
var errStopped = errors.New("replay stopped")

func (r *replay) run(ctx context.Context, filter Filter) error {
	reading, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	r.stop = stop
	// What was published must be settled even when somebody interrupts.
	settling, end := context.WithCancel(context.WithoutCancel(ctx))
	defer end()
	release := context.AfterFunc(reading, func() { time.AfterFunc(afterStop, end) })
	defer release()

	err := r.walk(reading, filter, func(item Item) error { return r.letter(reading, settling, item) })
	r.running.Wait()
	switch {
	case errors.Is(err, errEnough), errors.Is(context.Cause(reading), errStopped):
		return nil
	case ctx.Err() != nil:
		return context.Cause(ctx)
	}
	return err
}

// walk reads the box and goes on where it was when the broker went away: a
// replay may take hours.
func (r *replay) walk(ctx context.Context, filter Filter, f func(Item) error) error {
	var own error // of f, which must not be taken for the scan's
	last := time.Now()
	next := uint64(0)
	for {
		err := r.box.from(ctx, filter, next, r.o.Through, func(item Item) error {
			own = f(item)
			last, next = time.Now(), item.Seq+1
			return own
		})
		if err == nil || own != nil || ctx.Err() != nil || time.Since(last) > patience {
			return err
		}
		if !pause(ctx, time.Second) {
			return context.Cause(ctx)
		}
	}
}

// letter publishes one letter, when its turn comes, and leaves the rest to a
// goroutine. Publishing happens here, so that one recipient's letters keep
// their order.
func (r *replay) letter(reading, settling context.Context, item Item) error {
	if r.o.Limit > 0 && r.taken >= r.o.Limit {
		return errEnough
	}
	why, err := r.refuses(reading, &item)
	if err != nil {
		return err
	}
	if why != nil {
		r.skip(item.Letter.ID, why)
		return nil
	}
	if err := r.limiter.Wait(reading); err != nil {
		return err
	}
	select {
	case r.slots <- struct{}{}:
	case <-reading.Done():
		return context.Cause(reading)
	}
	msg, why := r.o.again(&item, time.Now())
	if why == nil && !r.first(msg) {
		why = justNow
	}
	if why != nil {
		<-r.slots
		r.skip(item.Letter.ID, why)
		return nil
	}
	r.taken++
	answer := r.publish(msg)
	r.running.Go(func() {
		defer func() { <-r.slots }()
		r.settle(reading, settling, item, msg, answer)
	})
	return nil
}

// refuses says why a letter stays where it is.
func (r *replay) refuses(ctx context.Context, item *Item) (why, err error) {
	now := time.Now()
	if _, why := r.o.again(item, now); why != nil {
		return why, nil
	}
	if deadline := r.o.deadline(&item.Letter, now); !deadline.IsZero() && !now.Before(deadline) {
		return pastDue, nil
	}
	ok, err := r.queues.has(ctx, item.Letter.AppID)
	if err == nil && !ok {
		why = noQueue
	}
	return why, err
}

// first says whether this run publishes the message id for the first time. Two
// letters of one id and generation are two messages; the broker would take the
// second for a repeat of the first and drop it.
func (r *replay) first(msg *nats.Msg) bool {
	h := maphash.String(r.seed, msg.Header.Get(schema.HeaderMsgID))
	_, seen := r.seen[h]
	r.seen[h] = struct{}{}
	return !seen
}

// answer is what became of one publish.
type answer struct {
	ack broker.Ack
	err error
}

func (r *replay) publish(msg *nats.Msg) <-chan answer {
	ch := make(chan answer, 1)
	r.box.conn.Outbox.Publish(msg, func(ack broker.Ack, err error) { ch <- answer{ack, err} })
	return ch
}

// settle waits until the queue has the message, then takes the letter out.
func (r *replay) settle(reading, settling context.Context, item Item, msg *nats.Msg, published <-chan answer) {
	for {
		var a answer
		select {
		case a = <-published:
		case <-settling.Done():
			r.fail(item.Letter.ID, "the broker did not answer before the replay was interrupted")
			return
		}
		switch {
		case a.err == nil:
			r.landed(settling, item, msg, a.ack)
			return
		case !broker.Full(a.err):
			r.fail(item.Letter.ID, a.err.Error())
			return
		}
		r.wait(+1, item.Letter.AppID)
		ok := pause(reading, fullPause)
		r.wait(-1, item.Letter.AppID)
		if !ok {
			r.fail(item.Letter.ID, "the queue was full when the replay was interrupted")
			return
		}
		published = r.publish(msg)
	}
}

// landed takes out the letter of a message that the queue has.
func (r *replay) landed(ctx context.Context, item Item, msg *nats.Msg, ack broker.Ack) {
	if ack.Duplicate {
		// An earlier run's, unless two letters share id and generation.
		same, err := r.holds(ctx, ack, msg)
		if err != nil {
			r.fail(item.Letter.ID, err.Error())
			return
		}
		if !same {
			r.skip(item.Letter.ID, otherQueued)
			return
		}
	}
	err := r.box.Delete(ctx, item.Seq)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.inRow = 0
	r.result.Replayed++
	if ack.Duplicate {
		r.result.Duplicates++
	}
	if err != nil {
		r.result.Kept++
		r.notes.add("", "replayed, but its letter is still in the box: run again to take it out", item.Letter.ID)
	}
	r.progress("")
}

// holds says whether the message that the queue took ours for a repeat of is
// ours. One that is gone was taken by a worker: the window of duplicates is
// minutes, so it was published by a run just before this one.
func (r *replay) holds(ctx context.Context, ack broker.Ack, msg *nats.Msg) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	stored, err := r.box.conn.Get(ctx, ack.Stream, ack.Seq)
	if errors.Is(err, broker.ErrNoMessage) {
		return true, nil
	}
	return err == nil && bytes.Equal(stored.Data, msg.Data), err
}

func (r *replay) skip(id string, why error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.result.Skipped++
	r.notes.add("", why.Error(), id)
	r.progress("")
}

func (r *replay) fail(id, why string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.result.Failed++
	r.notes.add("", why, id)
	if r.inRow++; r.inRow == maxInRow {
		r.result.Stopped = fmt.Sprintf("%d letters in a row could not be published: %s", maxInRow, why)
		r.stop(errStopped)
	}
	r.progress("")
}

// wait counts the letters that stand before a full queue.
func (r *replay) wait(n int, appID string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.waiting += n
	if r.waiting > 0 {
		r.progress("the queue of " + appID + " is full")
	}
}

// progress is called with r.mu held.
func (r *replay) progress(waiting string) {
	if r.o.Progress != nil {
		r.o.Progress(Progress{Replayed: r.result.Replayed, Left: r.result.Skipped + r.result.Failed, Waiting: waiting})
	}
}

// pause returns false when ctx ended first.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
