package broker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// messageGet is the head of the subjects that Holds asks at.
const messageGet = "$JS.API.STREAM.MSG.GET."

// Errors of Holds.
var (
	ErrMayNotGet = errors.New("no permission to ask a stream's leader for a message")
	errUnasked   = errors.New("not asked: there was no answer a moment ago")
)

// Holds says whether a stream has a message. It asks the stream's leader: a
// replica that lags behind does not have yet what Get would ask it for. Who may
// not ask, or gets no answer, does not ask again for a while.
func (c *Conn) Holds(ctx context.Context, stream string, seq uint64) (held bool, err error) {
	if at := c.getRefusedAt.Load(); at != nil && time.Since(*at) < denied {
		return false, errUnasked
	}
	err = c.Ask(ctx, func(ctx context.Context) (err error) {
		held, err = c.holds(ctx, stream, seq)
		return err
	})
	if err != nil {
		return false, fmt.Errorf("look for %s/%d: %w", stream, seq, err)
	}
	return held, nil
}

func (c *Conn) holds(ctx context.Context, stream string, seq uint64) (bool, error) {
	ctx, end := context.WithCancelCause(ctx)
	defer end(nil)
	defer c.refusal.add(func() { end(ErrMayNotGet) })()
	wait, cancel := context.WithTimeout(ctx, apiTimeout)
	defer cancel()
	m, err := c.NC.RequestWithContext(wait, messageGet+stream, fmt.Appendf(nil, `{"seq":%d}`, seq))
	if err != nil {
		if cause := context.Cause(wait); errors.Is(cause, ErrMayNotGet) ||
			errors.Is(cause, context.DeadlineExceeded) {
			now := time.Now()
			c.getRefusedAt.Store(&now)
			err = cause
		}
		return false, readError(err)
	}
	var answer struct {
		Message *struct{} `json:"message"`
		Error   *APIError `json:"error"`
	}
	switch err := json.Unmarshal(m.Data, &answer); {
	case err != nil:
		return false, fmt.Errorf("unreadable answer: %w", err)
	case answer.Error != nil && answer.Error.Code == codeNoMessage:
		return false, nil
	case answer.Error != nil:
		return false, answer.Error
	case answer.Message == nil:
		return false, errors.New("an answer without a message")
	}
	return true, nil
}

const codeNoMessage = 10037
