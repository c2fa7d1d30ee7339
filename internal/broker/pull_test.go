package broker_test

import (
	"errors"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/broker/brokertest"
	"github.com/kefuhq/kefu/internal/wire"
)

// pulled is a puller on the bulk lane of wx1 and what it says.
type pulled struct {
	*broker.Puller
	t        *testing.T
	conn     *broker.Conn
	consumer jetstream.Consumer
	got      chan *nats.Msg
	lost     chan error
}

func newPulled(t *testing.T, conn *broker.Conn, queued int) *pulled {
	t.Helper()
	p := &pulled{t: t, conn: conn, got: make(chan *nats.Msg, 10000), lost: make(chan error, 100)}
	p.fill(0, queued)
	p.bind()
	p.Puller = conn.NewPuller(queue, "bulk", func(m *nats.Msg) { p.got <- m },
		func(err error) { p.lost <- err })
	require.NoError(t, p.Resume())
	t.Cleanup(func() {
		drained := make(chan struct{})
		p.Pause(func() { close(drained) })
		brokertest.Await(t, drained, "the end of the puller")
	})
	return p
}

// fill queues intents with the numbers from..to-1 as bodies.
func (p *pulled) fill(from, to int) {
	p.t.Helper()
	acks := make(chan error, to-from)
	for i := from; i < to; i++ {
		p.conn.Outbox.Publish(&nats.Msg{Subject: "kefu.send.wx1.bulk.c",
			Data: []byte(strconv.Itoa(i))}, func(_ broker.Ack, err error) { acks <- err })
	}
	for range to - from {
		require.NoError(p.t, brokertest.Await(p.t, acks, "an ack"))
	}
}

func (p *pulled) bind() {
	p.t.Helper()
	var err error
	p.consumer, err = p.conn.JS.CreateOrUpdateConsumer(p.t.Context(), queue,
		broker.BulkConsumer("wx1", 10000))
	require.NoError(p.t, err)
}

func (p *pulled) info() *jetstream.ConsumerInfo {
	p.t.Helper()
	info, err := p.consumer.Info(p.t.Context())
	require.NoError(p.t, err)
	return info
}

// take waits for n messages and returns their bodies.
func (p *pulled) take(n int) []string {
	p.t.Helper()
	out := make([]string, 0, n)
	for range n {
		out = append(out, string(brokertest.Await(p.t, p.got, "a message").Data))
	}
	return out
}

// nothing makes sure that the broker has no request open and nothing is on its way.
func (p *pulled) nothing() {
	p.t.Helper()
	require.Eventually(p.t, func() bool { return p.info().NumWaiting == 0 }, brokertest.Patience,
		5*time.Millisecond)
	require.NoError(p.t, p.conn.NC.Flush())
	require.Empty(p.t, p.got)
}

func numbers(from, to int) []string {
	var out []string
	for i := from; i < to; i++ {
		out = append(out, strconv.Itoa(i))
	}
	return out
}

func TestAPullerGetsWhatWasAskedForAndNoMore(t *testing.T) {
	t.Parallel()
	p := newPulled(t, brokertest.New(t, "wx1"), 100)
	p.Request(0)
	p.Request(-5)
	p.nothing()
	p.Request(10)
	require.Equal(t, numbers(0, 10), p.take(10))
	p.nothing()
	require.EqualValues(t, 90, p.info().NumPending)
}

func TestTopCountsWhatIsOnItsWay(t *testing.T) {
	t.Parallel()
	p := newPulled(t, brokertest.New(t, "wx1"), 0)
	waiting := func(n int) {
		t.Helper()
		require.Eventually(t, func() bool { return p.info().NumWaiting == n }, brokertest.Patience,
			5*time.Millisecond)
	}
	p.Request(10)
	require.Equal(t, 10, p.Open())
	waiting(1)
	p.Request(10)
	p.Request(4)
	p.Request(19)
	require.Equal(t, 10, p.Open(), "less than twice as many waits until it is worth a request")
	p.Request(20)
	require.Equal(t, 20, p.Open())
	waiting(2)

	p.fill(0, 13)
	require.Equal(t, numbers(0, 13), p.take(13))
	require.Equal(t, 7, p.Open(), "whichever request the broker served them from")
	p.fill(13, 40)
	require.Equal(t, numbers(13, 20), p.take(7))
	require.Zero(t, p.Open())
	p.nothing()
	p.Request(1)
	require.Equal(t, numbers(20, 21), p.take(1))
	p.nothing()
}

func TestRequestsThatRunOutAreAccountedForExactly(t *testing.T) {
	t.Parallel()
	p := newPulled(t, brokertest.New(t, "wx1"), 0)
	p.Shorten(time.Second, 200*time.Millisecond)
	p.Request(4)
	p.Shorten(30*time.Second, 200*time.Millisecond)
	p.Request(12) // eight more, for long
	p.fill(0, 5)
	// in turn: three of the first request, two of the second
	require.Equal(t, numbers(0, 5), p.take(5))
	require.Equal(t, 7, p.Open())
	require.NoError(t, brokertest.Await(t, p.lost, "the end of the first request"),
		"it is only to ask again")
	require.Equal(t, 6, p.Open(),
		"one of the first was left, and six of the second are still to come")
	p.fill(5, 20)
	require.Equal(t, numbers(5, 11), p.take(6))
	require.Zero(t, p.Open())
	p.nothing()
}

func TestPauseLosesNothing(t *testing.T) {
	t.Parallel()
	const total = 3000
	p := newPulled(t, brokertest.New(t, "wx1"), total)
	seen := make(map[string]int)
	for rounds := 0; len(seen) < total; rounds++ {
		require.NoError(t, p.Resume())
		p.Request(500)
		m := brokertest.Await(t, p.got, "the first message") // the rest is on its way
		drained := make(chan struct{})
		p.Pause(func() { close(drained) })
		brokertest.Await(t, drained, "the end of the pause")
		for more := true; more; {
			seen[string(m.Data)]++
			require.NoError(t, p.conn.AckReply(m.Reply))
			select {
			case m = <-p.got:
			default:
				more = false
			}
		}
		require.NoError(t, p.conn.NC.Flush())
		require.Empty(t, p.got, "nothing comes after drained")
	}
	for body, n := range seen {
		require.Equal(t, 1, n, "%s came more than once", body)
	}
	require.Empty(t, p.lost)
}

func TestDrainedIsCalledForEachPauseAndOnlyAtTheEnd(t *testing.T) {
	t.Parallel()
	conn := brokertest.New(t, "wx1")
	p := newPulled(t, conn, 50)
	hold := make(chan struct{}) // keeps the first message in the hands of deliver
	first := make(chan struct{})
	var once sync.Once
	slow := conn.NewPuller(queue, "bulk", func(*nats.Msg) {
		once.Do(func() { close(first); <-hold })
	}, func(err error) { p.lost <- err })
	require.NoError(t, slow.Resume())
	slow.Request(10)
	brokertest.Await(t, first, "the first message")

	calls := make(chan string, 10)
	slow.Pause(func() { calls <- "first" })
	slow.Pause(func() { calls <- "second" })
	require.Empty(t, calls, "a message is still in hand")
	require.NoError(t, slow.Resume())
	slow.Request(10)
	require.Zero(t, slow.Open(), "not yet: two would deliver at once")
	close(hold)
	require.Equal(t, "first", brokertest.Await(t, calls, "the end of the first pause"))
	require.Equal(t, "second", brokertest.Await(t, calls, "the end of the second pause"))
	require.NoError(t, brokertest.Await(t, p.lost, "the word that it goes on"))
	slow.Request(10)
	require.Equal(t, 10, slow.Open())

	slow.Pause(func() { calls <- "third" })
	require.Equal(t, "third", brokertest.Await(t, calls, "the end of the third pause"))
	slow.Pause(func() { calls <- "nothing to wait for" })
	require.Equal(t, "nothing to wait for", brokertest.Await(t, calls, "a pause of what is paused"))
	slow.Request(5)
	require.Zero(t, slow.Open(), "nobody asks while it is paused")
}

func TestAPauseAfterTheEndOfTheConnection(t *testing.T) {
	t.Parallel()
	conn := brokertest.New(t, "wx1")
	p := newPulled(t, conn, 0)
	p.Request(1)
	conn.Close()
	drained := make(chan struct{})
	p.Pause(func() { close(drained) })
	brokertest.Await(t, drained, "the end of the pause")
	require.ErrorIs(t, p.Resume(), nats.ErrConnectionClosed)
}

func TestADeletedConsumerIsReportedOnce(t *testing.T) {
	t.Parallel()
	p := newPulled(t, brokertest.New(t, "wx1"), 0)
	p.Request(2)
	p.Request(4)
	p.Request(8) // three requests are open
	require.Eventually(t, func() bool { return p.info().NumWaiting == 3 }, brokertest.Patience,
		5*time.Millisecond)
	require.NoError(t, p.conn.JS.DeleteConsumer(t.Context(), queue, "bulk"))
	require.ErrorIs(t, brokertest.Await(t, p.lost, "the loss"), broker.ErrConsumerGone)
	require.Zero(t, p.Open())

	p.Request(5) // of a consumer that does not exist
	require.ErrorIs(t, brokertest.Await(t, p.lost, "the loss"), broker.ErrConsumerGone)
	require.NoError(t, p.conn.NC.Flush())
	require.Empty(t, p.lost, "the other two requests say nothing new")

	p.bind()
	p.fill(0, 3)
	p.Request(5)
	require.Equal(t, numbers(0, 3), p.take(3))
}

func TestAConsumerIsLostWithABrokerThatRestarts(t *testing.T) {
	t.Parallel()
	b := brokertest.Start(t, "wx1")
	conn := b.Connect()
	p := newPulled(t, conn, 10)
	p.Request(4)
	held := p.take(4)
	p.Request(4)
	held = append(held, p.take(4)...)
	require.Equal(t, numbers(0, 8), held)
	p.Request(20)
	back := brokertest.Reconnected(t, conn)
	b.Restart()
	brokertest.Await(t, back, "the reconnect")
	for len(p.got) > 0 {
		<-p.got
	}
	p.Request(3) // what was asked for before does not count
	require.Equal(t, 3, p.Open())
	lost := awaitLoss(t, p.lost)
	if strings.Contains(lost.Error(), "server shutdown") {
		lost = awaitLoss(t, p.lost) // the restart may have announced itself to the request before
	}
	require.ErrorIs(t, lost, broker.ErrConsumerGone, "it lived in memory")
	p.bind()
	p.Request(100)
	require.Equal(t, numbers(0, 10), p.take(10), "what was not acknowledged comes again, in order")
}

// awaitLoss waits for a reason that is more than the end of a request.
func awaitLoss(t *testing.T, lost <-chan error) error {
	t.Helper()
	for {
		if err := brokertest.Await(t, lost, "the loss"); err != nil {
			return err
		}
	}
}

func TestHeartbeatsKeepAnIdleConsumerFromCountingAsSilent(t *testing.T) {
	t.Parallel()
	p := newPulled(t, brokertest.New(t, "wx1"), 0)
	p.Shorten(30*time.Second, 200*time.Millisecond)
	p.Request(1)
	asked := time.Now()
	// A sign of life that is younger than asked by more than two heartbeats.
	require.Eventually(t, func() bool { return p.Heard().Sub(asked) > 300*time.Millisecond },
		brokertest.Patience, 5*time.Millisecond)
	p.Check(asked.Add(broker.Silence + 200*time.Millisecond))
	require.Empty(t, p.lost)
	require.Equal(t, 1, p.Open())
}

func TestForgetAsksAnew(t *testing.T) {
	t.Parallel()
	p := newPulled(t, brokertest.New(t, "wx1"), 0)
	p.Request(4)
	p.Forget()
	require.Zero(t, p.Open())
	p.Request(4)
	require.Equal(t, 4, p.Open())
	require.Eventually(t, func() bool { return p.info().NumWaiting == 2 }, brokertest.Patience,
		5*time.Millisecond)
	p.fill(0, 8)
	require.Equal(t, numbers(0, 8), p.take(8), "the broker still serves the first request")
	require.Zero(t, p.Open())
	p.nothing()
}

func TestASilentConsumerIsReported(t *testing.T) {
	t.Parallel()
	conn := brokertest.New(t, "wx1")
	p := newPulled(t, conn, 0)
	p.Check(time.Now().Add(time.Hour))
	require.Empty(t, p.lost, "nothing was asked for, nothing is to be heard")
	p.Request(10)
	p.Check(time.Now().Add(broker.Silence / 2))
	require.Empty(t, p.lost, "it has some time")
	p.Check(time.Now().Add(broker.Silence + time.Second))
	require.ErrorIs(t, brokertest.Await(t, p.lost, "the loss"), broker.ErrSilent)
	require.Zero(t, p.Open())
	p.Check(time.Now().Add(broker.Silence + time.Second))
	require.Empty(t, p.lost, "it is said once")
}

func TestOtherEndsOfARequestAreReportedWithTheirReason(t *testing.T) {
	t.Parallel()
	conn := brokertest.New(t, "wx1")
	_, err := conn.JS.CreateConsumer(t.Context(), wire.StreamLater, jetstream.ConsumerConfig{
		Durable: "narrow", AckPolicy: jetstream.AckExplicitPolicy, MaxRequestBatch: 5,
		FilterSubject: "kefu.later.due.*",
	})
	require.NoError(t, err)
	lost := make(chan error, 10)
	p := conn.NewPuller(wire.StreamLater, "narrow", func(*nats.Msg) {}, func(err error) {
		lost <- err
	})
	require.NoError(t, p.Resume())
	p.Request(6)
	require.EqualError(t, brokertest.Await(t, lost, "the refusal"),
		"pull request ended: 409 exceeded maxrequestbatch of 5")
	require.Zero(t, p.Open())
}

func TestWhatIsGivenBackComesAgainInTheOrderInWhichItWasGivenBack(t *testing.T) {
	t.Parallel()
	p := newPulled(t, brokertest.New(t, "wx1"), 6)
	p.Request(4)
	var held []*nats.Msg
	for range 4 {
		held = append(held, brokertest.Await(t, p.got, "a message"))
	}
	require.NoError(t, p.conn.ProgressReply(held[0].Reply))
	for _, i := range []int{1, 0, 2} {
		require.NoError(t, p.conn.NakReply(held[i].Reply))
	}
	require.NoError(t, p.conn.NC.Flush())
	p.Request(10)
	got := p.take(5)
	// The broker takes them back in a goroutine of its own: what is new may come in between.
	require.Equal(t, []string{"1", "0", "2"},
		slices.DeleteFunc(slices.Clone(got), func(n string) bool { return n == "4" || n == "5" }))
	require.ElementsMatch(t, []string{"0", "1", "2", "4", "5"}, got)
	d, ok := broker.ParseDelivery(held[3].Reply)
	require.True(t, ok)
	require.Equal(t, 1, d.Delivered)
}

func TestParseDelivery(t *testing.T) {
	t.Parallel()
	at := time.Unix(0, 1_700_000_000_123_456_789)
	want := broker.Delivery{Stream: queue, Delivered: 3, Seq: 42, Order: 7,
		Stored: at, Pending: 5}
	for _, c := range []struct {
		name, reply string
		ok          bool
	}{
		{"the form of old", "$JS.ACK.KEFU_SEND_wx1.bulk.3.42.7.1700000000123456789.5", true},
		{"with domain and account",
			"$JS.ACK.hub.ACCHASH.KEFU_SEND_wx1.bulk.3.42.7.1700000000123456789.5", true},
		{"with a random token at the end",
			"$JS.ACK._.ACCHASH.KEFU_SEND_wx1.bulk.3.42.7.1700000000123456789.5.x1Y2", true},
		{"with tokens of a later version",
			"$JS.ACK._.ACCHASH.KEFU_SEND_wx1.bulk.3.42.7.1700000000123456789.5.x1Y2.z.z.z", true},
		{"a token too few", "$JS.ACK.KEFU_SEND_wx1.bulk.3.42.7.1700000000123456789", false},
		{"a token between the forms",
			"$JS.ACK.KEFU_SEND_wx1.bulk.3.42.7.1700000000123456789.5.6", false},
		{"a word for a number", "$JS.ACK.KEFU_SEND_wx1.bulk.3.x.7.1700000000123456789.5", false},
		{"an inbox", "_INBOX.abc.1", false},
		{"nothing", "", false},
		{"the prefix alone", "$JS.ACK.", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			d, ok := broker.ParseDelivery(c.reply)
			require.Equal(t, c.ok, ok)
			if c.ok {
				require.Equal(t, want, d)
			}
		})
	}
}

func FuzzParseDelivery(f *testing.F) {
	f.Add("$JS.ACK.S.c.3.42.7.1700000000123456789.5")
	f.Add("$JS.ACK._.H.S.c.3.42.7.1700000000123456789.5.x")
	f.Add("$JS.ACK.........")
	f.Add("$JS.ACK.S.c.1.18446744073709551616.1.1.1")
	nc, err := broker.StartEmbedded(broker.EmbeddedOptions{Listen: "127.0.0.1:0"})
	require.NoError(f, err)
	f.Cleanup(nc.Close)
	conn, err := broker.Connect(f.Context(), broker.Options{URL: nc.URL()})
	require.NoError(f, err)
	f.Cleanup(conn.Close)
	sub, err := conn.NC.SubscribeSync("x")
	require.NoError(f, err)
	f.Fuzz(func(t *testing.T, reply string) {
		d, ok := broker.ParseDelivery(reply)
		if !ok {
			require.Zero(t, d)
			return
		}
		require.NotContains(t, d.Stream, ".")
		// What we can read the client library reads alike.
		meta, err := (&nats.Msg{Reply: reply, Sub: sub}).Metadata()
		if errors.Is(err, nats.ErrNotJSMessage) || strings.ContainsAny(reply, "+-") {
			return // it wants more of the tokens we do not use, and takes signs for zero
		}
		require.NoError(t, err)
		require.Equal(t, meta.Stream, d.Stream)
		require.EqualValues(t, meta.NumDelivered, d.Delivered)
		require.Equal(t, meta.Sequence.Stream, d.Seq)
		require.Equal(t, meta.Sequence.Consumer, d.Order)
		require.Equal(t, meta.NumPending, d.Pending)
		require.True(t, meta.Timestamp.Equal(d.Stored))
	})
}

func TestAPauseWhileTheBrokerIsAwayDoesNotWaitForIt(t *testing.T) {
	t.Parallel()
	b := brokertest.Start(t, "wx1")
	conn := b.Connect()
	p := newPulled(t, conn, 3)
	p.Request(3)
	require.Equal(t, numbers(0, 3), p.take(3))
	back := brokertest.Reconnected(t, conn)
	b.Stop()
	require.Eventually(t, func() bool { return !conn.Connected() }, brokertest.Patience,
		time.Millisecond)
	begin := time.Now()
	drained := make(chan struct{})
	p.Pause(func() { close(drained) })
	brokertest.Await(t, drained, "the end of the pause")
	require.Less(t, time.Since(begin), 5*time.Second)
	b.Start()
	brokertest.Await(t, back, "the reconnect")
}
