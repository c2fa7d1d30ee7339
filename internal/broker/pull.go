package broker

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
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
	next    string // API subject of the consumer
	deliver func(*nats.Msg)
	lost    func(error)

	mu       sync.Mutex
	sub      *nats.Subscription // nil while paused
	inbox    string
	requests []pullRequest // open ones, oldest first
	numbered uint64
	heard    time.Time // last message or heartbeat
}

type pullRequest struct {
	number uint64
	left   int
}

// NewPuller makes a paused Puller. deliver gets each message, lost each reason
// why nothing more will come before the consumer has been made again and
// Resume called; both are called from the subscription's goroutine and must
// not block for long.
func (c *Conn) NewPuller(stream, consumer string, deliver func(*nats.Msg), lost func(error)) *Puller {
	return &Puller{
		nc:      c.NC,
		next:    "$JS.API.CONSUMER.MSG.NEXT." + stream + "." + consumer,
		deliver: deliver,
		lost:    lost,
	}
}

// Resume makes the puller ready for requests.
func (p *Puller) Resume() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.sub != nil {
		return nil
	}
	inbox := p.nc.NewInbox() + "."
	sub, err := p.nc.Subscribe(inbox+"*", func(m *nats.Msg) { p.handle(inbox, m) })
	if err != nil {
		return fmt.Errorf("pull: %w", err)
	}
	p.sub, p.inbox, p.requests = sub, inbox, nil
	return nil
}

// Pause takes all open requests back. What the broker sent before it learned
// of that is still delivered; drained is called when nothing more can come.
func (p *Puller) Pause(drained func()) {
	p.mu.Lock()
	sub := p.sub
	p.sub, p.requests = nil, nil
	p.mu.Unlock()
	if sub == nil {
		drained()
		return
	}
	sub.SetClosedHandler(func(string) { drained() })
	if err := sub.Drain(); err != nil {
		// No connection: nothing is on its way, and Unsubscribe runs the handler.
		if sub.Unsubscribe() != nil {
			drained()
		}
	}
}

// Top sees to it that about n messages are on their way, n counting those
// asked for before. Small top-ups wait until they are half of it, so that a
// busy lane asks once for many messages.
func (p *Puller) Top(n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.sub == nil {
		return
	}
	open := 0
	for _, r := range p.requests {
		open += r.left
	}
	if n <= open || open > 0 && n < 2*open {
		return
	}
	p.numbered++
	batch := n - open
	req := fmt.Appendf(nil, `{"batch":%d,"expires":%d,"idle_heartbeat":%d}`, batch, pullExpires.Nanoseconds(), pullHeartbeat.Nanoseconds())
	if err := p.nc.PublishRequest(p.next, p.inbox+strconv.FormatUint(p.numbered, 36), req); err != nil {
		return // not connected: the reconnect asks again
	}
	if len(p.requests) == 0 {
		p.heard = time.Now()
	}
	p.requests = append(p.requests, pullRequest{p.numbered, batch})
}

// Check reports a consumer that has fallen silent under an open request. It
// is to be called every few seconds.
func (p *Puller) Check(now time.Time) {
	p.mu.Lock()
	silent := p.sub != nil && len(p.requests) > 0 && now.Sub(p.heard) > silence && p.nc.IsConnected()
	if silent {
		p.requests = nil
	}
	p.mu.Unlock()
	if silent {
		p.lost(ErrSilent)
	}
}

// Forget drops the account of open requests, as a reconnect does at the broker.
func (p *Puller) Forget() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.requests = nil
}

func (p *Puller) handle(inbox string, m *nats.Msg) {
	if m.Reply == "" && m.Header != nil {
		if s := m.Header.Get("Status"); s != "" {
			p.status(inbox, m, s)
			return
		}
	}
	p.mu.Lock()
	if inbox == p.inbox {
		p.heard = time.Now()
		// Requests are served oldest first.
		if len(p.requests) > 0 {
			p.requests[0].left--
			if p.requests[0].left <= 0 {
				p.requests = p.requests[1:]
			}
		}
	}
	p.mu.Unlock()
	p.deliver(m)
}

// status takes what the broker says about a request.
func (p *Puller) status(inbox string, m *nats.Msg, status string) {
	p.mu.Lock()
	if inbox != p.inbox || p.sub == nil {
		p.mu.Unlock()
		return // of a request before the last pause
	}
	p.heard = time.Now()
	if status == "100" {
		p.mu.Unlock()
		return
	}
	// Every other status ends its request.
	n, _ := strconv.ParseUint(strings.TrimPrefix(m.Subject, inbox), 36, 64)
	for i, r := range p.requests {
		if r.number == n {
			p.requests = append(p.requests[:i:i], p.requests[i+1:]...)
			break
		}
	}
	description := strings.ToLower(m.Header.Get("Description"))
	gone := status == "503" || status == "409" && strings.Contains(description, "consumer deleted")
	if gone {
		p.requests = nil
	}
	p.mu.Unlock()
	switch {
	case gone:
		p.lost(ErrConsumerGone)
	case status == "408" || status == "404":
		// The request's time was over: ask again.
		p.lost(nil)
	default:
		// Leadership change, server shutdown, limits: asked again, after a look at the consumer.
		p.lost(fmt.Errorf("pull request ended: %s %s", status, description))
	}
}

// Delivery is what the broker says about a message it hands out; it stands in
// the message's reply subject.
type Delivery struct {
	Stream    string
	Delivered int       // 1 for the first time this consumer hands it out
	Seq       uint64    // in the stream
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
	}
	if len(t) < 7 {
		return Delivery{}, false
	}
	delivered, e1 := strconv.Atoi(t[2])
	seq, e2 := strconv.ParseUint(t[3], 10, 64)
	stored, e3 := strconv.ParseInt(t[5], 10, 64)
	pending, e4 := strconv.ParseUint(t[6], 10, 64)
	if e1 != nil || e2 != nil || e3 != nil || e4 != nil {
		return Delivery{}, false
	}
	return Delivery{Stream: t[0], Delivered: delivered, Seq: seq, Stored: time.Unix(0, stored), Pending: pending}, true
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

// NakReplyAfter gives the message back for some time from now. It keeps its
// place among those the consumer may have out, so the time must be seconds.
func (c *Conn) NakReplyAfter(reply string, d time.Duration) error {
	return c.NC.Publish(reply, fmt.Appendf(nil, `-NAK {"delay":%d}`, d.Nanoseconds()))
}

// ProgressReply renews the message's AckWait.
func (c *Conn) ProgressReply(reply string) error { return c.NC.Publish(reply, progressBody) }
