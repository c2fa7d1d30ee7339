package publisher

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/kefuhq/kefu/schema"
)

const (
	// attempt is how long the broker has to answer before the publish is repeated: a leader change
	// then costs half a second.
	attempt = 500 * time.Millisecond

	// pause is the wait after the broker said that it cannot just now.
	pause = 150 * time.Millisecond

	// electionTime is how long "nobody takes this subject" is taken for an election of the queue's,
	// when the queue has never answered and the broker cannot be asked whether it exists. A queue
	// that has answered is waited for.
	electionTime = 1500 * time.Millisecond

	// window is how many single publishes may wait for their answer at once.
	window = 512
)

// jitter spreads a wait by a fifth either way: many publishers that lost the same broker must not
// come back in step.
func jitter(d time.Duration) time.Duration {
	return d - d/5 + rand.N(2*d/5)
}

// courier carries publications to the broker, each in a message of its own. All of it happens in
// the goroutine that called carry.
//
// The workers publish until acknowledged too (Outbox in internal/broker), and the two share no code
// on purpose. This package is for other teams' programs: it imports nothing of kefu but schema. And
// a producer wants the opposite of a worker: its call ends after a while and says whether the
// intent may be stored, where an outbox waits without limit; a full queue ends all that is left of
// a batch; a recipient's intents are sent one after the other.
type courier struct {
	p     *Publisher
	appID string
	queue []*publication // not tried yet
	open  map[*publication]bool
	busy  map[string]bool // subjects of the live ones among open

	arrivals chan arrival
	finished chan struct{} // closed when nobody reads arrivals any more
	timer    *time.Timer
	wake     time.Time // when the timer rings; zero: not set

	noResponderSince time.Time     // since when there is nobody; zero: there is
	inquiry          *inquiry      // asked when there was nobody; nil: not yet
	noQueue          bool          // the broker says that there is no such queue
	patience         time.Duration // how long without a result; 0: until the context ends
	progress         time.Time     // when there last was one
	stop             error         // why what has not been tried will not be
	lastError        error         // the connection's last error before this began
}

type arrival struct {
	pub *publication
	answer
}

// inquiry asks the broker whether the app's queue exists.
type inquiry struct {
	reply      string
	said       chan *nats.Msg
	due        time.Time // when to ask again
	noListener bool      // nobody listens to such questions
	forget     func()
}

// carry publishes and returns when all are settled. The error says that more of the same would
// fail, too: the queue is full or unknown, or time is over.
func (p *Publisher) carry(ctx context.Context, appID string, pubs []*publication) error {
	if len(pubs) == 0 {
		return nil
	}
	c := &courier{
		p: p, appID: appID, queue: pubs,
		open:      make(map[*publication]bool, min(window, len(pubs))),
		busy:      make(map[string]bool),
		arrivals:  make(chan arrival, min(window, len(pubs))),
		finished:  make(chan struct{}),
		timer:     time.NewTimer(attempt),
		progress:  time.Now(),
		lastError: p.nc.LastError(),
	}
	if _, has := ctx.Deadline(); !has {
		c.patience = p.timeout
	}
	defer close(c.finished)
	defer c.timer.Stop()
	defer c.forgetInquiry()
	for {
		switch {
		case p.isClosed():
			c.giveUp(ErrClosed)
		case ctx.Err() != nil:
			c.giveUp(context.Cause(ctx))
		}
		c.fill()
		if len(c.open) == 0 {
			break // all were tried, or none may be any more
		}
		select {
		case a := <-c.arrivals:
			c.handleAnswer(a)
		case m := <-c.queueStates():
			c.handleQueueState(m)
		case <-c.timer.C:
			c.repeat()
		case <-ctx.Done():
		case <-p.closed:
		}
	}
	for _, pub := range c.queue {
		pub.end(c.stop)
	}
	return c.stop
}

// fill sends what may be under way at once. Of one recipient that is one message: a repeat of the
// first must not arrive behind the second.
func (c *courier) fill() {
	for c.stop == nil && len(c.queue) > 0 && len(c.open) < window {
		pub := c.queue[0]
		if pub.live {
			if c.busy[pub.msg.Subject] {
				return
			}
			c.busy[pub.msg.Subject] = true
		}
		c.queue = c.queue[1:]
		c.open[pub] = true
		pub.reply, pub.forget = c.p.answers.expect(func(m *nats.Msg) {
			select {
			case c.arrivals <- arrival{pub, readAnswer(m)}:
			case <-c.finished:
			}
		})
		c.try(pub)
	}
}

// try sends a publication once.
func (c *courier) try(pub *publication) {
	if nc := c.p.nc; !nc.IsConnected() && !nc.IsClosed() && !nc.IsDraining() {
		// nats.go would keep each try in its buffer and send them all later.
		pub.why = nats.ErrDisconnected
		c.retry(pub, pause)
		return
	}
	pub.msg.Reply = pub.reply
	switch err := c.p.nc.PublishMsg(pub.msg); {
	case err == nil:
		pub.sent++
		c.retry(pub, attempt)
	case errors.Is(err, nats.ErrMaxPayload):
		c.settle(pub, func() { pub.fail(c.tooLarge(pub, err)) })
	case errors.Is(err, nats.ErrReconnectBufExceeded), errors.Is(err, nats.ErrDisconnected):
		pub.why = err
		c.retry(pub, pause)
	default: // closed, draining
		c.stop = notQueued(err)
		c.settle(pub, func() { pub.abandon(err) })
	}
}

func (c *courier) retry(pub *publication, wait time.Duration) {
	pub.due = time.Now().Add(jitter(wait))
	c.wakeAt(pub.due)
}

// wakeAt has the timer ring at t, or earlier.
func (c *courier) wakeAt(t time.Time) {
	if c.wake.IsZero() || t.Before(c.wake) {
		c.wake = t
		c.timer.Reset(time.Until(t))
	}
}

func (c *courier) settle(pub *publication, how func()) {
	how()
	c.progress = time.Now()
	pub.forget()
	delete(c.open, pub)
	delete(c.busy, pub.msg.Subject)
}

// handleAnswer deals with one answer.
func (c *courier) handleAnswer(a arrival) {
	pub := a.pub
	if !c.open[pub] {
		return // answered before
	}
	if a.verdict != nobody {
		c.noResponderSince = time.Time{}
	}
	switch a.verdict {
	case stored:
		c.p.known.LoadOrStore(c.appID, struct{}{})
		c.settle(pub, func() { pub.accept(a.stream, a.seq, a.duplicate) })
	case nobody:
		pub.denied++
		pub.why = a.err
		c.missing(pub)
	case passing:
		pub.denied++
		pub.why = a.err
		c.retry(pub, pause)
	case full:
		pub.denied++
		text := fmt.Sprintf("the queue of app %s is full: %v", c.appID, a.err)
		c.stop = &refusal{is: ErrQueueFull, cause: a.err, text: text}
		c.settle(pub, func() { pub.end(c.stop) })
	case large:
		c.settle(pub, func() { pub.fail(c.tooLarge(pub, a.err)) })
	default:
		c.settle(pub, func() { pub.fail(fmt.Errorf("the broker refused it: %w", a.err)) })
	}
}

// missing decides between an election and an app that is not there.
func (c *courier) missing(pub *publication) {
	now := time.Now()
	if c.noResponderSince.IsZero() {
		c.noResponderSince = now
	}
	if _, known := c.p.known.Load(c.appID); !known && !c.noQueue {
		if c.inquire(now) {
			c.noQueue = now.Sub(c.noResponderSince) >= c.p.election
		}
	}
	if !c.noQueue || pub.sent > pub.denied {
		c.retry(pub, pause)
		return
	}
	c.failUnknown(pub)
}

// failUnknown settles a publication for an app that is not there.
func (c *courier) failUnknown(pub *publication) {
	c.stop = unknownApp(c.appID)
	c.settle(pub, func() { pub.fail(c.stop) })
}

func unknownApp(appID string) error {
	text := fmt.Sprintf("no app %s here: no queue takes its intents; "+
		"is the appid right, and has kefu been set up for it?", appID)
	return &refusal{is: ErrUnknownApp, text: text}
}

// inquire asks whether the queue exists, unless it has asked just now. It tells whether there is no
// answer to be had: this connection may not ask, or nobody listens.
func (c *courier) inquire(now time.Time) (noAnswer bool) {
	nc, subject := c.p.nc, c.p.apiPrefix()+"STREAM.INFO."+schema.SendStream(c.appID)
	if violates(nc.LastError(), `Publish to "`+subject+`"`) {
		return true
	}
	if c.inquiry == nil {
		q := &inquiry{said: make(chan *nats.Msg, 1)}
		q.reply, q.forget = c.p.answers.expect(func(m *nats.Msg) {
			select {
			case q.said <- m:
			default: // one is enough
			}
		})
		c.inquiry = q
	}
	if q := c.inquiry; now.After(q.due) {
		q.due = now.Add(attempt)
		_ = nc.PublishRequest(subject, q.reply, nil) // the publish itself meets the same error
	}
	return c.inquiry.noListener
}

// queueStates is where the answer arrives, nil when nothing was asked.
func (c *courier) queueStates() <-chan *nats.Msg {
	if c.inquiry == nil {
		return nil
	}
	return c.inquiry.said
}

func (c *courier) forgetInquiry() {
	if c.inquiry != nil {
		c.inquiry.forget()
	}
}

// handleQueueState deals with the answer to an inquiry.
func (c *courier) handleQueueState(m *nats.Msg) {
	switch readQueueState(m) {
	case queueExists:
		c.p.known.LoadOrStore(c.appID, struct{}{})
	case queueMissing:
		if _, known := c.p.known.Load(c.appID); known {
			return // stored or seen meanwhile
		}
		c.noQueue = true
		for pub := range c.open {
			if pub.sent == pub.denied {
				c.failUnknown(pub)
			}
		}
	case queueUnknown:
		c.inquiry.noListener = readAnswer(m).verdict == nobody
	}
}

func (c *courier) tooLarge(pub *publication, cause error) error {
	return &refusal{is: ErrTooLarge, cause: cause, text: fmt.Sprintf(
		"larger than the broker takes: %d bytes without headers", len(pub.msg.Data))}
}

// repeat tries again what has waited long enough.
func (c *courier) repeat() {
	c.wake = time.Time{}
	now := time.Now()
	if c.patience > 0 && now.Sub(c.progress) > c.patience {
		c.giveUp(fmt.Errorf("%w after %s", context.DeadlineExceeded, c.patience))
		return
	}
	for pub := range c.open {
		switch {
		case now.Before(pub.due):
			c.wakeAt(pub.due)
		case c.forbidden(pub):
			text := fmt.Sprintf("this connection may not publish to the %s queue of app %s",
				lane(pub), c.appID)
			c.settle(pub, func() { pub.fail(&refusal{is: ErrForbidden, text: text}) })
		default:
			c.try(pub)
		}
	}
}

func lane(pub *publication) string {
	if pub.live {
		return "live"
	}
	return "bulk"
}

// forbidden tells whether the broker has refused the permission to publish. It says so to the
// connection only, and never answers the publish.
func (c *courier) forbidden(pub *publication) bool {
	err := c.p.nc.LastError()
	isNew := err != c.lastError //nolint:errorlint // the very same error is from before this call
	return isNew && violates(err, `Publish to "`+pub.msg.Subject+`"`)
}

// inboxRefused tells whether the broker has refused the inbox. It said so once, when the publisher
// was made: that may be long before this call. No other inbox has this name.
func (p *Publisher) inboxRefused() bool {
	return violates(p.nc.LastError(), `Subscription to "`+p.answers.prefix)
}

func withRefusedInbox(cause error) error {
	const why = "this connection may not subscribe to its inbox, so it hears no answer"
	return fmt.Errorf("%w (%s)", cause, why)
}

func violates(err error, what string) bool {
	return errors.Is(err, nats.ErrPermissionViolation) && strings.Contains(err.Error(), what)
}

// giveUp settles all that is under way: time is over, or the publisher closed.
func (c *courier) giveUp(cause error) {
	if c.stop == nil && errors.Is(cause, ErrClosed) {
		c.stop = notQueued(errClosed)
	}
	if c.p.inboxRefused() {
		cause = withRefusedInbox(cause)
	}
	if c.stop == nil {
		c.stop = notQueued(fmt.Errorf("time was over before: %w", cause))
	}
	for pub := range c.open {
		c.settle(pub, func() { pub.abandon(cause) })
	}
}
