package pool

import (
	"encoding/json"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/broker/brokertest"
	"github.com/kefuhq/kefu/internal/wire"
)

func TestASingleWorkerReadsEverythingAtOnce(t *testing.T) {
	t.Parallel()
	conn := brokertest.New(t)
	one := newReader(t, conn, "one", "a", "b")
	spreads(t, []int{8}, one)
	require.Equal(t, []string{"acquired a.0", "acquired a.1", "acquired a.2", "acquired a.3",
		"acquired b.0", "acquired b.1", "acquired b.2", "acquired b.3"}, one.happened())
	require.Len(t, one.pool.Claims(), 8)
	stream, err := conn.JS.Stream(t.Context(), wire.StreamState)
	require.NoError(t, err)
	require.LessOrEqual(t, stream.CachedInfo().State.LastSeq, uint64(8+4),
		"a write for each claim, and some signs of life")

	one.leave(t)
	require.Zero(t, one.reads())
	two := newReader(t, conn, "two", "a", "b")
	begun := time.Now()
	spreads(t, []int{8}, two)
	require.Less(t, time.Since(begun), Lease/2, "who left need not be waited for")
	two.leave(t)
}

func TestShardsFollowTheWorkersThatComeAndGo(t *testing.T) {
	t.Parallel()
	b := brokertest.Start(t)
	one := newReader(t, b.Connect(), "one", "a")
	spreads(t, []int{4}, one)
	two := newReader(t, b.Connect(), "two", "a")
	spreads(t, []int{2, 2}, one, two)
	three := newReader(t, b.Connect(), "three", "a")
	spreads(t, []int{2, 1, 1}, one, two, three)
	for _, e := range one.happened() {
		require.NotContains(t, e, "lost", "it was asked each time")
	}
	workers, held, err := Read(t.Context(), one.pool.conn)
	require.NoError(t, err)
	require.Len(t, workers, 3)
	require.Equal(t, []string{"a"}, workers[0].Apps)
	require.Len(t, held, 4)
	require.Equal(t, 2, held[2].Shard)

	two.pool.Retire()
	spreads(t, []int{2, 2, 0}, one, two, three)
	two.leave(t)
	one.leave(t)
	spreads(t, []int{4}, three)
	three.leave(t)
	_, held, err = Read(t.Context(), b.Connect())
	require.NoError(t, err)
	require.Empty(t, held)
}

func TestAShardIsHandedOverWhenItHasBeenDrained(t *testing.T) {
	t.Parallel()
	b := brokertest.Start(t)
	one := newReader(t, b.Connect(), "one", "a")
	spreads(t, []int{4}, one)
	one.do(func() { one.keep = true })
	two := newReader(t, b.Connect(), "two", "a")
	eventually(t, func() (asked bool) {
		one.do(func() { asked = len(one.asked) == 2 })
		return asked
	}, "it is asked for half")
	require.Equal(t, 4, one.reads(), "its claims are valid until it has given them back")
	require.Zero(t, two.reads())
	one.do(one.release)
	spreads(t, []int{2, 2}, one, two)
	one.leave(t)
	two.leave(t)
}

func TestAShardIsGivenBackThoughTheFirstTryWasRefused(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name     string
		giveBack func(t *testing.T, b *brokertest.Broker, one, two *reader)
	}{
		{"the broker does not take it", func(t *testing.T, _ *brokertest.Broker, one, _ *reader) {
			conn := one.pool.conn
			stream, err := conn.JS.Stream(t.Context(), wire.StreamState)
			require.NoError(t, err)
			usual, tight := stream.CachedInfo().Config, stream.CachedInfo().Config
			tight.MaxMsgSize = 1
			_, err = conn.JS.UpdateStream(t.Context(), tight)
			require.NoError(t, err)
			one.do(one.release)
			eventually(t, func() bool {
				one.pool.mu.RLock()
				defer one.pool.mu.RUnlock()
				return len(one.pool.claims.refused) == 2
			}, "both are refused")
			_, err = conn.JS.UpdateStream(t.Context(), usual)
			require.NoError(t, err)
		}},
		{"the broker loses it", func(t *testing.T, b *brokertest.Broker, one, two *reader) {
			b.Save()
			one.do(one.release)
			spreads(t, []int{2, 2}, one, two)
			b.Restore()
			eventually(t, func() bool { return slices.ContainsFunc(two.happened(), lost) },
				"the other has lost what it got")
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			b := brokertest.Start(t)
			one := newReader(t, b.Connect(), "one", "a")
			spreads(t, []int{4}, one)
			one.do(func() { one.keep = true })
			two := newReader(t, b.Connect(), "two", "a")
			eventually(t, func() (asked bool) {
				one.do(func() { asked = len(one.asked) == 2 })
				return asked
			}, "it is asked for half")
			c.giveBack(t, b, one, two)
			spreads(t, []int{2, 2}, one, two)
			one.leave(t)
			two.leave(t)
		})
	}
}

// TestAWorkerThatIsCutOff is also what a kill looks like from outside; but this one lives, and must
// know by itself that it may not send.
func TestAWorkerThatIsCutOffStopsBeforeAnotherBegins(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		early bool // its key ends long before its lease: the clock of a broker's node is ahead
	}{{"its key ends with its lease", false}, {"its key ends early", true}} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			cutOff(t, c.early)
		})
	}
}

func cutOff(t *testing.T, early bool) {
	t.Helper()
	b := brokertest.Start(t)
	way := brokertest.NewProxy(t, b)
	one := newReader(t, way.Connect(), "one", "a")
	spreads(t, []int{4}, one)
	two := newReader(t, b.Connect(), "two", "a")
	spreads(t, []int{2, 2}, one, two)

	cut := time.Now()
	way.Cut()
	if early {
		body, err := json.Marshal(Worker{Name: "one", Lease: 1, Apps: []string{"a"}})
		require.NoError(t, err)
		require.NoError(t, b.Connect().SaveState(t.Context(),
			broker.PutState(workersKeys+"one", body, time.Second)))
	}
	var stopped, began time.Time
	eventuallyWithin(t, 3*Lease, func() bool {
		now := time.Now()
		// Asked in this order: while the first still sends the other must not.
		two2, one1 := two.reads(), one.reads()
		require.False(t, one1 > 0 && two2 > 2, "both")
		if one1 == 0 && stopped.IsZero() {
			stopped = now
		}
		if two2 == 4 {
			began = now
		}
		return !began.IsZero()
	}, "the other takes over")
	require.False(t, stopped.IsZero())
	t.Logf("stopped %s, taken over %s after the cut", stopped.Sub(cut).Round(time.Millisecond),
		began.Sub(cut).Round(time.Millisecond))
	require.Greater(t, began.Sub(cut), Lease-renew-time.Second, "not before its lease had run out")
	require.Len(t, one.happened(), 4+2+2, "what it was asked for, and then lost")

	way.Mend()
	spreads(t, []int{2, 2}, one, two)
	one.leave(t)
	two.leave(t)
}

func eventuallyWithin(t *testing.T, d time.Duration, f func() bool, what string) {
	t.Helper()
	require.Eventually(t, f, d, 2*time.Millisecond, what)
}

func TestAShortInterruptionChangesNothing(t *testing.T) {
	t.Parallel()
	b := brokertest.Start(t)
	conn := b.Connect()
	one, two := newReader(t, conn, "one", "a"), newReader(t, b.Connect(), "two", "a")
	spreads(t, []int{2, 2}, one, two)
	one.happened()
	two.happened()
	last := seen(t, conn)
	b.Restart()
	eventually(t, func() bool { return seen(t, conn).After(last) },
		"the first sign of life after it")
	require.Empty(t, one.happened())
	require.Empty(t, two.happened())
	spreads(t, []int{2, 2}, one, two)
	one.leave(t)
	two.leave(t)
}

// seen is when the first worker gave its last sign of life.
func seen(t *testing.T, conn *broker.Conn) time.Time {
	workers, err := Workers(t.Context(), conn)
	if err != nil || len(workers) == 0 {
		return time.Time{}
	}
	return workers[0].Seen
}

func TestALeaseThatHasEndedAtTheBrokerIsNotBroughtBack(t *testing.T) {
	t.Parallel()
	b := brokertest.Start(t)
	conn := b.Connect()
	one := newReader(t, conn, "one", "a")
	spreads(t, []int{4}, one)
	before := one.pool.Claims()
	one.happened()
	require.NoError(t, conn.SaveState(t.Context(), broker.DeleteState(workersKeys+"one")))
	eventually(t, func() bool { return len(one.happened()) > 0 }, "it learns that it has lost them")
	spreads(t, []int{4}, one)
	for i, c := range one.pool.Claims() {
		require.Greater(t, c.Revision, before[i].Revision)
		require.False(t, before[i].Valid(time.Now()), "an old claim is not valid under a new lease")
	}
	workers, err := Workers(t.Context(), conn)
	require.NoError(t, err)
	require.EqualValues(t, 2, workers[0].Lease)
	one.leave(t)
}

func TestABrokerThatLostItsStateIsGivenItAnew(t *testing.T) {
	t.Parallel()
	b := brokertest.Start(t)
	conn := b.Connect()
	one, two := newReader(t, conn, "one", "a"), newReader(t, b.Connect(), "two", "a")
	spreads(t, []int{2, 2}, one, two)
	require.NoError(t, conn.JS.DeleteStream(t.Context(), wire.StreamState))
	brokertest.Provision(t, conn, brokertest.Spec())
	eventually(t, func() bool {
		_, held, err := Read(t.Context(), conn)
		return err == nil && len(held) == 4
	}, "all claims stand again")
	spreads(t, []int{2, 2}, one, two)
	one.leave(t)
	two.leave(t)
}

func TestAShardIsClaimedOnceInALogThatWasCutBack(t *testing.T) {
	t.Parallel()
	b := brokertest.Start(t)
	one := newReader(t, b.Connect(), "one")
	b.Save()
	var before []*Claim
	for range 3 {
		one.pool.Serve(one, map[string]int{"a": 4})
		spreads(t, []int{4}, one)
		before = one.pool.Claims()
		one.pool.Serve(one, nil)
		spreads(t, []int{0}, one)
	}
	back := brokertest.Reconnected(t, one.pool.conn)
	b.Restore()
	brokertest.Await(t, back, "the reconnect")
	one.pool.Serve(one, map[string]int{"a": 4})
	spreads(t, []int{4}, one)
	for i, c := range one.pool.Claims() {
		require.Less(t, c.Revision, before[i].Revision,
			"it is not claimed and given back until the log is as long as it was")
	}
	one.leave(t)
}

func TestAClaimThatWasDeletedByHandIsMadeAgain(t *testing.T) {
	t.Parallel()
	conn := brokertest.New(t)
	key := claimKey(Shard{"a", 1})
	require.NoError(t,
		conn.SaveState(t.Context(), broker.PutState(key, []byte(`{"worker":"x","lease":1}`), 0)))
	require.NoError(t, conn.SaveState(t.Context(), broker.DeleteState(key)))
	require.NoError(t,
		conn.SaveState(t.Context(), broker.PutState(claimKey(Shard{"a", 2}), []byte(`what?`), 0)))
	one := newReader(t, conn, "one", "a")
	spreads(t, []int{4}, one)
	require.NoError(t, conn.SaveState(t.Context(), broker.DeleteState(key)))
	eventually(t, func() bool { return slices.Contains(one.happened(), "lost a.1") },
		"it learns of it")
	spreads(t, []int{4}, one)
	one.leave(t)
}

func TestAClaimThatWasReadAsMissingIsFoundAgain(t *testing.T) {
	t.Parallel()
	conn := brokertest.New(t)
	require.NoError(t, conn.SaveState(t.Context(),
		broker.PutState(claimKey(Shard{"a", 1}), []byte(`{"worker":""}`), 0)))
	one := newReader(t, conn, "one")
	one.pool.mu.Lock()
	// as after the answer of a replica that does not have it yet
	delete(one.pool.claims.entries, Shard{"a", 1})
	one.pool.mu.Unlock()
	one.pool.Serve(one, map[string]int{"a": 4})
	spreads(t, []int{4}, one)
	one.leave(t)
}

// TestLookingClaimsUp has many claims refused while the broker takes heartbeats, but answers nobody
// who reads.
func TestLookingClaimsUpDoesNotKeepTheLeaseWaiting(t *testing.T) {
	t.Parallel()
	conn := brokertest.New(t)
	one := newReader(t, conn, "one", "a")
	spreads(t, []int{4}, one)
	stream, err := conn.JS.Stream(t.Context(), wire.StreamState)
	require.NoError(t, err)
	deaf := stream.CachedInfo().Config
	deaf.AllowDirect = false
	_, err = conn.JS.UpdateStream(t.Context(), deaf)
	require.NoError(t, err)
	_, err = conn.NC.SubscribeSync("$JS.API.DIRECT.GET.KV_" + wire.BucketState + ".>")
	require.NoError(t, err)

	const shards = 2 * int(Lease/beatTimeout)
	one.pool.mu.Lock()
	for i := range shards {
		one.pool.claims.refused[Shard{"a", i}] = time.Now().Add(-claimAgain)
	}
	one.pool.mu.Unlock()
	one.pool.Serve(one, map[string]int{"a": shards})
	spreads(t, []int{shards}, one)
	require.False(t, slices.ContainsFunc(one.happened(), lost), "its lease was renewed in time")
	one.leave(t)
}

// stalled stands still at its first claim, as a machine does that is frozen.
type stalled struct {
	*reader
	once sync.Once
}

func (s *stalled) Acquired(c *Claim) {
	s.reader.Acquired(c)
	s.once.Do(func() { <-time.After(renew) })
}

func TestAMachineThatStoodStillKeepsItsLease(t *testing.T) {
	t.Parallel()
	conn := brokertest.New(t)
	one := newReader(t, conn, "one")
	one.pool.Serve(&stalled{reader: one}, map[string]int{"a": 4})
	spreads(t, []int{4}, one)
	last := seen(t, conn)
	eventually(t, func() bool { return seen(t, conn).After(last) }, "the next sign of life")
	spreads(t, []int{4}, one)
	require.False(t, slices.ContainsFunc(one.happened(), lost), "it came in time")
	one.leave(t)
}

func TestAnAppThatIsServedNoMoreIsGivenBack(t *testing.T) {
	t.Parallel()
	b := brokertest.Start(t)
	one := newReader(t, b.Connect(), "one", "a", "b")
	spreads(t, []int{8}, one)
	one.pool.Serve(one, map[string]int{"a": 4})
	spreads(t, []int{4}, one)
	for _, c := range one.pool.Claims() {
		require.Equal(t, "a", c.App)
	}
	two := newReader(t, b.Connect(), "two", "b")
	spreads(t, []int{4, 4}, one, two)
	one.leave(t)
	two.leave(t)
}

func TestAWorkerWhoseHeartbeatWasNotSeenYetIsNotRobbed(t *testing.T) {
	t.Parallel()
	now := time.Now()
	p := &Pool{self: Worker{Name: "me", Lease: 3}, members: map[string]member{
		"lives": {lease: 2, alive: true}, "gone": {lease: 2}, "left": {lease: 2, left: true},
	}}
	for _, c := range []struct {
		name   string
		worker string
		lease  uint64
		seen   time.Time
		over   bool
	}{
		{"one that lives", "lives", 2, now, false},
		{"its lease before", "lives", 1, now, true},
		{"its next, whose heartbeat is on its way", "lives", 3, now, false},
		{"one whose lease has ended", "gone", 2, now, true},
		{"and that is about to begin another", "gone", 3, now, false},
		{"one that left", "left", 2, now, true},
		{"one that nobody has heard of since this worker came", "unknown", 1, time.Time{}, true},
		{"one that has just come", "unknown", 1, now, false},
		{"one that came and went unseen", "unknown", 1, now.Add(-Lease), true},
		{"this one", "me", 3, now, false},
		{"this one's lease before", "me", 2, now, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			l := review{p: p, now: now, next: time.Hour}
			e := entry{stored: stored{c.worker, c.lease}, seen: c.seen}
			require.Equal(t, c.over, l.leaseOver(e))
		})
	}
}

func TestKeysOfClaims(t *testing.T) {
	t.Parallel()
	got, ok := parseClaimKey(claimKey(Shard{"wx1", 12}))
	require.True(t, ok)
	require.Equal(t, Shard{"wx1", 12}, got)
	for _, key := range []string{"pool.worker.a", "pool.claim.", "pool.claim.wx1",
		"pool.claim.wx1.x", "pool.claim.wx1.-1", "pool.claim.wx1.1.2", "pool.claim..1"} {
		_, ok := parseClaimKey(key)
		require.False(t, ok, key)
	}
}
