package ledger

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/broker/brokertest"
	"github.com/kefuhq/kefu/internal/wire"
)

// far opens a ledger whose broker takes in what is written and says nothing
// until the proxy is mended.
func far(t *testing.T) (*Ledger, *brokertest.Proxy) {
	t.Helper()
	b := brokertest.Start(t)
	p := brokertest.NewProxy(t, b)
	l := open(t, p.Connect(), "a")
	write(t, l, Mark{Key: 99, Kind: Start, Seq: 10, Attempt: 1})
	p.Stall()
	return l, p
}

// flying returns the marks that are on their way, a list for each batch.
func (l *Ledger) flying() (batches [][]Mark) {
	l.out.Lock()
	defer l.out.Unlock()
	for _, f := range l.flights {
		var marks []Mark
		for _, e := range f.entries {
			marks = append(marks, e.mark)
		}
		batches = append(batches, marks)
	}
	return batches
}

// waiting returns how many marks have not left.
func (l *Ledger) waiting() int {
	l.out.Lock()
	defer l.out.Unlock()
	return len(l.queue)
}

func (l *Ledger) awaitFlights(t *testing.T, n int) [][]Mark {
	t.Helper()
	require.Eventually(t, func() bool { return len(l.flying()) == n }, brokertest.Patience,
		time.Millisecond)
	return l.flying()
}

// apart has no batch follow the one before by itself, however busy the machine is.
func (l *Ledger) apart() {
	l.out.Lock()
	defer l.out.Unlock()
	l.trip = time.Hour
}

// pass has the gap after the newest batch end.
func (l *Ledger) pass() {
	l.out.Lock()
	defer l.out.Unlock()
	l.flights[len(l.flights)-1].at = time.Now().Add(-time.Hour)
	l.flush()
}

func TestBatchesFollowEachOtherToADistantBroker(t *testing.T) {
	t.Parallel()
	l, p := far(t)
	l.apart()
	var answers []<-chan answer
	add := func(keys ...Key) {
		for _, k := range keys {
			answers = append(answers, send(t, l, Mark{Key: k, Kind: Start, Seq: 10, Attempt: 1}))
		}
	}
	add(1)
	require.Len(t, l.flying(), 1)
	for n := 2; n <= mostFlights; n++ {
		add(Key(10*n), Key(10*n+1))
		require.Len(t, l.flying(), n-1, "what comes too soon waits")
		l.pass()
		flying := l.flying()
		require.Len(t, flying, n)
		require.Len(t, flying[n-1], 2, "and leaves together")
	}
	add(99)
	l.pass()
	require.Len(t, l.flying(), mostFlights)
	require.Equal(t, 1, l.waiting(), "no more than so many are on their way")
	p.Mend()
	for _, ch := range answers {
		require.NoError(t, brokertest.Await(t, ch, "an answer").err)
	}
}

func TestALongWaitDoesNotHoldUpAShorterOne(t *testing.T) {
	t.Parallel()
	l, p := far(t)
	l.apart() // as after an outage
	answers := []<-chan answer{
		send(t, l, Mark{Key: 1, Kind: Start, Seq: 10, Attempt: 1}),
		send(t, l, Mark{Key: 2, Kind: Start, Seq: 10, Attempt: 1}),
	}
	require.Len(t, l.flying(), 1)
	l.out.Lock()
	l.trip = 100 * time.Millisecond // the next batch is read back
	l.flights[0].at = time.Now()
	l.flush()
	l.out.Unlock()
	l.awaitFlights(t, 2)
	p.Mend()
	for _, ch := range answers {
		require.NoError(t, brokertest.Await(t, ch, "an answer").err)
	}
}

func TestABatchLeavesWhenTheOneBeforeIsStored(t *testing.T) {
	t.Parallel()
	l, p := far(t)
	l.apart()
	one := send(t, l, Mark{Key: 1, Kind: Start, Seq: 10, Attempt: 1})
	two := send(t, l, Mark{Key: 2, Kind: Start, Seq: 10, Attempt: 1})
	again := send(t, l, Mark{Key: 1, Kind: Clear, Seq: 10, Generation: 1, Attempt: 1})
	l.awaitFlights(t, 1)
	l.stored(l.flights[0])
	require.Len(t, l.flying(), 2)
	require.Equal(t, 1, l.waiting(), "what says more of an intent waits until it is read back")
	p.Mend()
	for _, ch := range []<-chan answer{one, two, again} {
		require.NoError(t, brokertest.Await(t, ch, "an answer").err)
	}
}

func TestMarksOfAnIntentNeverOvertakeEachOther(t *testing.T) {
	t.Parallel()
	l, p := far(t)
	one := send(t, l, Mark{Key: 1, Kind: Start, Seq: 10, Attempt: 1})
	l.awaitFlights(t, 1)
	two := send(t, l, Mark{Key: 1, Kind: Clear, Seq: 10, Generation: 1, Attempt: 1})
	three := send(t, l, Mark{Key: 2, Kind: Start, Seq: 10, Attempt: 1})
	// Whenever flush is called meanwhile, the second mark of the intent stays.
	l.out.Lock()
	l.flights[0].at = time.Now().Add(-time.Hour)
	l.flush()
	l.out.Unlock()
	require.Len(t, l.flying(), 1)
	require.Equal(t, 2, l.waiting())
	p.Mend()
	for _, ch := range []<-chan answer{one, two, three} {
		require.NoError(t, brokertest.Await(t, ch, "an answer").err)
	}
}

// TestABatchThatWasOvertakenIsWrittenAgain: a batch may be refused, or lost with
// a connection, while the one after it is stored. Every reader then takes the
// later one for the newer, and passes over the other when it comes.
func TestABatchThatWasOvertakenIsWrittenAgain(t *testing.T) {
	t.Parallel()
	l, p := far(t)
	one := send(t, l, Mark{Key: 1, Kind: Start, Seq: 10, Attempt: 1})
	l.awaitFlights(t, 1)
	two := send(t, l, Mark{Key: 2, Kind: Start, Seq: 10, Attempt: 1})
	l.awaitFlights(t, 2)
	l.out.Lock()
	first, second := l.flights[0], l.flights[1]
	l.out.Unlock()
	after := send(t, l, Mark{Key: 1, Kind: Clear, Seq: 10, Generation: 1, Attempt: 1})

	read := func(f *flight) {
		l.readMessage(broker.Stored{Subject: wire.LedgerSubject("a"), Data: f.data,
			Time: time.Now()})
	}
	read(second)
	require.Equal(t, Go, brokertest.Await(t, two, "an answer").s.Ruling)
	read(first)
	select {
	case <-one:
		t.Fatal("a mark that no reader counts was answered")
	default:
	}
	p.Mend()
	require.Equal(t, Go, brokertest.Await(t, one, "an answer").s.Ruling)
	require.NoError(t, brokertest.Await(t, after, "an answer").err)
	require.Equal(t, 1, l.Peek(Mark{Key: 1, Seq: 10, Attempt: 1}).Attempts, "the later mark counts")

	// A worker that reads the log sees the same.
	other := open(t, l.conn, "b")
	require.Equal(t, l.Peek(Mark{Key: 1, Seq: 10, Attempt: 1}),
		other.Peek(Mark{Key: 1, Seq: 10, Attempt: 1}))
}
