package broker

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"
)

// Outbox publishes messages and repeats each until the broker has answered.
//
// Package publisher does the same for producers (courier in carry.go) and shares no code with it:
// it must not import anything of internal/, and its calls end after a while, whatever the broker
// does, and say what they know then.
//
// A leader change or a lost connection swallows the answer of a publish that
// may have been stored. So each message carries a Nats-Msg-Id that is its own
// (one without gets one): the repeat then is a duplicate, never a second
// message. Silence is waited out without limit (the result of an API call must
// not be forgotten because the broker restarts); a refusal is the caller's to
// deal with, after patience for those that pass by themselves.
//
// A conditional write (Nats-Expected-…) whose answer was lost is refused when it
// is repeated: the server looks at the condition before the id. Its writer has
// to look at what is there.
//
// Repeats leave in the order in which the messages were published first, but a
// message whose repeat is still to come may be overtaken by a later one. Who
// needs an order waits for the answer to the one before.
type Outbox struct {
	nc     *nats.Conn
	prefix string // reply subjects are prefix + number
	sub    *nats.Subscription

	patience time.Duration

	mu      sync.Mutex
	next    uint64
	pending map[uint64]*publish
	closed  bool
	trip    time.Duration // how long answers take, on average of late

	stop chan struct{}
	done chan struct{}
}

// publish is one message that waits for its answer.
type publish struct {
	number  uint64
	msg     *nats.Msg
	done    func(Ack, error)
	asked   time.Time // first
	sent    time.Time // first on this connection
	due     time.Time // repeat at
	wait    time.Duration
	refused time.Time // since when the broker says that it cannot just now; zero: it does not
}

const (
	// a leader change costs this, not the 5 s of a default publish; where answers take long, twice
	// as long.
	firstRepeat = 400 * time.Millisecond
	maxRepeat   = 2 * time.Second
	sweepEvery  = 50 * time.Millisecond

	// maxPerSweep bounds the repeats of one sweep: a broker that answers late
	// because it is overloaded must not get everything again every two seconds.
	maxPerSweep = 200

	// patience is how long "no responders" and "no leader" are taken for an
	// election rather than for a missing stream.
	patience = 5 * time.Second
)

func newOutbox(nc *nats.Conn) (*Outbox, error) {
	o := &Outbox{
		nc:       nc,
		prefix:   nc.NewInbox() + ".",
		patience: patience,
		pending:  make(map[uint64]*publish),
		stop:     make(chan struct{}),
		done:     make(chan struct{}),
	}
	sub, err := nc.Subscribe(o.prefix+"*", o.answer)
	if err != nil {
		return nil, fmt.Errorf("outbox: %w", err)
	}
	// The default of half a million pending answers would be dropped silently
	// beyond it; an outbox holds at most one answer per message of ours anyway.
	if err := sub.SetPendingLimits(-1, -1); err != nil {
		return nil, fmt.Errorf("outbox: %w", err)
	}
	o.sub = sub
	go o.sweep()
	return o, nil
}

// Publish sends msg and has done called once with the outcome: never from
// within Publish, but from the goroutine that reads all answers, so it must not
// block. msg is the outbox's from now on. done may be nil.
func (o *Outbox) Publish(msg *nats.Msg, done func(Ack, error)) { o.publish(msg, done) }

func (o *Outbox) publish(msg *nats.Msg, done func(Ack, error)) (number uint64) {
	if msg.Header == nil {
		msg.Header = nats.Header{}
	}
	if msg.Header.Get(jetstream.MsgIDHeader) == "" {
		msg.Header.Set(jetstream.MsgIDHeader, nuid.Next())
	}
	now := time.Now()
	p := &publish{msg: msg, done: done, asked: now, sent: now}
	o.mu.Lock()
	p.wait = o.firstWait()
	p.due = now.Add(p.wait)
	if o.closed {
		o.mu.Unlock()
		p.fail(ErrClosed)
		return 0
	}
	o.next++
	p.number = o.next
	msg.Reply = o.prefix + strconv.FormatUint(p.number, 36)
	o.pending[p.number] = p
	o.mu.Unlock()
	o.send(p)
	return p.number
}

// PublishWait is Publish for those who have nothing better to do meanwhile.
// When ctx ends first, the message may or may not be stored, and is not
// repeated any more.
func (o *Outbox) PublishWait(ctx context.Context, msg *nats.Msg) (Ack, error) {
	type result struct {
		ack Ack
		err error
	}
	ch := make(chan result, 1)
	number := o.publish(msg, func(a Ack, err error) { ch <- result{a, err} })
	select {
	case r := <-ch:
		return r.ack, r.err
	case <-ctx.Done():
		o.remove(number)
		return Ack{}, fmt.Errorf("publish to %s: no answer from the broker: %w", msg.Subject,
			context.Cause(ctx))
	}
}

// Pending is the number of messages without an answer.
func (o *Outbox) Pending() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.pending)
}

// Oldest is when the message was published that waits longest for its answer;
// zero when none waits. It never blocks.
func (o *Outbox) Oldest() (oldest time.Time) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, p := range o.pending {
		if oldest.IsZero() || p.asked.Before(oldest) {
			oldest = p.asked
		}
	}
	return oldest
}

// Trip is how long the broker takes to answer a publish, on average of late; 0
// before the first answer.
func (o *Outbox) Trip() time.Duration {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.trip
}

// firstWait is when to repeat a message that has had no answer. o.mu is held.
func (o *Outbox) firstWait() time.Duration { return min(max(firstRepeat, 2*o.trip), maxRepeat) }

// answered removes a message from those that wait, and notes how long its answer
// took.
func (o *Outbox) answered(number uint64) *publish {
	o.mu.Lock()
	defer o.mu.Unlock()
	p := o.pending[number]
	delete(o.pending, number)
	if p != nil {
		if took := time.Since(p.sent); o.trip == 0 {
			o.trip = took
		} else {
			o.trip += (took - o.trip) / 8
		}
	}
	return p
}

// remove removes a message from those that wait; nil when it is not among them.
func (o *Outbox) remove(number uint64) *publish {
	o.mu.Lock()
	defer o.mu.Unlock()
	p := o.pending[number]
	delete(o.pending, number)
	return p
}

func (o *Outbox) send(p *publish) {
	err := o.nc.PublishMsg(p.msg)
	switch {
	case err == nil:
		return
	case errors.Is(err, nats.ErrConnectionClosed):
		err = ErrClosed
	case errors.Is(err, nats.ErrMaxPayload), errors.Is(err, nats.ErrBadSubject),
		errors.Is(err, nats.ErrHeadersNotSupported):
		err = fmt.Errorf("publish to %q: %w", p.msg.Subject, err)
	default:
		return // the connection is away just now: the sweep repeats it
	}
	if p = o.remove(p.number); p != nil {
		p.fail(err)
	}
}

// answer takes the broker's reply to one publish.
func (o *Outbox) answer(m *nats.Msg) {
	n, err := strconv.ParseUint(strings.TrimPrefix(m.Subject, o.prefix), 36, 64)
	if err != nil {
		return
	}
	ack, err := parseAck(m)
	if err != nil && transient(err) && o.waitsOut(n, time.Now()) {
		return
	}
	if p := o.answered(n); p != nil { // nil: answered already, the first attempt's answer came late
		p.finish(ack, err)
	}
}

// waitsOut says whether a refusal that passes is still to be waited out.
func (o *Outbox) waitsOut(number uint64, now time.Time) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	p := o.pending[number]
	if p == nil {
		return true
	}
	// silence before it does not count: the broker may have been away for minutes
	if p.refused.IsZero() {
		p.refused = now
	}
	p.due = now.Add(p.wait)
	return now.Sub(p.refused) < o.patience
}

func (p *publish) finish(a Ack, err error) {
	if p.done != nil {
		p.done(a, err)
	}
}

// fail is finish for the callers' own goroutine, which may hold a lock that
// done wants.
func (p *publish) fail(err error) {
	if p.done != nil {
		go p.done(Ack{}, err)
	}
}

// sweep repeats what was not answered in time.
func (o *Outbox) sweep() {
	defer close(o.done)
	t := time.NewTicker(sweepEvery)
	defer t.Stop()
	for {
		select {
		case <-o.stop:
			return
		case now := <-t.C:
			switch {
			case o.nc.IsConnected():
				o.repeat(maxPerSweep, func(p *publish) bool { return now.After(p.due) },
					func(p *publish) {
						p.wait = min(2*p.wait, maxRepeat)
					})
			// by somebody else: nothing will ever be answered, and send learns it
			case o.nc.IsClosed():
				o.repeatAll()
			}
		}
	}
}

// repeatAll repeats everything at once: after a reconnect nothing that was sent
// before will be answered, and what was refused before says nothing any more.
func (o *Outbox) repeatAll() {
	o.repeat(math.MaxInt, func(*publish) bool { return true }, func(p *publish) {
		p.wait, p.refused, p.sent = o.firstWait(), time.Time{}, time.Now()
	})
}

// repeat sends again what is due, oldest first, after mark has noted it (with
// the lock held).
func (o *Outbox) repeat(most int, due func(*publish) bool, mark func(*publish)) {
	var again []*publish
	now := time.Now()
	o.mu.Lock()
	for _, p := range o.pending {
		if due(p) {
			again = append(again, p)
		}
	}
	slices.SortFunc(again, func(x, y *publish) int { return cmp.Compare(x.number, y.number) })
	again = again[:min(len(again), most)]
	for _, p := range again {
		mark(p)
		p.due = now.Add(p.wait)
	}
	o.mu.Unlock()
	for _, p := range again {
		o.send(p)
	}
}

// close fails everything that is still waiting.
func (o *Outbox) close() {
	o.mu.Lock()
	if o.closed {
		o.mu.Unlock()
		return
	}
	o.closed = true
	left := o.pending
	o.pending = nil
	o.mu.Unlock()
	close(o.stop)
	<-o.done
	_ = o.sub.Unsubscribe()
	for _, p := range left {
		p.finish(Ack{}, ErrClosed)
	}
}
