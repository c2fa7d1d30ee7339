package worker

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
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
	"github.com/kefuhq/kefu/schema"
)

// laterMessage is an intent as KEFU_LATER holds it until at. One subject for
// each message: a second schedule on a subject would replace the first.
//
// from is the sequence of the message it continues, in the stream that it
// leaves: neither a second wait nor a repeat of the id may replace the first.
func laterMessage(appID string, to schema.Subject, env schema.Envelope, hop int, from uint64, at time.Time, m *nats.Msg) *nats.Msg {
	to.Again, to.Shard = true, -1
	id := schema.MovedMsgID(appID, env.ID, env.Generation, env.Attempt, hop, from)
	sum := sha256.Sum256([]byte(id))
	out := moved(schema.LaterWaitSubject(appID, hex.EncodeToString(sum[:12])), id, env, m)
	// Written by hand: the library's option knows whole seconds only.
	out.Header.Set("Nats-Schedule", "@at "+at.UTC().Format(time.RFC3339Nano))
	out.Header.Set("Nats-Schedule-Target", schema.LaterDueSubject(appID))
	out.Header.Set(schema.HeaderTarget, to.String())
	out.Header.Set(schema.HeaderHop, strconv.Itoa(hop))
	return out
}

// moved is an intent's message under another subject, with what the producer
// put into its headers besides.
func moved(subject, id string, env schema.Envelope, m *nats.Msg) *nats.Msg {
	h := nats.Header(env.Header())
	if foreign := schema.ForeignHeader(m.Header); sizeOf(foreign) <= maxForeign {
		maps.Copy(h, foreign)
	}
	h.Set(schema.HeaderMsgID, id)
	return &nats.Msg{Subject: subject, Header: h, Data: m.Data}
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
	d.puller = w.conn.NewPuller(schema.StreamLater, broker.DispatchConsumer().Durable, d.move, d.lost)
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
	if _, err := d.w.bind(schema.StreamLater, broker.DispatchConsumer(), "dispatcher", "what becomes due cannot be read"); err != nil {
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
	env, to, hop, err := readLater(m)
	if err == nil && !ok {
		err = errors.New("no readable ack subject")
	}
	if err != nil {
		// Only kefu writes here; whatever else it is, it must not block the rest.
		d.w.log.Error("an unreadable message in KEFU_LATER was dropped", "subject", m.Subject, "error", err)
		d.done(m)
		return
	}
	out := moved(to.String(), schema.MovedMsgID(to.AppID, env.ID, env.Generation, env.Attempt, hop, meta.Seq), env, m)
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
		again := laterMessage(to.AppID, to, env, hop+1, meta.Seq, time.Now().Add(pause), m)
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

// readLater reads a message of laterMessage after it became due.
func readLater(m *nats.Msg) (env schema.Envelope, to schema.Subject, hop int, err error) {
	if to, err = schema.ParseSubject(m.Header.Get(schema.HeaderTarget)); err != nil {
		return env, to, 0, err
	}
	if !to.Again {
		return env, to, 0, fmt.Errorf("target %s is not kefu.again", m.Header.Get(schema.HeaderTarget))
	}
	hop, _ = strconv.Atoi(m.Header.Get(schema.HeaderHop))
	own := make(map[string][]string, len(m.Header))
	for name, values := range m.Header {
		if !strings.HasPrefix(name, "Nats-") && name != schema.HeaderTarget && name != schema.HeaderHop {
			own[name] = values
		}
	}
	env, err = schema.ParseEnvelope(own, true)
	return env, to, hop, err
}
