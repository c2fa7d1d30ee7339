package overview

import (
	"flag"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/broker/brokertest"
	"github.com/kefuhq/kefu/internal/config"
	"github.com/kefuhq/kefu/internal/deadletter"
	"github.com/kefuhq/kefu/internal/deadletter/lettertest"
	"github.com/kefuhq/kefu/internal/gate"
	"github.com/kefuhq/kefu/internal/pulse"
	"github.com/kefuhq/kefu/schema"
)

var lettersFlag = flag.Int("letters", 20_000, "how many letters the benchmark's box has")

// BenchmarkOverview has 300 apps, of which one in three has something queued and one in ten is
// held, a worker that was busy for an hour, and many letters of the last day:
//
//	go test ./internal/overview -run '^$' -bench Overview -benchtime 20x -letters 1000000
func BenchmarkOverview(b *testing.B) {
	conn, cfg := crowd(b, 300, *lettersFlag)
	b.Run("look", func(b *testing.B) {
		k := NewKeeper(conn, func() *config.Config { return cfg })
		defer k.Close()
		begun := time.Now()
		_, err := k.Look(b.Context())
		require.NoError(b, err)
		first := time.Since(begun)
		for b.Loop() {
			_, err := k.Look(b.Context())
			require.NoError(b, err)
		}
		b.ReportMetric(float64(first.Milliseconds()), "ms-first")
	})
	b.Run("stand", func(b *testing.B) {
		for b.Loop() {
			_, err := readStand(b.Context(), conn, cfg)
			require.NoError(b, err)
		}
	})
	b.Run("hours", func(b *testing.B) {
		for b.Loop() {
			_, err := pulse.Read(b.Context(), conn)
			require.NoError(b, err)
		}
	})
	s, err := readStand(b.Context(), conn, cfg)
	require.NoError(b, err)
	b.Run("waits", func(b *testing.B) {
		for b.Loop() {
			_, err := readWaits(b.Context(), conn, s)
			require.NoError(b, err)
		}
	})
	b.Run("work", func(b *testing.B) {
		for b.Loop() {
			_, err := readWork(b.Context(), conn, s)
			require.NoError(b, err)
		}
	})
	b.Run("died", func(b *testing.B) {
		for b.Loop() {
			_, err := readDied(b.Context(), conn)
			require.NoError(b, err)
		}
	})
}

// crowd is a broker with many apps and letters.
func crowd(b *testing.B, apps, letters int) (*broker.Conn, *config.Config) {
	b.Helper()
	ids := make([]string, apps)
	for i := range ids {
		ids[i] = fmt.Sprintf("wx%016d", i+1)
	}
	conn, cfg, now := brokertest.New(b, ids...), configured(ids...), time.Now()
	beating(b, conn, ids...)
	hours := pulse.NewRecorder()
	for i, id := range ids {
		for m := range pulse.Minutes * 50 {
			at := now.Add(-time.Duration(m/50) * time.Minute)
			took := time.Duration(m) * time.Millisecond
			hours.App(id).Ended(at, schema.LaneLive, schema.StateSent, took)
			hours.App(id).Called(at, 100*time.Millisecond)
		}
		if i%3 == 0 {
			for n := range 30 {
				publish(b, conn, fmt.Sprintf("kefu.send.%s.live.o%d", id, n))
			}
		}
		if i%10 == 0 {
			hold(b, conn, id, gate.Hold{Kind: gate.Upstream, Reason: "no route to host", Since: now,
				Until: now.Add(time.Hour), By: "w1"})
		}
	}
	saved(b, hours, conn)
	acks := make(chan error, letters)
	go func() {
		for i := range letters {
			l := lettertest.Letter(fmt.Sprint("order-", i), lettertest.OfApp(ids[i%apps]),
				lettertest.Code(45000+i%12), func(l *schema.Letter) { l.DiedAt = now })
			m, err := deadletter.Message(l)
			if err != nil {
				acks <- err
				continue
			}
			conn.Outbox.Publish(m, func(_ broker.Ack, err error) { acks <- err })
			for conn.Outbox.Pending() > 5000 {
				time.Sleep(time.Millisecond)
			}
		}
	}()
	for range letters {
		require.NoError(b, <-acks)
	}
	return conn, cfg
}
