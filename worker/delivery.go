package worker

import (
	"bytes"
	"fmt"
	"path"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/gate"
	"github.com/kefuhq/kefu/internal/ledger"
	"github.com/kefuhq/kefu/internal/wechat"
	"github.com/kefuhq/kefu/internal/wire"
	"github.com/kefuhq/kefu/schema"
)

// place is where a delivery is within its app.
type place uint8

const (
	returned place = iota // to be given back when the app closes
	ready                 // waits for slot and permission
	behind                // waits behind its recipient's earlier intent
	under                 // has a slot: its handler alone touches it
	waiting               // for a timer
	settling              // its end is being written; then acknowledged
	gone
)

// progress is how far a delivery's own attempt has come. It says what the ledger
// must be told when something unforeseen ends it.
type progress uint8

const (
	untouched progress = iota // no Start of ours stands, or its end has been written
	started                   // our Start stands; the packet has not left
	called                    // the packet may have left; what came of it has not been written
	accepted                  // the API has said that it is sent, and that has not been written
)

// delivery is one intent in the hands of this worker, from the message that
// brought it to its acknowledgement.
type delivery struct {
	app     *app
	lane    *lane
	msg     *nats.Msg
	subject wire.Subject
	seq     uint64
	queue   *time.Time // when the stream that seq counts in was made
	stored  time.Time
	nth     int  // how often the consumer handed it out; forgotten at a hand-over
	taken   bool // a consumer before this one may have handed it out

	// guarded by app.mu
	place      place
	released   bool // the recipient's later intents do not wait for it
	renewed    time.Time
	timer      *time.Timer
	permission gate.Permission
	passed     bool      // it has its slot to be put off, and nothing else
	begunAt    time.Time // when it got its slot
	seen       seen

	replyMu sync.Mutex
	reply   string // how to acknowledge it; replaced when the consumer was made anew

	// the handler's
	identified bool
	parsed     bool
	retrying   time.Time // since when it holds back its recipient
	bad        error     // why it cannot be sent, as a sentence for the dead letter
	begun      bool      // its call has been made, by us or by somebody before us
	progress   progress
	spent      spent  // before the attempt that progress speaks of
	term       uint64 // of the worker in the pool, when its Start was written
	panics     int    // while it was handled here
	left       int    // how often it was left to another worker
	asked      bool   // whether the message that it repeats is still there
	suspect    bool   // its Suspect mark must be taken back when it is given back
	env        wire.Envelope
	id         string
	key        ledger.Key
	body       uint32
	packet     []byte // what goes to the API
	published  time.Time
	deadline   time.Time
	generation int
	attempt    int // number of the next attempt
	unknown    int // attempts so far of unknown outcome
	tried      []schema.Attempt
}

// spent is what a delivery knew before its attempt.
type spent struct{ attempt, unknown, tried int }

func newDelivery(a *app, l *lane, m *nats.Msg, meta broker.Delivery) *delivery {
	d := &delivery{
		app: a, lane: l, msg: m, seq: meta.Seq, queue: a.created.Load(), stored: meta.Stored, nth: meta.Delivered, taken: l.inherited(meta),
		reply: m.Reply, renewed: time.Now(),
	}
	var err error
	if d.subject, err = wire.ParseSubject(m.Subject); err != nil {
		// The stream's subjects bind the first tokens; the last may be anything a
		// NATS client can publish. The handler buries it.
		d.subject = wire.Subject{Subject: schema.Subject{AppID: a.cfg().ID, Lane: l.kind}}
	}
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

// ack acknowledges the message and forgets the delivery.
func (d *delivery) ack() {
	reply := d.getReply()
	if reply == "" {
		return // disowned
	}
	if err := d.app.w.conn.AckReply(reply); err != nil {
		d.app.w.log.Debug("ack", "app", d.app.cfg().ID, "id", d.id, "error", err) // handed out again, the ledger knows its end
	}
	d.app.settled(d)
}

// handle is one intent's time in a slot: taken in pump, given back here, where
// it may go to a successor.
func (d *delivery) handle() (successor *delivery) {
	next := afterwards{place: returned}
	reached := false
	defer func() {
		if r := recover(); r != nil {
			next, reached = d.panicked(r), false
		}
		successor = d.app.finish(d, next, reached)
	}()
	next, reached = d.run()
	if d.suspect && next.place == waiting { // while it waits, a crash is not its fault
		d.unsuspect()
	}
	return nil
}

// unsuspect takes the Suspect mark back of what is let go of in good health: to
// be handed out again is then no sign of a crash. It says nothing else. What the
// attempts have cost was told when it was learned, and this delivery may not
// know all of it.
func (d *delivery) unsuspect() {
	if d.suspect {
		d.suspect = false
		d.app.w.ledger.Write(d.mark(ledger.Harmless), nil)
	}
}

// panicked ends what a panic has interrupted, by how far it had come; an intent
// that does it again and again is poison.
func (d *delivery) panicked(r any) afterwards {
	w := d.app.w
	w.metrics.panics.Inc()
	// The value of a panic may hold parts of the message: only where it happened is logged.
	w.log.Error("panic while handling an intent", "app", d.app.cfg().ID, "id", d.id, "kind", fmt.Sprintf("%T", r), "at", origin(debug.Stack()))
	d.panics++
	if d.progress != untouched { // what came after the call may have changed these
		d.attempt, d.unknown, d.tried = d.spent.attempt, d.spent.unknown, d.tried[:min(len(d.tried), d.spent.tried)]
	}
	switch d.progress {
	case accepted:
		d.attempt++
		return d.tellSent()
	case called:
		// It may have been sent: an answer that was forgotten is none.
		d.progress = untouched
		d.tried = append(d.tried, schema.Attempt{Number: d.attempt, At: time.Now().UTC(), Outcome: outcomeUnknown, Worker: w.cfg.Process.Name})
		next, _ := d.act(outcome{fault: wechat.FaultUnknown, detail: "a panic during the call, or after it"}, nil)
		return next
	case started:
		if !d.takeBack() {
			return afterwards{place: returned}
		}
	}
	if !d.identified { // what makes identify panic would do it again
		return afterwards{place: waiting, delay: time.Minute}
	}
	if s, err := d.write(ledger.Suspect); err == nil && max(s.Suspects, d.panics) >= maxSuspects {
		return d.poisoned("handling it failed three times")
	}
	return afterwards{place: waiting, delay: time.Second, held: true}
}

// poisoned buries what must not be handled any more, unless the ledger knows
// better: it may have ended, or be in the hands of a worker that lives.
func (d *delivery) poisoned(detail string) afterwards {
	known := d.peek()
	switch known.Ruling {
	case ledger.Ended, ledger.Repeat:
		return d.settleKnown(known)
	case ledger.Started, ledger.Doomed:
		if next, leave := d.leave(known); leave {
			d.suspect = false // and stays what it is
			return next
		}
		if known.Ruling == ledger.Doomed {
			return d.abandoned(known)
		}
		d.takeOver(known)
		d.attempt, d.unknown = d.attempt+1, d.unknown+1
	default:
		d.learn(known)
	}
	if d.unknown > 0 {
		detail += "; an attempt before is of unknown outcome"
	}
	return d.settleBury(schema.ReasonPoison, detail, nil)
}

// learn takes over what the ledger knows to have been spent: a header remembers
// the last tries only, and a producer's message none.
func (d *delivery) learn(s ledger.Standing) {
	d.attempt, d.unknown = max(d.attempt, s.Attempts+1), max(d.unknown, s.Unknown)
}

// origin is where in kefu a panic began, as folder/file.go:line: the first line
// of its stack that belongs to a function of ours.
func origin(stack []byte) string {
	_, below, _ := bytes.Cut(stack, []byte("\npanic("))
	ours := false
	for line := range strings.Lines(string(below)) {
		if ours {
			place, _, _ := strings.Cut(strings.TrimSpace(line), " ")
			dir, file := path.Split(place)
			return path.Join(path.Base(dir), file)
		}
		ours = strings.HasPrefix(line, "github.com/kefuhq/kefu/")
	}
	return "unknown"
}

// identify finds out which intent this is, as well as a broken one allows.
func (d *delivery) identify() error {
	if now := d.app.created.Load(); !d.stored.Before(*now) {
		d.queue = now // made anew while the message was on its way
	}
	env, err := wire.ParseEnvelope(d.msg.Header, d.subject.Again)
	d.env = env
	d.id = env.ID
	if d.id == "" {
		d.id = wire.DefaultID(*d.queue, d.seq)
	}
	d.published = d.stored
	if !env.PublishedAt.IsZero() {
		d.published = env.PublishedAt
	}
	d.generation, d.attempt = max(env.Generation, 1), max(env.Attempt, 1)
	d.tried, d.unknown = env.Tried, unknownOf(env.Tried)
	d.deadline = env.Deadline(d.published, d.app.cfg().ExpireAfter)
	d.key = ledger.KeyOf(d.app.cfg().ID, d.id)
	d.body = ledger.BodyOf(d.msg.Data)
	return err
}

// decode reads the intent; its error is a sentence for the dead letter.
func (d *delivery) decode() error {
	if _, err := wire.ParseSubject(d.msg.Subject); err != nil {
		return err
	}
	packet, err := schema.Decode(d.msg.Data, d.app.cfg().Limits)
	if err != nil {
		return err
	}
	if err := d.subject.CheckPacket(packet); err != nil {
		return err
	}
	d.packet = schema.Encode(packet)
	return nil
}

// mark is the ledger's entry for this delivery. A producer does not know an
// id's generation, so what comes on kefu.send leaves it to the ledger.
func (d *delivery) mark(kind ledger.Kind) ledger.Mark {
	m := ledger.Mark{
		Key: d.key, Seq: d.seq, Stream: d.queue.UnixNano(), Body: d.body, Kind: kind, Again: d.subject.Again,
		Generation: uint16(d.generation), Attempt: uint8(min(d.attempt, 255)), Unknown: uint8(min(d.unknown, 255)),
	}
	if (kind == ledger.Start || kind == ledger.Suspect) && !d.subject.Again {
		m.Generation = 0
	}
	_, dying := kind.Dying()
	if dying || kind == ledger.Clear || kind == ledger.Sent || kind == ledger.Dead || kind == ledger.Cancelled {
		m.Attempt-- // attempts spent
	}
	return m
}

// peek is what the ledger would say to a Start now, as far as it has been read. It
// tells a producer's message, which does not know it, the id's generation.
func (d *delivery) peek() ledger.Standing {
	s := d.app.w.ledger.Peek(d.mark(ledger.Start))
	if !d.subject.Again {
		d.generation = max(s.Generation, 1)
	}
	return s
}

// write puts a mark into the ledger and waits for what it says; an error means
// that the worker is stopping.
func (d *delivery) write(kind ledger.Kind) (ledger.Standing, error) { return d.put(d.mark(kind)) }

// put is write of any mark.
func (d *delivery) put(m ledger.Mark) (ledger.Standing, error) {
	type answer struct {
		s   ledger.Standing
		err error
	}
	ch := make(chan answer, 1)
	d.app.w.ledger.Write(m, func(s ledger.Standing, err error) { ch <- answer{s, err} })
	select {
	case a := <-ch:
		return a.s, a.err
	case <-d.app.w.work.Done():
		return ledger.Standing{}, errGrace
	}
}
