// Package publisher is the client for programs that send messages to users of a WeChat Official
// Account or mini program through kefu: it puts send-intents into kefu's queue, and tells what
// became of them.
//
// An intent is one message to one user of one app: a packet of WeChat's customer-service API, and
// what is asked for it (see [PublishOption]). It is accepted when the queue has stored it. From
// then on kefu sends it, once, and in order for each recipient, or says in a dead letter why not.
// [Publisher.Publish] returns when the intent is accepted:
//
//	nc, err := nats.Connect("nats://127.0.0.1:4222", nats.MaxReconnects(-1))
//	...
//	js, err := jetstream.New(nc)
//	...
//	p, err := publisher.New(js)
//	...
//	accepted, err := p.Publish(ctx, "wx0000000000000001",
//		&schema.Packet{ToUser: openid, Body: &schema.Text{Content: "您的订单已发货"}},
//		publisher.WithID("order-4711-shipped"), publisher.WithExpiresIn(30*time.Minute))
//	...
//	receipt, err := p.Wait(ctx, accepted)
//
// # Once
//
// Each intent has an id, by which kefu recognises a repeat. Give it one that stands for the
// occasion ([WithID]: "order-4711-shipped"), and the program may publish it again after a crash
// without a second message. Without one each call makes a random id: then the repeats that the call
// makes itself are recognised, those of the program are not.
//
// A broker that elects a new leader or restarts loses answers. So a publish is repeated, under the
// same id, about every half second until the broker has answered, ctx has ended or, when ctx has no
// deadline, 15 s are over ([WithTimeout]).
//
// # Many
//
// [Publisher.PublishBatch] publishes thousands at once, with a result for each.
// [Publisher.PublishCampaign] publishes a campaign to any number of recipients, whom an iterator
// yields: it takes little memory, waits for a full queue, and can be run again.
//
// # What became of them
//
// Workers publish a receipt when an intent has ended. [Publisher.Wait] waits for the one of an
// intent, [Publisher.Receipt] looks whether it is stored, and [Publisher.Receipts] reads those of
// all intents of an app, from a position on: a program that was away misses none that is still
// stored, and is told of those that are not. [Publisher.Cancel] withdraws an intent that has not
// been sent yet.
//
// # Errors
//
// Every call fails with an [*Error], a batch with a [*BatchError] of some. An Error names the
// intent, says with [Error.Retryable] whether to try again, and matches what it is:
//
//   - A [*schema.FieldError] says what is wrong with the intent.
//   - [ErrUnknownApp], [ErrTooLarge], [ErrForbidden] and [ErrClosed] do not pass by themselves
//     either.
//   - [ErrQueueFull] and [ErrNotQueued] may pass. Nothing was stored.
//   - [ErrOutcomeOpen] says that the intent may be stored. Publish it again under the same id,
//     which the error and every [Accepted] hold. Ask for it before the others: it may come with one
//     of them.
//   - [ErrNoReceipt] and [ErrUnreadable] are about receipts, and say nothing about the intent.
//
// # Tests
//
// Package publishertest has a publisher without a broker, for the tests of programs that use this
// one.
//
// # Permissions
//
// Publishing needs the permission to publish to kefu.send.<appid>.> (for one campaign alone
// kefu.send.<appid>.bulk.<name>) and to subscribe to the connection's inbox. An app without a queue
// is told from a queue that elects a leader: within two round trips if the connection may also
// publish to
//
//	$JS.API.STREAM.INFO.KEFU_SEND_<appid>
//
// and after 1.5 s if not. [Publisher.Cancel] needs that permission, and to publish to
//
//	$KV.KEFU_STATE.cancel.<appid>.*
//
// Receipts need, besides:
//
//	$JS.API.CONSUMER.CREATE.KEFU_RECEIPT.*.kefu.receipt.<appid>.*
//	$JS.API.CONSUMER.MSG.NEXT.KEFU_RECEIPT.*
//	$JS.API.CONSUMER.DELETE.KEFU_RECEIPT.*
package publisher

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/kefuhq/kefu/schema"
)

// Publisher publishes intents and reads their receipts. [New] makes one, once for a connection. It
// may be used by many goroutines at once.
type Publisher struct {
	js       jetstream.JetStream
	nc       *nats.Conn
	answers  *answers
	limits   schema.Limits
	timeout  time.Duration
	defaults []PublishOption

	known   sync.Map // appid → struct{}: its queue has answered once, so it exists
	singles sync.Map // appid → time.Time: its queue takes no batches until then

	election time.Duration // see electionTime
	closed   chan struct{}
	linger   time.Duration  // how long a feed that nobody uses stays open
	idle     time.Duration  // see sourceIdle
	progress time.Duration  // see progressEvery
	tasks    sync.WaitGroup // the goroutines of the feeds

	mu    sync.Mutex
	feeds map[string]*feed // by appid
}

// Accepted says that the queue has stored an intent.
type Accepted struct {
	// ID is the intent's id, given or made. It is set with an error too: to publish again under the
	// same id.
	ID string

	AppID  string
	Stream string // the queue
	Seq    uint64 // its number there

	// At is when the publish began, on this machine's clock. [Publisher.Wait] tells by it which
	// receipts may be of an earlier intent.
	At time.Time

	// Duplicate: the queue holds an intent of this id, or took one lately (10 minutes, unless the
	// app says otherwise), and has dropped this one. A given id may also meet its own echo, when an
	// earlier try of this very call was stored and the answer to it was lost.
	Duplicate bool

	made bool // the id was made here: nobody else's can be equal
}

// defaultTimeout is how long a publish is repeated when its context sets no end: an election takes
// up to 10 s.
const defaultTimeout = 15 * time.Second

// New makes a publisher on the connection of js. The connection stays the caller's. It should never
// give up ([nats.MaxReconnects] of -1; the default ends it after two minutes without a broker).
func New(js jetstream.JetStream, opts ...Option) (*Publisher, error) {
	if js == nil {
		return nil, errors.New("publisher: no JetStream context")
	}
	p := &Publisher{
		js: js, nc: js.Conn(), timeout: defaultTimeout, election: electionTime, linger: feedLinger,
		idle: sourceIdle, progress: progressEvery,
		closed: make(chan struct{}), feeds: make(map[string]*feed),
	}
	for _, opt := range opts {
		if opt != nil {
			opt(p)
		}
	}
	if p.timeout <= 0 {
		return nil, errors.New("publisher: the timeout must be above zero")
	}
	var err error
	if p.answers, err = newAnswers(p.nc); err != nil {
		return nil, err
	}
	return p, nil
}

// Close ends the publisher: calls that are under way and later ones end with [ErrClosed]. It gives
// back what the publisher holds of the connection and the broker: an inbox, and a consumer for each
// app whose receipts are waited for. After the connection is closed there is nothing to give back,
// and Close need not be called. The second Close does nothing.
func (p *Publisher) Close() error {
	p.mu.Lock()
	if p.isClosed() {
		p.mu.Unlock()
		return nil
	}
	close(p.closed)
	for _, f := range p.feeds {
		f.stop(errClosed)
	}
	p.mu.Unlock()
	p.tasks.Wait()
	return p.answers.close()
}

func (p *Publisher) isClosed() bool {
	select {
	case <-p.closed:
		return true
	default:
		return false
	}
}

// apiPrefix is what the subjects of the JetStream API begin with.
func (p *Publisher) apiPrefix() string {
	switch o := p.js.Options(); {
	case o.Domain != "":
		return "$JS." + o.Domain + ".API."
	case o.APIPrefix != "":
		return strings.TrimSuffix(o.APIPrefix, ".") + "."
	}
	return jetstream.DefaultAPIPrefix
}

// usable says why a call cannot even begin.
func (p *Publisher) usable(ctx context.Context) error {
	switch {
	case ctx == nil:
		return errNoContext
	case p.isClosed():
		return errClosed
	}
	return nil
}

// Publish puts an intent into the queue of an app and returns when it is stored. The error is an
// [*Error].
//
// packet is a [*schema.Packet] or, when it is ready as JSON, a [json.RawMessage]. It is checked
// first, see [schema.Packet.Check] and [schema.Decode]. JSON is published byte for byte as it is,
// and must not change until Publish returns.
func (p *Publisher) Publish(
	ctx context.Context, appID string, packet json.Marshaler, opts ...PublishOption,
) (Accepted, error) {
	pub := compose(appID, Intent{Packet: packet, Options: opts}, p.limits, p.defaults)
	if err := p.usable(ctx); err != nil {
		pub.fail(notQueued(err))
	}
	if !pub.settled {
		_ = p.carry(ctx, appID, []*publication{pub}) // the result says the same
	}
	return pub.result.Accepted, pub.result.Err
}
