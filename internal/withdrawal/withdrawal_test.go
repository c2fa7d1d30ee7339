package withdrawal

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/broker/brokertest"
	"github.com/kefuhq/kefu/internal/wire"
	"github.com/kefuhq/kefu/schema"
)

var pseudonyms = broker.NewPseudonyms([]byte("key"))

func watch(t *testing.T, conn *broker.Conn) *Orders {
	t.Helper()
	w, err := Watch(t.Context(), conn, pseudonyms, nil)
	require.NoError(t, err)
	t.Cleanup(w.Close)
	return w
}

func withdraw(t *testing.T, conn *broker.Conn, id string, generation int, keep time.Duration) {
	t.Helper()
	require.NoError(t, Write(t.Context(), conn, "wx1", id,
		Order{schema.Cancellation{Generation: generation, By: "me", At: time.Now()}}, keep))
}

func TestAWithdrawalConcernsItsGenerationAndThoseBefore(t *testing.T) {
	t.Parallel()
	conn := brokertest.New(t)
	withdraw(t, conn, "id-1", 2, time.Hour)
	w := watch(t, conn)
	require.True(t, w.Has("wx1", "id-1", 1, time.Now()))
	require.True(t, w.Has("wx1", "id-1", 2, time.Now()))
	require.False(t, w.Has("wx1", "id-1", 3, time.Now()), "a later life of the id is another intent")
	require.False(t, w.Has("wx2", "id-1", 1, time.Now()), "of another app")
	require.False(t, w.Has("wx1", "id-2", 1, time.Now()))
}

func TestAProducersWithdrawalConcernsWhatWasPublishedBefore(t *testing.T) {
	t.Parallel()
	at := time.Now()
	w := Order{schema.Cancellation{At: at}}
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

func TestAWithdrawalReachesEveryWorkerAndIsDeletedWhenDone(t *testing.T) {
	t.Parallel()
	b := brokertest.Start(t)
	conn := b.Connect()
	one, two := watch(t, conn), watch(t, b.Connect())
	require.False(t, one.Has("wx1", "id-1", 1, time.Now()))
	withdraw(t, conn, "id-1", 1, time.Hour)
	for _, w := range []*Orders{one, two} {
		require.Eventually(t, func() bool { return w.Has("wx1", "id-1", 1, time.Now()) },
			brokertest.Patience, time.Millisecond)
	}
	v, ok, err := Read(t.Context(), conn, "wx1", "id-1")
	require.NoError(t, err)
	require.True(t, ok)
	require.Equal(t, "me", v.By)

	one.Done("wx1", "id-1")
	for _, w := range []*Orders{one, two} {
		require.Eventually(t, func() bool { return !w.Has("wx1", "id-1", 1, time.Now()) },
			brokertest.Patience, time.Millisecond)
	}
	_, ok, err = Read(t.Context(), conn, "wx1", "id-1")
	require.NoError(t, err)
	require.False(t, ok)
	one.Done("wx1", "id-1") // twice does no harm
}

func TestAWithdrawalOfALaterLifeOutlivesTheEarlierOnesEnd(t *testing.T) {
	t.Parallel()
	b := brokertest.Start(t)
	p := brokertest.NewProxy(t, b)
	far, near := p.Connect(), b.Connect()
	withdraw(t, near, "id-1", 1, time.Hour)
	w := watch(t, far)
	require.True(t, w.Has("wx1", "id-1", 1, time.Now()))
	p.Cut() // the worker carries it out while it does not hear of the next one
	withdraw(t, near, "id-1", 2, time.Hour)
	w.Done("wx1", "id-1")
	p.Mend()
	require.Eventually(t, func() bool { return w.Has("wx1", "id-1", 2, time.Now()) },
		brokertest.Patience, time.Millisecond)
	require.Eventually(t, func() bool { return far.Outbox.Pending() == 0 }, brokertest.Patience,
		time.Millisecond)
	_, ok, err := Read(t.Context(), near, "wx1", "id-1")
	require.NoError(t, err)
	require.True(t, ok)
}

func TestAWithdrawalThatIsNeverCarriedOutEnds(t *testing.T) {
	t.Parallel()
	conn := brokertest.New(t)
	w := watch(t, conn)
	withdraw(t, conn, "id-1", 1, time.Second)
	require.Eventually(t, func() bool { return w.Has("wx1", "id-1", 1, time.Now()) },
		brokertest.Patience, time.Millisecond)
	require.Eventually(t, func() bool { return !w.Has("wx1", "id-1", 1, time.Now()) },
		brokertest.Patience, time.Millisecond)
}

func TestWhatIsNoWithdrawalIsNone(t *testing.T) {
	t.Parallel()
	conn := brokertest.New(t)
	require.NoError(t, conn.SaveState(t.Context(),
		broker.PutState(keyOf("wx1", "id-1"), []byte("hello"), 0)))
	require.False(t, watch(t, conn).Has("wx1", "id-1", 1, time.Now()))
	_, _, err := Read(t.Context(), conn, "wx1", "id-1")
	require.ErrorContains(t, err, "withdrawals: cancel.wx1.")
}

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }
