package publisher

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/kefuhq/kefu/schema"
)

// How long a campaign waits before it tries again what the queue has not taken. The workers empty a
// queue by hundreds a second.
const (
	firstWait = 200 * time.Millisecond
	maxWait   = 5 * time.Second
)

// linger is for how long recipients that come slowly are gathered.
const linger = 100 * time.Millisecond

// campaignRun is a campaign on its way. While one chunk is published, the next is composed.
type campaignRun struct {
	p        *Publisher
	appID    string
	campaign Campaign
	terms    schema.Envelope
	subject  string

	read     int    // how many recipients the iterator has yielded
	chunk    *chunk // of those that are not under way
	underway *chunk // nil: none
	ways     ways   // of the chunk that is under way
	result   CampaignResult
	invalid  *Error // the first of those that nobody was told of
}

// chunk is recipients that are published together.
type chunk struct {
	pubs  []*publication
	at    []int // the place of each in the sequence
	end   int   // the place behind all that this chunk covers
	size  int
	since time.Time  // when its first came
	waits chan error // why it waits
	done  chan struct{}
	err   error // why some are neither stored nor break a rule
}

func newCampaignRun(p *Publisher, appID string, c Campaign, terms schema.Envelope) *campaignRun {
	if c.ID == nil {
		c.ID = func(openid string) string { return schema.CampaignID(appID, c.Name, openid) }
	}
	return &campaignRun{
		p: p, appID: appID, campaign: c, terms: terms,
		subject: schema.BulkSubject(appID, c.Name).String(),
		chunk:   newChunk(),
	}
}

func newChunk() *chunk {
	return &chunk{
		pubs: make([]*publication, 0, maxBatchMessages), at: make([]int, 0, maxBatchMessages),
		waits: make(chan error, 1), done: make(chan struct{}),
	}
}

func (c *chunk) add(pub *publication, at int) {
	if len(c.pubs) == 0 {
		c.since = time.Now()
	}
	c.pubs, c.at = append(c.pubs, pub), append(c.at, at)
	c.size += len(pub.msg.Data)
}

// isRipe tells whether the chunk should leave.
func (c *chunk) isRipe() bool {
	return len(c.pubs) == maxBatchMessages || c.size >= maxBatchBytes ||
		len(c.pubs) > 0 && time.Since(c.since) >= linger
}

// run publishes all that packets yields.
func (r *campaignRun) run(ctx context.Context, packets iter.Seq2[json.Marshaler, error]) error {
	ctx, cancel := r.limit(ctx)
	defer r.leave() // an iterator that panics leaves a chunk under way
	defer cancel()

	var ended error // why it is over before the sequence is
	for packet, err := range packets {
		if ended = r.next(ctx, packet, err); ended != nil {
			break
		}
		if !r.chunk.isRipe() {
			continue
		}
		if err := r.hand(ctx); err != nil {
			return err
		}
	}
	if err := r.hand(ctx); err != nil {
		return err
	}
	if err := r.settle(); err != nil {
		return err
	}
	if ended != nil {
		return ended
	}
	return r.leftOut()
}

// limit returns a context that also ends with the deadline of the intents.
func (r *campaignRun) limit(ctx context.Context) (context.Context, context.CancelFunc) {
	if at := r.terms.ExpiresAt; !at.IsZero() {
		late := fmt.Errorf("%w: the deadline of the intents has passed", context.DeadlineExceeded)
		return context.WithDeadlineCause(ctx, at, late)
	}
	return context.WithCancel(ctx)
}

// next takes what the iterator has yielded. An error ends the campaign.
func (r *campaignRun) next(ctx context.Context, packet json.Marshaler, err error) error {
	if err != nil {
		return &Error{AppID: r.appID, Index: r.read, Err: fmt.Errorf("recipients: %w", err)}
	}
	if ctx.Err() != nil {
		return &Error{AppID: r.appID, Index: r.read, Err: notQueued(context.Cause(ctx))}
	}
	at := r.read
	r.read++
	pub, err := r.compose(packet)
	if err != nil {
		return r.leaveOut(packet, &Error{AppID: r.appID, ID: pub.result.ID, Index: at, Err: err})
	}
	r.chunk.add(pub, at)
	return nil
}

// compose makes the publication of a packet. What it holds is its own.
func (r *campaignRun) compose(packet json.Marshaler) (*publication, error) {
	pub := &publication{}
	pub.result.AppID = r.appID
	raw, openid, err := encode(packet, r.p.limits)
	if err != nil {
		return pub, err
	}
	e := r.terms
	e.ID = r.campaign.ID(openid)
	pub.result.ID = e.ID
	if schema.CheckID(e.ID) != nil {
		return pub, checkEnvelope(e)
	}
	if _, own := packet.(*schema.Packet); !own {
		raw = bytes.Clone(raw)
	}
	pub.msg = &nats.Msg{Subject: r.subject, Header: e.Header(), Data: raw}
	return pub, nil
}

// leaveOut counts a recipient whose packet breaks a rule. An error ends the campaign.
func (r *campaignRun) leaveOut(packet json.Marshaler, why *Error) error {
	r.result.Invalid++
	if r.campaign.Invalid == nil {
		if r.invalid == nil {
			r.invalid = why
		}
		return nil
	}
	err := r.campaign.Invalid(packet, why)
	if own := new(Error); err == nil || errors.As(err, &own) {
		return err
	}
	return &Error{AppID: r.appID, ID: why.ID, Index: why.Index, Err: err}
}

// leftOut is the error for those that nobody was told of.
func (r *campaignRun) leftOut() error {
	if r.invalid == nil {
		return nil
	}
	text := fmt.Sprintf("%d of %d recipients were left out; the first is number %d, counted from 0",
		r.result.Invalid, r.read, r.invalid.Index)
	return &Error{AppID: r.appID, Index: r.invalid.Index,
		Err: fmt.Errorf("%s: %w", text, r.invalid.Err)}
}

// hand has the chunk be published when the one before is.
func (r *campaignRun) hand(ctx context.Context) error {
	if err := r.settle(); err != nil {
		return err
	}
	if len(r.chunk.pubs) == 0 {
		r.result.Next = r.read
		return nil
	}
	c := r.chunk
	c.end = r.read
	r.chunk, r.underway = newChunk(), c
	go func() {
		defer close(c.done)
		c.err = r.deliver(ctx, c.pubs, func(why error) {
			select {
			case c.waits <- why:
			default: // the one before has not been read
			}
		})
	}()
	return nil
}

// settle waits for the chunk that is under way, and counts it.
func (r *campaignRun) settle() error {
	c := r.underway
	if c == nil {
		return nil
	}
	for r.underway != nil {
		select {
		case why := <-c.waits:
			r.tell(why)
		case <-c.done:
			r.underway = nil
		}
	}
	return r.count(c)
}

// leave waits for the chunk that is under way.
func (r *campaignRun) leave() {
	if r.underway != nil {
		<-r.underway.done
	}
}

func (r *campaignRun) tell(waiting error) {
	if r.campaign.Progress != nil {
		r.campaign.Progress(r.result, waiting)
	}
}

// count adds a chunk to the result.
func (r *campaignRun) count(c *chunk) error {
	var failed, ended error
	for i, pub := range c.pubs {
		switch err := pub.result.Err; {
		case pub.settled && err == nil && pub.result.Duplicate:
			r.result.Repeated++
		case pub.settled && err == nil:
			r.result.Published++
		case pub.settled && breaksRule(err):
			why := &Error{AppID: r.appID, ID: pub.result.ID, Index: c.at[i], Err: reasonOf(err)}
			if err := r.leaveOut(json.RawMessage(pub.msg.Data), why); ended == nil {
				ended = err
			}
		case failed == nil:
			r.result.Next = c.at[i]
			failed = &Error{AppID: r.appID, ID: pub.result.ID, Index: c.at[i], Err: c.err}
		}
	}
	if failed != nil {
		return failed
	}
	r.result.Next = c.end
	r.tell(nil)
	return ended
}

// deliver publishes pubs until each is stored or breaks a rule. A full queue and a broker that is
// away are waited for, and waits is told why. The error says why some are neither.
func (r *campaignRun) deliver(
	ctx context.Context, pubs []*publication, waits func(why error),
) error {
	wait, some := firstWait, len(pubs)
	for len(pubs) > 0 {
		batch, most := r.ways.choose(min(some, len(pubs)))
		part, began := pubs[:most], time.Now()
		stop := r.p.publishBy(undated{ctx}, r.appID, part, batch)
		left, why := unfinished(part, stop)
		pubs = append(left, pubs[len(part):]...)
		done := len(part) - len(left)
		switch {
		case why == nil:
			r.ways.note(batch, done, time.Since(began))
			wait, some = firstWait, max(some, 2*done)
			continue
		case !isPassing(why) || ctx.Err() != nil && errors.Is(why, context.Cause(ctx)):
			return why
		case done > 0:
			wait = firstWait
		}
		// A full queue is offered no more than the workers seem to take out of it.
		some = max(done, minBatch)
		waits(why)
		if err := r.p.rest(ctx, jitter(wait)); err != nil {
			return fmt.Errorf("%w: %w", why, err)
		}
		wait = min(2*wait, maxWait)
	}
	return nil
}

// unfinished returns those that are neither stored nor break a rule, to be published again, and why
// the first of them is not, or one that no repeat would change. Those that were not tried are so for
// stop. What is known of their tries stays: they may have been stored.
func unfinished(pubs []*publication, stop error) (left []*publication, why error) {
	for _, pub := range pubs {
		err := pub.result.Err
		switch {
		case !pub.settled:
			err = stop
		case err == nil || breaksRule(err):
			continue
		}
		err = reasonOf(err)
		if why == nil || isPassing(why) && !isPassing(err) {
			why = err
		}
		pub.settled, pub.result.Err = false, nil
		left = append(left, pub)
	}
	return left, why
}

// isPassing tells whether what kept an intent out passes by itself.
func isPassing(err error) bool { return (&Error{Err: err}).Retryable() }

// rest waits. The error says that there is nothing left to wait for.
func (p *Publisher) rest(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-p.closed:
		return ErrClosed
	}
}

// undated is a context without its deadline, though it ends then: a courier that knows it would not
// say before that the broker is away.
type undated struct{ context.Context }

func (undated) Deadline() (time.Time, bool) { return time.Time{}, false }

// breaksRule tells whether an intent was refused for what it is.
func breaksRule(err error) bool {
	var field *schema.FieldError
	return errors.As(err, &field) || errors.Is(err, ErrTooLarge)
}

// reasonOf is why a publication failed, without which it is.
func reasonOf(err error) error {
	var failed *Error
	if errors.As(err, &failed) {
		return failed.Err
	}
	return err
}
