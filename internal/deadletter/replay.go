package deadletter

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"math"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"golang.org/x/time/rate"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/wire"
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
	Kept       int    `json:"kept"`       // of those: their letter may still lie in the box
	Skipped    int    `json:"skipped"`    // left in the box; Notes say why
	Failed     int    `json:"failed"`     // left in the box: the broker refused them; Notes say why
	Notes      []Note `json:"notes,omitempty"`

	// Stopped says why the replay ended before the last letter; "" when it did not.
	Stopped string        `json:"stopped,omitempty"`
	Took    time.Duration `json:"-"`
}

const (
	// window is how many letters are between publish and deletion. Before as many
	// are published, that is written down (handover).
	window   = 64
	maxInRow = 20 // refusals in a row that end a replay: what is wrong is not the letters

	fullPause = 500 * time.Millisecond // between two offers to a full queue

	// afterStop is how long an interrupted replay waits for the answers to what
	// it has published, so that their letters can go.
	afterStop = 3 * time.Second

	// patience is how long the box, the ledger and the queues may not answer before
	// a replay gives up.
	patience = time.Minute

	requestTimeout = 5 * time.Second
)

// Replay publishes every letter that the filter chooses to its lane again and
// takes it out of the box. It begins and ends with an entry in the audit.
//
// It can be interrupted and run again at any time: a letter is taken out only
// when its own message is in the queue, or was. The one that an earlier run has
// published is known by its id at the broker and in the queue, and later by the
// ledger and what that run has written down.
//
// The error is that of the context or of a box that cannot be read; what one
// letter met with is in the Result, which says how far it came in either case.
func (b *Box) Replay(ctx context.Context, filter Filter, o Options) (Result, error) {
	planned := o.Through != 0
	if !planned {
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
	r.planned = planned
	begin := time.Now()
	err = r.run(ctx, filter)
	r.result.Took = time.Since(begin)
	r.result.Notes = r.notes.sorted()
	err = errors.Join(err, r.close(ctx))

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
	planned bool // the ledger has been asked for its letters
	limiter *rate.Limiter
	queues  queues
	records *records
	taken   int
	batch   []chosen // to be written down and published next

	// judging guards queues, records, handover and lost: a letter before a full queue is judged by
	// its own goroutine.
	judging  sync.Mutex
	handover handover // of this run, as it was written last
	lost     error    // that outlasted patience: nothing is judged any more

	slots   chan struct{}
	running sync.WaitGroup

	mu      sync.Mutex
	open    map[uint64]handed // written down
	flying  map[uint64]bool   // of these, published and not settled
	settled map[uint64]bool   // letters that this run took out
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
		slots: make(chan struct{}, window),
		open:  make(map[uint64]handed), flying: make(map[uint64]bool),
		settled: make(map[uint64]bool), handover: handover{By: o.By, run: rand.Text()},
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

	var err error
	if r.records, err = r.box.records(reading, filter, r.o, !r.planned); err == nil {
		err = r.walk(reading, filter, func(item Item) error {
			return r.letter(reading, settling, item)
		})
	}
	if err == nil || errors.Is(err, errEnough) {
		err = r.send(reading, settling)
	}
	r.running.Wait()
	switch {
	case errors.Is(context.Cause(reading), errStopped):
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

// chosen is a letter that is to be published.
type chosen struct {
	item   Item
	target target
}

// letter puts one letter among those that are published next, or says why it is
// not.
func (r *replay) letter(reading, settling context.Context, item Item) error {
	if r.o.Limit > 0 && r.taken >= r.o.Limit {
		return errEnough
	}
	v, err := r.judge(reading, &item)
	switch {
	case err != nil:
		return err
	case v.move == leave:
		r.skip(item.Letter.ID, v.why)
		return nil
	}
	r.taken++
	if v.move == takeOut {
		if err := r.slot(reading); err != nil {
			return err
		}
		r.settling(func() { r.remove(settling, item, true) })
		return nil
	}
	r.batch = append(r.batch, chosen{item, v.target})
	if len(r.batch) < window {
		return nil
	}
	return r.send(reading, settling)
}

// slot waits until another letter may be between publish and deletion.
func (r *replay) slot(ctx context.Context) error {
	select {
	case r.slots <- struct{}{}:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// settling runs f in a goroutine, which gives the slot back.
func (r *replay) settling(f func()) {
	r.running.Go(func() {
		defer func() { <-r.slots }()
		f()
	})
}

// send writes down which letters come next and publishes each when its turn
// comes. Settling them is left to goroutines; publishing is done here, so that
// one recipient's letters keep their order.
func (r *replay) send(reading, settling context.Context) error {
	batch := r.batch
	r.batch = nil
	if len(batch) == 0 {
		return nil
	}
	if err := r.writeDown(reading, batch...); err != nil {
		return err
	}
	for _, c := range batch {
		if err := r.limiter.Wait(reading); err != nil {
			return err
		}
		if err := r.slot(reading); err != nil {
			return err
		}
		o, err := r.offer(reading, c)
		if err != nil {
			<-r.slots
			return err
		}
		r.settling(func() { r.settle(reading, settling, c, o) })
	}
	return nil
}

// offer publishes a letter unless it must not be any more: its turn may come long after it was
// chosen, and its producer may have published its id again meanwhile.
func (r *replay) offer(ctx context.Context, c chosen) (offered, error) {
	v, err := r.judge(ctx, &c.item)
	if err != nil || v.move != publish {
		return offered{verdict: v}, err
	}
	if v.target != c.target {
		if err := r.writeDown(ctx, chosen{c.item, v.target}); err != nil {
			return offered{}, err
		}
	}
	r.sent(c.item.Seq)
	return offered{v, r.publish(v.msg)}, nil
}

// offered is what was judged of a letter whose turn had come, and the answer to come if it was
// published.
type offered struct {
	verdict
	answer <-chan answer
}

// verdict is what is to be done with a letter.
type verdict struct {
	move   move
	why    error  // of leave
	target target // of publish, with its message
	msg    *nats.Msg
}

// judge says what is to be done with a letter now. It has patience: the broker may go away while a
// replay runs.
func (r *replay) judge(ctx context.Context, item *Item) (verdict, error) {
	r.judging.Lock()
	defer r.judging.Unlock()
	for begin := time.Now(); r.lost == nil; {
		v, err := r.verdict(ctx, item)
		switch {
		case err == nil || ctx.Err() != nil:
			return v, err
		case time.Since(begin) > patience:
			r.lost = err
		case !pause(ctx, time.Second):
			return verdict{}, context.Cause(ctx)
		}
	}
	return verdict{}, r.lost
}

// verdict is judge without patience.
func (r *replay) verdict(ctx context.Context, item *Item) (verdict, error) {
	now := time.Now()
	queue, err := r.queues.has(ctx, item.Letter.AppID)
	if err != nil {
		return verdict{}, err
	}
	p, err := r.records.prior(ctx, item, queue, now)
	if err != nil {
		return verdict{}, err
	}
	msg, why := r.o.again(item, p.target, now)
	switch {
	case why != nil:
	case !queue:
		why = noQueue
	case p.move == leave:
		why = p.why
	case p.move == publish && r.late(item, now):
		why = pastDue
	}
	if why != nil {
		return verdict{move: leave, why: why}, nil
	}
	if p.move == publish {
		r.records.take(item, p.target)
		if p.counted {
			l := &item.Letter
			msg.Header.Set(wire.HeaderBefore,
				wire.Ended(schema.StateDead, l.Reason, l.PossibleDuplicate))
		}
	}
	return verdict{move: p.move, target: p.target, msg: msg}, nil
}

func (r *replay) late(item *Item, now time.Time) bool {
	deadline := r.o.deadline(&item.Letter, now)
	return !deadline.IsZero() && !now.Before(deadline)
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
func (r *replay) settle(reading, settling context.Context, c chosen, o offered) {
	item := c.item
	for {
		switch o.move {
		case takeOut:
			r.remove(settling, item, true)
			return
		case leave:
			r.unsent(item.Seq)
			r.skip(item.Letter.ID, o.why)
			return
		}
		var a answer
		select {
		case a = <-o.answer:
		case <-settling.Done():
			r.fail(item.Letter.ID, "the broker did not answer before the replay was interrupted")
			return
		}
		switch {
		case a.err == nil:
			// A duplicate is this letter's own: its id names the letter.
			r.remove(settling, item, a.ack.Duplicate)
			return
		case !broker.Full(a.err):
			if refused := (*broker.APIError)(nil); errors.As(a.err, &refused) {
				r.unsent(item.Seq) // any other error may hide that it was taken
			}
			r.fail(item.Letter.ID, a.err.Error())
			return
		}
		r.wait(+1, item.Letter.AppID)
		ok := pause(reading, fullPause)
		r.wait(-1, item.Letter.AppID)
		var err error
		if ok {
			c.target = o.target
			o, err = r.offer(reading, c)
		}
		switch {
		case reading.Err() != nil && (!ok || err != nil):
			r.unsent(item.Seq)
			r.fail(item.Letter.ID, "the queue was full when the replay was interrupted")
			return
		case err != nil:
			r.unsent(item.Seq)
			r.fail(item.Letter.ID, err.Error())
			return
		}
	}
}

// remove takes out a letter whose message the queue has, or had. before says
// that an earlier run has published it.
func (r *replay) remove(ctx context.Context, item Item, before bool) {
	err := r.box.Delete(ctx, item.Seq)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.inRow = 0
	r.result.Replayed++
	if before {
		r.result.Duplicates++
	}
	if err != nil {
		r.result.Kept++
		r.notes.add("", "replayed, but its letter is still in the box: run again to take it out",
			item.Letter.ID)
	} else {
		delete(r.open, item.Seq)
		delete(r.flying, item.Seq)
		r.settled[item.Seq] = true
	}
	r.progress("")
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
		r.result.Stopped = fmt.Sprintf("%d letters in a row could not be published: %s",
			maxInRow, why)
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
		r.o.Progress(Progress{Replayed: r.result.Replayed, Left: r.result.Skipped + r.result.Failed,
			Waiting: waiting})
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
