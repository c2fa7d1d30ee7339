package worker

import (
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"github.com/kefuhq/kefu/internal/gate"
	"github.com/kefuhq/kefu/internal/pool"
	"github.com/kefuhq/kefu/internal/wire"
)

func TestWhatWaitsLongerThanCanBeExplained(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	ago := func(d time.Duration) time.Time { return now.Add(-d) }
	const most = 12 * time.Second
	for _, c := range []struct {
		name  string
		since time.Time // the wait began
		there time.Time // the broker has been there; zero: it is away
		age   time.Duration
		late  bool
		none  bool
	}{
		{name: "it has just begun", since: now, there: ago(time.Hour), age: 0},
		{name: "it may take so long", since: ago(most), there: ago(time.Hour), age: most},
		{
			name: "nothing explains it", since: ago(most + time.Second), there: ago(time.Hour),
			age:  most + time.Second,
			late: true,
		},
		{
			name: "the broker was away for most of it", since: ago(time.Hour),
			there: ago(time.Second),
			age:   time.Second,
		},
		{
			name: "the broker has been back for long", since: ago(time.Hour),
			there: ago(time.Minute), age: time.Minute,
			late: true,
		},
		{name: "the broker is away, which is told", since: ago(time.Hour), none: true},
		{
			name: "the clock was read before it began", since: ago(-time.Second),
			there: ago(time.Hour),
			age:   0,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			got := aged([]wait{{kind: waitStart, since: c.since, most: most}}, c.there, now)
			if c.none {
				require.Empty(t, got)
				return
			}
			require.Len(t, got, 1)
			require.Equal(t, c.age, got[0].age)
			require.Equal(t, c.late, got[0].late)
		})
	}
}

func TestHowLongAPermissionMayTake(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name      string
		perSecond float64
		others    int
		theirs    float64 // sends a second
		least     time.Duration
		most      time.Duration
	}{
		{"without a limit", 0, 0, 0, 12 * time.Second, 12 * time.Second},
		{"without a limit, whatever others do", 0, 3, 1000, 12 * time.Second, 12 * time.Second},
		{"the usual rate explains nothing", 100, 0, 0, 12 * time.Second, 13 * time.Second},
		{
			"one in a hundred seconds: a wait of a hundred is normal", 0.01, 0, 0,
			112 * time.Second,
			5 * time.Minute,
		},
		{"others may be first", 1, 4, 0.2, 30 * time.Second, 2 * time.Minute},
		{"many others at the usual rate", 100, 20, 1, 12 * time.Second, 20 * time.Second},
		{
			"others have the rate: their live goes before this one's bulk", 100, 1, 60,
			math.MaxInt64,
			math.MaxInt64,
		},
		{"others hardly send either", 100, 1, 10, 12 * time.Second, 13 * time.Second},
		{"a rate that is next to nothing does not overflow", 1e-12, 5, 0, time.Hour, math.MaxInt64},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			got := permissionMost(waitMost, c.perSecond, c.others, c.theirs)
			require.GreaterOrEqual(t, got, c.least)
			require.LessOrEqual(t, got, c.most)
		})
	}
}

func TestAStampKeepsTheFirstMoment(t *testing.T) {
	t.Parallel()
	var s stamp
	now := time.Now()
	require.True(t, s.at().IsZero())
	s.set(now)
	s.set(now.Add(time.Second))
	require.WithinDuration(t, now, s.at(), 0)
	s.clear()
	require.True(t, s.at().IsZero())
}

func TestRateWaitersWaitSinceOneWasServed(t *testing.T) {
	t.Parallel()
	var a rateWaiters
	now := time.Now()
	at := func(s int) time.Time { return now.Add(time.Duration(s) * time.Second) }
	require.Zero(t, a.oldest())
	a.join(at(0))
	a.join(at(1))
	require.Equal(t, at(0), a.oldest())
	a.served(at(2))
	a.leave()
	require.Equal(t, at(2), a.oldest(),
		"one was served, so the other's wait is explained until then")
	a.leave()
	require.Zero(t, a.oldest())
	a.join(at(9))
	require.Equal(t, at(9), a.oldest())
}

// late is what the watchdog of a worker would tell in a while, if nothing moved.
func late(w *Worker, kind waitKind) (sentences []string) {
	for _, x := range aged(w.watchdog.waits(), w.conn.Since(), time.Now().Add(time.Hour)) {
		if x.late && x.kind == kind {
			sentences = append(sentences, x.sentence())
		}
	}
	return sentences
}

func TestALedgerThatCanBeWrittenAndNotReadIsReported(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	remake := func(change func(*jetstream.StreamConfig)) {
		s, err := b.conn.JS.Stream(t.Context(), wire.StreamLedger)
		b.NoError(err)
		cfg := s.CachedInfo().Config
		change(&cfg)
		b.NoError(b.conn.JS.DeleteStream(t.Context(), wire.StreamLedger))
		_, err = b.conn.JS.CreateStream(t.Context(), cfg)
		b.NoError(err)
	}
	remake(func(cfg *jetstream.StreamConfig) { cfg.MaxConsumers = 1 })
	stop := b.start()
	b.publish(bulk+"c1", "a", "a", "u")
	b.await(func() bool { return b.posts("a") == 1 && len(b.worker.Troubles()) == 0 })

	s, err := b.conn.JS.Stream(t.Context(), wire.StreamLedger)
	b.NoError(err)
	theirs := jetstream.ConsumerConfig{Name: "somebody-elses", AckPolicy: jetstream.AckNonePolicy}
	b.await(func() bool { // the worker may be first with another one
		for name := range s.ConsumerNames(t.Context()).Name() {
			_ = s.DeleteConsumer(t.Context(), name)
		}
		_, err := s.CreateConsumer(t.Context(), theirs)
		return err == nil
	})
	b.publish(bulk+"c1", "b", "b", "u")
	b.await(func() bool {
		unread := late(b.worker, waitRead)
		return len(late(b.worker, waitStart)) == 1 && len(unread) == 1 &&
			strings.Contains(unread[0], "maximum consumers limit reached")
	})
	b.Contains(late(b.worker, waitStart)[0], "the ledger has not confirmed a mark for ")
	b.Contains(late(b.worker, waitRead)[0], "KEFU_LEDGER has not been readable for ")
	b.await(func() bool { return len(late(b.worker, waitPublish)) == 0 },
		"what is written is stored")
	b.Zero(b.posts("b"))

	told := b.worker.watchdog.report(nil,
		aged(b.worker.watchdog.waits(), b.conn.Since(), time.Now().Add(time.Hour)))
	troubles := strings.Join(b.worker.Troubles(), "\n")
	b.Contains(troubles, "the ledger has not confirmed a mark")
	b.Contains(troubles, "KEFU_LEDGER has not been readable")
	b.NoError(s.DeleteConsumer(t.Context(), theirs.Name))
	b.await(func() bool { return b.posts("b") == 1 })
	b.await(func() bool {
		told = b.worker.watchdog.report(told,
			aged(b.worker.watchdog.waits(), b.conn.Since(), time.Now()))
		return len(told) == 0 && len(b.worker.Troubles()) == 0
	}, "it is over")
	b.NoError(stop())
}

func TestARateThatCannotBeReachedIsReported(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	_, err := b.conn.JS.CreateStream(t.Context(), jetstream.StreamConfig{
		Name: wire.StreamRate, Subjects: []string{"elsewhere"}, Storage: jetstream.MemoryStorage,
	})
	b.NoError(err)
	b.app.Rate = gate.Rate{PerSecond: 100, Burst: 20}
	stop := b.start()
	b.publish(live+"u", "a", "a", "u")
	b.await(func() bool { return len(late(b.worker, waitPermission)) == 1 })
	b.Contains(late(b.worker, waitPermission)[0],
		"app "+appID+": intents are ready and none has been permitted for ")

	b.NoError(gate.Pause(t.Context(), b.conn, appID, "for a test", "somebody"))
	b.await(func() bool { return len(late(b.worker, waitPermission)) == 0 }, "a hold explains it")
	b.NoError(gate.Resume(t.Context(), b.conn, appID))
	b.await(func() bool { return len(late(b.worker, waitPermission)) == 1 })

	b.NoError(b.conn.JS.DeleteStream(t.Context(), wire.StreamRate))
	b.await(func() bool { return b.posts("a") == 1 })
	b.Empty(late(b.worker, waitPermission))
	b.NoError(stop())
}

func TestTheWatchdogRunsWithTheWorker(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	_, err := b.conn.JS.CreateStream(t.Context(), jetstream.StreamConfig{
		Name: wire.StreamRate, Subjects: []string{"elsewhere"}, Storage: jetstream.MemoryStorage,
	})
	b.NoError(err)
	b.app.Rate = gate.Rate{PerSecond: 100, Burst: 20}
	w := b.make()
	w.watchdog.every, w.watchdog.most = time.Millisecond, 10*time.Millisecond
	stop := b.run(w)
	b.publish(live+"u", "a", "a", "u")
	b.await(func() bool {
		return strings.Contains(strings.Join(w.Troubles(), "\n"), "none has been permitted")
	})
	b.NoError(b.conn.JS.DeleteStream(t.Context(), wire.StreamRate))
	b.await(func() bool { return b.posts("a") == 1 && len(w.Troubles()) == 0 }, "it is over")
	b.NoError(stop())
}

func TestAnIdleWorkerWaitsForNothing(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	b.app.Rate = gate.Rate{PerSecond: 100, Burst: 1}
	stop := b.start()
	for _, id := range []string{"a", "b", "c"} {
		b.publish(live+"u"+id, id, id, "u"+id)
	}
	for range 3 {
		b.receipt()
	}
	b.await(func() bool {
		return !slices.ContainsFunc(waitKinds,
			func(k waitKind) bool { return len(late(b.worker, k)) > 0 })
	})
	b.NoError(stop())
}

func TestTheWatchdogHasItsSeries(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	reg := prometheus.NewRegistry()
	w, err := New(Config{Process: pool.Worker{Name: "w"}, Concurrency: 1, Metrics: reg,
		Apps: []App{b.app}}, b.conn)
	b.NoError(err)
	families, err := reg.Gather()
	b.NoError(err)
	series := make(map[string]int)
	for _, f := range families {
		series[f.GetName()] = len(f.GetMetric())
	}
	b.Empty(w.watchdog.waits(), "one that has not begun waits for nothing")
	b.Equal(len(waitKinds), series["kefu_oldest_unanswered_seconds"])
	b.Equal(len(waitKinds), series["kefu_unanswered_overdue"])
}
