package deadletter

import (
	"context"
	"crypto/rand"
	"errors"
	"math"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"golang.org/x/time/rate"

	"github.com/kefuhq/kefu/internal/wire"
	"github.com/kefuhq/kefu/schema"
)

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
		slots: make(chan struct{}, maxUnsettled),
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
	settling, end := outliving(reading)
	defer end()

	var err error
	if r.records, err = r.box.records(reading, filter, r.o, !r.planned); err == nil {
		err = r.box.walk(reading, filter, r.o.Through, func(item Item) error {
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
	case v.action == keepLetter:
		r.skip(item.Letter.ID, v.why)
		return nil
	}
	r.taken++
	if v.action == removeLetter {
		if err := r.slot(reading); err != nil {
			return err
		}
		r.settling(func() { r.remove(settling, item, true) })
		return nil
	}
	r.batch = append(r.batch, chosen{item, v.target})
	if len(r.batch) < maxUnsettled {
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
	batch, err := r.stillBoxed(reading, batch)
	if err != nil {
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

// stillBoxed returns those of a batch that are in the box: what was discarded since it was read
// must not be sent. Once they are written down, nobody discards them.
func (r *replay) stillBoxed(ctx context.Context, batch []chosen) ([]chosen, error) {
	seqs := make([]uint64, len(batch))
	for i, c := range batch {
		seqs[i] = c.item.Seq
	}
	held, err := r.box.held(ctx, seqs)
	if err != nil {
		return nil, err
	}
	var boxed []chosen
	for i, c := range batch {
		if held[i] {
			boxed = append(boxed, c)
			continue
		}
		r.unsent(c.item.Seq)
		r.noteDiscarded(c.item.Letter.ID)
	}
	return boxed, nil
}

// offer publishes a letter unless it must not be any more: its turn may come long after it was
// chosen, and its producer may have published its id again meanwhile.
func (r *replay) offer(ctx context.Context, c chosen) (offered, error) {
	v, err := r.judge(ctx, &c.item)
	if err != nil || v.action != publishLetter {
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
	action action
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
	p, err := r.records.assess(ctx, item, queue, now)
	if err != nil {
		return verdict{}, err
	}
	msg, why := r.o.message(item, p.target, now)
	switch {
	case why != nil:
	case !queue:
		why = refuseNoQueue
	case p.action == keepLetter:
		why = p.refusal
	case p.action == publishLetter && r.late(item, now):
		why = refuseExpired
	}
	if why != nil {
		return verdict{action: keepLetter, why: why}, nil
	}
	if p.action == publishLetter {
		r.records.notePublished(item, p.target)
		if p.counted {
			l := &item.Letter
			msg.Header.Set(wire.HeaderBefore,
				wire.Ended(schema.StateDead, l.Reason, l.PossibleDuplicate))
		}
	}
	return verdict{action: p.action, target: p.target, msg: msg}, nil
}

func (r *replay) late(item *Item, now time.Time) bool {
	deadline := r.o.deadline(&item.Letter, now)
	return !deadline.IsZero() && !now.Before(deadline)
}
