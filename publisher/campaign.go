package publisher

import (
	"context"
	"encoding/json"
	"iter"
	"time"

	"github.com/kefuhq/kefu/schema"
)

// Campaign says what [Publisher.PublishCampaign] publishes. The zero value but for the name is
// ready to be used.
type Campaign struct {
	// Name is the campaign's, 1 to 128 of A-Z a-z 0-9 _ -, by which operators see, pause and cancel
	// it.
	Name string

	// ID returns the id of the intent for one recipient, 1 to 128 bytes of printable ASCII: always
	// the same for one, and never one for two. Nil is [schema.CampaignID].
	ID func(openid string) string

	// Invalid is called with each packet that breaks a rule, as the iterator has yielded it, and
	// why; the error's Index is its place in the sequence. The campaign goes on without it. An error
	// that Invalid returns ends the campaign. Nil counts them, and the campaign ends with an error
	// when all others are published.
	Invalid func(packet json.Marshaler, err *Error) error

	// Progress is called after each batch, and again and again while the campaign waits; waiting
	// says why it does, and is nil when it does not: [ErrQueueFull] or, when the broker is away,
	// [ErrNotQueued] or [ErrOutcomeOpen]. Nil is nobody's business.
	Progress func(done CampaignResult, waiting error)
}

// CampaignResult is what became of the recipients of a campaign. When PublishCampaign has returned
// without an error, Published, Repeated and Invalid add up to Next, which is how many there are.
type CampaignResult struct {
	// Published is how many intents the queue has stored.
	Published int

	// Repeated is how many were not stored because the queue had one of their id, or took one
	// lately: an earlier run has published it, the recipient comes twice, or the answer to the first
	// try was lost.
	Repeated int

	// Invalid is how many were left out because they break a rule.
	Invalid int

	// Next is the place in the sequence, from 0, of the first recipient of whom it is not certain
	// what became; all before are among the above. Some behind it may be, too, or may be stored
	// without an answer.
	Next int
}

// PublishCampaign puts an intent for each of many recipients into the bulk lane of an app, under
// the campaign's name. packets yields a packet for each, as for [Publisher.Publish]; an error that
// it yields ends the campaign, behind what it has yielded before. opts hold for all; a
// [WithExpiresIn] counts from this call.
//
//	packets := func(yield func(json.Marshaler, error) bool) {
//		for rows.Next() {
//			...
//			if !yield(&schema.Packet{ToUser: openid, Body: text}, err) {
//				return
//			}
//		}
//	}
//	result, err := p.PublishCampaign(ctx, appID, publisher.Campaign{Name: "spring-sale"}, packets)
//
// It publishes up to a thousand at once, in their order, and reads on meanwhile: a million
// recipients take no more memory than a few thousand. It is for lists: the last that a sequence has
// yielded before it pauses are published when it goes on. The iterator and the functions of the
// Campaign are called in the goroutine of this call, one at a time. A packet may be changed or used
// again when yield has returned.
//
// A full queue is waited for, and so is a broker that is away, until ctx ends or the deadline of
// the intents has come. The error, an [*Error], says why it ended, and with [Error.Retryable]
// whether to run it again; its Index is the place of the recipient at whom it did. The result holds
// what was published in any case.
//
// # Once
//
// The ids follow from app, campaign and openid. So a program that was killed runs the campaign
// again, from the first recipient or, with the same sequence, from the Next of its last result, and
// nobody gets it twice. That holds within limits:
//
//   - A repeat is recognised for as long as the workers' ledger keeps the end of the first
//     (worker.ledger.keep, 3 days unless it is set); without a ledger, within the duplicate window
//     of the queue (duplicate_window, 10 minutes). Later than that run the campaign from Next only,
//     and wait for no broker longer than that: let ctx end.
//   - The queue knows a repeat within the duplicate window. A later one is counted as published, and
//     dropped by the worker that reads it.
//   - A recipient's packet must be the same in each run. Another one under the same id is dropped
//     within the window, and beyond it becomes a dead letter, id-reuse.
//   - To those for whom it ended dead or cancelled, a run beyond the window sends it anew.
//
// # Whom an id tells of
//
// Ids stand in logs, dead letters and receipts. These can be reversed: whoever has the list of the
// app's followers can compute the id of each, see [schema.CampaignID]. Where that must not be, set
// Campaign.ID to a function that returns a keyed hash of campaign and openid (crypto/hmac), with a
// key that all runs of the campaign share and nobody else has. kefu forget, which finds a person's
// receipts by the usual ids, then finds only those of intents that are still queued or a dead
// letter.
func (p *Publisher) PublishCampaign(
	ctx context.Context, appID string, c Campaign, packets iter.Seq2[json.Marshaler, error],
	opts ...PublishOption,
) (CampaignResult, error) {
	terms, err := c.terms(appID, p.defaults, opts)
	if err == nil && packets == nil {
		err = errNoPacket
	}
	if err == nil {
		if unusable := p.usable(ctx); unusable != nil {
			err = notQueued(unusable)
		}
	}
	if err != nil {
		return CampaignResult{}, &Error{AppID: appID, Err: err}
	}
	r := newCampaignRun(p, appID, c, terms)
	err = r.run(ctx, packets)
	return r.result, err
}

// Check tells whether a campaign may be published with opts: the app's and the campaign's name and
// what the options ask for. [WithID] and [WithBulk] are not among them: ids and lane are the
// campaign's. A deadline must not have passed. The error is an [*Error] with a [*schema.FieldError].
func (c Campaign) Check(appID string, opts ...PublishOption) error {
	if _, err := c.terms(appID, nil, opts); err != nil {
		return &Error{AppID: appID, Err: err}
	}
	return nil
}

// terms are what is asked for all intents of the campaign.
func (c Campaign) terms(appID string, defaults, opts []PublishOption) (schema.Envelope, error) {
	switch own := orderOf(opts); {
	case own.named:
		return schema.Envelope{}, &schema.FieldError{Field: "id",
			Rule: "given by an option: a campaign's intents have an id for each recipient"}
	case own.bulk:
		return schema.Envelope{}, &schema.FieldError{Field: "campaign",
			Rule: "given by an option: it is the Name of the Campaign"}
	}
	if err := schema.BulkSubject(appID, c.Name).Check(); err != nil {
		return schema.Envelope{}, err
	}
	o, now := orderOf(defaults, opts), time.Now()
	if err := o.setDeadline(now); err != nil {
		return schema.Envelope{}, err
	}
	e := o.envelope
	e.ID = ""
	if err := checkTerms(e); err != nil {
		return schema.Envelope{}, err
	}
	if !e.ExpiresAt.IsZero() && !now.Before(e.ExpiresAt) {
		return schema.Envelope{}, errLate
	}
	return e, nil
}

var errLate = &schema.FieldError{Field: schema.HeaderExpiresAt,
	Rule: "has passed: what is left would not be sent"}
