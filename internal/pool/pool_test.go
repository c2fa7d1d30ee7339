package pool

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/broker/brokertest"
	"github.com/kefuhq/kefu/internal/wire"
)

func TestMain(m *testing.M) {
	brokertest.Overlap()
	goleak.VerifyTestMain(m)
}

func join(t *testing.T, conn *broker.Conn, name string) *Pool {
	t.Helper()
	p, err := Join(t.Context(), conn,
		Worker{Name: name, Host: "host", PID: 7, Version: "v1", Started: time.Now().UTC()}, nil)
	require.NoError(t, err)
	return p
}

// settled has a pool forget that it has only just come.
func settled(p *Pool) *Pool {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.joinedAt = time.Now().Add(-settle)
	return p
}

func eventually(t *testing.T, f func() bool, what string) {
	t.Helper()
	require.Eventually(t, f, brokertest.Patience, time.Millisecond, what)
}

func TestWorkersSeeEachOtherComeAndGo(t *testing.T) {
	t.Parallel()
	b := brokertest.Start(t)
	conn := b.Connect()
	one := join(t, conn, "one")
	defer one.Leave(t.Context())
	require.True(t, one.Alive("one"), "itself")
	two := join(t, b.Connect(), "two")
	require.True(t, two.Alive("one"), "Join returns when it sees the others")
	eventually(t, func() bool { return settled(one).Alive("two") }, "the other has come")
	workers, err := Workers(t.Context(), conn)
	require.NoError(t, err)
	require.Len(t, workers, 2)
	require.Equal(t, "one", workers[0].Name)
	require.Equal(t, 7, workers[0].PID)
	require.WithinDuration(t, time.Now(), workers[0].Seen, time.Minute)

	two.Leave(t.Context())
	eventually(t, func() bool { return !one.Alive("two") }, "the other has left")
	workers, err = Workers(t.Context(), conn)
	require.NoError(t, err)
	require.Len(t, workers, 1)
	require.True(t, one.Alive("one"))
}

func TestOneThatLeftCountsAsDeadAtOnce(t *testing.T) {
	t.Parallel()
	b := brokertest.Start(t)
	one, two := join(t, b.Connect(), "one"), join(t, b.Connect(), "two")
	defer one.Leave(t.Context())
	eventually(t, func() bool { _, known := one.lookup("two"); return known }, "the other has come")
	two.Leave(t.Context())
	eventually(t, func() bool { alive, _ := one.lookup("two"); return !alive },
		"the other has left")
	one.reconnected()
	require.False(t, one.Alive("two"), "there is nothing to wait for, even just after a reconnect")
}

func TestAllKnowTheMarkWhenNobodyOfAnEarlierVersionIsLeft(t *testing.T) {
	t.Parallel()
	b := brokertest.Start(t)
	one := join(t, b.Connect(), "one")
	defer one.Leave(t.Context())
	require.True(t, one.AllFree(), "whoever asks knows it")
	other, err := Join(t.Context(), b.Connect(), Worker{Name: "other", Frees: true}, nil)
	require.NoError(t, err)
	defer other.Leave(t.Context())
	eventually(t, func() bool { _, known := one.lookup("other"); return known },
		"the other has come")
	require.True(t, one.AllFree())
	require.False(t, other.AllFree(), "one does not know it")
	old := join(t, b.Connect(), "old")
	eventually(t, func() bool { return !one.AllFree() }, "the old one has come")
	old.Leave(t.Context())
	eventually(t, one.AllFree, "it has left")
}

// lookup is what the pool knows of a worker.
func (p *Pool) lookup(name string) (alive, known bool) {
	p.mu.RLock()
	defer p.mu.RUnlock()
	m, known := p.members[name]
	return m.alive, known
}

func TestAWorkerThatWasKilledIsDeadWhenItsKeyAndItsLeaseHaveEnded(t *testing.T) {
	t.Parallel()
	b := brokertest.Start(t)
	conn := b.Connect()
	p := join(t, conn, "one")
	defer p.Leave(t.Context())
	body, err := json.Marshal(Worker{Name: "killed"})
	require.NoError(t, err)
	// Its last sign of life, with what is left of the lease.
	require.NoError(t,
		conn.SaveState(t.Context(), broker.PutState(workersKeys+"killed", body, time.Second)))
	eventually(t, func() bool { _, known := p.lookup("killed"); return known }, "its sign of life")
	require.True(t, settled(p).Alive("killed"))
	eventually(t, func() bool { alive, _ := p.lookup("killed"); return !alive },
		"the end of its key")
	// It ended long before a lease does: it may still be at work.
	p.mu.Lock()
	m := p.members["killed"]
	require.False(t, m.aliveUntil.IsZero())
	m.aliveUntil = time.Now()
	p.members["killed"] = m
	p.mu.Unlock()
	require.False(t, settled(p).Alive("killed"))
}

func TestAWorkerMayActOnItsLeaseWhateverTheBrokersClocksSay(t *testing.T) {
	t.Parallel()
	ended := broker.StateEntry{Key: workersKeys + "it", Deleted: true, Expired: true}
	unseen := ended
	unseen.Unseen = true
	left := broker.StateEntry{Key: workersKeys + "it", Deleted: true}
	heard := broker.StateEntry{Key: workersKeys + "it", Value: []byte(`{"name":"it","lease":1}`)}
	for _, c := range []struct {
		name   string
		stood  []broker.StateEntry // when this worker joined
		events []broker.StateEntry
		alive  bool
	}{
		{"it lives", nil, []broker.StateEntry{heard}, true},
		{"its key has ended before its lease", nil, []broker.StateEntry{heard, ended}, true},
		{"it left", nil, []broker.StateEntry{heard, left}, false},
		{"of what stood the end of the key is all that is known",
			[]broker.StateEntry{heard}, []broker.StateEntry{ended}, false},
		{"a heartbeat may have gone unseen",
			[]broker.StateEntry{heard}, []broker.StateEntry{unseen}, true},
		{"that its key is gone is read again",
			[]broker.StateEntry{heard}, []broker.StateEntry{ended, unseen}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			p := &Pool{members: make(map[string]member), claims: newClaims(),
				wake: make(chan struct{}, 1)}
			for _, e := range c.stood {
				p.apply(e)
			}
			p.claims.joined = true
			for _, e := range c.events {
				p.apply(e)
			}
			// As many events as it takes are over in less than a lease.
			require.Equal(t, c.alive, p.Alive("it"))
			l := review{p: p, c: &p.claims, now: time.Now(), next: time.Hour}
			require.Equal(t, !c.alive, l.leaseOver(entry{stored: stored{"it", 1}}))
		})
	}
}

func TestWorkersThatAreGoneAreForgotten(t *testing.T) {
	t.Parallel()
	now := time.Now()
	long := now.Add(-memberKept)
	p := &Pool{claims: newClaims(), members: map[string]member{
		"lives": {alive: true}, "gone": {ended: long}, "left": {left: true, ended: long},
		"gone a moment ago": {ended: now}, "gone and not taken over yet": {ended: long},
	}}
	p.claims.entries[Shard{"a", 0}] = entry{stored: stored{Worker: "gone and not taken over yet"}}
	l := review{p: p, c: &p.claims, now: now, next: time.Hour}
	l.run()
	require.ElementsMatch(t, []string{"lives", "gone a moment ago", "gone and not taken over yet"},
		slices.Collect(maps.Keys(p.members)))
	p.claims.entries[Shard{"a", 0}] = entry{stored: stored{Worker: "lives"}}
	l.run()
	require.NotContains(t, p.members, "gone and not taken over yet")
}

func TestNobodyIsTakenForDeadJustAfterAnInterruption(t *testing.T) {
	t.Parallel()
	b := brokertest.Start(t)
	conn := b.Connect()
	p := join(t, conn, "one")
	defer p.Leave(t.Context())
	require.True(t, p.Alive("stranger"),
		"this worker has only just come: the stranger may be about to renew its key")
	require.False(t, settled(p).Alive("stranger"))

	back := brokertest.Reconnected(t, conn)
	b.Restart()
	brokertest.Await(t, back, "the reconnect")
	eventually(t, func() bool { return p.Alive("stranger") }, "after a reconnect it is the same")
	require.False(t, settled(p).Alive("stranger"))
}

func TestASignOfLifeIsGivenAtOnceAfterAnInterruption(t *testing.T) {
	t.Parallel()
	b := brokertest.Start(t)
	conn := b.Connect()
	p := join(t, conn, "one")
	defer p.Leave(t.Context())
	seen := func() time.Time {
		workers, err := Workers(t.Context(), conn)
		if err != nil || len(workers) == 0 {
			return time.Time{}
		}
		return workers[0].Seen
	}
	first := seen()
	b.Restart()
	eventually(t, func() bool { return seen().After(first) }, "another sign of life")
}

func TestTheLeaseIsRenewed(t *testing.T) {
	t.Parallel()
	b := brokertest.Start(t)
	conn := b.Connect()
	p := join(t, conn, "one")
	defer p.Leave(t.Context())
	last := func() uint64 {
		s, err := conn.JS.Stream(t.Context(), wire.StreamState)
		require.NoError(t, err)
		return s.CachedInfo().State.LastSeq
	}
	begin := last()
	eventually(t, func() bool { return last() > begin }, "the next sign of life")
	m, err := conn.Get(t.Context(), wire.StreamState, last())
	require.NoError(t, err)
	require.Equal(t, Lease.String(), m.Header.Get("Nats-TTL"))
	require.Equal(t, 3*renew, Lease, "two may be lost")
}

func TestALeaseThatCannotBeRenewedLapses(t *testing.T) {
	t.Parallel()
	conn := brokertest.New(t)
	p := join(t, conn, "one")
	defer p.Leave(t.Context())
	require.False(t, p.Lapsed())
	require.NoError(t, conn.JS.DeleteKeyValue(t.Context(), wire.BucketState))
	require.Eventually(t, p.Lapsed, Lease+brokertest.Patience, 10*time.Millisecond)
	brokertest.Provision(t, conn, brokertest.Spec())
	eventually(t, func() bool { return !p.Lapsed() }, "it is renewed")
}

func TestASpan(t *testing.T) {
	t.Parallel()
	now := time.Now()
	for _, c := range []struct {
		name            string
		monotonic, wall time.Duration // since it was asked for
		left            time.Duration
	}{
		{"it has just been asked for", 0, 0, 11 * time.Second},
		{"both clocks have gone on", 4 * time.Second, 4 * time.Second, 7 * time.Second},
		{"the machine was suspended for an hour",
			time.Second, time.Hour, 11*time.Second - time.Hour},
		{"the wall clock was set back", 12 * time.Second, -time.Hour, -time.Second},
		{"the wall clock was set forward a little",
			4 * time.Second, 6 * time.Second, 5 * time.Second},
		{"the wall clock was set forward",
			4 * time.Second, 10 * time.Minute, 11*time.Second - 10*time.Minute},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := newSpan(now.Add(-c.monotonic), Lease-margin)
			s.wall = now.Add(-c.wall).Round(0)
			require.Equal(t, c.left, s.left(now))
		})
	}
}

func TestATerm(t *testing.T) {
	t.Parallel()
	const lasts = Lease - margin
	now := time.Now()
	for _, c := range []struct {
		name   string
		asked  time.Duration // again, after the first
		lasts  time.Duration
		number uint64
		until  time.Duration // after the first was asked for
	}{
		{"the lease was renewed", renew, lasts, 1, renew + lasts},
		{"there was no KEFU_STATE, and the lease lasts longer than that is known for",
			renew, settle - margin, 1, lasts},
		{"there was no KEFU_STATE just before the end of the lease",
			lasts - 1, settle - margin, 1, lasts - 1 + settle - margin},
		{"another lease was begun", lasts, lasts, 2, 2 * lasts},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			p := &Pool{}
			p.tenure.Store(new(tenure))
			p.stay(now, lasts)
			number, ok := p.Term(now)
			require.Equal(t, uint64(1), number)
			require.True(t, ok)
			p.stay(now.Add(c.asked), c.lasts)
			number, ok = p.Term(now)
			require.Equal(t, c.number, number)
			require.Equal(t, number == 1, ok,
				"who may take over what was started in the one before must hear of it first")
			require.Equal(t, number == 1, p.Holds(1, now))
			end := now.Add(c.until)
			require.True(t, p.Holds(number, end.Add(-1)))
			require.False(t, p.Holds(number, end))
			_, ok = p.Term(end.Add(-1))
			require.True(t, ok)
		})
	}
}

func TestATermGoesOnWhileThereIsNoState(t *testing.T) {
	t.Parallel()
	conn := brokertest.New(t)
	p := join(t, conn, "one")
	defer p.Leave(t.Context())
	first, ok := p.Term(time.Now())
	require.True(t, ok)
	require.NoError(t, conn.JS.DeleteKeyValue(t.Context(), wire.BucketState))
	require.Eventually(t, p.Lapsed, Lease+brokertest.Patience, 10*time.Millisecond)
	now := time.Now()
	_, ok = p.Term(now)
	require.True(t, ok)
	require.True(t, p.Holds(first, now), "nobody can be seen to be dead")
	require.False(t, p.Holds(first, now.Add(settle)), "but when the bucket is made anew")
	brokertest.Provision(t, conn, brokertest.Spec())
	eventually(t, func() bool { return !p.Lapsed() }, "it is renewed")
	require.True(t, p.Holds(first, time.Now()))
}

func TestATermBeginsWhereTheStateIsGone(t *testing.T) {
	t.Parallel()
	b := brokertest.Start(t)
	proxy := brokertest.NewProxy(t, b)
	p := join(t, proxy.Connect(), "one")
	defer p.Leave(t.Context())
	first, _ := p.Term(time.Now())
	proxy.Cut()
	require.NoError(t, b.Connect().JS.DeleteKeyValue(t.Context(), wire.BucketState))
	require.Eventually(t, p.Lapsed, Lease+brokertest.Patience, 10*time.Millisecond)
	require.False(t, p.Holds(first, time.Now()), "others may take it for dead")
	proxy.Mend()
	eventually(t, func() bool { number, ok := p.Term(time.Now()); return ok && number != first },
		"nobody can any more")
	require.True(t, p.Lapsed())
}

func TestATermEndsWithTheLease(t *testing.T) {
	t.Parallel()
	conn := brokertest.New(t)
	p := join(t, conn, "one")
	defer p.Leave(t.Context())
	first, _ := p.Term(time.Now())
	// as the broker does when it hears nothing
	require.NoError(t, conn.SaveState(t.Context(), broker.DeleteState(workersKeys+"one")))
	eventually(t, func() bool { number, ok := p.Term(time.Now()); return ok && number != first },
		"another begins")
	require.False(t, p.Holds(first, time.Now()), "what was started before may have been taken over")
}

func TestJoinFailsWithoutTheBucket(t *testing.T) {
	t.Parallel()
	conn := brokertest.Bare(t).Connect()
	_, err := Join(t.Context(), conn, Worker{Name: "one"}, nil)
	require.ErrorContains(t, err,
		"join the pool: write pool.worker.one: no stream takes this subject")
}

func TestNamesAreTokensAndNew(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, host, want string }{
		{"a plain host", "kefu-0", "kefu-0-"},
		{"a full name", "kefu-0.kefu.svc", "kefu-0-kefu-svc-"},
		{"what NATS has a meaning for", "a.*.> b", "a-----b-"},
		{"another script", "客服", "---"},
		{"no name", "", "-"},
		{"a name that is too long", strings.Repeat("x", 200), strings.Repeat("x", 60) + "-"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			one, two := NewName(c.host), NewName(c.host)
			require.True(t, strings.HasPrefix(one, c.want), one)
			require.Len(t, one, len(c.want)+10)
			require.NotEqual(t, one, two)
			require.NotEmpty(t, wire.LedgerSubject(one), "it must be a subject token")
		})
	}
}

func TestWorkersReportsWhatItCannotRead(t *testing.T) {
	t.Parallel()
	conn := brokertest.New(t)
	require.NoError(t,
		conn.SaveState(t.Context(), broker.PutState(workersKeys+"odd", []byte("hello"), 0)))
	_, err := Workers(t.Context(), conn)
	require.ErrorContains(t, err, "pool.worker.odd: ")
}

func TestOneWorkerCarriesOutTheJobsOfAnApp(t *testing.T) {
	t.Parallel()
	b := brokertest.Start(t)
	apps := make([]string, 30)
	shards := make(map[string]int)
	for i := range apps {
		apps[i] = fmt.Sprint("wx", i)
		shards[apps[i]] = 1
	}
	pools := make([]*Pool, 3)
	for i := range pools {
		var err error
		name := fmt.Sprint("worker-", i)
		pools[i], err = Join(t.Context(), b.Connect(), Worker{Name: name, Jobs: i < 2}, nil)
		require.NoError(t, err)
		defer pools[i].Leave(t.Context())
		pools[i].Serve(&reader{pool: pools[i], has: make(map[Shard]*Claim)}, shards)
	}
	firsts := func() (n [3]int, all bool) {
		all = true
		for _, app := range apps {
			each := 0
			for i, p := range pools {
				if p.First(app) {
					n[i]++
					each++
				}
			}
			all = all && each == 1
		}
		return n, all
	}
	eventually(t, func() bool { n, all := firsts(); return all && n[0] < 30 && n[1] < 30 },
		"each app has one, and both have some")
	n, _ := firsts()
	require.Zero(t, n[2], "it does not carry out jobs")
	require.False(t, pools[0].First("wx-unknown"))

	pools[0].Retire()
	eventually(t, func() bool { n, all := firsts(); return all && n[1] == 30 },
		"who leaves has none")
}
