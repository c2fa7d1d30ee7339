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
// commands, which decide nothing by what the log answers. writer is a name that nobody has written
// under before, a subject token.
func Append(ctx context.Context, conn *broker.Conn, writer string, marks []Mark) error {
	for number := uint64(1); len(marks) > 0; number++ {
		b := newBatch(number, min(len(marks), maxBatch))
		n := 0
		for n < min(len(marks), maxBatch) && b.add(marks[n]) {
			n++
		}
		marks = marks[n:]
		_, err := conn.Outbox.PublishWait(ctx, &nats.Msg{
			Subject: wire.LedgerSubject(writer), Data: b.data, Header: nats.Header{
				jetstream.MsgIDHeader: {writer + ":" + strconv.FormatUint(number, 10)},
			},
		})
		if err != nil {
			return fmt.Errorf("ledger: %w", err)
		}
	}
	return nil
}
