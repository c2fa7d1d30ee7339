package publisher

import (
	"time"

	"github.com/nats-io/nuid"

	"github.com/kefuhq/kefu/schema"
)

// Option sets something for all that a [Publisher] publishes.
type Option func(*Publisher)

// WithLimits sets the bounds that packets are checked against, which should be those of the app's configuration. Fields below 1 mean
// the defaults.
func WithLimits(l schema.Limits) Option { return func(p *Publisher) { p.limits = l } }

// WithDefaultSource names the publishing service for intents published without [WithSource]: 1 to 64 bytes of printable ASCII without
// blanks. It is shown in letters, receipts, filters and metrics.
func WithDefaultSource(name string) Option { return func(p *Publisher) { p.source = name } }

// PublishOption says how one intent is to be treated. Their order does not matter.
type PublishOption func(*intent)

// intent is what the options of one publish say.
type intent struct {
	env       schema.Envelope
	bulk      bool
	campaign  string
	expiresIn *time.Duration
}

// WithID gives the intent's id, the idempotency key: 1 to 128 bytes of printable ASCII with no blank at either end. Default: a random one.
func WithID(id string) PublishOption {
	return func(i *intent) {
		if id == "" {
			id = " " // an id that came out empty is a bug of the producer's, which a random one would hide
		}
		i.env.ID = id
	}
}

// WithBulk puts the intent into the bulk lane, as part of a campaign: 1 to 128 of A-Z a-z 0-9 _ -. Default: the live lane, under the
// packet's touser.
func WithBulk(campaign string) PublishOption {
	return func(i *intent) { i.bulk, i.campaign = true, campaign }
}

// WithSendAt holds the intent until t. The zero time means now.
func WithSendAt(t time.Time) PublishOption { return func(i *intent) { i.env.SendAt = t } }

// WithExpiresAt has the intent never sent later than t; it then is a dead letter, reason expired. The zero time means the app's
// setting, 48 hours after publishing if that is not changed. It excludes [WithExpiresIn].
func WithExpiresAt(t time.Time) PublishOption { return func(i *intent) { i.env.ExpiresAt = t } }

// WithExpiresIn is [WithExpiresAt], counted from the call that publishes. d must be positive.
func WithExpiresIn(d time.Duration) PublishOption { return func(i *intent) { i.expiresIn = &d } }

// WithUnknown says what to do when the request left and no usable answer came: schema.Resend, once more, or schema.Park, leave it to
// people. Default: the app's setting.
func WithUnknown(u schema.UnknownPolicy) PublishOption { return func(i *intent) { i.env.Unknown = u } }

// WithSource names the publishing service for this intent, see [WithDefaultSource].
func WithSource(name string) PublishOption { return func(i *intent) { i.env.Source = name } }

// WithTraceparent passes on a W3C trace context, which is continued to the API call. One that is not valid is dropped.
func WithTraceparent(tp string) PublishOption { return func(i *intent) { i.env.Traceparent = tp } }

// envelope puts the options together and checks them.
func (p *Publisher) intent(now time.Time, opts []PublishOption) (intent, error) {
	var i intent
	for _, o := range opts {
		if o != nil {
			o(&i)
		}
	}
	if i.env.ID == "" {
		i.env.ID = nuid.Next()
	}
	if i.env.Source == "" {
		i.env.Source = p.source
	}
	if i.expiresIn != nil {
		if !i.env.ExpiresAt.IsZero() {
			return i, &schema.FieldError{Field: schema.HeaderExpiresAt, Rule: "given twice, as a time and as a duration"}
		}
		if *i.expiresIn <= 0 {
			return i, &schema.FieldError{Field: schema.HeaderExpiresAt, Rule: "the duration must be positive"}
		}
		i.env.ExpiresAt = now.Add(*i.expiresIn)
	}
	if err := schema.CheckID(i.env.ID); err != nil {
		return i, err
	}
	return i, i.env.Check()
}
