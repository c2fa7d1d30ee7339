package broker_test

import (
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/broker/brokertest"
	"github.com/kefuhq/kefu/internal/wire"
)

// BenchmarkKeys is what it costs to read one key, and many.
func BenchmarkKeys(b *testing.B) {
	conn := brokertest.New(b)
	const keys = 1000
	for i := range keys {
		m := broker.PutState("bench."+strconv.Itoa(i), []byte("value"), 0)
		require.NoError(b, conn.SaveState(b.Context(), m))
	}
	b.Run("last", func(b *testing.B) {
		b.ReportAllocs()
		for range b.N {
			_, err := conn.Last(b.Context(), wire.StreamState, "$KV."+wire.BucketState+".bench.7")
			require.NoError(b, err)
		}
	})
	b.Run("scan", func(b *testing.B) {
		b.ReportAllocs()
		for range b.N {
			n := 0
			err := conn.Scan(b.Context(), wire.StreamState,
				broker.ScanOptions{Subject: "$KV." + wire.BucketState + ".bench.>"},
				func(broker.Stored) error { n++; return nil })
			require.NoError(b, err)
			require.Equal(b, keys, n)
		}
	})
}
