package publisher

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"

	"github.com/kefuhq/kefu/schema"
)

// cancelKeep is how long a cancellation that no worker has met is kept: an intent may be held by
// its send-at for as long.
const cancelKeep = 366 * 24 * time.Hour

// CancelOption says something about one cancellation.
type CancelOption func(*cancelling)

type cancelling struct{ keep time.Duration }

// WithKeep says for how long a cancellation is kept that no worker has met, 366 days by default. An
// intent that is held until later than that is sent. d must be above zero.
func WithKeep(d time.Duration) CancelOption {
	return func(c *cancelling) { c.keep = d }
}

// Cancel withdraws what the app's queue has accepted under an id until now: a worker does not send
// it when its turn comes, and its receipt says cancelled ([schema.StateCancelled]). A call to
// WeChat that is under way cannot be taken back, but is not tried again. [Publisher.Wait] tells
// whether it was in time; an [Accepted] of AppID and ID will do for it. What is published under the
// id later is another life of it, and is sent. An intent that has ended stays as it is; the replay
// of a dead one is withdrawn.
//
// When ctx has no deadline it is tried for 15 s ([WithTimeout]). After [ErrNotQueued] and
// [ErrOutcomeOpen] it is not certain to be cancelled: to do it again is safe.
func (p *Publisher) Cancel(ctx context.Context, appID, id string, opts ...CancelOption) error {
	if err := p.cancel(ctx, appID, id, opts); err != nil {
		return &Error{AppID: appID, ID: id, Err: err}
	}
	return nil
}

func (p *Publisher) cancel(ctx context.Context, appID, id string, opts []CancelOption) error {
	if err := p.usable(ctx); err != nil {
		return err
	}
	if err := errors.Join(schema.CheckToken("appid", appID), schema.CheckID(id)); err != nil {
		return err
	}
	c := cancelling{keep: cancelKeep}
	for _, opt := range opts {
		if opt != nil {
			opt(&c)
		}
	}
	if c.keep <= 0 {
		return &schema.FieldError{Field: "keep", Rule: "must be above zero"}
	}
	if _, has := ctx.Deadline(); !has {
		var done context.CancelFunc
		why := fmt.Errorf("%w after %s", context.DeadlineExceeded, p.timeout)
		ctx, done = context.WithTimeoutCause(ctx, p.timeout, why)
		defer done()
	}
	at, err := p.queueTime(ctx, appID)
	if err != nil {
		return err
	}
	return p.order(ctx, appID, id, schema.Cancellation{By: p.name(), At: at}, c.keep)
}

// queueTime is the time at the node that leads the app's queue, which stamps what it accepts: no
// other clock can tell what was accepted until now.
func (p *Publisher) queueTime(ctx context.Context, appID string) (now time.Time, err error) {
	stream := schema.SendStream(appID)
	ask := func(ctx context.Context) error {
		s, err := p.js.Stream(ctx, stream)
		if err == nil {
			now = s.CachedInfo().TimeStamp.UTC()
		}
		return err
	}
	why := p.askUntilAnswered(ctx, p.apiPrefix()+"STREAM.INFO."+stream, ask)
	switch {
	case errors.Is(why, jetstream.ErrStreamNotFound):
		return now, unknownApp(appID)
	case why != nil && !errors.Is(why, ErrForbidden) && !errors.Is(why, ErrClosed):
		text := fmt.Sprintf("not cancelled: %v", why)
		return now, &refusal{is: ErrNotQueued, cause: why, text: text}
	}
	return now, why
}

// order stores a cancellation.
func (p *Publisher) order(
	ctx context.Context, appID, id string, c schema.Cancellation, keep time.Duration,
) error {
	body, err := json.Marshal(c)
	if err != nil {
		return err
	}
	m := nats.NewMsg(schema.CancelSubject(appID, id))
	m.Header.Set(jetstream.MsgIDHeader, nuid.Next())
	m.Header.Set("Nats-TTL", (keep + time.Second - 1).Truncate(time.Second).String())
	m.Data = body
	why := p.askUntilAnswered(ctx, m.Subject, func(ctx context.Context) error {
		_, err := p.js.PublishMsg(ctx, m)
		return err
	})
	if why == nil || errors.Is(why, ErrForbidden) || isPermanent(why) {
		return why
	}
	return &refusal{is: ErrOutcomeOpen, cause: why, text: fmt.Sprintf("no answer from the broker: "+
		"it may or may not be cancelled, cancelling it again is safe: %v", why)}
}

// askUntilAnswered asks the broker until it has answered, or ctx ends. subject is what is published
// to: the broker tells of a missing permission for it in no answer.
func (p *Publisher) askUntilAnswered(
	ctx context.Context, subject string, ask func(context.Context) error,
) error {
	said := p.nc.LastError()
	for {
		once, done := context.WithTimeout(ctx, 2*attempt)
		err := ask(once)
		done()
		if err == nil || isPermanent(err) || p.nc.IsClosed() {
			return err
		}
		last := p.nc.LastError()
		isNew := last != said //nolint:errorlint // the very same error is one from before this call
		if isNew && violates(last, `Publish to "`+subject+`"`) {
			return &refusal{is: ErrForbidden, text: "this connection may not publish to " + subject}
		}
		if p.inboxRefused() {
			err = withRefusedInbox(err)
		}
		retry := time.NewTimer(jitter(pause))
		select {
		case <-retry.C:
		case <-p.closed:
			retry.Stop()
			return errClosed
		case <-ctx.Done():
			retry.Stop()
			return fmt.Errorf("%w: %w", context.Cause(ctx), err)
		}
	}
}

// name is who publishes, for people.
func (p *Publisher) name() string {
	o := order{}
	for _, opt := range p.defaults {
		if opt != nil {
			opt(&o)
		}
	}
	if o.envelope.Source != "" {
		return o.envelope.Source
	}
	return "its producer"
}
