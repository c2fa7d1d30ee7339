package ledger

import (
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/broker/brokertest"
	"github.com/kefuhq/kefu/internal/wire"
)

func TestABatchThatWasStoredTwiceCountsOnce(t *testing.T) {
	t.Parallel()
	b := brokertest.Start(t)
	conn := b.Connect()
	l := open(t, conn, "a")
	batch := func(number uint64, marks ...Mark) []byte {
		b := newBatch(number, len(marks))
		for _, m := range marks {
			b.add(m)
		}
		return b.data
	}
	// As another worker that was cut off for longer than the broker remembers ids.
	begun := Mark{Key: 1, Kind: Start, Seq: 10, Attempt: 1}
	given := Mark{Key: 1, Kind: Clear, Seq: 10, Generation: 1}
	for i, data := range [][]byte{batch(1, begun), batch(2, given), batch(1, begun)} {
		_, err := conn.Outbox.PublishWait(t.Context(), &nats.Msg{
			Subject: wire.LedgerSubject("slow"),
			Header:  nats.Header{"Nats-Msg-Id": {fmt.Sprint("slow:", i)}}, Data: data,
		})
		require.NoError(t, err)
	}
	require.Equal(t, Go, write(t, l, begun).Ruling,
		"the repeat of the Start must not undo the Clear")
	require.Equal(t, Go, write(t, l, Mark{Key: 2, Kind: Start, Seq: 1, Attempt: 1}).Ruling)
}

func TestWhatIsNotABatchIsSkipped(t *testing.T) {
	t.Parallel()
	b := brokertest.Start(t)
	conn := b.Connect()
	for i, data := range [][]byte{nil, []byte("hello"), {9, 0, 0, 0, 0, 0, 0, 0, 1},
		append(newBatch(1, 0).data, 1, 2, 3)} {
		_, err := conn.Outbox.PublishWait(t.Context(), &nats.Msg{
			Subject: wire.LedgerSubject("strange"),
			Header:  nats.Header{"Nats-Msg-Id": {fmt.Sprint(i)}}, Data: data,
		})
		require.NoError(t, err)
	}
	l := open(t, conn, "a")
	require.Zero(t, l.Len())
	require.Equal(t, Go, write(t, l, Mark{Key: 1, Kind: Start, Seq: 10, Attempt: 1}).Ruling)
	events, err := History(t.Context(), conn, 1)
	require.NoError(t, err)
	require.Len(t, events, 1)
}

func TestMarksWaitWhileTheBrokerIsAway(t *testing.T) {
	t.Parallel()
	b := brokertest.Start(t)
	conn := b.Connect()
	l := open(t, conn, "a")
	write(t, l, Mark{Key: 1, Kind: Start, Seq: 10, Attempt: 1})
	b.Stop()
	var waiting []<-chan answer
	for i := range 2000 {
		waiting = append(waiting,
			send(t, l, Mark{Key: Key(100 + i), Kind: Start, Seq: 10, Attempt: 1}))
	}
	for _, ch := range waiting {
		require.Empty(t, ch)
	}
	b.Start()
	for _, ch := range waiting {
		a := brokertest.Await(t, ch, "an answer")
		require.NoError(t, a.err)
		require.Equal(t, Go, a.s.Ruling)
	}
	require.Equal(t, 2001, l.Len())
}

func TestMarksSurviveThatTheirStreamIsMissingForAWhile(t *testing.T) {
	t.Parallel()
	b := brokertest.Start(t)
	conn := b.Connect()
	var trouble atomic.Value
	l, err := Open(t.Context(), conn, Options{Worker: "a", Keep: brokertest.Keep,
		Trouble: func(why string) { trouble.Store(why) }})
	require.NoError(t, err)
	t.Cleanup(l.Close)
	write(t, l, Mark{Key: 1, Kind: Start, Seq: 10, Attempt: 1})
	require.Empty(t, trouble.Load())
	require.NoError(t, conn.JS.DeleteStream(t.Context(), wire.StreamLedger))
	var waiting []<-chan answer
	for i := range 5 {
		waiting = append(waiting,
			send(t, l, Mark{Key: 2, Kind: Start, Seq: 10, Attempt: uint8(i + 1)}))
	}
	// The outbox gives up on a stream that stays missing; the ledger does not.
	require.Eventually(t, func() bool { return trouble.Load() == broker.ErrNoStream.Error() },
		brokertest.Patience, 5*time.Millisecond)
	brokertest.Provision(t, conn, brokertest.Spec())
	for i, ch := range waiting {
		a := brokertest.Await(t, ch, "an answer")
		require.NoError(t, a.err)
		require.Equal(t, Go, a.s.Ruling)
		require.Equal(t, i, a.s.Attempts, "in their order")
	}
	// A mark may be read back before its publish is answered.
	require.Eventually(t, func() bool { return trouble.Load() == "" }, brokertest.Patience,
		time.Millisecond)
	require.Equal(t, Started.String(), write(t, open(t, conn, "b"),
		Mark{Key: 2, Kind: Start, Seq: 10, Attempt: 1}).Ruling.String())
	require.Equal(t, Start, l.Peek(Mark{Key: 1}).Kind, "what was read before is not forgotten")
}

func TestMarksSurviveALogThatIsCutBackBeforeTheyAreRead(t *testing.T) {
	t.Parallel()
	b := brokertest.Start(t)
	conn := b.Connect()
	l := open(t, conn, "a")
	write(t, l, Mark{Key: 1, Kind: Start, Seq: 10, Attempt: 1})
	back := brokertest.Reconnected(t, conn)
	b.Save()
	brokertest.Await(t, back, "the reconnect")
	// The reader is kept busy, so that what follows is stored and not read back.
	held, busy := make(chan struct{}), make(chan struct{})
	l.Write(Mark{Key: 2, Kind: Start, Seq: 10, Attempt: 1},
		func(Standing, error) { close(busy); <-held })
	brokertest.Await(t, busy, "the reader to be busy")
	lost := send(t, l, Mark{Key: 3, Kind: Start, Seq: 10, Attempt: 1})
	require.Eventually(t, func() bool { return conn.Outbox.Pending() == 0 }, brokertest.Patience,
		5*time.Millisecond)
	b.Restore()
	close(held)
	a := brokertest.Await(t, lost, "an answer")
	require.NoError(t, a.err)
	require.Equal(t, Go, a.s.Ruling)
	require.Equal(t, Go, write(t, l, Mark{Key: 4, Kind: Start, Seq: 10, Attempt: 1}).Ruling,
		"and it goes on")
}

// TestALogThatIsCutBackKeepsTheOrderOfTheMarks has the log lose the first of two
// marks of one intent before it was read: an attempt is over, the next begins.
// In the other order the first would take the second back.
func TestALogThatIsCutBackKeepsTheOrderOfTheMarks(t *testing.T) {
	t.Parallel()
	b := brokertest.Start(t)
	conn := b.Connect()
	l := open(t, conn, "a")
	write(t, l, Mark{Key: 1, Kind: Start, Seq: 10, Attempt: 1})
	back := brokertest.Reconnected(t, conn)
	b.Save()
	brokertest.Await(t, back, "the reconnect")
	// The reader is kept busy, so that what follows is stored and not read back.
	held, busy := make(chan struct{}), make(chan struct{})
	l.Write(Mark{Key: 2, Kind: Start, Seq: 10, Attempt: 1},
		func(Standing, error) { close(busy); <-held })
	brokertest.Await(t, busy, "the reader to be busy")
	over := send(t, l, Mark{Key: 1, Kind: Clear, Seq: 10, Generation: 1, Attempt: 1})
	require.Eventually(t, func() bool { return conn.Outbox.Pending() == 0 }, brokertest.Patience,
		5*time.Millisecond)
	back = brokertest.Reconnected(t, conn)
	b.Restore()
	brokertest.Await(t, back, "the reconnect")
	next := send(t, l, Mark{Key: 1, Kind: Start, Seq: 10, Attempt: 2})
	require.Eventually(t, func() bool { return conn.Outbox.Pending() == 0 }, brokertest.Patience,
		5*time.Millisecond)
	close(held)
	require.NoError(t, brokertest.Await(t, over, "an answer").err)
	a := brokertest.Await(t, next, "an answer")
	require.NoError(t, a.err)
	require.Equal(t, Go, a.s.Ruling)

	events, err := History(t.Context(), b.Connect(), 1)
	require.NoError(t, err)
	var kinds []string
	for _, e := range events {
		kinds = append(kinds, e.Mark.Kind.String())
	}
	require.Equal(t, []string{"start", "clear", "start"}, kinds)
	s := write(t, open(t, b.Connect(), "b"), Mark{Key: 1, Kind: Start, Seq: 10, Attempt: 1})
	require.Equal(t, Started, s.Ruling)
	require.Equal(t, 2, s.Attempts)
}

func TestANameThatWasUsedBeforeGoesOn(t *testing.T) {
	t.Parallel()
	b := brokertest.Start(t)
	first := open(t, b.Connect(), "a")
	for i := range 10 {
		write(t, first, Mark{Key: Key(i), Kind: Start, Seq: 10, Attempt: 1})
	}
	first.Close()
	second := open(t, b.Connect(), "a")
	require.Equal(t, Go, write(t, second, Mark{Key: 100, Kind: Start, Seq: 10, Attempt: 1}).Ruling)
}

func TestTwoProcessesUnderOneNameDoNotHang(t *testing.T) {
	t.Parallel()
	b := brokertest.Start(t)
	one, two := open(t, b.Connect(), "a"), open(t, b.Connect(), "a")
	for i := range Key(5) {
		write(t, one, Mark{Key: i, Kind: Start, Seq: 10, Attempt: 1})
		require.Eventually(t, func() bool { return two.Peek(Mark{Key: i}).Kind != 0 },
			brokertest.Patience, time.Millisecond)
		write(t, two, Mark{Key: 10 + i, Kind: Start, Seq: 10, Attempt: 1})
		require.Eventually(t, func() bool { return one.Peek(Mark{Key: 10 + i}).Kind != 0 },
			brokertest.Patience, time.Millisecond)
	}
}
