package broker_test

import (
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/broker/brokertest"
	"github.com/kefuhq/kefu/internal/wire"
)

func TestASwapIsStoredOnlyOverWhatItsWriterKnows(t *testing.T) {
	t.Parallel()
	conn := brokertest.New(t)
	put := func(value string, last uint64) (uint64, error) {
		return conn.Swap(t.Context(), broker.PutState("pool.test", []byte(value), 0), last)
	}
	_, err := conn.LastState(t.Context(), "pool.test")
	require.ErrorIs(t, err, broker.ErrNoMessage)
	first, err := put("one", 0)
	require.NoError(t, err)
	_, err = put("two", 0)
	require.ErrorIs(t, err, broker.ErrOvertaken)
	require.ErrorContains(t, err, "pool.test")
	second, err := put("two", first)
	require.NoError(t, err)
	require.Greater(t, second, first)
	e, err := conn.LastState(t.Context(), "pool.test")
	require.NoError(t, err)
	require.Equal(t, "two", string(e.Value))
	require.Equal(t, second, e.Seq)

	require.NoError(t, conn.SaveState(t.Context(), broker.DeleteState("pool.test")))
	e, err = conn.LastState(t.Context(), "pool.test")
	require.NoError(t, err)
	require.True(t, e.Deleted)
	_, err = put("three", second)
	require.ErrorIs(t, err, broker.ErrOvertaken, "a deletion is a write as well")
	_, err = put("three", e.Seq)
	require.NoError(t, err)

	_, err = conn.Swap(t.Context(), &nats.Msg{Subject: "nobody.takes.this"}, 0)
	require.ErrorIs(t, err, broker.ErrNoStream)
	_, err = conn.Last(t.Context(), "NONE", "x")
	require.ErrorIs(t, err, broker.ErrNoStream)
}

func TestTheRateStreamIsMadeByWhoeverNeedsItFirst(t *testing.T) {
	t.Parallel()
	b := brokertest.Start(t)
	conn := b.Connect()
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			now, created, err := conn.EnsureRateStream(t.Context())
			if err != nil || now.Before(created) || time.Since(now).Abs() > time.Minute {
				t.Error(now, created, err)
			}
		})
	}
	all.Wait()
	s, err := conn.JS.Stream(t.Context(), wire.StreamRate)
	require.NoError(t, err)
	require.Equal(t, 1, s.CachedInfo().Config.Replicas)

	back := brokertest.Reconnected(t, conn)
	b.Restart()
	brokertest.Await(t, back, "the reconnect")
	_, err = conn.Last(t.Context(), wire.StreamRate, wire.RateSubject("wx1"))
	require.Error(t, err, "it is in memory")
	_, _, err = conn.EnsureRateStream(t.Context())
	require.NoError(t, err)
	_, err = conn.Last(t.Context(), wire.StreamRate, wire.RateSubject("wx1"))
	require.ErrorIs(t, err, broker.ErrNoMessage)

	_, _, err = brokertest.Bare(t).Connect().EnsureRateStream(t.Context())
	require.ErrorContains(t, err, "KEFU_RATE")
}

func TestInAClusterTheRateStreamHasAsManyReplicasAsTheRest(t *testing.T) {
	t.Parallel()
	conn := brokertest.StartCluster(t).Connect()
	_, _, err := conn.EnsureRateStream(t.Context())
	require.NoError(t, err)
	s, err := conn.JS.Stream(t.Context(), wire.StreamRate)
	require.NoError(t, err)
	require.Equal(t, 3, s.CachedInfo().Config.Replicas)
	_, err = conn.Swap(t.Context(), &nats.Msg{Subject: wire.RateSubject("wx1")}, 0)
	require.NoError(t, err)
}
