package broker_test

import (
	"strconv"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"github.com/kefuhq/kefu/internal/broker/brokertest"
	"github.com/kefuhq/kefu/schema"
)

func TestABatchIsStoredAsAWholeOrNotAtAll(t *testing.T) {
	t.Parallel()
	conn := brokertest.New(t, "wx1")
	batch := func(from, n int) (msgs []*nats.Msg) {
		for i := range n {
			m := nats.NewMsg(schema.BulkSubject("wx1", "sale").String())
			m.Header.Set(schema.HeaderMsgID, strconv.Itoa(from+i))
			msgs = append(msgs, m)
		}
		return msgs
	}
	held := func() int {
		n, err := conn.Count(t.Context(), schema.SendStream("wx1"), ">")
		require.NoError(t, err)
		return int(n)
	}
	first := batch(0, 40)
	require.NoError(t, conn.PublishBatch(t.Context(), first))
	require.Equal(t, 40, held())
	require.Empty(t, first[0].Header.Get("Nats-Batch-Id"), "it may be published alone later")

	require.Error(t, conn.PublishBatch(t.Context(), batch(30, 40)), "ten are repeats")
	require.Equal(t, 40, held())
	for _, n := range []int{0, 1, 1001} {
		require.ErrorContains(t, conn.PublishBatch(t.Context(), batch(100, n)), "2 to 1000")
	}
	for _, m := range batch(0, 40) {
		m.Subject = "kefu.send.wx2.bulk.sale"
		require.Error(t, conn.PublishBatch(t.Context(), []*nats.Msg{m, m}), "nobody takes it")
		break
	}
}
