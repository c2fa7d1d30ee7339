package gate

import (
	"testing"
	"time"

	"github.com/kefuhq/kefu/internal/broker/brokertest"
	"github.com/kefuhq/kefu/schema"
)

// BenchmarkPermit is what each intent costs at the gate, and how many a process gets through one of
// 50,000 a second, when it asks all the time.
func BenchmarkPermit(b *testing.B) {
	for _, c := range []struct {
		name string
		rate Rate
	}{
		{"no limit", Rate{}},
		{"a limit that is shared", Rate{PerSecond: 50_000, Burst: 1000, LiveReserve: 0.2}},
		{"a day's budget as well", Rate{PerSecond: 50_000, Burst: 1000, LiveReserve: 0.2, PerDay: 1e9}},
	} {
		b.Run(c.name, func(b *testing.B) {
			k, err := Open(b.Context(), brokertest.New(b), "test", nil)
			if err != nil {
				b.Fatal(err)
			}
			defer k.Close()
			g := k.App("wx1", c.rate)
			got, begun := 0, time.Now()
			for b.Loop() {
				if p, _ := g.Permit(schema.LaneBulk, time.Now()); p.OK {
					got++
				}
			}
			b.ReportMetric(float64(got)/time.Since(begun).Seconds(), "permits/s")
		})
	}
}
