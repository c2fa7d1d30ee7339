package campaign

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/kefuhq/kefu/internal/cli"
	"github.com/kefuhq/kefu/internal/mask"
	"github.com/kefuhq/kefu/publisher"
	"github.com/kefuhq/kefu/schema"
)

// testWait is how long a test message is waited for. It expires then.
const testWait = time.Minute

// test sends a message of the campaign to the tester, as one of the live lane, and waits until it
// is sent.
func (o *ordering) test(ctx context.Context, s sample) error {
	packet, err := schema.Decode(s.packet, o.app.Limits)
	if err != nil {
		return fmt.Errorf("line %d: %w", s.line, err)
	}
	packet.ToUser = o.testTo
	p, err := publisher.New(o.conn.JS, publisher.WithLimits(o.app.Limits))
	if err != nil {
		return err
	}
	defer func() { _ = p.Close() }() // the connection ends with the command
	options := []publisher.PublishOption{publisher.WithExpiresIn(testWait)}
	if o.source != "" {
		options = append(options, publisher.WithSource(o.source))
	}
	wait, cancel := context.WithTimeout(ctx, testWait)
	defer cancel()
	accepted, err := p.Publish(wait, o.terms.AppID, packet, options...)
	var field *schema.FieldError
	if errors.As(err, &field) {
		return cli.Usagef("--test-to: %w", field)
	}
	if err != nil {
		return fmt.Errorf("the test message: %w", err)
	}
	to := mask.Mask{}.OpenID(o.testTo)
	o.streams.Notef("the message of line %d is on its way to %s as %s", s.line, to, accepted.ID)
	r, err := p.Wait(wait, accepted)
	switch {
	case err != nil && ctx.Err() != nil:
		return ctx.Err()
	case err != nil && wait.Err() != nil:
		return fmt.Errorf("the test message to %s was not sent within %s, so nothing was ordered: "+
			"kefu find %s says more", to, testWait, accepted.ID)
	case err != nil:
		return fmt.Errorf("the test message: %w", err)
	case r.State != schema.StateSent:
		return fmt.Errorf("the test message to %s is %s, so nothing was ordered: %s", to, r.State,
			whyNot(r))
	}
	o.streams.Notef("the test message to %s was sent after %s", to,
		cli.Took(max(r.SettledAt.Sub(r.PublishedAt), 0)))
	return nil
}

// whyNot says what a receipt knows of a message that was not sent.
func whyNot(r schema.Receipt) string {
	why := string(r.Reason)
	if r.Errcode != nil {
		why += fmt.Sprintf(", errcode %d: %s", *r.Errcode, cli.Clean(r.Errmsg))
	}
	return why
}
