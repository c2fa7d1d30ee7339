package publishertest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"slices"
	"time"

	"github.com/kefuhq/kefu/publisher"
	"github.com/kefuhq/kefu/schema"
)

// PublishCampaign does what [publisher.Publisher.PublishCampaign] does, one recipient after the
// other: its Progress is called after every thousand, at the end, and while it waits.
func (p *Publisher) PublishCampaign(
	ctx context.Context, appID string, c publisher.Campaign,
	packets iter.Seq2[json.Marshaler, error], opts ...publisher.PublishOption,
) (publisher.CampaignResult, error) {
	r := campaignRun{p: p, appID: appID, campaign: c}
	err := r.begin(opts)
	if err == nil && packets == nil {
		err = r.failure("", &schema.FieldError{Field: "packet", Rule: "missing"})
	}
	if err != nil {
		return r.done, err
	}
	if !r.expiresAt.IsZero() {
		late := fmt.Errorf("%w: the deadline of the intents has passed", context.DeadlineExceeded)
		dated, cancel := context.WithDeadlineCause(ctx, r.expiresAt, late)
		defer cancel()
		ctx = dated
	}
	for packet, err := range packets {
		if err != nil {
			return r.done, r.failure("", fmt.Errorf("recipients: %w", err))
		}
		if ctx.Err() != nil {
			cause := fmt.Errorf("%w: %w", publisher.ErrNotQueued, context.Cause(ctx))
			return r.done, r.failure("", cause)
		}
		if err := r.publish(ctx, packet); err != nil {
			return r.done, err
		}
		if r.done.Next%1000 == 0 {
			r.tell(nil)
		}
	}
	r.tell(nil)
	return r.done, r.leftOut()
}

// campaignRun is a campaign on its way.
type campaignRun struct {
	p         *Publisher
	appID     string
	campaign  publisher.Campaign
	options   []publisher.PublishOption
	expiresAt time.Time
	done      publisher.CampaignResult
	invalid   *publisher.Error // the first of those that nobody was told of
}

// begin checks what is asked for.
func (r *campaignRun) begin(opts []publisher.PublishOption) error {
	if err := r.campaign.Check(r.appID, opts...); err != nil {
		return err
	}
	if r.p.isClosed() {
		return r.failure("", fmt.Errorf("%w: %w", publisher.ErrNotQueued, publisher.ErrClosed))
	}
	r.options = append(slices.Concat(r.p.Defaults, opts), publisher.WithBulk(r.campaign.Name))
	anybody := &schema.Packet{ToUser: "o", Body: &schema.Text{Content: "-"}}
	m, err := publisher.Intent{Packet: anybody,
		Options: append(slices.Clone(r.options), publisher.WithID("-"))}.Message(r.appID, r.p.Limits)
	if err != nil {
		return r.failure("", reasonOf(err))
	}
	envelope, err := schema.ParseEnvelope(m.Header)
	if err != nil {
		return r.failure("", err)
	}
	if r.expiresAt = envelope.ExpiresAt; !r.expiresAt.IsZero() {
		// One that counts from now is the same for all.
		r.options = append(r.options, publisher.WithExpiresAt(r.expiresAt))
	}
	if r.campaign.ID == nil {
		r.campaign.ID = func(openid string) string {
			return schema.CampaignID(r.appID, r.campaign.Name, openid)
		}
	}
	return nil
}

// publish publishes what is next in the sequence, and waits while the queue does not take it. An
// error ends the campaign.
func (r *campaignRun) publish(ctx context.Context, packet json.Marshaler) error {
	intent, err := r.intent(packet)
	if err != nil {
		return r.leaveOut(packet, r.failure("", reasonOf(err)))
	}
	for wait := 200 * time.Millisecond; ; wait = min(2*wait, 5*time.Second) {
		accepted, err := r.p.publish(ctx, r.appID, intent)
		failed := new(publisher.Error)
		switch {
		case err == nil && accepted.Duplicate:
			r.done.Repeated++
			r.done.Next++
			return nil
		case err == nil:
			r.done.Published++
			r.done.Next++
			return nil
		case breaksRule(err):
			return r.leaveOut(packet, r.failure(accepted.ID, reasonOf(err)))
		case !errors.As(err, &failed), !failed.Retryable(), ctx.Err() != nil:
			return r.failure(accepted.ID, reasonOf(err))
		}
		r.tell(failed.Err)
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			err := fmt.Errorf("%w: %w", failed.Err, context.Cause(ctx))
			return r.failure(accepted.ID, err)
		case <-r.p.closed:
			return r.failure(accepted.ID, fmt.Errorf("%w: %w", failed.Err, publisher.ErrClosed))
		}
	}
}

// intent is what is published of a packet.
func (r *campaignRun) intent(packet json.Marshaler) (publisher.Intent, error) {
	in := publisher.Intent{Packet: packet,
		Options: append(slices.Clone(r.options), publisher.WithID("-"))}
	m, err := in.Message(r.appID, r.p.Limits)
	if err != nil {
		return in, err
	}
	checked := new(schema.Packet)
	if err := json.Unmarshal(m.Data, checked); err != nil {
		return in, err
	}
	in.Packet = json.RawMessage(slices.Clone(m.Data))
	in.Options = append(in.Options, publisher.WithID(r.campaign.ID(checked.ToUser)))
	return in, nil
}

// leaveOut counts a recipient whose packet breaks a rule. An error ends the campaign.
func (r *campaignRun) leaveOut(packet json.Marshaler, why *publisher.Error) error {
	r.done.Invalid++
	r.done.Next++
	if r.campaign.Invalid == nil {
		if r.invalid == nil {
			r.invalid = why
		}
		return nil
	}
	err := r.campaign.Invalid(packet, why)
	if own := new(publisher.Error); err == nil || errors.As(err, &own) {
		return err
	}
	return &publisher.Error{AppID: r.appID, ID: why.ID, Index: why.Index, Err: err}
}

// leftOut is the error for those that nobody was told of.
func (r *campaignRun) leftOut() error {
	if r.invalid == nil {
		return nil
	}
	text := fmt.Sprintf("%d of %d recipients were left out; the first is number %d, counted from 0",
		r.done.Invalid, r.done.Next, r.invalid.Index)
	return &publisher.Error{AppID: r.appID, Index: r.invalid.Index,
		Err: fmt.Errorf("%s: %w", text, r.invalid.Err)}
}

func (r *campaignRun) tell(waiting error) {
	if r.campaign.Progress != nil {
		r.campaign.Progress(r.done, waiting)
	}
}

// failure is an error about the recipient who is next.
func (r *campaignRun) failure(id string, err error) *publisher.Error {
	return &publisher.Error{AppID: r.appID, ID: id, Index: r.done.Next, Err: err}
}

func breaksRule(err error) bool {
	var field *schema.FieldError
	return errors.As(err, &field) || errors.Is(err, publisher.ErrTooLarge)
}

// reasonOf is why a publish failed, without the intent's id.
func reasonOf(err error) error {
	var failed *publisher.Error
	if errors.As(err, &failed) {
		return failed.Err
	}
	return err
}
