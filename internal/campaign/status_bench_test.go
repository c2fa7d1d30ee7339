package campaign

import (
	"encoding/json"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/broker/brokertest"
	"github.com/kefuhq/kefu/internal/ledger"
	"github.com/kefuhq/kefu/schema"
)

// BenchmarkStatus reads where a campaign of 200,000 ends stands, as the workers have
// counted it and as its receipts say.
//
//	go test ./internal/campaign -run '^$' -bench Status -benchtime 5x
func BenchmarkStatus(b *testing.B) {
	const n = 200_000
	conn := brokertest.New(b, app)
	l, err := ledger.Open(b.Context(), conn, ledger.Options{Worker: "bench", Keep: brokertest.Keep})
	require.NoError(b, err)
	b.Cleanup(l.Close)
	require.NoError(b, l.Cover(b.Context(), true))
	since, err := ledger.CountedSince(b.Context(), conn)
	require.NoError(b, err)
	records := map[string]Record{"counts": {CountedSince: since}, "receipts": {}}
	for name, r := range records {
		r.AppID, r.Campaign, r.StartedAt = app, name, time.Now()
		r.Rows, r.Next, r.Published = n, n, n
		_, err := writeRecord(b.Context(), conn, r, 0)
		require.NoError(b, err)
	}
	var left sync.WaitGroup
	for i := range n {
		left.Add(2)
		id := fmt.Sprintf("receipts-abcdefghijklmnopqrstu%05d", i)
		body, err := json.Marshal(schema.Receipt{
			ID: id, AppID: app, Generation: 1, State: schema.StateSent, Lane: schema.LaneBulk,
			Campaign: "receipts", Attempts: 1,
			PublishedAt: time.Now(), SettledAt: time.Now(),
		})
		require.NoError(b, err)
		conn.Outbox.Publish(&nats.Msg{Subject: "kefu.receipt." + app + ".sent", Data: body},
			func(broker.Ack, error) { left.Done() })
		l.Write(ledger.Mark{
			Key: ledger.KeyOf(app, id), Seq: uint64(i) + 1, Kind: ledger.Sent, Generation: 1,
			Attempt: 1, Campaign: ledger.CampaignOf(app, "counts"),
		}, func(ledger.Standing, error) { left.Done() })
	}
	left.Wait()
	require.NoError(b, l.StoreCounts(b.Context(), true))
	for name := range records {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				s, err := ReadStatus(b.Context(), conn, app, name)
				require.NoError(b, err)
				require.Equal(b, n, s.Sent)
			}
		})
	}
}
