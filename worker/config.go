package worker

import (
	"context"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/gate"
	"github.com/kefuhq/kefu/internal/job"
	"github.com/kefuhq/kefu/internal/ledger"
	"github.com/kefuhq/kefu/internal/pool"
	"github.com/kefuhq/kefu/internal/wechat"
	"github.com/kefuhq/kefu/schema"
)

// Receipts says for which intents a receipt is published.
type Receipts = pool.Receipts

// The settings of receipts.
const (
	ReceiptsAll      = pool.ReceiptsAll
	ReceiptsFailures = pool.ReceiptsFailures
	ReceiptsOff      = pool.ReceiptsOff
)

// Sender makes one attempt to send a message. It returns nil when the API said
// errcode 0, the error of the message's Before as it is, or a *wechat.Error;
// anything else counts as an unknown outcome. It must ask Before right before
// each time the packet leaves, or the day's budget is not counted.
type Sender interface {
	Deliver(ctx context.Context, m wechat.Message) error
}

// Prober is a Sender that can find out without sending whether anything could
// be sent. It returns nil or a *wechat.Error.
type Prober interface {
	Probe(ctx context.Context) error
}

// QuotaTeller is a Sender that can ask how many messages the app may still send
// today. An error means that nobody knows.
type QuotaTeller interface {
	RemainingSends(ctx context.Context) (int64, error)
}

// App is one Official Account.
type App struct {
	ID          string
	Sender      Sender
	Rate        gate.Rate
	Concurrency int // calls in flight, at most; of the worker's
	Retry       Retry
	OnUnknown   schema.UnknownPolicy
	ExpireAfter time.Duration // deadline of intents that name none, from publication
	HoldBack    time.Duration // for how long a retry holds back the recipient's later intents
	Limits      schema.Limits
	MostLater   int64 // intents that may wait for their time at once; 0 for no limit
}

// Config of a worker. It is not changed.
type Config struct {
	Process     pool.Worker // who this is; Name must be new (pool.NewName)
	Apps        []App
	Concurrency int           // calls in flight in this process
	Grace       time.Duration // for what is under way when Run is told to stop
	Receipts    Receipts
	Ledger      bool              // false: a crash may send twice, and nobody will know
	LedgerKeep  time.Duration     // as the stream's max age
	Pseudonyms  broker.Pseudonyms // of openids in the log

	// Works are the kinds of jobs that the worker carries out for the pool, made when it starts.
	// book is nil without a ledger. Works is nil for none.
	Works func(book *ledger.Ledger) map[job.Kind]job.Work

	Log     *slog.Logger
	Metrics prometheus.Registerer // nil: not exported
}
