package ledger

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/broker/brokertest"
	"github.com/kefuhq/kefu/internal/wire"
	"github.com/kefuhq/kefu/schema"
)

func withdrawals(t *testing.T, conn *broker.Conn) *Withdrawals {
	t.Helper()
	w, err := OpenWithdrawals(t.Context(), conn, nil)
	require.NoError(t, err)
	t.Cleanup(w.Close)
	return w
}

func withdraw(t *testing.T, conn *broker.Conn, id string, generation int, keep time.Duration) {
	t.Helper()
	require.NoError(t, Withdraw(t.Context(), conn, "wx1", id,
		Withdrawal{schema.Cancellation{Generation: generation, By: "me", At: time.Now()}}, keep))
}

func TestAWithdrawalConcernsItsGenerationAndThoseBefore(t *testing.T) {
	t.Parallel()
	conn := brokertest.New(t)
	withdraw(t, conn, "id-1", 2, time.Hour)
	w := withdrawals(t, conn)
	key := KeyOf("wx1", "id-1")
	require.True(t, w.Has("wx1", key, 1, time.Now()))
	require.True(t, w.Has("wx1", key, 2, time.Now()))
	require.False(t, w.Has("wx1", key, 3, time.Now()), "a later life of the id is another intent")
	require.False(t, w.Has("wx2", key, 1, time.Now()), "of another app")
	require.False(t, w.Has("wx1", KeyOf("wx1", "id-2"), 1, time.Now()))
}

func TestAProducersWithdrawalConcernsWhatWasPublishedBefore(t *testing.T) {
	t.Parallel()
	at := time.Now()
	w := Withdrawal{schema.Cancellation{At: at}}
	require.True(t, w.Covers(1, at.Add(-time.Hour)))
	require.True(t, w.Covers(1, at))
	require.True(t, w.Covers(3, at.Add(-time.Hour)), "whatever life it is in")
	require.False(t, w.Covers(1, at.Add(1)), "what was published later is another intent")
}

func TestAWithdrawalStandsWhereTheSchemaSays(t *testing.T) {
	t.Parallel()
	conn := brokertest.New(t)
	withdraw(t, conn, "id-1", 2, time.Hour)
	s, err := conn.JS.Stream(t.Context(), wire.StreamState)
	require.NoError(t, err)
	m, err := s.GetLastMsgForSubject(t.Context(), schema.CancelSubject("wx1", "id-1"))
	require.NoError(t, err)
	var c schema.Cancellation
	require.NoError(t, json.Unmarshal(m.Data, &c))
	require.Equal(t, 2, c.Generation)
	require.Equal(t, "me", c.By)
}

func TestAWithdrawalReachesEveryWorkerAndIsForgottenWhenMet(t *testing.T) {
	t.Parallel()
	b := brokertest.Start(t)
	conn := b.Connect()
	one, two := withdrawals(t, conn), withdrawals(t, b.Connect())
	key := KeyOf("wx1", "id-1")
	require.False(t, one.Has("wx1", key, 1, time.Now()))
	withdraw(t, conn, "id-1", 1, time.Hour)
	for _, w := range []*Withdrawals{one, two} {
		require.Eventually(t, func() bool { return w.Has("wx1", key, 1, time.Now()) },
			brokertest.Patience, time.Millisecond)
	}
	v, ok, err := Withdrawn(t.Context(), conn, "wx1", "id-1")
	require.NoError(t, err)
	require.True(t, ok)
	require.Equal(t, "me", v.By)

	one.Met("wx1", key)
	for _, w := range []*Withdrawals{one, two} {
		require.Eventually(t, func() bool { return !w.Has("wx1", key, 1, time.Now()) },
			brokertest.Patience, time.Millisecond)
	}
	_, ok, err = Withdrawn(t.Context(), conn, "wx1", "id-1")
	require.NoError(t, err)
	require.False(t, ok)
	one.Met("wx1", key) // twice does no harm
}

func TestAWithdrawalOfALaterLifeOutlivesTheEarlierOnesEnd(t *testing.T) {
	t.Parallel()
	b := brokertest.Start(t)
	p := brokertest.NewProxy(t, b)
	far, near := p.Connect(), b.Connect()
	key := KeyOf("wx1", "id-1")
	withdraw(t, near, "id-1", 1, time.Hour)
	w := withdrawals(t, far)
	require.True(t, w.Has("wx1", key, 1, time.Now()))
	p.Cut() // the worker carries it out while it does not hear of the next one
	withdraw(t, near, "id-1", 2, time.Hour)
	w.Met("wx1", key)
	p.Mend()
	require.Eventually(t, func() bool { return w.Has("wx1", key, 2, time.Now()) },
		brokertest.Patience, time.Millisecond)
	require.Eventually(t, func() bool { return far.Outbox.Pending() == 0 }, brokertest.Patience,
		time.Millisecond)
	_, ok, err := Withdrawn(t.Context(), near, "wx1", "id-1")
	require.NoError(t, err)
	require.True(t, ok)
}

func TestAWithdrawalThatIsNeverMetEnds(t *testing.T) {
	t.Parallel()
	conn := brokertest.New(t)
	w := withdrawals(t, conn)
	key := KeyOf("wx1", "id-1")
	withdraw(t, conn, "id-1", 1, time.Second)
	require.Eventually(t, func() bool { return w.Has("wx1", key, 1, time.Now()) },
		brokertest.Patience, time.Millisecond)
	require.Eventually(t, func() bool { return !w.Has("wx1", key, 1, time.Now()) },
		brokertest.Patience, time.Millisecond)
}

func TestWhatIsNoWithdrawalIsNone(t *testing.T) {
	t.Parallel()
	conn := brokertest.New(t)
	key := KeyOf("wx1", "id-1")
	require.NoError(t, conn.SaveState(t.Context(),
		broker.PutState(cancelPrefix+cancelName("wx1", key), []byte("hello"), 0)))
	require.False(t, withdrawals(t, conn).Has("wx1", key, 1, time.Now()))
	_, _, err := Withdrawn(t.Context(), conn, "wx1", "id-1")
	require.ErrorContains(t, err, "withdrawals: cancel.wx1.")
}
