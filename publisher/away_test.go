package publisher_test

import (
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/broker/brokertest"
	"github.com/kefuhq/kefu/publisher"
	"github.com/kefuhq/kefu/schema"
)

// settleRange settles the ids from..to-1, and as many receipts of another app between them.
func settleRange(t *testing.T, js jetstream.JetStream, from, to int) {
	t.Helper()
	for i := from; i < to; i++ {
		settle(t, js, sent(strconv.Itoa(i)))
		other := sent(strconv.Itoa(i))
		other.AppID = "wx2"
		settle(t, js, other)
	}
}

// inOrder awaits the receipts of the ids from..to-1, each once.
func inOrder(t *testing.T, got <-chan publisher.Settled, from, to int) (last publisher.Settled) {
	t.Helper()
	for i := from; i < to; i++ {
		last = brokertest.Await(t, got, "receipt "+strconv.Itoa(i))
		require.Equal(t, strconv.Itoa(i), last.ID)
		require.Nil(t, last.Missed)
	}
	return last
}

func TestWhoIsCutOffForLongMissesNone(t *testing.T) {
	t.Parallel()
	b := brokertest.Start(t, app)
	way := brokertest.NewProxy(t, b)
	nc, err := nats.Connect(way.URL(), nats.MaxReconnects(-1),
		nats.ReconnectWait(10*time.Millisecond))
	require.NoError(t, err)
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	require.NoError(t, err)
	p := newPublisher(t, js, publisher.WithTimeout(brokertest.Patience))
	p.Idle(time.Second)
	conn := b.Connect()
	got, _ := reads(t.Context(), p, everything)
	w := watch(t, p)
	receipt := wait(t.Context(), w, "299")
	settleRange(t, conn.JS, 0, 100)
	inOrder(t, got, 0, 100)
	require.Equal(t, 2, consumers(t, conn))

	way.Cut()
	settleRange(t, conn.JS, 100, 200)
	require.Eventually(t, func() bool { return consumers(t, conn) == 0 }, brokertest.Patience,
		10*time.Millisecond, "it is away for longer than the broker waits")
	settleRange(t, conn.JS, 200, 300)
	way.Mend()
	inOrder(t, got, 100, 300)
	require.Equal(t, "299", brokertest.Await(t, receipt, "the receipt that is waited for").ID)
	settleRange(t, conn.JS, 300, 310)
	inOrder(t, got, 300, 310)
	require.Empty(t, got)
}

func TestWhoIsToldThatNothingCanBeReadGoesOnLater(t *testing.T) {
	t.Parallel()
	b := brokertest.Start(t, app)
	way, conn := brokertest.NewProxy(t, b), b.Connect()
	p := newPublisher(t, way.Connect().JS, publisher.WithTimeout(200*time.Millisecond))
	settleRange(t, conn.JS, 0, 10)
	got, end := reads(t.Context(), p, everything)
	last := inOrder(t, got, 0, 10)
	way.Cut()
	again := publisher.ReceiptsOptions{After: last.Position}
	for range 2 { // while it runs, and when it begins
		err := brokertest.Await(t, end, "the loop to end")
		require.ErrorIs(t, err, publisher.ErrUnreadable)
		var e *publisher.Error
		require.ErrorAs(t, err, &e)
		require.True(t, e.Retryable())
		_, end = reads(t.Context(), p, again)
	}
	settleRange(t, conn.JS, 10, 20)
	way.Mend()
	for from := 10; from < 20; {
		got, end = reads(t.Context(), p, again)
		select {
		case s := <-got:
			require.Equal(t, strconv.Itoa(from), s.ID)
			from, again.After = from+1, s.Position
		case err := <-end: // the connection is not back yet
			require.ErrorIs(t, err, publisher.ErrUnreadable)
		}
	}
}

func TestWhoRunsAgainMissesNone(t *testing.T) {
	t.Parallel()
	b := brokertest.Start(t, app)
	conn := b.Connect()
	stored := ""
	run := func(from, to int) {
		t.Helper()
		c := b.Connect()
		defer c.Close()
		p := newPublisher(t, c.JS)
		o := everything
		require.NoError(t, o.After.UnmarshalText([]byte(stored)))
		got, _ := reads(t.Context(), p, o)
		stored = inOrder(t, got, from, to).Position.String()
		require.NoError(t, p.Close())
	}
	settleRange(t, conn.JS, 0, 100)
	run(0, 60) // more than it has dealt with was on its way
	settleRange(t, conn.JS, 100, 150)
	run(60, 120)
	b.Restart()
	conn = b.Connect()
	settleRange(t, conn.JS, 150, 200)
	run(120, 200)
	back := brokertest.Reconnected(t, conn)
	b.Stop()
	b.Start()
	brokertest.Await(t, back, "the connection")
	settleRange(t, conn.JS, 200, 210)
	run(200, 210)
}

// age has all receipts be removed for their age, in place of three days of waiting.
func age(t *testing.T, conn *broker.Conn) {
	t.Helper()
	s, err := conn.JS.Stream(t.Context(), schema.StreamReceipt)
	require.NoError(t, err)
	was := s.CachedInfo().Config
	short := was
	short.MaxAge, short.Duplicates = 100*time.Millisecond, 100*time.Millisecond
	_, err = conn.JS.UpdateStream(t.Context(), short)
	require.NoError(t, err)
	require.Eventually(t, func() bool {
		info, err := s.Info(t.Context())
		require.NoError(t, err)
		return info.State.Msgs == 0
	}, brokertest.Patience, 10*time.Millisecond)
	_, err = conn.JS.UpdateStream(t.Context(), was)
	require.NoError(t, err)
}

func TestWhatWasRemovedMeanwhileIsTold(t *testing.T) {
	t.Parallel()
	conn := brokertest.New(t, app)
	p := newPublisher(t, conn.JS)
	settleRange(t, conn.JS, 0, 10)
	got, _ := reads(t.Context(), p, everything)
	inOrder(t, got, 0, 7)
	at := inOrder(t, got, 7, 8).Position
	after := func(at publisher.Position, progress bool) publisher.ReceiptsOptions {
		return publisher.ReceiptsOptions{After: at, Progress: progress}
	}
	age(t, conn)

	t.Run("at once, if progress is wanted", func(t *testing.T) {
		got, _ := reads(t.Context(), p, after(at, true))
		told := brokertest.Await(t, got, "the gap")
		require.Empty(t, told.Receipt)
		require.NotNil(t, told.Missed)
		require.Equal(t, uint64(5), told.Missed.AtMost, "two of its own, three of the other app")
		require.True(t, told.Missed.After.Equal(at.Time))
		require.True(t, told.Missed.Before.After(at.Time))

		again, _ := reads(t.Context(), p, after(told.Position, true))
		settleRange(t, conn.JS, 10, 11)
		require.Nil(t, brokertest.Await(t, again, "the receipt").Missed, "it is told once")
		require.Equal(t, "10", brokertest.Await(t, got, "the receipt").ID)
	})
	t.Run("else with the next receipt", func(t *testing.T) {
		got, _ := reads(t.Context(), p, after(at, false))
		next := brokertest.Await(t, got, "the receipt")
		require.Equal(t, "10", next.ID)
		require.NotNil(t, next.Missed)
		require.Equal(t, uint64(5), next.Missed.AtMost)
		require.Equal(t, next.Position.Time, next.Missed.Before)
		settleRange(t, conn.JS, 11, 20)
		inOrder(t, got, 11, 20)
	})
	t.Run("and while a program runs that is cut off", func(t *testing.T) {
		b := brokertest.Start(t, app)
		way, conn := brokertest.NewProxy(t, b), b.Connect()
		got, _ := reads(t.Context(), newPublisher(t, way.Connect().JS,
			publisher.WithTimeout(brokertest.Patience)), everything)
		settleRange(t, conn.JS, 0, 5)
		inOrder(t, got, 0, 5)
		way.Cut()
		settleRange(t, conn.JS, 5, 10)
		age(t, conn)
		settleRange(t, conn.JS, 10, 11)
		way.Mend()
		next := brokertest.Await(t, got, "the receipt")
		require.Equal(t, "10", next.ID)
		require.NotNil(t, next.Missed)
		require.Equal(t, uint64(11), next.Missed.AtMost)
	})
}

func TestMissedBehindAPosition(t *testing.T) {
	t.Parallel()
	was := time.Date(2026, 11, 24, 8, 0, 0, 0, time.UTC)
	then := was.Add(time.Hour)
	for name, row := range map[string]struct {
		last, first uint64
		atMost      uint64 // 0: nothing is missing
	}{
		"the last one is stored":                 {7, 7, 0},
		"what follows it is":                     {7, 8, 0},
		"one is missing":                         {7, 9, 1},
		"many are missing":                       {7, 108, 100},
		"from the beginning, and that is stored": {0, 1, 0},
		"from the beginning, which is missing":   {0, 3, 2},
	} {
		got := publisher.MissedBehind(publisher.Position{Seq: row.last, Time: was}, row.first, then)
		if row.atMost == 0 {
			require.Nil(t, got, name)
			continue
		}
		require.Equal(t, &publisher.Missed{After: was, Before: then, AtMost: row.atMost}, got, name)
	}
}

func TestThereIsAPositionBeforeTheFirstReceipt(t *testing.T) {
	t.Parallel()
	for name, before := range map[string]int{"of all": 0, "that is wanted": 10} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			conn := brokertest.New(t, app)
			p := newPublisher(t, conn.JS)
			settleRange(t, conn.JS, 0, before)
			got, _ := reads(t.Context(), p, publisher.ReceiptsOptions{Progress: true})
			start := brokertest.Await(t, got, "the position")
			require.Empty(t, start.Receipt)
			require.Equal(t, uint64(2*before), start.Position.Seq)
			require.False(t, start.Position.IsZero())

			settleRange(t, conn.JS, before, before+5)
			var stored publisher.Position
			require.NoError(t, stored.UnmarshalText([]byte(start.Position.String())))
			again, _ := reads(t.Context(), p, publisher.ReceiptsOptions{After: stored})
			inOrder(t, again, before, before+5)
		})
	}
}

func TestPositionsGoOnWhileNothingComesThatIsWanted(t *testing.T) {
	t.Parallel()
	conn := brokertest.New(t, app)
	p := newPublisher(t, conn.JS)
	p.Progress(20 * time.Millisecond)
	one := sent("one")
	one.Source = "crm"
	settle(t, conn.JS, one)
	o := publisher.ReceiptsOptions{Source: "crm", Since: everything.Since, Progress: true}
	got, _ := reads(t.Context(), p, o)
	require.Equal(t, "one", brokertest.Await(t, got, "the receipt").ID)
	reaches := func(seq uint64) publisher.Position {
		t.Helper()
		for {
			s := brokertest.Await(t, got, fmt.Sprint("position ", seq))
			require.Empty(t, s.Receipt)
			require.Nil(t, s.Missed)
			require.LessOrEqual(t, s.Position.Seq, seq)
			if s.Position.Seq == seq {
				return s.Position
			}
		}
	}
	settleRange(t, conn.JS, 0, 50) // of its app and of another one
	reaches(101)
	for i := range 10 { // of the other one
		other := sent(strconv.Itoa(i))
		other.AppID = "wx2"
		settle(t, conn.JS, other)
	}
	at := reaches(111)

	age(t, conn)
	two := one
	two.ID = "two"
	settle(t, conn.JS, two)
	require.Equal(t, "two", brokertest.Await(t, got, "the receipt").ID)
	o.After = at
	again, _ := reads(t.Context(), p, o)
	s := brokertest.Await(t, again, "the receipt")
	require.Equal(t, "two", s.ID)
	require.Nil(t, s.Missed, "what was removed it had read")
}

func TestReceiptsOfAState(t *testing.T) {
	t.Parallel()
	conn := brokertest.New(t, app)
	p := newPublisher(t, conn.JS)
	for i := range 9 {
		r := sent(strconv.Itoa(i))
		r.State = []schema.State{schema.StateSent, schema.StateDead, schema.StateCancelled}[i%3]
		settle(t, conn.JS, r)
	}
	got, _ := reads(t.Context(), p,
		publisher.ReceiptsOptions{Since: everything.Since, State: schema.StateDead})
	for _, id := range []string{"1", "4", "7"} {
		require.Equal(t, id, brokertest.Await(t, got, "a receipt").ID)
	}
	s, err := conn.JS.Stream(t.Context(), schema.StreamReceipt)
	require.NoError(t, err)
	require.Equal(t, 1, consumers(t, conn))
	for info := range s.ListConsumers(t.Context()).Info() {
		require.Equal(t, "kefu.receipt."+app+".dead", info.Config.FilterSubject,
			"the broker leaves the others out")
	}
	for _, err := range p.Receipts(t.Context(), app,
		publisher.ReceiptsOptions{State: schema.StateQueued}) {
		var field *schema.FieldError
		require.ErrorAs(t, err, &field)
	}
}
