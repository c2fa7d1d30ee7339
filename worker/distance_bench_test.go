package worker_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/broker/brokertest"
	"github.com/kefuhq/kefu/internal/pool"
	"github.com/kefuhq/kefu/internal/wechat"
	"github.com/kefuhq/kefu/schema"
	"github.com/kefuhq/kefu/worker"
)

// steadyAPI is a Sender whose calls all take the same time.
type steadyAPI struct {
	took time.Duration
	mu   sync.Mutex
	sent int
	at   func(n int) // called for each that was sent, the nth
}

func (a *steadyAPI) Deliver(_ context.Context, m wechat.Message) error {
	if err := m.Before(); err != nil {
		return err
	}
	time.Sleep(a.took)
	a.mu.Lock()
	defer a.mu.Unlock()
	a.sent++
	a.at(a.sent)
	return nil
}

// BenchmarkDistance is how much of what its slots allow a worker sends without a
// rate, with a broker at a distance: an intent needs its slot for a round trip to
// the ledger and the call. At least 0.8 is expected of each; the rest of the
// machine must be idle.
//
//	go test ./worker -run '^$' -bench Distance -benchtime 1x
func BenchmarkDistance(b *testing.B) {
	const slots, call = 64, 100 * time.Millisecond
	const warm, measured = 10 * slots, 20 * slots
	for _, trip := range []time.Duration{60, 200, 500} {
		trip *= time.Millisecond
		b.Run(fmt.Sprint(trip), func(b *testing.B) {
			bed := newBenchBed(b)
			proxy := brokertest.NewProxyTo(b, strings.TrimPrefix(bed.url, "nats://"))
			proxy.Delay(trip / 2)
			conn := proxy.Connect()
			var ratio float64
			for b.Loop() {
				bed.fill(b)
				var begun time.Time
				over := make(chan time.Duration, 1)
				api := &steadyAPI{took: call, at: func(n int) {
					switch n {
					case warm:
						begun = time.Now()
					case warm + measured:
						over <- time.Since(begun)
					}
				}}
				w, err := worker.New(worker.Config{
					Process:     pool.Worker{Name: pool.NewName("bench")},
					Concurrency: slots, Grace: 10 * time.Second, Receipts: worker.ReceiptsAll,
					Ledger: true, LedgerKeep: time.Hour,
					Pseudonyms: broker.NewPseudonyms([]byte("bench")),
					Apps: []worker.App{{
						ID: benchApp, Sender: api, Concurrency: slots,
						Retry: worker.Retry{
							Attempts: 6, First: time.Second, Cap: time.Minute,
						},
						OnUnknown:   schema.PolicyResend,
						ExpireAfter: time.Hour, HoldBack: time.Second,
					}},
				}, conn)
				require.NoError(b, err)
				ctx, cancel := context.WithCancel(b.Context())
				done := make(chan error, 1)
				go func() { done <- w.Run(ctx, nil) }()
				possible := time.Duration(measured/slots) * (trip + call)
				ratio = possible.Seconds() / (<-over).Seconds()
				cancel()
				require.NoError(b, <-done)
				require.NoError(b, bed.stream.Purge(b.Context()))
			}
			b.ReportMetric(ratio, "of-possible")
			b.ReportMetric(0, "ns/op")
		})
	}
}
