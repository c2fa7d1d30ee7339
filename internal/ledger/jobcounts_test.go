package ledger

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/broker/brokertest"
	"github.com/kefuhq/kefu/internal/wire"
	"github.com/kefuhq/kefu/schema"
)

const (
	monday  Job = 1000
	tuesday Job = 2000
)

// replayed is a mark of what a job has published as a generation.
func replayed(a act, by Job, generation uint16) act {
	return a.again().gen(generation).job(by).after(deadFor(schema.ReasonRecipient))
}

// TestWhatAJobCounts is the specification of tellJobs. Monday is the job that is
// asked.
func TestWhatAJobCounts(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		story []act
		want  map[string]int
	}{
		{"what it published and is sent", []act{
			buried("a", 10, 0),
			replayed(start("a", 20, 1), monday, 2), replayed(sent("a", 20, 1), monday, 2),
		}, map[string]int{"sent": 1}},
		{"what dies again, and not the death before", []act{
			buried("a", 10, 0),
			replayed(start("a", 20, 1), monday, 2), replayed(doomed("a", 20, 1), monday, 2),
			replayed(buried("a", 20, 1), monday, 2),
		}, map[string]int{"dead recipient": 1}},
		{"what dies again without a call", []act{
			buried("a", 10, 0),
			replayed(dead("a", 20, 0).because(schema.ReasonExpired), monday, 2),
		}, map[string]int{"dead expired": 1}},
		{"what is cancelled", []act{replayed(cancelled("a", 20), monday, 2)},
			map[string]int{"cancelled": 1}},
		{"what the ledger has forgotten, without taking back its death", []act{
			replayed(start("a", 20, 1), monday, 2), replayed(sent("a", 20, 1), monday, 2),
		}, map[string]int{"sent": 1}},
		{"what it published under another id", []act{replayed(sent("a", 20, 1), monday, 1)},
			map[string]int{"sent": 1}},
		{"nothing that is under way", []act{
			buried("a", 10, 0),
			replayed(suspect("a", 20), monday, 2), replayed(start("a", 20, 1), monday, 2),
			replayed(cleared("a", 20, 1), monday, 2), replayed(later("a", 20, 2), monday, 2),
		}, nil},
		{"what was tried again through KEFU_LATER", []act{
			replayed(start("a", 20, 1), monday, 2), replayed(cleared("a", 20, 1), monday, 2),
			replayed(later("a", 20, 2), monday, 2),
			replayed(start("b", 21, 2), monday, 2), replayed(sent("b", 21, 2), monday, 2),
		}, map[string]int{"sent": 1}},

		// Once, whatever is redelivered and written again.
		{"an end that is written again", []act{
			replayed(start("a", 20, 1), monday, 2), replayed(sent("a", 20, 1), monday, 2),
			replayed(start("b", 20, 1), monday, 2), replayed(sent("a", 20, 1), monday, 2),
		}, map[string]int{"sent": 1}},
		{"a burial that another worker goes through again", []act{
			replayed(start("a", 20, 1), monday, 2),
			replayed(doomed("a", 20, 1), monday, 2), replayed(buried("a", 20, 1), monday, 2),
			replayed(doomed("b", 20, 1), monday, 2), replayed(buried("b", 20, 1), monday, 2),
		}, map[string]int{"dead recipient": 1}},
		{"the first of two ends that are written for one generation", []act{
			replayed(buried("a", 20, 0), monday, 2), replayed(cancelled("b", 20), monday, 2),
		}, map[string]int{"dead recipient": 1}},
		{"as sent what was buried by one worker and sent by another", []act{
			replayed(start("a", 20, 1), monday, 2), replayed(start("b", 20, 2), monday, 2),
			replayed(buried("b", 20, 2), monday, 2), replayed(sent("a", 20, 1), monday, 2),
		}, map[string]int{"sent possible_duplicate": 1}},
		{"what it published twice", []act{
			replayed(start("a", 20, 1), monday, 2), replayed(start("a", 25, 1), monday, 2),
			replayed(sent("a", 20, 1), monday, 2), replayed(start("a", 25, 1), monday, 2),
		}, map[string]int{"sent": 1}},

		// Each job has the generations that it published.
		{"its death, though a later job's replay is sent", []act{
			replayed(buried("a", 20, 0), monday, 2),
			replayed(start("a", 30, 1), tuesday, 3), replayed(sent("a", 30, 1), tuesday, 3),
		}, map[string]int{"dead recipient": 1}},
		{"its sent, though an earlier job's replay died", []act{
			replayed(buried("a", 20, 0), tuesday, 2),
			replayed(start("a", 30, 1), monday, 3), replayed(sent("a", 30, 1), monday, 3),
		}, map[string]int{"sent": 1}},
		{"two of its own of one id", []act{
			replayed(buried("a", 20, 0), monday, 2), replayed(buried("a", 30, 0), monday, 3),
		}, map[string]int{"dead recipient": 2}},
		{"not what a producer sends under the id afterwards", []act{
			replayed(buried("a", 20, 0), monday, 2), start("a", 31, 1), sent("a", 31, 1).gen(3),
		}, map[string]int{"dead recipient": 1}},
		{"its death, whose mark comes after the next generation has begun", []act{
			replayed(start("a", 20, 1), monday, 2), replayed(doomed("a", 20, 1), monday, 2),
			replayed(start("b", 30, 1), tuesday, 3), replayed(buried("a", 20, 1), monday, 2),
			replayed(sent("b", 30, 1), tuesday, 3),
		}, map[string]int{"dead recipient": 1}},
		{"its death, whose mark never comes, and which the next death follows at once", []act{
			replayed(suspect("a", 20), monday, 2), replayed(buried("b", 30, 0), monday, 3),
		}, map[string]int{"dead recipient": 2}},
		{"what another job published as well, if its own was the first", []act{
			replayed(start("a", 20, 1), monday, 2), replayed(cleared("a", 20, 0), monday, 2),
			replayed(start("b", 21, 1), tuesday, 2), replayed(buried("b", 21, 1), tuesday, 2),
			replayed(start("a", 20, 1), monday, 2), replayed(sent("a", 20, 1), monday, 2),
		}, map[string]int{"sent possible_duplicate": 1}},
		{"not what another job published first", []act{
			replayed(start("a", 20, 1), tuesday, 2), replayed(start("a", 21, 1), monday, 2),
			replayed(buried("a", 20, 1), tuesday, 2), replayed(start("a", 21, 1), monday, 2),
		}, nil},

		// Marks that name no job.
		{"what a worker of an earlier version ends", []act{
			replayed(start("a", 20, 1), monday, 2), replayed(sent("old", 20, 1), 0, 2),
		}, map[string]int{"sent possible_duplicate": 1}},
		{"what a worker of an earlier version began", []act{
			replayed(start("old", 20, 1), 0, 2), replayed(sent("a", 20, 1), monday, 2),
		}, map[string]int{"sent possible_duplicate": 1}},
		{"no death that was nobody's, if it is sent after all", []act{
			replayed(buried("old", 20, 0), 0, 2), replayed(sent("a", 20, 1), monday, 2),
		}, map[string]int{"sent possible_duplicate": 1}},
		{"what a producer's repeat ends in the place of its message, which was purged", []act{
			replayed(start("a", 20, 1), monday, 2), replayed(cleared("a", 20, 0), monday, 2),
			replayed(vanished("a", 20), monday, 2), start("a", 31, 1), sent("a", 31, 1).gen(2),
		}, map[string]int{"sent": 1}},
		{"a death that another worker writes for another campaign", []act{
			replayed(buried("a", 20, 0), monday, 2).to(winter),
			replayed(buried("b", 21, 0), monday, 2),
		}, map[string]int{"dead recipient": 1}},
		{"nothing of a live intent", []act{start("a", 10, 1), sent("a", 10, 1)}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			x := newIndex(time.Hour)
			counts := counting(x)
			for _, a := range c.story {
				if a.m.Stream = 1; a.m.Campaign == 0 {
					a.m.Campaign = summer
				}
				x.mark(a.m, x.worker(a.by))
			}
			got := counts[monday.owner()]
			if len(got) == 0 {
				got = nil
			}
			require.Equal(t, c.want, got)
		})
	}
}

// TestAJobIsKnownWhenCampaignsAreNot is of a worker that has seen more campaigns than it
// can tell apart.
func TestAJobIsKnownWhenCampaignsAreNot(t *testing.T) {
	t.Parallel()
	x := newIndex(time.Hour)
	counts := counting(x)
	for i := range mostCampaigns + 10 {
		x.scope(scope{stream: 1, campaign: NoCampaign + 1 + Campaign(i)})
	}
	for _, a := range []act{
		replayed(start("a", 20, 1), monday, 2), replayed(buried("b", 20, 1), monday, 2),
		replayed(sent("a", 20, 1), monday, 2),
	} {
		a.m.Stream, a.m.Campaign = 1, summer
		x.mark(a.m, x.worker(a.by))
	}
	require.Equal(t, map[string]int{"sent possible_duplicate": 1}, counts[monday.owner()])
}

// TestAGenerationEndsOnce holds whatever is written, by whom, in which order: what the
// jobs count are the generations whose end is known, each once, and none below zero.
func TestAGenerationEndsOnce(t *testing.T) {
	t.Parallel()
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 9))
		x := newIndex(time.Hour)
		counts := counting(x)
		ended := make(map[call]bool)
		for range 400 {
			m := randomMark(r, 3)
			m.Job = Job(r.IntN(3))
			if m.Kind == Dead {
				m.Reason = storedReasons[r.IntN(len(storedReasons))]
			}
			if m.Again && m.Generation > 1 && r.IntN(2) == 0 {
				m.Before = deadFor(schema.ReasonRecipient)
			}
			before, _ := x.get(m.Key)
			x.mark(m, x.worker([]string{"a", "b", "c"}[r.IntN(3)]))
			now, _ := x.get(m.Key)
			job := func(e Entry) Job { return x.scopes[e.message.scope()].job }
			if job(before) != 0 && before.Generation == now.Generation {
				require.Equal(t, job(before), job(now), "a generation stays its job's")
			}
			if job(before) != 0 && before.passed(now, m.Before) != 0 {
				ended[call{key: m.Key, generation: int(before.Generation)}] = true
			}
			if job(now) != 0 && now.Kind.Terminal() {
				ended[call{key: m.Key, generation: int(now.Generation)}] = true
			}
			total := 0
			for o, ends := range counts {
				for end, n := range ends {
					require.Positive(t, n, "%v: %s", o, end)
					total += n
				}
			}
			require.Equal(t, len(ended), total)
		}
	}
}

// jobEnds has a worker write that a job's generations were sent.
func jobEnds(t *testing.T, l *Ledger, j Job, from, to int) {
	t.Helper()
	for i := from; i < to; i++ {
		write(t, l, Mark{
			Key: Key(i), Kind: Sent, Seq: uint64(i) + 1, Generation: 2, Attempt: 1, Again: true,
			Campaign: summer, Job: j,
		})
	}
}

func storeCounts(t *testing.T, l *Ledger) {
	t.Helper()
	require.NoError(t, l.StoreCounts(t.Context(), true))
}

func jobCounts(t *testing.T, conn *broker.Conn, j Job) JobCounts {
	t.Helper()
	counts, err := ReadJobCounts(t.Context(), conn, j)
	require.NoError(t, err)
	require.Len(t, counts, 1)
	return counts[j]
}

func TestJobsAreCountedBesideTheirCampaigns(t *testing.T) {
	t.Parallel()
	b := brokertest.Start(t)
	l, conn := open(t, b.Connect(), "one"), b.Connect()
	jobEnds(t, l, monday, 0, 10)
	jobEnds(t, l, tuesday, 10, 15)
	died := Mark{Key: 100, Kind: Dead, Seq: 100, Generation: 2, Again: true, Campaign: summer,
		Job: monday, Reason: schema.ReasonExpired}
	write(t, l, died)
	died.Key, died.Reason = 101, schema.ReasonRecipient
	write(t, l, died)
	died.Key, died.Kind = 102, Cancelled
	write(t, l, died)
	want := JobCounts{Sent: 10, Dead: 2, Cancelled: 1}
	require.Equal(t, want, l.JobCounts(monday), "before anything is stored")
	require.Zero(t, jobCounts(t, conn, monday))
	storeCounts(t, l)
	require.Equal(t, want, l.JobCounts(monday))
	require.Equal(t, want, jobCounts(t, conn, monday))
	require.Equal(t, 15, sentOf(t, conn, summer))

	// Of many as of few; 0 is none of anybody's.
	var all []Job
	for j := range Job(fewJobs) {
		all = append(all, j)
	}
	for _, jobs := range [][]Job{{monday, tuesday, 0}, append(all, monday, tuesday)} {
		counts, err := ReadJobCounts(t.Context(), conn, jobs...)
		require.NoError(t, err)
		require.Len(t, counts, len(jobs))
		require.Equal(t, want, counts[monday])
		require.Equal(t, JobCounts{Sent: 5}, counts[tuesday])
		require.Zero(t, counts[0])
	}
	none, err := ReadJobCounts(t.Context(), conn)
	require.NoError(t, err)
	require.Empty(t, none)
	require.Zero(t, l.JobCounts(0))
	require.Equal(t, "jobcount.000003e8", monday.owner().key())
	e, err := conn.LastState(t.Context(), monday.owner().key())
	require.NoError(t, err)
	s, err := conn.JS.Stream(t.Context(), wire.StreamState)
	require.NoError(t, err)
	m, err := s.GetMsg(t.Context(), e.Seq)
	require.NoError(t, err)
	require.Equal(t, "744h0m0s", m.Header.Get("Nats-TTL"))
}

func TestJobsAreCountedOnceOverARestart(t *testing.T) {
	t.Parallel()
	b := brokertest.Start(t)
	one, conn := open(t, b.Connect(), "one"), b.Connect()
	jobEnds(t, one, monday, 0, 10)
	storeCounts(t, one)
	jobEnds(t, one, monday, 10, 15) // not stored by the time it dies
	one.Close()

	two := open(t, b.Connect(), "two") // has the whole log, and the key
	require.Equal(t, JobCounts{Sent: 15}, two.JobCounts(monday))
	jobEnds(t, two, monday, 0, 5) // handed out again
	require.Equal(t, JobCounts{Sent: 15}, two.JobCounts(monday))
	storeCounts(t, two)
	require.Equal(t, JobCounts{Sent: 15}, jobCounts(t, conn, monday))

	log, err := conn.JS.Stream(t.Context(), wire.StreamLedger)
	require.NoError(t, err)
	require.NoError(t, log.Purge(t.Context()))
	three := open(t, b.Connect(), "three") // has only the key
	require.Equal(t, JobCounts{Sent: 15}, three.JobCounts(monday))
	jobEnds(t, three, monday, 15, 20)
	require.Equal(t, JobCounts{Sent: 20}, three.JobCounts(monday))
	storeCounts(t, three)
	require.Equal(t, JobCounts{Sent: 20}, jobCounts(t, conn, monday))
}

func TestJobsAreCountedOnceThoughTheLogIsCutBack(t *testing.T) {
	t.Parallel()
	b := brokertest.Start(t)
	conn := b.Connect()
	l := open(t, conn, "one")
	jobEnds(t, l, monday, 0, 10)
	storeCounts(t, l)
	back := brokertest.Reconnected(t, conn)
	b.Save()
	brokertest.Await(t, back, "the reconnect")
	jobEnds(t, l, monday, 10, 20)
	storeCounts(t, l)
	back = brokertest.Reconnected(t, conn)
	b.Restore()
	brokertest.Await(t, back, "the reconnect")

	jobEnds(t, l, monday, 10, 22) // handed out again, and two more
	require.Equal(t, JobCounts{Sent: 22}, l.JobCounts(monday))
	require.Eventually(t, func() bool { // once the log is read again
		storeCounts(t, l)
		return jobCounts(t, conn, monday) == JobCounts{Sent: 22}
	}, brokertest.Patience, 5*time.Millisecond)
	next := open(t, b.Connect(), "two")
	require.Equal(t, JobCounts{Sent: 22}, next.JobCounts(monday))
	jobEnds(t, next, monday, 22, 25)
	storeCounts(t, next)
	require.Equal(t, JobCounts{Sent: 25}, jobCounts(t, conn, monday))
}

// TestAJobIsKeptInMemoryForAsLongAsItsKey holds though the log forgets it: whoever goes
// on with it counts all.
func TestAJobIsKeptInMemoryForAsLongAsItsKey(t *testing.T) {
	t.Parallel()
	b := brokertest.Start(t)
	l := open(t, b.Connect(), "one")
	jobEnds(t, l, monday, 0, 10)
	storeCounts(t, l)
	pass := func(d time.Duration) {
		l.mu.Lock()
		l.counters.now.Time = l.counters.now.Time.Add(d)
		l.mu.Unlock()
		storeCounts(t, l)
	}
	pass(l.index.keep + 2*countsSlack)
	require.Equal(t, []owner{monday.owner()}, l.owners(func(*counter) bool { return true }))
	require.Equal(t, JobCounts{Sent: 10}, l.JobCounts(monday))
	pass(jobCountsKeep)
	require.Empty(t, l.owners(func(*counter) bool { return true }), fmt.Sprint(l.counters.of))
}
