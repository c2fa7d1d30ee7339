package worker

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v4"
	"github.com/nats-io/nats.go"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/failpoint"
	"github.com/kefuhq/kefu/internal/wire"
	"github.com/kefuhq/kefu/schema"
)

// laterMessage is an intent as KEFU_LATER holds it until at. One subject for
// each message: a second schedule on a subject would replace the first.
//
// from is the sequence of the message it continues, in the stream that it
// leaves: neither a second wait nor a repeat of the id may replace the first.
func laterMessage(appID string, to wire.Subject, env wire.Envelope, hop int, from uint64, at time.Time, header nats.Header, data []byte) *nats.Msg {
	to.Again = true
	id := wire.MovedMsgID(appID, env.ID, env.Generation, env.Attempt, hop, from)
	sum := sha256.Sum256([]byte(id))
	out := moved(wire.LaterWaitSubject(appID, hex.EncodeToString(sum[:12])), id, header, data)
	// Written by hand: the library's option knows whole seconds only.
	out.Header.Set("Nats-Schedule", "@at "+at.UTC().Format(time.RFC3339Nano))
	out.Header.Set("Nats-Schedule-Target", wire.LaterDueSubject(appID))
	out.Header.Set(wire.HeaderTarget, to.String())
	out.Header.Set(wire.HeaderHop, strconv.Itoa(hop))
	return out
}

// moved is an intent's message under another subject.
func moved(subject, id string, header nats.Header, data []byte) *nats.Msg {
	h := maps.Clone(header)
	h.Set(schema.HeaderMsgID, id)
	return &nats.Msg{Subject: subject, Header: h, Data: data}
}

// headerOf is what goes with an intent to KEFU_LATER: what kefu knows of it, and
// what the producer put into its headers besides.
func headerOf(env wire.Envelope, m *nats.Msg) nats.Header {
	h := nats.Header(env.Header())
	if foreign := wire.ForeignHeader(m.Header); sizeOf(foreign) <= maxForeign {
		maps.Copy(h, foreign)
	}
	return h
}

// maxForeign is how many bytes of headers that mean nothing to kefu go along:
// a queue takes 16 KiB of headers, and what was tried has to fit.
const maxForeign = 4 << 10

func sizeOf(h map[string][]string) (n int) {
	for name, values := range h {
		for _, v := range values {
			n += len(name) + len(v) + len(": \r\n")
		}
	}
	return n
}

// dispatcher moves what has become due from KEFU_LATER to kefu.again. Every
// worker has one; they share a consumer.
//
// It never gives a message back: a full queue of one app would then fill the
// consumer and stop all others. What the queue refuses is scheduled anew.
type dispatcher struct {
	w      *Worker
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

func newDispatcher(w *Worker) *dispatcher {
	d := &dispatcher{w: w, idle: make(chan struct{})}
	d.puller = w.conn.NewPuller(wire.StreamLater, broker.DispatchConsumer().Durable, d.move, d.lost)
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
		d.mender.mend(d.w, d.bind, d.top)
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
	if _, err := d.w.bind(wire.StreamLater, broker.DispatchConsumer(), "dispatcher", "what becomes due cannot be read"); err != nil {
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
		d.w.log.Error("a message without a readable ack subject was left alone", "stream", wire.StreamLater)
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
	d.w.conn.Outbox.Publish(out, func(_ broker.Ack, err error) {
		if err == nil {
			failpoint.Reach(failpoint.Moved, env.ID)
			d.done(m)
			return
		}
		pause := strangePause
		if broker.Full(err) {
			pause = min(fullPause<<min(hop, 8), fullPauseMost)
		} else {
			d.w.log.Warn("a due intent is not taken by its queue, trying later", "app", to.AppID, "id", env.ID, "error", err)
		}
		again := laterMessage(to.AppID, to, env, hop+1, meta.Seq, time.Now().Add(pause), due.header, m.Data)
		d.w.conn.Outbox.Publish(again, func(_ broker.Ack, err error) {
			if err == nil {
				d.done(m)
				return
			}
			d.left() // handed out again after its AckWait
		})
	})
}

func (d *dispatcher) done(m *nats.Msg) {
	_ = d.w.conn.AckReply(m.Reply) // a lost one moves it twice: a duplicate at the queue
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
