package publishertest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/kefuhq/kefu/publisher"
	"github.com/kefuhq/kefu/schema"
)

// Publisher is a fake [*publisher.Publisher]: it has all its methods. It may be used by many
// goroutines at once; its fields are set before it is used.
type Publisher struct {
	// Limits and Defaults are what [publisher.WithLimits] and [publisher.WithDefaults] set.
	Limits   schema.Limits
	Defaults []publisher.PublishOption

	// Refuse is asked about each intent that could be queued; a nil Refuse refuses none. An intent
	// for which it returns an error is not queued, and Publish fails with that error, in a
	// [*publisher.Error]. With a [publisher.ErrOutcomeOpen] it is queued all the same, as it may
	// be.
	Refuse func(Intent) error

	// AutoSend has each intent be sent as soon as it is queued.
	AutoSend bool

	mu     sync.Mutex
	apps   map[string]*app
	closed chan struct{}
}

// app is the queue and the receipts of one app.
type app struct {
	full     bool
	window   int       // the first of intents within the duplicate window
	intents  []*Intent // in the order in which they were accepted
	receipts []publisher.Settled
	expired  int           // how many of receipts are not stored any more
	changed  chan struct{} // closed when there is another receipt
}

// Intent is one that was accepted.
type Intent struct {
	ID         string
	AppID      string
	Generation int // 1, and one more when an id is published again that died or was cancelled.
	Subject    schema.Subject
	Envelope   schema.Envelope
	Packet     *schema.Packet
	JSON       []byte // The packet as it was published.
	At         time.Time
	State      schema.State // Queued, or how it ended.
}

// New returns a publisher whose broker has queues for these apps.
func New(appIDs ...string) *Publisher {
	p := &Publisher{apps: make(map[string]*app), closed: make(chan struct{})}
	for _, id := range appIDs {
		p.apps[id] = &app{changed: make(chan struct{})}
	}
	return p
}

// Close ends the publisher as [publisher.Publisher.Close] does.
func (p *Publisher) Close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.isClosed() {
		close(p.closed)
	}
	return nil
}

func (p *Publisher) isClosed() bool {
	select {
	case <-p.closed:
		return true
	default:
		return false
	}
}

// Publish does what [publisher.Publisher.Publish] does.
func (p *Publisher) Publish(
	ctx context.Context, appID string, packet json.Marshaler, opts ...publisher.PublishOption,
) (publisher.Accepted, error) {
	return p.publish(ctx, appID, publisher.Intent{Packet: packet, Options: opts})
}

// PublishBatch does what [publisher.Publisher.PublishBatch] does.
func (p *Publisher) PublishBatch(
	ctx context.Context, appID string, intents []publisher.Intent, opts ...publisher.PublishOption,
) ([]publisher.Result, error) {
	results := make([]publisher.Result, len(intents))
	batch := &publisher.BatchError{Total: len(intents)}
	for i, in := range intents {
		in.Options = slices.Concat(opts, in.Options)
		r := &results[i]
		r.Accepted, r.Err = p.publish(ctx, appID, in)
		if e := new(publisher.Error); errors.As(r.Err, &e) {
			e.Index = i
			batch.Errors = append(batch.Errors, e)
		}
	}
	if batch.Errors != nil {
		return results, batch
	}
	return results, nil
}

func (p *Publisher) publish(
	ctx context.Context, appID string, in publisher.Intent,
) (publisher.Accepted, error) {
	in.Options = slices.Concat(p.Defaults, in.Options)
	accepted := publisher.Accepted{AppID: appID, At: time.Now()}
	m, err := in.Message(appID, p.Limits)
	if e := new(publisher.Error); errors.As(err, &e) {
		accepted.ID = e.ID
		return accepted, err
	}
	intent, err := read(appID, m.Subject, m.Header, m.Data, accepted.At)
	accepted.ID = intent.ID
	if err == nil {
		err = p.queue(ctx, &accepted, intent)
	}
	if err != nil {
		return accepted, &publisher.Error{AppID: appID, ID: accepted.ID, Err: err}
	}
	if p.AutoSend && !accepted.Duplicate {
		_ = p.Send(appID, accepted.ID) // unless it is a repeat of one that has ended
	}
	return accepted, nil
}

// read takes a message apart as a worker does.
func read(
	appID, subject string, header map[string][]string, packet []byte, at time.Time,
) (Intent, error) {
	in := Intent{AppID: appID, JSON: packet, At: at, State: schema.StateQueued, Generation: 1}
	var subjectErr, headerErr, packetErr error
	in.Subject, subjectErr = schema.ParseSubject(subject)
	in.Envelope, headerErr = schema.ParseEnvelope(header)
	in.Packet = new(schema.Packet)
	packetErr = json.Unmarshal(packet, in.Packet)
	in.ID = in.Envelope.ID
	return in, errors.Join(subjectErr, headerErr, packetErr)
}

// queue puts an intent into its queue, unless it is a repeat.
func (p *Publisher) queue(ctx context.Context, accepted *publisher.Accepted, in Intent) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	a := p.apps[in.AppID]
	switch {
	case p.isClosed():
		return fmt.Errorf("%w: %w", publisher.ErrNotQueued, publisher.ErrClosed)
	case ctx.Err() != nil:
		return fmt.Errorf("%w: %w", publisher.ErrNotQueued, context.Cause(ctx))
	case a == nil:
		return fmt.Errorf("%w: no queue takes intents of app %s", publisher.ErrUnknownApp, in.AppID)
	}
	accepted.Stream = schema.SendStream(in.AppID)
	for i, earlier := range a.intents[a.window:] {
		if earlier.ID == in.ID {
			accepted.Duplicate, accepted.Seq = true, uint64(a.window+i+1)
			return nil
		}
	}
	if a.full {
		return fmt.Errorf("%w: the queue of app %s is full", publisher.ErrQueueFull, in.AppID)
	}
	var open error
	if p.Refuse != nil {
		open = p.Refuse(in)
		if open != nil && !errors.Is(open, publisher.ErrOutcomeOpen) {
			return open
		}
	}
	switch earlier := a.last(in.ID); {
	case earlier == nil:
		a.intents = append(a.intents, &in)
	case earlier.State == schema.StateDead, earlier.State == schema.StateCancelled:
		in.Generation = earlier.Generation + 1
		a.intents = append(a.intents, &in)
	default: // a worker drops the repeat of one that waits or was sent
	}
	accepted.Seq = uint64(len(a.intents))
	return open
}

// last is the latest intent of an id, nil when there is none.
func (a *app) last(id string) *Intent {
	for _, in := range slices.Backward(a.intents) {
		if in.ID == id {
			return in
		}
	}
	return nil
}
