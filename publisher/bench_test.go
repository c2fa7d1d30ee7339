package publisher_test

import (
	"encoding/json"
	"strconv"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/kefuhq/kefu/internal/broker/brokertest"
	"github.com/kefuhq/kefu/publisher"
	"github.com/kefuhq/kefu/schema"
)

func BenchmarkPublish(b *testing.B) {
	p := newPublisher(b, brokertest.New(b, app).JS)
	packet := text("oAlice", "您的订单已发货")
	b.ReportAllocs()
	for b.Loop() {
		_, err := p.Publish(b.Context(), app, packet)
		require.NoError(b, err)
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "intents/s")
}

func BenchmarkPublishInParallel(b *testing.B) {
	p := newPublisher(b, brokertest.New(b, app).JS)
	b.ReportAllocs()
	b.SetParallelism(32)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := p.Publish(b.Context(), app, text("oAlice", "您的订单已发货")); err != nil {
				b.Error(err)
			}
		}
	})
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "intents/s")
}

func BenchmarkPublishBatch(b *testing.B) {
	const n = 10_000
	for _, way := range []struct {
		name   string
		change func(*jetstream.StreamConfig)
		opts   []publisher.PublishOption
	}{
		{"bulk", func(*jetstream.StreamConfig) {},
			[]publisher.PublishOption{publisher.WithBulk("sale")}},
		{"live", func(*jetstream.StreamConfig) {}, nil},
		{"bulk, singly", noBatches, []publisher.PublishOption{publisher.WithBulk("sale")}},
	} {
		b.Run(way.name, func(b *testing.B) {
			conn := brokertest.New(b)
			send(b, conn,
				func(c *jetstream.StreamConfig) { c.MaxMsgs = 100_000_000; way.change(c) })
			p := newPublisher(b, conn.JS)
			intents := crowd(n)
			for i := range intents {
				intents[i].Options = nil // an id of its own each time
			}
			b.ReportAllocs()
			for b.Loop() {
				_, err := p.PublishBatch(b.Context(), app, intents, way.opts...)
				require.NoError(b, err)
			}
			b.ReportMetric(float64(n*b.N)/b.Elapsed().Seconds(), "intents/s")
		})
	}
}

// BenchmarkReceipts reads 50,000 receipts, of which every hundredth is dead and of a campaign.
func BenchmarkReceipts(b *testing.B) {
	const n = 50_000
	conn := brokertest.New(b, app)
	for i := range n {
		r := sent(strconv.Itoa(i))
		r.PublishedAt, r.SettledAt = time.Now(), time.Now()
		if i%100 == 99 {
			r.State, r.Lane, r.Campaign = schema.StateDead, schema.LaneBulk, "spring"
		}
		data, err := json.Marshal(r)
		require.NoError(b, err)
		_, err = conn.JS.PublishAsync(schema.ReceiptSubject(app, r.State), data,
			jetstream.WithStallWait(brokertest.Patience))
		require.NoError(b, err)
	}
	<-conn.JS.PublishAsyncComplete()
	p := newPublisher(b, conn.JS)
	for _, row := range []struct {
		name    string
		options publisher.ReceiptsOptions
		yields  int
	}{
		{"all", publisher.ReceiptsOptions{}, n},
		{"of a campaign", publisher.ReceiptsOptions{Campaign: "spring"}, n / 100},
		{"of a state", publisher.ReceiptsOptions{State: schema.StateDead}, n / 100},
	} {
		row.options.Since = everything.Since
		b.Run(row.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				left := row.yields
				for _, err := range p.Receipts(b.Context(), app, row.options) {
					require.NoError(b, err)
					if left--; left == 0 {
						break
					}
				}
			}
			b.ReportMetric(float64(n*b.N)/b.Elapsed().Seconds(), "stored/s")
		})
	}
}
