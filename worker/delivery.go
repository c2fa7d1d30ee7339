package worker

import (
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/wire"
	"github.com/kefuhq/kefu/schema"
)

// delivery is one intent in the hands of this worker, from the message that
// brought it to its acknowledgement.
type delivery struct {
	lane    *lane
	msg     *nats.Msg
	subject wire.Subject

	// Guarded by app.mu.
	scheduled
	renewed time.Time
	timer   *time.Timer

	replyMu sync.Mutex
	reply   string // how to acknowledge it; replaced when the consumer was made anew

	// The handler's, while it has its slot or its end is written.
	life
	env       wire.Envelope
	packet    []byte // what goes to the API
	published time.Time
	term      uint64 // of the worker in the pool, when its start was written
	drawn     *drawnHold
	burial    *burial
}

func newDelivery(l *lane, m *nats.Msg, meta broker.Delivery, queueMade time.Time, worker string) *delivery {
	d := &delivery{
		lane: l, msg: m, reply: m.Reply, renewed: time.Now(), scheduled: scheduled{line: l.line},
		life: life{
			live: l.line.kind == schema.LaneLive, seq: meta.Seq, stored: meta.Stored, queueMade: queueMade, worker: worker,
			redelivered: meta.Delivered > 1 || l.inherited(meta),
		},
	}
	var err error
	if d.subject, err = wire.ParseSubject(m.Subject); err != nil {
		// The stream's subjects bind the first tokens; the last may be anything a
		// NATS client can publish. The handler buries it.
		d.subject = wire.Subject{Subject: schema.Subject{AppID: l.app.cfg().ID, Lane: l.line.kind}}
	}
	d.again = d.subject.Again
	return d
}

func (d *delivery) setReply(reply string) {
	d.replyMu.Lock()
	d.reply = reply
	d.replyMu.Unlock()
}

func (d *delivery) getReply() string {
	d.replyMu.Lock()
	defer d.replyMu.Unlock()
	return d.reply
}

func (d *delivery) recipient() string {
	if d.live {
		return d.subject.Key
	}
	return schema.PeekToUser(d.msg.Data)
}
