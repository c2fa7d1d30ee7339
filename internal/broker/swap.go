package broker

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/nats-io/nats.go"
)

// ErrOvertaken says that somebody else wrote a subject meanwhile. A refusal of
// what OnlyAfter and Swap make conditional is it, however it was published.
var ErrOvertaken = errors.New("overtaken by another write")

// Is makes a refused condition ErrOvertaken.
func (e *APIError) Is(target error) bool {
	return target == ErrOvertaken && e.Code == CodeWrongLastSeq
}

// OnlyAfter makes a message one that is stored only while seq is the sequence
// of its subject's last message; 0: while there is none.
func OnlyAfter(m *nats.Msg, seq uint64) *nats.Msg {
	if m.Header == nil {
		m.Header = nats.Header{}
	}
	m.Header.Set("Nats-Expected-Last-Subject-Sequence", strconv.FormatUint(seq, 10))
	return m
}

// Swap publishes m if last is still the sequence of its subject's last message
// (0: there is none), and returns the new one. ErrOvertaken says that it is
// not. After any other error the message may or may not be stored, and Last
// tells: unlike SaveAfter, Swap makes one attempt, since a repeated condition
// refuses its own first attempt. It is for what is written often, or is worth
// nothing later.
func (c *Conn) Swap(ctx context.Context, m *nats.Msg, last uint64) (seq uint64, err error) {
	answer, err := c.NC.RequestMsgWithContext(ctx, OnlyAfter(m, last))
	if err != nil {
		return 0, fmt.Errorf("write %s: %w", m.Subject, readError(err))
	}
	ack, err := parseAck(answer)
	if err != nil {
		return 0, fmt.Errorf("write %s: %w", m.Subject, err)
	}
	return ack.Seq, nil
}

// SaveAfter is Swap that repeats m until the broker has answered, over a leader
// change or a lost connection. So ErrOvertaken may speak of m itself, stored by an
// attempt whose answer was lost: the caller looks at what is there. It is for what
// must not be given up.
func (c *Conn) SaveAfter(ctx context.Context, m *nats.Msg, last uint64) (seq uint64, err error) {
	ack, err := c.Outbox.PublishWait(ctx, OnlyAfter(m, last))
	return ack.Seq, err
}

// Last reads the last message of a subject. A subject that holds none is
// ErrNoMessage. In a cluster the answer may be a moment old: a Swap decides.
func (c *Conn) Last(ctx context.Context, stream, subject string) (Stored, error) {
	ctx, cancel := context.WithTimeout(ctx, apiTimeout) // an answer may be lost with its connection
	defer cancel()
	m, err := c.NC.RequestWithContext(ctx, directGet+stream+"."+subject, nil)
	if err != nil {
		return Stored{}, fmt.Errorf("read %s: %w", subject, readError(err))
	}
	s, err := storedIn(m)
	if err != nil && !errors.Is(err, ErrNoMessage) {
		err = fmt.Errorf("read %s: %w", subject, err)
	}
	return s, err
}
