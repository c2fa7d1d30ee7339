package ledger

import (
	"context"
	"fmt"
	"strconv"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/wire"
)

// Append adds marks to the log without reading it, and returns when they stand there. It serves
// whoever ends intents outside of a worker, and decides nothing by what the log answers. writer is a
// name that nobody has written under before, a subject token.
func Append(ctx context.Context, conn *broker.Conn, writer string, marks []Mark) error {
	return NewAppender(conn, writer).Append(ctx, marks)
}

// Appender is Append under one name, time after time: each name that is in the log has a number in
// each worker, and there are not many.
type Appender struct {
	conn   *broker.Conn
	writer string
	number uint64 // of the batch that was published last
}

// NewAppender makes an Appender under a name that nobody has written under before, a subject token.
func NewAppender(conn *broker.Conn, writer string) *Appender {
	return &Appender{conn: conn, writer: writer}
}

// Append adds marks and returns when they stand in the log. One batch waits for the one before: of
// two that overtake each other only the later one counts.
func (a *Appender) Append(ctx context.Context, marks []Mark) error {
	for len(marks) > 0 {
		a.number++
		b := newBatch(a.number, min(len(marks), maxBatch))
		n := 0
		for n < min(len(marks), maxBatch) && b.add(marks[n]) {
			n++
		}
		marks = marks[n:]
		_, err := a.conn.Outbox.PublishWait(ctx, &nats.Msg{
			Subject: wire.LedgerSubject(a.writer), Data: b.data, Header: nats.Header{
				jetstream.MsgIDHeader: {a.writer + ":" + strconv.FormatUint(a.number, 10)},
			},
		})
		if err != nil {
			return fmt.Errorf("ledger: %w", err)
		}
	}
	return nil
}
