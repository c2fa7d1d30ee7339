package broker

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
)

// ErrConsumerGone says that the consumer does not exist any more: deleted by
// hand, taken over by another worker, or lost with a broker that restarted.
var ErrConsumerGone = errors.New("consumer gone")

// ErrSilent says that an open request got neither message nor heartbeat.
var ErrSilent = errors.New("consumer silent")

const (
	pullExpires   = 30 * time.Second
	pullHeartbeat = 2500 * time.Millisecond

	// silence is how long without a heartbeat a consumer is taken for lost. A
	// leader change can swallow the notice; with nats.go's defaults that is
	// noticed after 30 s.
	silence = 3 * pullHeartbeat
)

// Puller reads one consumer, and only as much as was asked for.
//
// It differs from the loops of the client library in two ways that the worker
// needs: the number of messages on their way is the caller's at every moment
// (permission comes before the pull), and Pause loses nothing that the broker
// has already sent.
type Puller struct {
	nc      *nats.Conn
	epoch   *atomic.Uint64 // reconnects so far
	next    string         // API subject of the consumer
	deliver func(*nats.Msg)
	lost    func(error)

	expires, heartbeat time.Duration // of a request

	mu          sync.Mutex
	sub         *nats.Subscription // nil while paused
	inbox       string
	open        int       // messages that were asked for and have not come
	number      uint64    // of the last request
	ignoredUpTo uint64    // requests up to this one count no more
	madeInEpoch uint64    // epoch in which they were made
	heard       time.Time // last message or heartbeat
	draining    []func()  // not nil from Pause until nothing more can come: whom to tell
	resume      bool      // Resume was called meanwhile
}

// NewPuller makes a paused Puller. deliver gets each message, lost each reason
// why nothing more will come before the consumer has been made again and
// Resume called, or nil when it is only to ask again with Request. Both are called
// from the subscription's goroutine and must not block for long.
func (c *Conn) NewPuller(
	stream, consumer string, deliver func(*nats.Msg), lost func(error),
) *Puller {
	return &Puller{
		nc:      c.NC,
		epoch:   &c.epoch,
		next:    "$JS.API.CONSUMER.MSG.NEXT." + stream + "." + consumer,
		deliver: deliver,
		lost:    lost,
		expires: pullExpires, heartbeat: pullHeartbeat,
	}
}

// Resume makes the puller ready for requests. While a pause is not over it
// takes effect at its end, or two goroutines would deliver at once and out of
// order; lost(nil) is called then.
func (p *Puller) Resume() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.draining != nil {
		p.resume = true
		return nil
	}
	return p.subscribe()
}

// subscribe begins to listen. p.mu is held.
func (p *Puller) subscribe() error {
	if p.sub != nil {
		return nil
	}
	inbox := p.nc.NewInbox() + "."
	sub, err := p.nc.Subscribe(inbox+"*", func(m *nats.Msg) { p.handle(inbox, m) })
	if err != nil {
		return fmt.Errorf("pull: %w", err)
	}
	// What was asked for is the bound. Beyond nats.go's own (64 MB) messages are
	// dropped, and come again when AckWait is over, out of order.
	if err := sub.SetPendingLimits(-1, -1); err != nil {
		_ = sub.Unsubscribe()
		return fmt.Errorf("pull: %w", err)
	}
	p.sub, p.inbox, p.open, p.ignoredUpTo = sub, inbox, 0, p.number
	return nil
}

// Pause takes all open requests back. What the broker sent before it learned
// of that is still delivered; drained is called when nothing more can come. A
// message that finds nobody listening is handed out anew at once.
func (p *Puller) Pause(drained func()) {
	p.mu.Lock()
	p.resume = false
	sub := p.sub
	switch {
	case sub != nil:
		p.sub, p.open, p.ignoredUpTo = nil, 0, p.number
		p.draining = []func(){drained}
	case p.draining != nil: // the pause before is not over yet
		p.draining = append(p.draining, drained)
	}
	over := p.draining == nil
	p.mu.Unlock()
	if over {
		drained()
		return
	}
	if sub == nil {
		return
	}
	var once sync.Once
	sub.SetClosedHandler(func(string) { once.Do(p.drained) })
	if !p.nc.IsConnected() && !p.nc.IsClosed() {
		go handled(sub)
		return
	}
	if err := sub.Drain(); err != nil { // the connection is closed; the handler may run still
		once.Do(p.drained)
	}
}

// handled ends a subscription when what came has been handled. Drain does that
// too, but asks the broker first whether more is on its way: without a
// connection it waits ten seconds for the answer.
func handled(sub *nats.Subscription) {
	t := time.NewTicker(5 * time.Millisecond)
	defer t.Stop()
	for range t.C {
		if n, _, err := sub.Pending(); err != nil || n == 0 {
			_ = sub.Unsubscribe() // an error means that it has ended already
			return
		}
	}
}

// drained ends a pause.
func (p *Puller) drained() {
	p.mu.Lock()
	tell, resume := p.draining, p.resume
	p.draining, p.resume = nil, false
	var err error
	if resume {
		err = p.subscribe()
	}
	p.mu.Unlock()
	for _, f := range tell {
		f()
	}
	if resume {
		p.lost(err)
	}
}

// Request sees to it that about n messages are on their way, n counting those
// asked for before, on this connection. Small top-ups wait until they are half of it, so that a
// busy lane asks once for many messages.
func (p *Puller) Request(n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if now := p.epoch.Load(); now != p.madeInEpoch { // what was asked for before may never come
		p.open, p.ignoredUpTo, p.madeInEpoch = 0, p.number, now
	}
	if p.sub == nil || n <= p.open || p.open > 0 && n < 2*p.open {
		return
	}
	batch := n - p.open
	reply := p.inbox + strconv.FormatUint(p.number+1, 36)
	if err := p.nc.PublishRequest(p.next, reply,
		pullRequest(batch, p.expires, p.heartbeat)); err != nil {
		return // not connected: the reconnect asks again
	}
	if p.open == 0 {
		p.heard = time.Now()
	}
	p.number++
	p.open = n
}

func pullRequest(batch int, expires, heartbeat time.Duration) []byte {
	return fmt.Appendf(nil, `{"batch":%d,"expires":%d,"idle_heartbeat":%d}`, batch,
		expires.Nanoseconds(), heartbeat.Nanoseconds())
}

// Check reports a consumer that has fallen silent under an open request. It
// is to be called every few seconds.
func (p *Puller) Check(now time.Time) {
	p.mu.Lock()
	silent := p.sub != nil && p.open > 0 && now.Sub(p.heard) > silence && p.nc.IsConnected()
	if silent {
		p.open, p.ignoredUpTo = 0, p.number
	}
	p.mu.Unlock()
	if silent {
		p.lost(ErrSilent)
	}
}

// Forget drops the account of open requests, as a reconnect does: it is to be
// called when their consumer has been made anew. One that the broker still
// serves (an interruption it did not notice) brings its messages in addition to
// those asked for next.
func (p *Puller) Forget() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.open, p.ignoredUpTo = 0, p.number
}

func (p *Puller) handle(inbox string, m *nats.Msg) {
	if m.Reply == "" && m.Header != nil {
		if s := m.Header.Get("Status"); s != "" {
			p.status(inbox, m, s)
			return
		}
	}
	p.mu.Lock()
	if inbox == p.inbox && p.sub != nil {
		p.heard = time.Now()
		// The broker takes turns among the open requests, so only their sum is known.
		p.open = max(p.open-1, 0)
	}
	p.mu.Unlock()
	p.deliver(m)
}

// status takes what the broker says about a request.
func (p *Puller) status(inbox string, m *nats.Msg, status string) {
	n, _ := strconv.ParseUint(strings.TrimPrefix(m.Subject, inbox), 36, 64)
	p.mu.Lock()
	if inbox != p.inbox || p.sub == nil || n <= p.ignoredUpTo {
		p.mu.Unlock()
		return // of a request before the last pause, or one of several whose consumer is gone
	}
	p.heard = time.Now()
	if status == "100" {
		p.mu.Unlock()
		return
	}
	// Every other status ends its request. One that says how much of it was left
	// speaks for itself alone, any other for the consumer.
	if left, ok := undelivered(m); ok {
		p.open = max(p.open-left, 0)
	} else {
		p.open, p.ignoredUpTo = 0, p.number
	}
	p.mu.Unlock()
	description := strings.ToLower(m.Header.Get("Description"))
	switch {
	case status == "503" || status == "409" && strings.Contains(description, "consumer deleted"):
		p.lost(ErrConsumerGone)
	case status == "408" || status == "404":
		p.lost(nil) // the request's time was over: ask again
	default:
		// Leadership change, server shutdown, limits: asked again, after a look at the consumer.
		p.lost(fmt.Errorf("pull request ended: %s %s", status, description))
	}
}

// undelivered is how many messages a request that ended had still to get.
func undelivered(m *nats.Msg) (int, bool) {
	left, err := strconv.Atoi(m.Header.Get("Nats-Pending-Messages"))
	return left, err == nil && left >= 0
}

// Delivery is what the broker says about a message it hands out; it stands in
// the message's reply subject.
type Delivery struct {
	Stream    string
	Delivered int       // 1 for the first time this consumer hands it out
	Seq       uint64    // in the stream
	Order     uint64    // what this consumer hands out has no gap in it
	Stored    time.Time // when the broker stored it
	Pending   uint64    // further messages waiting at the consumer
}

// ParseDelivery reads an ack subject, in the old form of nine tokens and in
// the new one with domain and account.
func ParseDelivery(reply string) (Delivery, bool) {
	const prefix = "$JS.ACK."
	if !strings.HasPrefix(reply, prefix) {
		return Delivery{}, false
	}
	var tok [12]string
	n := 0
	for rest := reply[len(prefix):]; n < len(tok); n++ {
		t, more, found := strings.Cut(rest, ".")
		tok[n] = t
		if !found {
			n++
			break
		}
		rest = more
	}
	t := tok[:n]
	if n >= 9 { // domain, account hash, then as before
		t = t[2:]
	} else if n != 7 {
		return Delivery{}, false
	}
	delivered, e1 := strconv.Atoi(t[2])
	seq, e2 := strconv.ParseUint(t[3], 10, 64)
	stored, e3 := strconv.ParseInt(t[5], 10, 64)
	pending, e4 := strconv.ParseUint(t[6], 10, 64)
	order, e5 := strconv.ParseUint(t[4], 10, 64)
	if e1 != nil || e2 != nil || e3 != nil || e4 != nil || e5 != nil {
		return Delivery{}, false
	}
	return Delivery{Stream: t[0], Delivered: delivered, Seq: seq, Order: order,
		Stored: time.Unix(0, stored), Pending: pending}, true
}

// What is published to an ack subject.
var (
	ackBody      = []byte("+ACK")
	nakBody      = []byte("-NAK")
	progressBody = []byte("+WPI")
)

// AckReply settles the message that came with this reply subject. The broker
// does not confirm it: whoever must know asks the ledger.
func (c *Conn) AckReply(reply string) error { return c.NC.Publish(reply, ackBody) }

// NakReply gives the message back; it is handed out again at once, in the
// order in which messages were given back.
func (c *Conn) NakReply(reply string) error { return c.NC.Publish(reply, nakBody) }

// ProgressReply renews the message's AckWait.
func (c *Conn) ProgressReply(reply string) error { return c.NC.Publish(reply, progressBody) }
