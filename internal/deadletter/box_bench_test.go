package deadletter

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/broker/brokertest"
	"github.com/kefuhq/kefu/schema"
)

// BenchmarkBox reads a box of 20,000 letters of twelve kinds. A command that looks at a million
// takes fifty times as long.
func BenchmarkBox(b *testing.B) {
	conn := brokertest.Bare(b).Connect()
	brokertest.Provision(b, conn, brokertest.Spec(app))
	const n, kinds = 20_000, 12
	acks := make(chan error, n)
	for i := range n {
		l := letter(fmt.Sprint("order-", i), of(schema.ReasonRecipient), code(45000+i%kinds),
			errmsg(fmt.Sprintf("some trouble rid: 6b04f11a-%08x-a5c11325", i)),
			func(l *schema.Letter) {
				l.Attempts = []schema.Attempt{{Number: 1, At: noon, DurationMS: 12,
					Outcome: "recipient", Errcode: l.Errcode, Errmsg: l.Errmsg, Worker: "worker-1"}}
			})
		m, err := Message(l)
		require.NoError(b, err)
		conn.Outbox.Publish(m, func(_ broker.Ack, err error) { acks <- err })
	}
	for range n {
		require.NoError(b, <-acks)
	}
	box := Open(conn)
	for _, look := range []struct {
		name string
		do   func() (int, error)
	}{
		{"groups", func() (int, error) {
			found, err := box.Groups(b.Context(), Filter{}, time.Now())
			return len(found), err
		}},
		{"list by errcode", func() (found int, err error) {
			err = box.ListPage(b.Context(), Filter{Errcodes: []int{45003}}, Page{},
				func(Item) error { found++; return nil })
			return found, err
		}},
		{"list by lane", func() (found int, err error) {
			err = box.ListPage(b.Context(), Filter{Lane: schema.LaneLive}, Page{},
				func(Item) error { found++; return nil })
			return found, err
		}},
		{"read in full", func() (found int, err error) {
			err = box.List(b.Context(), Filter{}, func(Item) error { found++; return nil })
			return found, err
		}},
		{"sweep", func() (found int, err error) {
			err = conn.Sweep(b.Context(), schema.StreamDead, broker.ScanOptions{},
				func(broker.Stored) error { found++; return nil })
			return found, err
		}},
		{"scan", func() (found int, err error) {
			err = conn.Scan(b.Context(), schema.StreamDead, broker.ScanOptions{},
				func(broker.Stored) error { found++; return nil })
			return found, err
		}},
	} {
		b.Run(look.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				found, err := look.do()
				require.NoError(b, err)
				require.NotZero(b, found)
			}
			b.ReportMetric(float64(n*b.N)/b.Elapsed().Seconds(), "letters/s")
		})
	}
}
