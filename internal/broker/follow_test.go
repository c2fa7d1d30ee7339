package broker_test

import (
	"context"
	"errors"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/broker/brokertest"
	"github.com/kefuhq/kefu/schema"
)

// follow follows a stream; what comes goes into the channel.
func follow(
	t *testing.T, conn *broker.Conn, stream string, o broker.FollowOptions,
) (*broker.Follower, chan broker.Stored) {
	t.Helper()
	got := make(chan broker.Stored, 100000)
	w, err := conn.Follow(t.Context(), stream, o, func(s broker.Stored) { got <- s })
	require.NoError(t, err)
	t.Cleanup(w.Stop)
	return w, got
}

// next waits for n messages and returns their bodies.
func next(t *testing.T, got <-chan broker.Stored, n int) []string {
	t.Helper()
	var all []broker.Stored
	for range n {
		all = append(all, brokertest.Await(t, got, "a message"))
	}
	return bodies(all)
}

// consumers is how many a stream has.
func consumers(t *testing.T, conn *broker.Conn, stream string) int {
	t.Helper()
	return state(t, conn, stream).Consumers
}

func TestFollowReturnsWhenThePastWasReadAndGoesOn(t *testing.T) {
	t.Parallel()
	conn := brokertest.New(t)
	letters(t, conn, 2500)
	_, got := follow(t, conn, schema.StreamDead, broker.FollowOptions{})
	require.Len(t, got, 2500)
	require.Equal(t, numbers(1, 2501), next(t, got, 2500))
	letters(t, conn, 3)
	require.Equal(t, numbers(1, 4), next(t, got, 3))
}

func TestFollowReturnsAtOnceWhenNothingIsThereToRead(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		fill int
		o    broker.FollowOptions
	}{
		{"an empty stream", 0, broker.FollowOptions{}},
		{"nothing matches", 5, broker.FollowOptions{Subject: "kefu.dead.wx9.*"}},
		{"no keys", 0, broker.FollowOptions{Latest: true}},
		{"no keys that match", 5, broker.FollowOptions{Latest: true, Subject: "kefu.dead.wx9.*"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			conn := brokertest.New(t)
			letters(t, conn, c.fill)
			begin := time.Now()
			_, got := follow(t, conn, schema.StreamDead, c.o)
			require.Less(t, time.Since(begin), broker.Silence)
			require.Empty(t, got)
		})
	}
}

func TestFollowIsDoneThoughTheNewestMessageDoesNotMatch(t *testing.T) {
	t.Parallel()
	conn := brokertest.New(t)
	letters(t, conn, 6) // the last one is of wx2
	_, got := follow(t, conn, schema.StreamDead, broker.FollowOptions{Subject: "kefu.dead.wx1.*"})
	require.Equal(t, []string{"1", "3", "5"}, next(t, got, 3))
	letters(t, conn, 4)
	require.Equal(t, []string{"1", "3"}, next(t, got, 2))
}

func TestFollowIsDoneThoughTheRestWasDeletedMeanwhile(t *testing.T) {
	t.Parallel()
	conn := brokertest.New(t)
	letters(t, conn, 4000)
	s, err := conn.JS.Stream(t.Context(), schema.StreamDead)
	require.NoError(t, err)
	n := 0
	w, err := conn.Follow(t.Context(), schema.StreamDead, broker.FollowOptions{},
		func(broker.Stored) {
			if n++; n == 1 {
				if err := s.Purge(context.WithoutCancel(t.Context())); err != nil {
					t.Error(err)
				}
			}
		})
	require.NoError(t, err)
	t.Cleanup(w.Stop)
	require.Less(t, n, 4000, "the purge came in time")
}

func TestFollowOfWhatIsNotThereFailsAtOnce(t *testing.T) {
	t.Parallel()
	conn := brokertest.New(t)
	_, err := conn.Follow(t.Context(), "MISSING", broker.FollowOptions{}, func(broker.Stored) {})
	require.ErrorIs(t, err, jetstream.ErrStreamNotFound)
	require.Equal(t, 1, conn.Hooks(), "the outbox's alone")
}

func TestFollowEndsWithItsContextWhileItReadsThePast(t *testing.T) {
	t.Parallel()
	conn := brokertest.New(t)
	letters(t, conn, 100)
	ctx, cancel := context.WithCancelCause(t.Context())
	last := uint64(0)
	w, err := conn.Follow(ctx, schema.StreamDead, broker.FollowOptions{}, func(s broker.Stored) {
		if last = s.Seq; last == 50 {
			cancel(errors.New("told to stop"))
		}
	})
	if err == nil { // it was quick
		require.EqualValues(t, 100, last)
		w.Stop()
	} else {
		require.EqualError(t, err, "follow KEFU_DEAD: not read to its end yet: told to stop")
		require.GreaterOrEqual(t, last, uint64(50))
	}
	require.Equal(t, 1, conn.Hooks())
}

func TestAStoppedFollowerLeavesNothingBehind(t *testing.T) {
	t.Parallel()
	conn := brokertest.New(t)
	letters(t, conn, 10)
	w, got := follow(t, conn, schema.StreamDead, broker.FollowOptions{})
	next(t, got, 10)
	require.Greater(t, conn.Hooks(), 1)
	require.Equal(t, 1, consumers(t, conn, schema.StreamDead))
	w.Stop()
	w.Stop() // twice does no harm
	require.Equal(t, 1, conn.Hooks())
	require.Eventually(t, func() bool { return consumers(t, conn, schema.StreamDead) == 0 },
		brokertest.Patience, 5*time.Millisecond)
	letters(t, conn, 1)
	require.Empty(t, got)
}

func TestAFollowerMissesNothingOverRestartsAndReadsNothingTwice(t *testing.T) {
	t.Parallel()
	b := brokertest.Start(t)
	conn := b.Connect()
	letters(t, conn, 20)
	_, got := follow(t, conn, schema.StreamDead, broker.FollowOptions{})
	var wg sync.WaitGroup
	const total = 2000
	acks := make(chan struct{}, total)
	wg.Go(func() {
		for i := range total {
			<-publish(t, conn, intentTo("kefu.dead.wx1.rejected", strconv.Itoa(i)))
			acks <- struct{}{}
		}
	})
	for range 2 {
		for range total / 4 {
			<-acks
		}
		b.Restart()
	}
	wg.Wait()
	for i := range total + 20 {
		require.EqualValues(t, i+1, brokertest.Await(t, got, "a message").Seq)
	}
	require.Empty(t, got)
}

func TestAFollowerWhoseConsumerIsDeletedMakesAnother(t *testing.T) {
	t.Parallel()
	conn := brokertest.New(t)
	letters(t, conn, 5)
	_, got := follow(t, conn, schema.StreamDead, broker.FollowOptions{})
	next(t, got, 5)
	s, err := conn.JS.Stream(t.Context(), schema.StreamDead)
	require.NoError(t, err)
	for name := range s.ConsumerNames(t.Context()).Name() {
		require.NoError(t, s.DeleteConsumer(t.Context(), name))
	}
	letters(t, conn, 3)
	require.Equal(t, numbers(1, 4), next(t, got, 3))
	require.Empty(t, got)
	require.Equal(t, 1, consumers(t, conn, schema.StreamDead))
}

func TestAnIdleFollowerAsksAgainAndKeepsItsConsumer(t *testing.T) {
	t.Parallel()
	conn := brokertest.New(t)
	const expires = 500 * time.Millisecond
	_, got := follow(t, conn, schema.StreamDead, broker.FollowOptions{}.Shorten(expires))
	s, err := conn.JS.Stream(t.Context(), schema.StreamDead)
	require.NoError(t, err)
	only := func() *jetstream.ConsumerInfo {
		t.Helper()
		var all []*jetstream.ConsumerInfo
		for info := range s.ListConsumers(t.Context()).Info() {
			all = append(all, info)
		}
		require.Len(t, all, 1)
		return all[0]
	}
	name := only().Name
	idle := time.Now().Add(3 * expires)
	require.Eventually(t, func() bool { return time.Now().After(idle) && only().NumWaiting == 1 },
		brokertest.Patience, 20*time.Millisecond)
	letters(t, conn, 3)
	require.Equal(t, numbers(1, 4), next(t, got, 3))
	require.Equal(t, name, only().Name)
}

func TestAFollowerOfTheLatestSeesTheNewestOfEachSubject(t *testing.T) {
	t.Parallel()
	conn := brokertest.New(t)
	letters(t, conn, 10)
	_, got := follow(t, conn, schema.StreamDead, broker.FollowOptions{Latest: true})
	require.Len(t, got, 2)
	require.Equal(t, []string{"9", "10"}, next(t, got, 2))
	letters(t, conn, 2)
	require.Equal(t, []string{"1", "2"}, next(t, got, 2))
}

func TestAFollowerOfTheNewReadsWhatIsStoredFromNowOn(t *testing.T) {
	t.Parallel()
	b := brokertest.Start(t)
	conn := b.Connect()
	_, all := follow(t, conn, schema.StreamDead, broker.FollowOptions{New: true})
	letters(t, conn, 6)
	require.Equal(t, numbers(1, 7), next(t, all, 6), "of a stream that was empty")
	_, got := follow(t, conn, schema.StreamDead, broker.FollowOptions{New: true})
	_, some := follow(t, conn, schema.StreamDead,
		broker.FollowOptions{New: true, Subject: "kefu.dead.wx1.*"})
	// It has read nothing yet, and has missed nothing when the broker is back.
	back := brokertest.Reconnected(t, conn)
	b.Restart()
	brokertest.Await(t, back, "the reconnect")
	letters(t, conn, 4)
	require.Equal(t, numbers(1, 5), next(t, got, 4))
	require.Equal(t, []string{"1", "3"}, next(t, some, 2))
	require.Equal(t, numbers(1, 5), next(t, all, 4))
	for _, more := range []<-chan broker.Stored{all, got, some} {
		require.Empty(t, more)
	}
}

func TestAFollowerBeginsAtATime(t *testing.T) {
	t.Parallel()
	conn := brokertest.New(t)
	letters(t, conn, 5)
	var third time.Time
	require.NoError(t, conn.Scan(t.Context(), schema.StreamDead, broker.ScanOptions{Seq: 3},
		func(s broker.Stored) error { third = s.Time; return broker.ErrStopScan }))
	_, got := follow(t, conn, schema.StreamDead, broker.FollowOptions{Since: third})
	require.Equal(t, numbers(3, 6), next(t, got, 3), "that was read when Follow returned")
	letters(t, conn, 1)
	require.Equal(t, []string{"1"}, next(t, got, 1))
}

func TestAFollowerNoticesThatTheStreamIsNotWhatItWas(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		lose func(t *testing.T, b *brokertest.Broker, conn *broker.Conn)
		want []string // what is read after it
		news []string // with New
	}{
		{
			name: "it was made anew",
			lose: func(t *testing.T, _ *brokertest.Broker, conn *broker.Conn) {
				require.NoError(t, conn.JS.DeleteStream(t.Context(), schema.StreamDead))
				brokertest.Provision(t, conn, brokertest.Spec())
			},
			want: []string{"new"},
			news: []string{"new"},
		},
		{
			name: "it was cut back, and is shorter now",
			lose: func(t *testing.T, b *brokertest.Broker, conn *broker.Conn) {
				back := brokertest.Reconnected(t, conn)
				b.Restore()
				brokertest.Await(t, back, "the reconnect")
			},
			want: []string{"1", "2", "3", "new"},
			news: []string{"new"},
		},
		{
			name: "it was cut back, and has grown again before anybody looked",
			lose: func(t *testing.T, b *brokertest.Broker, conn *broker.Conn) {
				back := brokertest.Reconnected(t, conn)
				b.Restore(func(other *broker.Conn) { letters(t, other, 2) })
				brokertest.Await(t, back, "the reconnect")
			},
			want: []string{"1", "2", "3", "1", "2", "new"},
			news: []string{"1", "2", "new"},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			b := brokertest.Start(t)
			conn := b.Connect()
			letters(t, conn, 3)
			back := brokertest.Reconnected(t, conn)
			b.Save()
			brokertest.Await(t, back, "the reconnect")
			_, news := follow(t, conn, schema.StreamDead, broker.FollowOptions{New: true})
			letters(t, conn, 2)
			next(t, news, 2)
			anew := make(chan struct{}, 10)
			_, got := follow(t, conn, schema.StreamDead, broker.FollowOptions{Anew: func() {
				anew <- struct{}{}
			}})
			next(t, got, 5)
			c.lose(t, b, conn)
			_, err := conn.Outbox.PublishWait(t.Context(),
				intentTo("kefu.dead.wx1.rejected", "new"))
			require.NoError(t, err)
			require.Equal(t, c.want, next(t, got, len(c.want)))
			require.Len(t, anew, 1)
			require.Empty(t, got)
			require.Equal(t, c.news, next(t, news, len(c.news)))
			require.Empty(t, news)
		})
	}
}
