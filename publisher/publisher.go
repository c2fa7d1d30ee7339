// Package publisher is the door for programs that have something to say to a
// user of a WeChat Official Account: it puts send-intents into kefu's queue.
//
// An intent is the packet of the customer-service API, one message to one user
// of one app (an Official Account). Accepted means that the queue has stored
// it: from then on kefu sends it, once, in order for each recipient, or says in
// a dead letter why not. [Publisher.Publish] returns when that is certain:
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
//
// # Once
//
// Each intent has an id, the key by which kefu recognises a repeat. Give it
// one that stands for the occasion ([WithID]: "order-4711-shipped"), and the
// program may publish it again after a crash without a second message. Without
// one a random id is made for each call; then the repeats that a call makes
// itself are recognised, those of the program are not.
//
// A broker that elects a new leader or restarts swallows answers. So a publish
// is repeated, under the same id, about every half second until the broker has
// answered, ctx has ended or (when ctx has no deadline) 15 s are over.
//
// # Errors
//
// An error that is a [*schema.FieldError] says what is wrong with the intent;
// [ErrUnknownApp], [ErrTooLarge] and [ErrForbidden] will not pass by
// themselves either. [ErrQueueFull] and [ErrNotQueued] will: nothing was
// stored. After [ErrOutcomeOpen] nobody knows: publish again with the same id,
// which every [Accepted] holds, also one that comes with an error.
//
// # Many, and what became of them
//
// [Publisher.PublishBatch] publishes thousands at once, with a result for each.
// [Publisher.PublishAndWait] and [Publisher.Watch] tell what became of an
// intent, from the receipts that workers publish.
//
// Publishing needs the permission to publish to kefu.send.<appid>.> and to
// subscribe to the connection's inbox, and no right to the JetStream API.
// Receipts need $JS.API.CONSUMER.CREATE.KEFU_RECEIPT.>, and MSG.NEXT and DELETE
// of its consumers, besides.
package publisher

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/kefuhq/kefu/schema"
)

// Publisher publishes intents. It is made once for a connection, lives as long
// as it, and may be used by many goroutines at once.
type Publisher struct {
	js       jetstream.JetStream
	nc       *nats.Conn
	answers  *answers
	limits   schema.Limits
	timeout  time.Duration
	defaults []PublishOption

	known   sync.Map // appid → struct{}: its queue has answered once, so it exists
	singles sync.Map // appid → time.Time: its queue takes no batches until then
}

// Accepted says that the queue has stored an intent.
type Accepted struct {
	// ID is the intent's id, given or made. It is set with an error too: to
	// publish again under the same id.
	ID string

	AppID  string
	Stream string // the queue
	Seq    uint64 // its number there

	// Duplicate: the queue holds an intent of this id, or took one lately (10
	// minutes, unless the app says otherwise), and has dropped this one. A given
	// id may also meet its own echo, when an earlier try of this very call was
	// stored and the answer to it was lost.
	Duplicate bool

	made bool // the id was made here: nobody else's can be equal
}

// defaultTimeout is how long a publish is repeated when its context sets no
// end: an election takes up to 10 s.
const defaultTimeout = 15 * time.Second

// New makes a publisher on the connection of js. The connection stays the
// caller's. It should never give up ([nats.MaxReconnects] of -1; the default
// ends it after two minutes without a broker).
func New(js jetstream.JetStream, opts ...Option) (*Publisher, error) {
	p := &Publisher{js: js, nc: js.Conn(), timeout: defaultTimeout}
	for _, opt := range opts {
		opt(p)
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

// Close gives back what the publisher holds of the connection, an inbox. Who
// closes the connection need not call it. Nothing may be published any more.
func (p *Publisher) Close() error { return p.answers.close() }

// Publish puts an intent into the queue of an app and returns when it is
// stored. The packet is checked first, see [schema.Packet.Check].
func (p *Publisher) Publish(ctx context.Context, appID string, packet *schema.Packet, opts ...PublishOption) (Accepted, error) {
	return p.publish(ctx, appID, Intent{Packet: packet, Options: opts})
}

// PublishJSON is Publish for a packet that is ready as JSON. It is checked, see
// [schema.Decode], and published byte for byte as it is. raw must not change
// until PublishJSON returns.
func (p *Publisher) PublishJSON(ctx context.Context, appID string, raw []byte, opts ...PublishOption) (Accepted, error) {
	return p.publish(ctx, appID, Intent{JSON: raw, Options: opts})
}

func (p *Publisher) publish(ctx context.Context, appID string, in Intent) (Accepted, error) {
	pub := p.compose(appID, in, nil)
	if !pub.settled {
		_ = p.carry(ctx, appID, []*publication{pub}) // the result says the same
	}
	return pub.result.Accepted, pub.result.Err
}
