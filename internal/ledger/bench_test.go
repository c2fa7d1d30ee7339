package ledger

import (
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kefuhq/kefu/internal/broker/brokertest"
	"github.com/kefuhq/kefu/internal/wire"
)

// BenchmarkWrite is what the ledger lets through: an intent waits for its Start,
// as the worker does, and writes its Sent without waiting.
func BenchmarkWrite(b *testing.B) {
	for _, slots := range []int{1, 64, 256} {
		b.Run(fmt.Sprintf("slots=%d", slots), func(b *testing.B) {
			srv := brokertest.Start(b)
			l := open(b, srv.Connect(), "bench")
			var next atomic.Uint64
			var wg sync.WaitGroup
			b.ResetTimer()
			for range slots {
				wg.Go(func() {
					done := make(chan Standing, 1)
					for {
						n := next.Add(1)
						if n > uint64(b.N) {
							return
						}
						k := Key(n * 0x9e3779b97f4a7c15)
						l.Write(Mark{Key: k, Kind: Start, Seq: n, Attempt: 1},
							func(s Standing, _ error) { done <- s })
						if s := <-done; s.Ruling != Go {
							b.Errorf("%v", s)
						}
						l.Write(Mark{Key: k, Kind: Sent, Seq: n, Generation: 1, Attempt: 1}, nil)
					}
				})
			}
			wg.Wait()
			b.StopTimer()
			b.ReportMetric(2*float64(b.N)/b.Elapsed().Seconds(), "marks/s")
			batches := uint64(0)
			if s, err := srv.Connect().JS.Stream(b.Context(), wire.StreamLedger); err == nil {
				batches = s.CachedInfo().State.LastSeq
			}
			b.ReportMetric(2*float64(b.N)/float64(max(batches, 1)), "marks/batch")
		})
	}
}

// BenchmarkIndex is the part of it that holds the lock: a mark of what is not
// known yet, among a million that are.
func BenchmarkIndex(b *testing.B) {
	x := newIndex(72 * time.Hour)
	w := x.worker("a")
	for i := range 1_000_000 {
		x.advance(noon.Add(time.Duration(i) * 72 * time.Hour / 1_000_000)) // spread over all epochs
		x.mark(Mark{Key: Key(i), Kind: Start, Seq: 1, Attempt: 1}, w)
	}
	k := Key(1 << 40)
	for b.Loop() {
		k++
		x.mark(Mark{Key: k, Kind: Start, Seq: 1, Attempt: 1}, w)
	}
}

// BenchmarkOpen is how long a worker waits for a million marks at its start.
func BenchmarkOpen(b *testing.B) {
	srv := brokertest.Start(b)
	conn := srv.Connect()
	l := open(b, conn, "past")
	const n = 1_000_000
	var left sync.WaitGroup
	left.Add(n)
	for i := range n {
		l.Write(Mark{Key: Key(i), Kind: Start, Seq: 1, Attempt: 1},
			func(Standing, error) { left.Done() })
	}
	left.Wait()
	l.Close()
	for b.Loop() {
		l, err := Open(b.Context(), conn, Options{Worker: "new", Keep: brokertest.Keep})
		if err != nil {
			b.Fatal(err)
		}
		if l.Len() != n {
			b.Fatal(l.Len())
		}
		l.Close()
	}
}

// BenchmarkFootprint is what a million remembered intents, each started and
// sent, cost: the live heap of the worker that remembers them and of the broker,
// and the log on disk.
func BenchmarkFootprint(b *testing.B) {
	const n = 1_000_000
	heap := func() float64 {
		runtime.GC()
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return float64(m.HeapAlloc) / 1e6
	}
	for b.Loop() {
		srv := brokertest.Start(b)
		empty := heap()
		l := open(b, srv.Connect(), "bench")
		var left sync.WaitGroup
		left.Add(2 * n)
		for i := range n {
			k := Key(uint64(i) * 0x9e3779b97f4a7c15)
			m := Mark{Key: k, Kind: Start, Seq: uint64(i), Attempt: 1}
			l.Write(m, func(Standing, error) { left.Done() })
			m.Kind, m.Generation = Sent, 1
			l.Write(m, func(Standing, error) { left.Done() })
		}
		left.Wait()
		both := heap()
		s, err := srv.Connect().JS.Stream(b.Context(), wire.StreamLedger)
		if err != nil {
			b.Fatal(err)
		}
		if l.Len() != n {
			b.Fatal(l.Len())
		}
		l.Close()
		l.index = nil
		broker := heap()
		b.ReportMetric(both-broker, "worker-MB/million")
		b.ReportMetric(broker-empty, "broker-MB/million")
		b.ReportMetric(float64(s.CachedInfo().State.Bytes)/1e6, "disk-MB/million")
	}
}

// BenchmarkTake is what reading the log costs for each intent that is started and
// sent, in batches as they are under load, of a campaign, of live intents, and of what
// a job published again.
func BenchmarkTake(b *testing.B) {
	for name, of := range map[string]Mark{"live": {Campaign: NoCampaign},
		"campaign": {Campaign: CampaignOf("wx1", "spring")},
		"job":      {Campaign: NoCampaign, Job: JobOf("k3jq7xa2", "wx1"), Again: true, Generation: 2},
	} {
		b.Run(name, func(b *testing.B) {
			x, c := newIndex(72*time.Hour), newCounters()
			x.ended = c.ended
			w := x.worker("a")
			key := uint64(0)
			for b.Loop() {
				batch := newBatch(1, maxBatch)
				for range maxBatch / 2 {
					key++
					m := of
					m.Key, m.Seq, m.Stream = Key(key*0x9e3779b97f4a7c15), key, 1
					m.Kind, m.Attempt = Start, 1
					batch.add(m)
					m.Kind, m.Generation = Sent, max(m.Generation, 1)
					batch.add(m)
				}
				c.reads(key, noon)
				readBatch(batch.data, func(m Mark) { x.mark(m, w) })
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(key), "ns/intent")
		})
	}
}
