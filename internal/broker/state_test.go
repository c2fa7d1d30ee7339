package broker_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/broker/brokertest"
	"github.com/kefuhq/kefu/internal/wire"
)

// watch follows a part of KEFU_STATE and returns what it says, as sentences.
func watch(t *testing.T, conn *broker.Conn, prefix string) chan string {
	t.Helper()
	said := make(chan string, 1000)
	w, err := conn.WatchState(t.Context(), prefix, broker.FollowOptions{},
		func(e broker.StateEntry) {
			switch {
			case e.Expired:
				said <- e.Key + " expired"
			case e.Deleted:
				said <- e.Key + " deleted"
			default:
				said <- e.Key + " is " + string(e.Value)
			}
		})
	require.NoError(t, err)
	t.Cleanup(w.Stop)
	return said
}

func save(t *testing.T, conn *broker.Conn, key, value string, ttl time.Duration) {
	t.Helper()
	require.NoError(t, conn.SaveState(t.Context(), broker.PutState(key, []byte(value), ttl)))
}

func remove(t *testing.T, conn *broker.Conn, key string) {
	t.Helper()
	require.NoError(t, conn.SaveState(t.Context(), broker.DeleteState(key)))
}

func TestWatchStateTellsWhatStandsAndWhatChanges(t *testing.T) {
	t.Parallel()
	conn := brokertest.New(t)
	save(t, conn, "app.wx1.hold", "old", 0)
	save(t, conn, "app.wx1.hold", "a", 0)
	save(t, conn, "app.wx2.hold", "gone", 0)
	remove(t, conn, "app.wx2.hold")
	save(t, conn, "worker.w1", "not ours", 0)

	said := watch(t, conn, "app.")
	require.Len(t, said, 1, "WatchState returns when what stands was told")
	require.Equal(t, "app.wx1.hold is a", <-said)

	save(t, conn, "app.wx1.hold", "b", 0)
	require.Equal(t, "app.wx1.hold is b", brokertest.Await(t, said, "the change"))
	remove(t, conn, "app.wx1.hold")
	require.Equal(t, "app.wx1.hold deleted", brokertest.Await(t, said, "the deletion"))

	entries, err := conn.ReadState(t.Context(), "app.")
	require.NoError(t, err)
	require.Empty(t, entries)
	entries, err = conn.ReadState(t.Context(), "worker.")
	require.NoError(t, err)
	require.Len(t, entries, 1)
	require.Equal(t, "worker.w1", entries[0].Key)
}

func TestWatchStateSeesTheEndOfALifeTime(t *testing.T) {
	t.Parallel()
	conn := brokertest.New(t)
	said := watch(t, conn, "worker.")
	// rounded up: the broker counts in seconds
	save(t, conn, "worker.w1", "here", 300*time.Millisecond)
	require.Equal(t, "worker.w1 is here", brokertest.Await(t, said, "the key"))
	require.Equal(t, "worker.w1 expired", brokertest.Await(t, said, "its end"))
}

func TestTheMarkOfADeletionDoesNotStayForEver(t *testing.T) {
	t.Parallel()
	conn := brokertest.New(t)
	save(t, conn, "cancel.wx1.a", "x", 0)
	m := broker.DeleteState("cancel.wx1.a")
	require.NotEmpty(t, m.Header.Get("Nats-TTL"))
	m.Header.Set("Nats-TTL", "1s")
	require.NoError(t, conn.SaveState(t.Context(), m))
	said := watch(t, conn, "cancel.")
	require.Equal(t, "cancel.wx1.a expired", brokertest.Await(t, said, "the end of the mark"))
}

func TestWatchStateMakesUpForWhatItMissed(t *testing.T) {
	t.Parallel()
	b := brokertest.Start(t)
	p := brokertest.NewProxy(t, b)
	far := p.Connect()
	near := b.Connect()
	save(t, near, "worker.stays", "1", 0)
	save(t, near, "worker.changes", "1", 0)
	save(t, near, "worker.goes", "1", 0)
	said := watch(t, far, "worker.")
	for range 3 {
		brokertest.Await(t, said, "what stands")
	}

	p.Cut()
	save(t, near, "worker.changes", "2", 0)
	remove(t, near, "worker.goes")
	save(t, near, "worker.comes", "1", 0)
	// The mark of the deletion runs out before the far one is back.
	s, err := near.JS.Stream(t.Context(), wire.StreamState)
	require.NoError(t, err)
	goes := wire.StateKeys + "worker.goes"
	require.NoError(t, s.Purge(t.Context(), jetstream.WithPurgeSubject(goes)))
	_, err = s.GetLastMsgForSubject(t.Context(), goes)
	require.ErrorIs(t, err, jetstream.ErrMsgNotFound)
	p.Mend()

	var got []string
	for range 3 {
		got = append(got, brokertest.Await(t, said, "what changed meanwhile"))
	}
	slices.Sort(got)
	require.Equal(t, []string{"worker.changes is 2", "worker.comes is 1",
		"worker.goes expired"}, got)
	save(t, near, "worker.stays", "2", 0)
	require.Equal(t, "worker.stays is 2", brokertest.Await(t, said, "what changes after it"),
		"what had not changed is not told again")
}

func TestWatchStateSurvivesABucketThatIsMadeAnew(t *testing.T) {
	t.Parallel()
	b := brokertest.Start(t)
	conn := b.Connect()
	save(t, conn, "app.wx1.hold", "a", 0)
	save(t, conn, "app.wx2.hold", "b", 0)
	said := watch(t, conn, "app.")
	brokertest.Await(t, said, "what stands")
	brokertest.Await(t, said, "what stands")
	require.NoError(t, conn.JS.DeleteStream(t.Context(), wire.StreamState))
	brokertest.Provision(t, conn, brokertest.Spec())
	save(t, conn, "app.wx1.hold", "c", 0) // under the sequence that the old value had
	got := []string{brokertest.Await(t, said, "the new value"),
		brokertest.Await(t, said, "the missing one")}
	slices.Sort(got)
	require.Equal(t, []string{"app.wx1.hold is c", "app.wx2.hold expired"}, got)
}

func TestStateOnceIsSetByTheFirstOnly(t *testing.T) {
	t.Parallel()
	b := brokertest.Start(t)
	const racers = 8
	got := make(chan string, racers)
	for i := range racers {
		conn := b.Connect()
		go func() {
			v, err := conn.StateOnce(t.Context(), "log.key", fmt.Appendf(nil, "by %d", i))
			if err != nil {
				v = []byte(err.Error())
			}
			got <- string(v)
		}()
	}
	first := brokertest.Await(t, got, "a racer")
	require.True(t, strings.HasPrefix(first, "by "), first)
	for range racers - 1 {
		require.Equal(t, first, brokertest.Await(t, got, "a racer"))
	}
}

func TestAKeyOfItsOwnForEachWrite(t *testing.T) {
	t.Parallel()
	a, b := broker.PutState("k", nil, 0), broker.PutState("k", nil, 0)
	require.NotEmpty(t, a.Header.Get("Nats-Msg-Id"))
	require.NotEqual(t, a.Header.Get("Nats-Msg-Id"), b.Header.Get("Nats-Msg-Id"),
		"or the second would be a duplicate")
	for _, c := range []struct {
		name string
		ttl  time.Duration
		want string
	}{
		{"no life time", 0, ""},
		{"part of a second", time.Millisecond, "1s"},
		{"whole seconds", 12 * time.Second, "12s"},
		{"a little more", 12*time.Second + 1, "13s"},
		{"days", 48 * time.Hour, "48h0m0s"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			require.Equal(t, c.want, broker.PutState("k", nil, c.ttl).Header.Get("Nats-TTL"))
		})
	}
}

func TestWatchStateOfAMissingBucketFails(t *testing.T) {
	t.Parallel()
	conn := brokertest.Bare(t).Connect()
	_, err := conn.WatchState(t.Context(), "app.", broker.FollowOptions{},
		func(broker.StateEntry) {})
	require.ErrorContains(t, err, "follow KV_KEFU_STATE")
	require.Equal(t, 1, conn.Hooks(), "the outbox's alone")

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.Error(t, conn.SaveState(ctx, broker.PutState("k", nil, 0)))
}
