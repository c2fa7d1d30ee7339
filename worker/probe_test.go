package worker

import (
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/broker/brokertest"
	"github.com/kefuhq/kefu/internal/ops"
	"github.com/kefuhq/kefu/internal/pool"
)

func TestProbesWaitForNothingThatTheBrokerCanHoldUp(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	way := brokertest.NewStickyWay(b.embedded.Server)
	conn, err := broker.Connect(t.Context(), broker.Options{InProcess: way, Name: "worker"})
	b.NoError(err)
	defer conn.Close()
	reg := prometheus.NewRegistry()
	w, err := New(Config{
		Process: pool.Worker{Name: pool.NewName("test")}, Apps: []App{b.app}, Concurrency: 8,
		Grace: b.grace, Receipts: ReceiptsAll, Ledger: true, LedgerKeep: time.Hour, Metrics: reg,
	}, conn)
	b.NoError(err)
	stop := b.run(w)
	defer func() { b.NoError(stop()) }()
	b.await(func() bool { return len(w.Troubles()) == 0 })
	probes := ops.Handler(w.Troubles, reg)

	way.Stick()
	var writing sync.WaitGroup
	defer writing.Wait()
	defer way.Release()
	writing.Go(func() { conn.Outbox.Publish(nats.NewMsg("fake.a"), nil) })
	brokertest.Await(t, way.Stuck, "a write that is stuck")
	// Locks that are held while the broker is written to or asked.
	locked := make(chan struct{})
	for _, a := range w.current() {
		for _, mu := range []*sync.Mutex{&a.mu, &a.laterShare.mu} {
			writing.Go(func() {
				mu.Lock() // a write that is stuck may have it already
				<-locked
				mu.Unlock()
			})
			b.await(func() bool {
				free := mu.TryLock()
				if free {
					mu.Unlock()
				}
				return !free
			})
		}
	}
	defer close(locked)
	for _, path := range []string{"/livez", "/readyz", "/metrics"} {
		answered := make(chan int, 1)
		go func() {
			answer := httptest.NewRecorder()
			probes.ServeHTTP(answer, httptest.NewRequest(http.MethodGet, path, nil))
			_, _ = io.Copy(io.Discard, answer.Body)
			answered <- answer.Code
		}()
		b.NotZero(brokertest.Await(t, answered, "an answer of "+path))
	}
}
