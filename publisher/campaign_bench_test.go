package publisher_test

import (
	"encoding/json"
	"fmt"
	"iter"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/kefuhq/kefu/internal/broker/brokertest"
	"github.com/kefuhq/kefu/publisher"
	"github.com/kefuhq/kefu/schema"
)

// BenchmarkCampaign publishes a campaign and then, to the same broker, the same messages as fast as
// nats.go does it: asynchronously, with as many unanswered as it allows. vs-raw is the one's rate
// divided by the other's.
func BenchmarkCampaign(b *testing.B) {
	const (
		n       = 20_000
		content = "双十一明天开始，全场八折，点击菜单查看您的优惠券"
	)
	openids := make([]string, n)
	asJSON, asPackets := make([]json.Marshaler, n), make([]json.Marshaler, n)
	for i := range n {
		openids[i] = fmt.Sprintf("oUser%023d", i)
		packet := text(openids[i], content)
		asJSON[i], asPackets[i] = json.RawMessage(schema.Encode(packet)), packet
	}
	for _, form := range []struct {
		name    string
		packets []json.Marshaler
	}{{"JSON", asJSON}, {"packets", asPackets}} {
		b.Run(form.name, func(b *testing.B) {
			conn := brokertest.New(b)
			send(b, conn, func(c *jetstream.StreamConfig) { c.MaxMsgs = 100_000_000 })
			p := newPublisher(b, conn.JS)
			source := publisher.WithSource("shop")
			var campaign, bare time.Duration
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				name := fmt.Sprintf("sale-%d", i)
				began := time.Now()
				done, err := p.PublishCampaign(b.Context(), app, publisher.Campaign{Name: name},
					each(form.packets), source)
				campaign += time.Since(began)
				require.NoError(b, err)
				require.Equal(b, n, done.Published)

				b.StopTimer()
				bare += publishRaw(b, conn.JS, n, func(i int) *nats.Msg {
					id := schema.CampaignID(app, name+"-raw", openids[i])
					return &nats.Msg{
						Subject: schema.BulkSubject(app, name+"-raw").String(),
						Header:  schema.Envelope{ID: id, Source: "shop"}.Header(),
						Data:    schema.Encode(text(openids[i], content)),
					}
				})
				b.StartTimer()
			}
			b.ReportMetric(float64(n*b.N)/campaign.Seconds(), "recipients/s")
			b.ReportMetric(float64(n*b.N)/bare.Seconds(), "raw/s")
			b.ReportMetric(bare.Seconds()/campaign.Seconds(), "vs-raw")
		})
	}
}

// publishRaw returns how long it takes to publish n messages that are ready.
func publishRaw(b *testing.B, js jetstream.JetStream, n int, msg func(int) *nats.Msg) time.Duration {
	b.Helper()
	msgs := make([]*nats.Msg, n)
	for i := range msgs {
		msgs[i] = msg(i)
	}
	began := time.Now()
	acks := make([]jetstream.PubAckFuture, n)
	for i, m := range msgs {
		var err error
		acks[i], err = js.PublishMsgAsync(m, jetstream.WithStallWait(brokertest.Patience))
		require.NoError(b, err)
	}
	for _, ack := range acks {
		select {
		case <-ack.Ok():
		case err := <-ack.Err():
			require.NoError(b, err)
		}
	}
	return time.Since(began)
}

// each yields packets.
func each(packets []json.Marshaler) iter.Seq2[json.Marshaler, error] {
	return func(yield func(json.Marshaler, error) bool) {
		for _, packet := range packets {
			if !yield(packet, nil) {
				return
			}
		}
	}
}
