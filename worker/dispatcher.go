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
	strangePause  = 30 * time.Second // when nobody takes the app's intents
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
		d.top()
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.stopping {
		d.mender.mend(d.services, d.bind, d.top)
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
	if _, err := d.makeConsumer(wire.StreamLater, broker.DispatchConsumer(), "dispatcher", "what becomes due cannot be read"); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.stopping {
		return backoff.Permanent(context.Canceled)
	}
	return d.puller.Resume()
}

func (d *dispatcher) top() {
	d.mu.Lock()
	room := dispatchAhead - d.moving
	d.mu.Unlock()
	d.puller.Top(room)
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
		d.log.Error("a message without a readable ack subject was left alone", "stream", wire.StreamLater)
		d.left()
		return
	}
	due, err := readLater(m)
	if err != nil {
		d.bury(m, meta, due, err)
		return
	}
	env, to, hop := due.env, due.to, due.hop
	out := moved(to.String(), wire.MovedMsgID(to.AppID, env.ID, env.Generation, env.Attempt, hop, meta.Seq), due.header, m.Data)
	d.conn.Outbox.Publish(out, func(_ broker.Ack, err error) {
		if err == nil {
			failpoint.Reach(failpoint.Moved, env.ID)
			d.done(m)
			return
		}
		pause := strangePause
		if broker.Full(err) {
			pause = min(fullPause<<min(hop, 8), fullPauseMost)
		} else {
			d.log.Warn("a due intent is not taken by its queue, trying later", "app", to.AppID, "id", env.ID, "error", err)
		}
		again := laterMessage(to.AppID, to, env, hop+1, meta.Seq, time.Now().Add(pause), due.header, m.Data)
		d.conn.Outbox.Publish(again, func(_ broker.Ack, err error) {
			if err == nil {
				d.done(m)
				return
			}
			d.left() // handed out again after its AckWait
		})
	})
}

func (d *dispatcher) done(m *nats.Msg) {
	_ = d.conn.AckReply(m.Reply) // a lost one moves it twice: a duplicate at the queue
	d.left()
}

func (d *dispatcher) left() {
	d.mu.Lock()
	d.moving--
	d.checkIdle()
	stopping := d.stopping
	d.mu.Unlock()
	if !stopping {
		d.top()
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
		if !strings.HasPrefix(name, "Nats-") && name != wire.HeaderTarget && name != wire.HeaderHop {
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
	letter := unmovable(m, meta, due, why, d.name)
	msg, err := deadletter.Message(letter)
	if err != nil {
		d.log.Error("dead letter", "stream", wire.StreamLater, "sequence", meta.Seq, "error", err)
		d.left() // handed out again after its AckWait
		return
	}
	d.store(letter, msg, func(stored broker.Ack) {
		d.store(letter, deadletter.IndexMessage(letter, stored.Seq), func(broker.Ack) { d.buried(m, due, letter) })
	})
}

// store stores a letter, or its entry in the index, and calls then, or has the
// intent handed out again after its AckWait.
func (d *dispatcher) store(letter *schema.Letter, part *nats.Msg, then func(broker.Ack)) {
	d.conn.Outbox.Publish(part, func(stored broker.Ack, err error) {
		if err != nil {
			d.log.Warn("a dead letter cannot be stored, trying later", "app", letter.AppID, "id", letter.ID, "error", err)
			d.left()
			return
		}
		then(stored)
	})
}

// buried settles what came in m, whose letter is stored.
func (d *dispatcher) buried(m *nats.Msg, due due, letter *schema.Letter) {
	d.log.Warn(string(schema.StateDead), "app", letter.AppID, "id", letter.ID, "reason", letter.Reason, "why", letter.Detail)
	d.metrics.settled(letter.AppID, letter.Lane, schema.StateDead, letter.Reason, letter.PossibleDuplicate)
	d.metrics.ofSource(letter.Source, schema.StateDead)
	d.receipts.store(d.receiptOf(letter, due.env), 0, func() {
		if due.env.ID == "" {
			d.done(m) // the ledger does not know it
			return
		}
		campaign := ledger.NoCampaign
		if letter.Campaign != "" {
			campaign = ledger.CampaignOf(letter.AppID, letter.Campaign)
		}
		d.ledger.Write(ledger.Mark{
			Key: ledger.KeyOf(letter.AppID, letter.ID), Body: ledger.BodyOf(m.Data), Kind: ledger.Dead, Again: true,
			Campaign: campaign, Before: ledger.ParseEnd(due.env.Before), Reason: letter.Reason,
			Generation: uint16(min(letter.Generation, 1<<16-1)), Attempt: uint8(min(max(due.env.Attempt-1, 0), 255)),
			Unknown: uint8(min(unknownOf(due.env.Tried), 255)),
		}, func(ledger.Standing, error) { d.done(m) })
	})
}

// unmovable is the letter of what cannot be moved, as far as it can be read.
func unmovable(m *nats.Msg, meta broker.Delivery, due due, why error, worker string) *schema.Letter {
	env := due.env
	l := &schema.Letter{
		ID: env.ID, AppID: strings.TrimPrefix(m.Subject, "kefu.later.due."), Generation: max(env.Generation, 1),
		Lane: due.to.Lane, OpenID: wire.PeekToUser(m.Data), Source: env.Source,
		Reason: schema.ReasonInvalid, Detail: "it waited in " + wire.StreamLater + " and cannot be moved on: " + why.Error(),
		PossibleDuplicate: unknownOf(env.Tried) > 0, Attempts: env.Tried,
		Subject: m.Header.Get(wire.HeaderTarget), Sequence: meta.Seq,
		PublishedAt: env.PublishedAt.UTC(), DiedAt: time.Now().UTC(), Worker: worker,
	}
	if schema.CheckToken("appid", l.AppID) != nil {
		l.AppID = "unknown" // only kefu writes there: no app of that name can have a queue
	}
	if l.ID == "" {
		l.ID = wire.DefaultID(meta.Stored, meta.Seq)
	}
	if l.PublishedAt.IsZero() {
		l.PublishedAt = meta.Stored.UTC()
	}
	if l.Subject == "" {
		l.Subject = m.Subject
	}
	if l.Lane == schema.LaneBulk {
		l.Campaign = due.to.Key
	}
	if n := len(l.Attempts); n > 0 {
		l.FirstAt, l.LastAt = l.Attempts[0].At, l.Attempts[n-1].At
	}
	wire.SetPacket(l, m.Data)
	wire.SetHeader(l, wire.ProducerHeader(m.Header, env.ID))
	return l
}

// receiptOf is the receipt that goes with a letter; nil when none is wanted.
func (d *dispatcher) receiptOf(l *schema.Letter, env wire.Envelope) *schema.Receipt {
	if !d.receipts.wanted(schema.StateDead) {
		return nil
	}
	return &schema.Receipt{
		ID: l.ID, AppID: l.AppID, Generation: l.Generation, State: schema.StateDead, Lane: l.Lane, Campaign: l.Campaign, Source: l.Source,
		Reason: l.Reason, Attempts: max(env.Attempt-1, 0), PossibleDuplicate: l.PossibleDuplicate,
		PublishedAt: l.PublishedAt, SettledAt: l.DiedAt,
	}
}
