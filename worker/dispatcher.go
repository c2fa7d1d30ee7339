package worker

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v4"
	"github.com/nats-io/nats.go"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/deadletter"
	"github.com/kefuhq/kefu/internal/failpoint"
	"github.com/kefuhq/kefu/internal/ledger"
	"github.com/kefuhq/kefu/internal/wire"
	"github.com/kefuhq/kefu/schema"
)

// dispatcher moves what has become due from KEFU_LATER to kefu.again. Every
// worker has one; they share a consumer.
//
// It never gives a message back: a full queue of one app would then fill the
// consumer and stop all others. What the queue refuses is scheduled anew.
type dispatcher struct {
	*services
	puller *broker.Puller
	mender mender

	mu       sync.Mutex
	stopping bool
	moving   int
	drained  bool
	idle     chan struct{}
}

const (
	dispatchAhead = 512              // messages in hand and on their way
	fullPause     = 2 * time.Second  // first pause when a queue is full, growing with each hop
	fullPauseMost = time.Minute      //
	noQueuePause  = 30 * time.Second // when the app's queue cannot be written to
)

func newDispatcher(s *services) *dispatcher {
	d := &dispatcher{services: s, idle: make(chan struct{})}
	d.puller = s.conn.NewPuller(wire.StreamLater, broker.DispatchConsumer().Durable, d.move, d.lost)
	return d
}

func (d *dispatcher) start() { d.lost(broker.ErrConsumerGone) }

func (d *dispatcher) reconnected() { d.lost(broker.ErrConsumerGone) }

func (d *dispatcher) lost(reason error) {
	if reason == nil {
		d.pullMore()
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.stopping {
		d.mender.mend(d.services, d.bind, d.pullMore)
	}
}

func (d *dispatcher) bind() error {
	d.mu.Lock()
	stopping := d.stopping
	d.mu.Unlock()
	if stopping {
		return backoff.Permanent(context.Canceled)
	}
	d.puller.Forget()
	_, err := d.makeConsumer(wire.StreamLater, broker.DispatchConsumer(),
		"dispatcher", "what becomes due cannot be read")
	if err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.stopping {
		return backoff.Permanent(context.Canceled)
	}
	return d.puller.Resume()
}

func (d *dispatcher) pullMore() {
	d.mu.Lock()
	room := dispatchAhead - d.moving
	d.mu.Unlock()
	d.puller.Request(room)
}

// stop begins to end; the channel is closed when nothing is being moved.
func (d *dispatcher) stop() <-chan struct{} {
	d.mu.Lock()
	d.stopping = true
	d.mu.Unlock()
	d.puller.Pause(func() {
		d.mu.Lock()
		d.drained = true
		d.checkIdle()
		d.mu.Unlock()
	})
	return d.idle
}

func (d *dispatcher) checkIdle() {
	if d.stopping && d.drained && d.moving == 0 {
		select {
		case <-d.idle:
		default:
			close(d.idle)
		}
	}
}

// move publishes one due intent to its lane, and acknowledges it when it is
// stored there.
func (d *dispatcher) move(m *nats.Msg) {
	d.mu.Lock()
	d.moving++
	d.mu.Unlock()
	meta, ok := broker.ParseDelivery(m.Reply)
	if !ok {
		d.log.Error("a message without a readable ack subject was left alone",
			"stream", wire.StreamLater)
		d.finished()
		return
	}
	due, err := readLater(m)
	if err != nil {
		d.bury(m, meta, due, err)
		return
	}
	env, to, hop := due.env, due.to, due.hop
	id := wire.MovedMsgID(to.AppID, env.ID, env.Generation, env.Attempt, hop, meta.Seq)
	out := moved(to.String(), id, due.header, m.Data)
	d.conn.Outbox.Publish(out, func(_ broker.Ack, err error) {
		if err == nil {
			failpoint.Reach(failpoint.Moved, env.ID)
			d.done(m)
			return
		}
		pause := noQueuePause
		if broker.Full(err) {
			pause = min(fullPause<<min(hop, 8), fullPauseMost)
		} else {
			d.log.Warn("a due intent is refused by its queue, trying later",
				"app", to.AppID, "id", env.ID, "error", err)
		}
		at := time.Now().Add(pause)
		again := laterMessage(to.AppID, to, env, hop+1, meta.Seq, at, due.header, m.Data)
		d.conn.Outbox.Publish(again, func(_ broker.Ack, err error) {
			if err == nil {
				d.done(m)
				return
			}
			d.finished() // handed out again after its AckWait
		})
	})
}

func (d *dispatcher) done(m *nats.Msg) {
	_ = d.conn.AckReply(m.Reply) // a lost one moves it twice: a duplicate at the queue
	d.finished()
}

func (d *dispatcher) finished() {
	d.mu.Lock()
	d.moving--
	d.checkIdle()
	stopping := d.stopping
	d.mu.Unlock()
	if !stopping {
		d.pullMore()
	}
}

// due is a message of laterMessage after it became due.
type due struct {
	env    wire.Envelope
	to     wire.Subject
	hop    int
	header nats.Header // of the intent: all but the broker's, and what says where it goes
}

// readLater reads what has become due, as far as it is needed to move it on. A
// header that this version does not know goes along with all others: whoever
// reads the queue may know it, and a worker that does not writes a letter, as
// for a producer's. So while one version replaces another nothing depends on
// which of them moves a message.
func readLater(m *nats.Msg) (due, error) {
	d := due{header: make(nats.Header, len(m.Header))}
	for name, values := range m.Header {
		if !strings.HasPrefix(name, "Nats-") && name != wire.HeaderTarget &&
			name != wire.HeaderHop {
			d.header[name] = values
		}
	}
	d.hop, _ = strconv.Atoi(m.Header.Get(wire.HeaderHop))
	var broken error
	d.env, broken = wire.ParseEnvelope(d.header, true)
	var err error
	switch d.to, err = wire.ParseSubject(m.Header.Get(wire.HeaderTarget)); {
	case err != nil:
		return d, fmt.Errorf("its %s names no queue: %w", wire.HeaderTarget, err)
	case !d.to.Again:
		return d, fmt.Errorf("its %s is not on kefu.again", wire.HeaderTarget)
	case d.env.ID == "":
		return d, fmt.Errorf("it names no intent: %w", broken)
	}
	return d, nil
}

// bury makes a letter of what has become due and cannot be moved to any queue:
// nothing that was accepted is dropped, whoever put it there.
func (d *dispatcher) bury(m *nats.Msg, meta broker.Delivery, due due, why error) {
	dead := unmovable(m, meta, due, why)
	letter := newLetter(dead, wire.ProducerHeader(m.Header, due.env.ID), d.name)
	if letter.Subject = m.Header.Get(wire.HeaderTarget); letter.Subject == "" {
		letter.Subject = m.Subject
	}
	msg, err := deadletter.Message(letter)
	if err != nil {
		d.log.Error("dead letter", "stream", wire.StreamLater, "sequence", meta.Seq, "error", err)
		d.finished() // handed out again after its AckWait
		return
	}
	d.store(letter, msg, func(stored broker.Ack) {
		d.store(letter, deadletter.IndexMessage(letter, stored.Seq),
			func(broker.Ack) { d.settle(dead) })
	})
}

// store stores a letter, or its entry in the index, and calls then, or has the
// intent handed out again after its AckWait.
func (d *dispatcher) store(letter *schema.Letter, part *nats.Msg, then func(broker.Ack)) {
	d.conn.Outbox.Publish(part, func(stored broker.Ack, err error) {
		if err != nil {
			d.log.Warn("a dead letter cannot be stored, trying later",
				"app", letter.AppID, "id", letter.ID, "error", err)
			d.finished()
			return
		}
		then(stored)
	})
}

// settle reports the end of an intent whose letter is stored, and acknowledges it.
func (d *dispatcher) settle(dead *delivery) {
	app, end := dead.subject.AppID, &dead.end
	d.log.Warn(string(end.state), "app", app, "id", dead.id,
		"reason", end.reason, "why", end.detail)
	d.metrics.settled(app, dead.subject.Lane, end.state, end.reason, dead.possibleDuplicate())
	d.metrics.ofSource(dead.env.Source, end.state)
	d.receipts.store(d.receipts.of(dead), 0, func() {
		if dead.env.ID == "" {
			d.done(dead.msg) // the ledger does not know it
			return
		}
		mark := dead.mark(ledger.Dead)
		mark.Seq, mark.Stream = 0, 0 // it is in no queue
		d.ledger.Write(mark, func(ledger.Standing, error) { d.done(dead.msg) })
	})
}

// unmovable is the intent that cannot be moved, as far as it can be read.
func unmovable(m *nats.Msg, meta broker.Delivery, due due, why error) *delivery {
	d := &delivery{msg: m, life: life{
		subject: due.to, seq: meta.Seq, stored: meta.Stored, queueMade: meta.Stored,
		end: ending{
			state: schema.StateDead, reason: schema.ReasonInvalid,
			detail: "it waited in " + wire.StreamLater + " and cannot be moved on: " + why.Error(),
		},
	}}
	d.subject.Again = true
	d.subject.AppID = strings.TrimPrefix(m.Subject, "kefu.later.due.")
	if schema.CheckToken("appid", d.subject.AppID) != nil {
		d.subject.AppID = "unknown" // only kefu writes there: no app of that name can have a queue
	}
	d.adopt(due.env)
	return d
}
