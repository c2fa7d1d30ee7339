package broker

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
)

// ErrClosed is what a publish ends with when the connection is closed for good.
var ErrClosed = errors.New("connection to the broker closed")

// ErrNoStream says that no stream takes the subject: it is missing, or its
// leader is gone for longer than the outbox waits.
var ErrNoStream = errors.New("no stream takes this subject")

// APIError is a refusal by JetStream, with its error code (10077: stream full …).
type APIError struct {
	Status      int    `json:"code"`
	Code        int    `json:"err_code"`
	Description string `json:"description"`
}

func (e *APIError) Error() string {
	return fmt.Sprintf("broker refused: %s (%d)", e.Description, e.Code)
}

// Codes of refusals that callers treat apart.
const (
	CodeTooManyMessages = 10077 // discard new: maximum messages
	CodeTooManyBytes    = 10122 // discard new: maximum bytes
	CodeTooLarge        = 10054 // message larger than the stream or server allows
	CodeWrongLastSeq    = 10071 // expected last sequence did not hold
)

// Full says whether err is a stream's "no room".
func Full(err error) bool {
	var e *APIError
	return errors.As(err, &e) && (e.Code == CodeTooManyMessages || e.Code == CodeTooManyBytes)
}

// Ack is the broker's word that a message is stored.
type Ack struct {
	Stream    string `json:"stream"`
	Seq       uint64 `json:"seq"`
	Duplicate bool   `json:"duplicate"`
}

// Outbox publishes messages and repeats each until the broker has answered.
//
// A leader change or a lost connection swallows the answer of a publish that
// may have been stored. So each message must carry a Nats-Msg-Id that is its
// own: the repeat then is a duplicate, never a second message. Silence is
// waited out without limit (the result of an API call must not be forgotten
// because the broker restarts); a refusal is the caller's to deal with, after
// patience for those that pass by themselves.
type Outbox struct {
	nc     *nats.Conn
	prefix string // reply subjects are prefix + number
	sub    *nats.Subscription

	mu      sync.Mutex
	next    uint64
	pending map[uint64]*publish
	closed  bool

	stop chan struct{}
	done chan struct{}
}

// publish is one message that waits for its answer.
type publish struct {
	msg   *nats.Msg
	done  func(Ack, error)
	first time.Time // first attempt
	due   time.Time // repeat at
	wait  time.Duration
}

const (
	firstRepeat = 400 * time.Millisecond // a leader change costs this, not the 5 s of a default publish
	maxRepeat   = 2 * time.Second
	sweepEvery  = 50 * time.Millisecond

	// patience is how long "no responders" and "no leader" are taken for an
	// election rather than for a missing stream.
	patience = 5 * time.Second
)

func newOutbox(nc *nats.Conn) (*Outbox, error) {
	o := &Outbox{
		nc:      nc,
		prefix:  nc.NewInbox() + ".",
		pending: make(map[uint64]*publish),
		stop:    make(chan struct{}),
		done:    make(chan struct{}),
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

// Publish sends msg and has done called once with the outcome: from the
// connection's reading goroutine, so it must not block. msg belongs to the
// outbox until then. done may be nil.
func (o *Outbox) Publish(msg *nats.Msg, done func(Ack, error)) {
	now := time.Now()
	p := &publish{msg: msg, done: done, first: now, due: now.Add(firstRepeat), wait: firstRepeat}
	o.mu.Lock()
	if o.closed {
		o.mu.Unlock()
		p.finish(Ack{}, ErrClosed)
		return
	}
	o.next++
	n := o.next
	msg.Reply = o.prefix + strconv.FormatUint(n, 36)
	o.pending[n] = p
	o.mu.Unlock()
	o.send(p)
}

// PublishWait is Publish for those who have nothing better to do meanwhile.
// When ctx ends first, the message may or may not be stored.
func (o *Outbox) PublishWait(ctx context.Context, msg *nats.Msg) (Ack, error) {
	type result struct {
		ack Ack
		err error
	}
	ch := make(chan result, 1)
	o.Publish(msg, func(a Ack, err error) { ch <- result{a, err} })
	select {
	case r := <-ch:
		return r.ack, r.err
	case <-ctx.Done():
		return Ack{}, fmt.Errorf("publish to %s: no answer from the broker: %w", msg.Subject, context.Cause(ctx))
	}
}

// Pending is the number of messages without an answer.
func (o *Outbox) Pending() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.pending)
}

func (o *Outbox) send(p *publish) {
	// An error means that the connection is away just now: the sweep repeats it.
	_ = o.nc.PublishMsg(p.msg)
}

// answer takes the broker's reply to one publish.
func (o *Outbox) answer(m *nats.Msg) {
	n, err := strconv.ParseUint(strings.TrimPrefix(m.Subject, o.prefix), 36, 64)
	if err != nil {
		return
	}
	ack, err := parseAck(m)
	o.mu.Lock()
	p := o.pending[n]
	if p == nil { // answered already: the first attempt's answer came late
		o.mu.Unlock()
		return
	}
	if err != nil && passing(err) && time.Since(p.first) < patience {
		p.due = time.Now().Add(p.wait)
		o.mu.Unlock()
		return
	}
	delete(o.pending, n)
	o.mu.Unlock()
	p.finish(ack, err)
}

func (p *publish) finish(a Ack, err error) {
	if p.done != nil {
		p.done(a, err)
	}
}

// passing are refusals that an election or a restart brings with it.
func passing(err error) bool {
	var e *APIError
	return errors.Is(err, ErrNoStream) || errors.As(err, &e) && (e.Status == 503 || e.Status == 500)
}

var ackPrefix = []byte(`{"stream":`)

// parseAck reads a PubAck. The usual one is recognised by its beginning, since
// there is one for each receipt and each batch of marks.
func parseAck(m *nats.Msg) (Ack, error) {
	if len(m.Data) == 0 && m.Header.Get("Status") == "503" {
		return Ack{}, ErrNoStream
	}
	if bytes.HasPrefix(m.Data, ackPrefix) {
		if a, ok := quickAck(m.Data); ok {
			return a, nil
		}
	}
	var r struct {
		Ack
		Error *APIError `json:"error"`
	}
	if err := json.Unmarshal(m.Data, &r); err != nil {
		return Ack{}, fmt.Errorf("unreadable answer to a publish: %w", err)
	}
	if r.Error != nil {
		return Ack{}, r.Error
	}
	return r.Ack, nil
}

// quickAck reads exactly `{"stream":"NAME","seq":N}` (white space as the server
// writes it) and nothing else.
func quickAck(b []byte) (Ack, bool) {
	b = b[len(ackPrefix):]
	if len(b) < 2 || b[0] != '"' {
		return Ack{}, false
	}
	end := bytes.IndexByte(b[1:], '"')
	if end < 0 {
		return Ack{}, false
	}
	name := b[1 : 1+end]
	b = b[2+end:]
	const seq = `,"seq":`
	if !bytes.HasPrefix(b, []byte(seq)) {
		return Ack{}, false
	}
	b = b[len(seq):]
	var n uint64
	i := 0
	for ; i < len(b) && b[i] >= '0' && b[i] <= '9'; i++ {
		n = n*10 + uint64(b[i]-'0')
	}
	if i == 0 || i+1 != len(b) || b[i] != '}' {
		return Ack{}, false
	}
	return Ack{Stream: string(name), Seq: n}, true
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
			if o.nc.IsConnected() {
				o.repeat(func(p *publish) bool { return now.After(p.due) })
			}
		}
	}
}

// kick repeats everything at once: after a reconnect nothing that was sent
// before will be answered.
func (o *Outbox) kick() {
	o.repeat(func(*publish) bool { return true })
}

func (o *Outbox) repeat(due func(*publish) bool) {
	var again []*publish
	now := time.Now()
	o.mu.Lock()
	for _, p := range o.pending {
		if due(p) {
			p.wait = min(2*p.wait, maxRepeat)
			p.due = now.Add(p.wait)
			again = append(again, p)
		}
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
