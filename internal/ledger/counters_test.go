package ledger

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/broker/brokertest"
	"github.com/kefuhq/kefu/internal/wire"
	"github.com/kefuhq/kefu/schema"
)

// reading has counters read a log: a message a minute, from the first sequence on,
// each of which ends an id of summer as sent.
type reading struct {
	*counters
	made time.Time
}

func read(made time.Time) reading {
	r := reading{newCounters(), made}
	r.startReading(made, 0)
	return r
}

func (r reading) at(seq uint64) position {
	return position{Made: r.made, Seq: seq, Time: noon.Add(time.Duration(seq) * time.Minute)}
}

func (r reading) messages(from, to uint64) {
	for seq := from; seq <= to; seq++ {
		r.reads(seq, r.at(seq).Time)
		r.ended(summer.owner(), 0, endSent)
	}
}

func (r reading) summer() *counter { return r.of[summer.owner()] }

// sentTo is what a key says of a log that was read to a position.
func sentTo(n int, at position) keyed { return keyed{Counts: Counts{Sent: n}, Log: at, rev: 7} }

func TestCountersGoOnWhereTheKeyEnds(t *testing.T) {
	t.Parallel()
	later := noon.Add(time.Hour)
	for _, c := range []struct {
		name string
		key  func(r reading) keyed
		want int
	}{
		{"there is none", func(reading) keyed { return keyed{} }, 10},
		{"from before the log", func(r reading) keyed {
			return sentTo(100, position{Made: r.made})
		}, 110},
		{"from the middle of it", func(r reading) keyed { return sentTo(104, r.at(4)) }, 110},
		{"from behind what was read", func(r reading) keyed { return sentTo(120, r.at(20)) }, 120},
		{"of another log", func(reading) keyed {
			return sentTo(100, position{Made: later, Seq: 20, Time: later})
		}, 110},
		{"of the log before it was cut back to message 4", func(r reading) keyed {
			return sentTo(150, position{Made: r.made, Seq: 20, Time: r.at(4).Time})
		}, 156},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			first := read(noon) // a worker that has just come reads the key first
			first.counter(summer.owner()).adopt(c.key(first))
			first.messages(1, 10)
			require.Equal(t, c.want, first.summer().tallies[endSent])

			after := read(noon) // one to whom the campaign is new, meanwhile
			after.messages(1, 5)
			require.False(t, after.summer().due(), "it does not know yet what it adds to")
			after.messages(6, 8)
			after.summer().adopt(c.key(after))
			after.messages(9, 10)
			require.Equal(t, c.want, after.summer().tallies[endSent])
			require.Equal(t, first.summer().due(), after.summer().due())
		})
	}
}

func TestCountersOfALogThatIsCutBackAreStoredWhenItIsReadAgain(t *testing.T) {
	t.Parallel()
	r := read(noon)
	r.messages(1, 10)
	r.summer().adopt(keyed{})
	require.True(t, r.summer().due())
	r.summer().adopt(keyed{Counts: r.summer().tallies.counts(), Log: r.now})
	require.False(t, r.summer().due())

	r.rereading = true
	require.False(t, r.complete())
	r.startReading(noon, 6)
	for seq := uint64(1); seq <= 6; seq++ { // what was applied before is not again
		require.False(t, r.complete())
		r.reads(seq, r.at(seq).Time)
	}
	require.True(t, r.complete())
	require.True(t, r.summer().due(), "what stands there goes further than the log")
	stored := keyed{Counts: r.summer().tallies.counts(), Log: r.now}
	r.summer().adopt(stored)
	require.False(t, r.summer().due())

	next := read(noon) // a worker that comes then
	next.counter(summer.owner()).adopt(stored)
	next.messages(1, 6)
	require.Equal(t, 10, next.summer().tallies[endSent])
	for _, c := range []reading{r, next} {
		c.reads(7, noon.Add(time.Hour))
		c.ended(summer.owner(), 0, endCancelled)
		require.Equal(t, 1, c.summer().tallies[endCancelled])
	}

	r.startReading(noon.Add(2*time.Hour), 0) // another log: all in it is new
	require.True(t, r.complete())
	r.reads(1, noon.Add(3*time.Hour))
	r.ended(summer.owner(), 0, endSent)
	require.Equal(t, 11, r.summer().tallies[endSent])
	require.True(t, r.summer().due())
}

func TestCountsAreWrittenAndReadAgain(t *testing.T) {
	t.Parallel()
	var all tallies
	n := 0
	for e := range End(1) << endBits {
		if e.valid() != 0 || e == endClosed {
			n++
			all.add(e, n)
		}
	}
	c := all.counts()
	require.Len(t, c.Dead, len(schema.Reasons()))
	require.Equal(t, all, c.tallies())
	require.Equal(t, all[endClosed], c.Closed)
	require.Equal(t, all[endRecipient]+all[endClosed], c.Dead[schema.ReasonRecipient])
}

// TestAKeyOfAnEarlierVersionKnowsNoClosedWindows has such a worker write the key in
// between: the sum stays, and what is taken back of what it forgot is not counted below
// zero.
func TestAKeyOfAnEarlierVersionKnowsNoClosedWindows(t *testing.T) {
	t.Parallel()
	recipient := func(n, closed int) Counts {
		return Counts{Dead: map[schema.Reason]int{schema.ReasonRecipient: n}, Closed: closed}
	}
	for _, c := range []struct {
		name        string
		key         Counts
		died, taken int // closed, after that
		want        Counts
	}{
		{"this version's", recipient(10, 6), 2, 3, recipient(9, 5)},
		{"an earlier one's", recipient(10, 0), 2, 1, recipient(11, 1)},
		{"an earlier one's, of which more are sent than die", recipient(10, 0), 1, 3,
			recipient(8, 0)},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			all := c.key.tallies()
			all.add(endClosed, c.died)
			all.add(endClosed, -c.taken)
			require.Equal(t, c.want, all.counts())
			jobs := all.jobCounts()
			require.Equal(t, c.want.Dead[schema.ReasonRecipient], jobs.Dead)
		})
	}
	var k keyed
	require.NoError(t, json.Unmarshal(
		[]byte(`{"sent":1,"dead":{"recipient":2},"cancelled":0,"possible_duplicates":0}`), &k))
	require.Zero(t, k.Closed)
	require.Zero(t, k.Pace)
}

// ends has a worker write that intents of summer ended.
func ends(t *testing.T, l *Ledger, from, to int) {
	t.Helper()
	for i := from; i < to; i++ {
		write(t, l, Mark{
			Key: Key(i), Kind: Sent, Seq: uint64(i) + 1, Generation: 1, Attempt: 1,
			Campaign: summer,
		})
	}
}

func sentOf(t *testing.T, conn *broker.Conn, c Campaign) int {
	t.Helper()
	counts, err := ReadCounts(t.Context(), conn, c)
	require.NoError(t, err)
	return counts.Sent
}

func TestWhoeverWritesHasAllThatAllCount(t *testing.T) {
	t.Parallel()
	b := brokertest.Start(t)
	one, two := open(t, b.Connect(), "one"), open(t, b.Connect(), "two")
	conn := b.Connect()
	caughtUp := func(l *Ledger, sent int) {
		t.Helper()
		require.Eventually(t, func() bool {
			l.mu.RLock()
			defer l.mu.RUnlock()
			n := l.counters.of[summer.owner()]
			return n != nil && n.total()[endSent] == sent
		}, brokertest.Patience, time.Millisecond)
	}
	store := func(l *Ledger, writer bool) {
		t.Helper()
		require.NoError(t, l.StoreCounts(t.Context(), writer))
	}

	ends(t, one, 0, 10)
	ends(t, two, 10, 20)
	caughtUp(one, 20)
	require.Zero(t, sentOf(t, conn, summer))
	store(one, false)
	require.Zero(t, sentOf(t, conn, summer), "it does not write")
	store(one, true)
	require.Equal(t, 20, sentOf(t, conn, summer))

	// Another takes over, though the first does not know it.
	ends(t, one, 20, 30)
	caughtUp(two, 30)
	store(two, true)
	require.Equal(t, 30, sentOf(t, conn, summer))
	store(one, true)
	ends(t, one, 30, 40)
	store(one, true)
	store(one, true)
	require.Equal(t, 40, sentOf(t, conn, summer))
	caughtUp(two, 40)
	store(two, true)
	require.Equal(t, 40, sentOf(t, conn, summer))

	// One that comes later goes on from the key: the log before it may be gone.
	log, err := conn.JS.Stream(t.Context(), wire.StreamLedger)
	require.NoError(t, err)
	require.NoError(t, log.Purge(t.Context()))
	three := open(t, b.Connect(), "three")
	ends(t, three, 40, 45)
	store(three, true)
	require.Equal(t, 45, sentOf(t, conn, summer))

	// The log is made anew under the workers.
	require.NoError(t, conn.JS.DeleteStream(t.Context(), wire.StreamLedger))
	_, err = conn.JS.CreateStream(t.Context(), log.CachedInfo().Config)
	require.NoError(t, err)
	ends(t, three, 45, 50)
	store(three, true)
	require.Equal(t, 50, sentOf(t, conn, summer))
	four := open(t, b.Connect(), "four")
	ends(t, four, 50, 55)
	store(four, true)
	require.Equal(t, 55, sentOf(t, conn, summer))
}

func TestACampaignThatStandsInTheLogNoMoreIsReadAgain(t *testing.T) {
	t.Parallel()
	b := brokertest.Start(t)
	l := open(t, b.Connect(), "one")
	conn := b.Connect()
	ends(t, l, 0, 10)
	require.NoError(t, l.StoreCounts(t.Context(), true))
	l.mu.Lock()
	l.counters.now.Time = l.counters.now.Time.Add(l.index.keep + 2*countsSlack)
	l.mu.Unlock()
	require.NoError(t, l.StoreCounts(t.Context(), true))
	require.Empty(t, l.owners(func(*counter) bool { return true }))
	ends(t, l, 10, 20)
	require.NoError(t, l.StoreCounts(t.Context(), true))
	require.Equal(t, 20, sentOf(t, conn, summer))
	e, err := conn.LastState(t.Context(), summer.owner().key())
	require.NoError(t, err)
	require.False(t, e.Deleted)
}

func TestCoverageIsAnotherOneWhenSomebodyDidNotCount(t *testing.T) {
	t.Parallel()
	b := brokertest.Start(t)
	l, conn := open(t, b.Connect(), "one"), b.Connect()
	since := func() time.Time {
		t.Helper()
		at, err := CountedSince(t.Context(), conn)
		require.NoError(t, err)
		return at
	}
	require.Zero(t, since())
	require.NoError(t, l.Cover(t.Context(), false))
	require.Zero(t, since())
	require.NoError(t, l.Cover(t.Context(), true))
	first := since()
	require.NotZero(t, first)
	write(t, l, Mark{Key: 1, Kind: Sent, Seq: 1, Campaign: NoCampaign})
	require.NoError(t, l.Cover(t.Context(), true))
	require.True(t, first.Equal(since()))

	write(t, l, Mark{Key: 2, Kind: Sent, Seq: 1})
	for range 2 {
		require.NoError(t, l.Cover(t.Context(), true))
	}
	second := since()
	require.True(t, second.After(first))
	other := open(t, b.Connect(), "two") // knows it from the log
	require.NoError(t, other.Cover(t.Context(), true))
	require.True(t, second.Equal(since()))

	for range 2 {
		require.NoError(t, l.Cover(t.Context(), false))
		require.Zero(t, since())
	}
	require.NoError(t, l.Cover(t.Context(), true))
	require.True(t, since().After(second))
}

func TestNothingIsCountedOfWhatBelongsToNoCampaign(t *testing.T) {
	t.Parallel()
	b := brokertest.Start(t)
	l := open(t, b.Connect(), "one")
	for i, c := range []Campaign{0, NoCampaign} {
		write(t, l, Mark{Key: Key(i), Kind: Sent, Seq: 1, Campaign: c})
	}
	require.NoError(t, l.StoreCounts(t.Context(), true))
	entries, err := b.Connect().ReadState(t.Context(), ownerKinds[ofCampaign].prefix)
	require.NoError(t, err)
	require.Empty(t, entries, fmt.Sprint(entries))
}
