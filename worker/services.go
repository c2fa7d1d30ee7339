package worker

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/ledger"
	"github.com/kefuhq/kefu/internal/pool"
	"github.com/kefuhq/kefu/internal/pulse"
	"github.com/kefuhq/kefu/internal/withdrawal"
)

// services are what the parts of a worker share. They are there before the first
// intent is touched, and are not changed after that.
type services struct {
	name       string // of this process; new for each
	conn       *broker.Conn
	log        *slog.Logger
	metrics    *metrics
	troubles   *troubles
	receipts   *receipts
	pseudonyms broker.Pseudonyms
	pulse      *pulse.Recorder

	ledger      intentLog
	book        *ledger.Ledger // the same, for what campaigns count; nil without one
	withdrawals *withdrawal.Orders
	pool        *pool.Pool
	names       names // of campaigns

	work    context.Context // of calls; ends when grace is over
	running sync.WaitGroup  // goroutines that handle intents or mend lanes
}

// intentLog is the ledger, as the engine needs it.
type intentLog interface {
	Write(m ledger.Mark, done func(ledger.Standing, error))
	Peek(start ledger.Mark) ledger.Standing
	Oldest() time.Time
	Drain(ctx context.Context) error
}
