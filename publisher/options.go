package publisher

import (
	"time"

	"github.com/kefuhq/kefu/schema"
)

// Option sets up a [Publisher].
type Option func(*Publisher)

// WithLimits sets what packets are checked against, when the apps' settings are not the usual ones:
// 10 articles of news, 2048 bytes of text, videos with a thumb_media_id, Official Accounts. For
// mini programs it sets [schema.Limits]' Kind: without it the messages that only they may send are
// refused.
func WithLimits(limits schema.Limits) Option {
	return func(p *Publisher) { p.limits = limits }
}

// WithTimeout sets for how long a publish whose context has no deadline is repeated before it gives
// up, and after how long those who wait for receipts are told that these cannot be read. The
// default is 15 s: an election of the broker's takes up to 10 s. d must be above zero.
func WithTimeout(d time.Duration) Option {
	return func(p *Publisher) { p.timeout = d }
}

// WithDefaults sets options for every intent. Those of a call take precedence. [WithSource] is the
// usual one.
func WithDefaults(opts ...PublishOption) Option {
	return func(p *Publisher) { p.defaults = append(p.defaults, opts...) }
}

// PublishOption says something about one intent. The same option given twice counts as given last.
type PublishOption func(*order)

// order is what the options of an intent ask for.
type order struct {
	envelope  schema.Envelope
	named     bool // an id was given, be it ""
	bulk      bool
	campaign  string
	expiresIn *time.Duration
}

// orderOf is what lists of options ask for, which are given from the least to the most.
func orderOf(lists ...[]PublishOption) (o order) {
	for _, opts := range lists {
		for _, opt := range opts {
			if opt != nil {
				opt(&o)
			}
		}
	}
	return o
}

// setDeadline turns a deadline that counts from now into a time.
func (o *order) setDeadline(now time.Time) error {
	if o.expiresIn == nil {
		return nil
	}
	if *o.expiresIn <= 0 {
		return &schema.FieldError{Field: schema.HeaderExpiresAt, Rule: "must be later than now"}
	}
	o.envelope.ExpiresAt, o.expiresIn = now.Add(*o.expiresIn), nil
	return nil
}

// WithID gives the intent its id, 1 to 128 bytes of printable ASCII: a repeat of an id is sent
// once. Ids appear in logs: they should name an occasion ("order-4711-shipped"), not a person.
func WithID(id string) PublishOption {
	return func(o *order) { o.envelope.ID, o.named = id, true }
}

// WithBulk puts the intent into the bulk lane, under the name of a campaign (1 to 128 of A-Z a-z
// 0-9 _ -): it yields to conversation, keeps no order, and can be counted, paused and cancelled
// with its campaign. Without it an intent is live: part of a conversation, in order for its
// recipient.
func WithBulk(campaign string) PublishOption {
	return func(o *order) { o.bulk, o.campaign = true, campaign }
}

// WithSendAt has the intent held until t, which must be before its deadline. A time that has passed
// holds nothing up.
func WithSendAt(t time.Time) PublishOption {
	return func(o *order) { o.envelope.SendAt = t }
}

// WithExpiresAt has the intent end as a dead letter, expired, when it could not be sent until t.
// Without it the app's setting holds, as a rule 48 hours: WeChat takes no answer to a user later
// than that.
func WithExpiresAt(t time.Time) PublishOption {
	return func(o *order) { o.envelope.ExpiresAt, o.expiresIn = t, nil }
}

// WithExpiresIn is [WithExpiresAt], counted from the call. d must be above zero.
func WithExpiresIn(d time.Duration) PublishOption {
	return func(o *order) { o.expiresIn = &d }
}

// WithUnknown says what to do when the request to WeChat left and no usable answer came:
// [schema.PolicyResend] it, which may send it twice, or [schema.PolicyPark] it as a dead letter.
// Without it the app's setting holds.
func WithUnknown(policy schema.UnknownPolicy) PublishOption {
	return func(o *order) { o.envelope.Unknown = policy }
}

// WithSource names the publishing service (1 to 64 bytes of printable ASCII without blanks). It is
// shown in dead letters, receipts and metrics.
func WithSource(name string) PublishOption {
	return func(o *order) { o.envelope.Source = name }
}

// WithTraceparent continues a W3C trace to the call of the API. One that is not valid is ignored,
// as the W3C asks.
func WithTraceparent(traceparent string) PublishOption {
	return func(o *order) { o.envelope.Traceparent = traceparent }
}
