package broker_test

import (
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/broker/brokertest"
	"github.com/kefuhq/kefu/schema"
)

func TestWhetherTheBrokerIsThereIsKnownWhileAWriteIsStuck(t *testing.T) {
	t.Parallel()
	b := brokertest.Bare(t)
	way := brokertest.NewStickyWay(b.Embedded().Server)
	conn := b.ConnectWith(broker.Options{InProcess: way})
	way.Stick()
	var writing sync.WaitGroup
	defer writing.Wait()
	defer way.Release()
	writing.Go(func() { conn.Outbox.Publish(nats.NewMsg("fake.a"), nil) })
	brokertest.Await(t, way.Stuck, "the write that is stuck")
	answered := make(chan bool, 1)
	go func() {
		_, _, _, _ = conn.Unread(), conn.Outbox.Pending(), conn.Outbox.Oldest(), conn.Denied()
		answered <- conn.Connected() && !conn.Since().IsZero()
	}()
	require.True(t, brokertest.Await(t, answered, "an answer while the write is stuck"))
}

func TestABrokerThatReadsNoMoreIsLeftWithinALease(t *testing.T) {
	t.Parallel()
	b := brokertest.Bare(t)
	p := brokertest.NewProxy(t, b)
	conn := p.Connect()
	p.Choke()
	done := make(chan struct{})
	go func() { // more than the buffers on the way hold, and no more: the outbox keeps it all
		defer close(done)
		for data := make([]byte, 64<<10); conn.Connected(); {
			conn.Outbox.Publish(&nats.Msg{Subject: "fake.a", Data: data}, nil)
		}
	}()
	// The default of the library is a minute, and then it would keep the connection.
	require.Eventually(t, func() bool { return !conn.Connected() }, 30*time.Second,
		time.Millisecond)
	brokertest.Await(t, done, "the write that was stuck")
	require.Zero(t, conn.Since())
	back := brokertest.Reconnected(t, conn)
	p.Mend()
	brokertest.Await(t, back, "the reconnect")
	require.True(t, conn.Connected())
}

// failing is a way to the server on which one write fails, of which nothing was
// written, when it is told so.
type failing struct {
	to     nats.InProcessConnProvider
	broken atomic.Bool
}

func (f *failing) InProcessConn() (net.Conn, error) {
	c, err := f.to.InProcessConn()
	return failingConn{c, f}, err
}

type failingConn struct {
	net.Conn
	f *failing
}

func (c failingConn) Write(b []byte) (int, error) {
	if c.f.broken.CompareAndSwap(true, false) {
		return 0, os.ErrDeadlineExceeded
	}
	return c.Conn.Write(b)
}

func TestWhatCouldNotBeWrittenIsNotForgottenOnTheSameConnection(t *testing.T) {
	t.Parallel()
	b := brokertest.Bare(t)
	way := &failing{to: b.Embedded().Server}
	conn := b.ConnectWith(broker.Options{InProcess: way})
	back := brokertest.Reconnected(t, conn)
	way.broken.Store(true)
	got := make(chan string, 1)
	_, err := conn.NC.Subscribe("fake.a", func(m *nats.Msg) { got <- string(m.Data) })
	require.NoError(t, err)
	brokertest.Await(t, back, "a connection that can be written to")
	require.NoError(t, b.Connect().NC.Publish("fake.a", []byte("heard")))
	require.Equal(t, "heard", brokertest.Await(t, got, "the message"))
}

func TestAShortAbsenceIsNoNewBeginning(t *testing.T) {
	t.Parallel()
	now := time.Now()
	before := now.Add(-time.Hour)
	for _, c := range []struct {
		name        string
		there, gone time.Time
		want        time.Time
	}{
		{"the first connection", time.Time{}, time.Time{}, now},
		{"it was away for a moment", before, now.Add(-time.Second), before},
		{"it was away for longer", before, now.Add(-broker.ShortAbsence), now},
		{"it never was away", before, time.Time{}, now},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			require.Equal(t, c.want, broker.Beginning(c.there, c.gone, now))
		})
	}
}

func TestAFollowerThatCannotReadSaysWhy(t *testing.T) {
	t.Parallel()
	conn := brokertest.New(t)
	_, got := follow(t, conn, schema.StreamDead, broker.FollowOptions{})
	require.Empty(t, conn.Unread())
	s, err := conn.JS.Stream(t.Context(), schema.StreamDead)
	require.NoError(t, err)
	cfg := s.CachedInfo().Config
	require.NoError(t, conn.JS.DeleteStream(t.Context(), schema.StreamDead))
	require.Eventually(t, func() bool {
		unread := conn.Unread()
		return len(unread) == 1 && unread[0].Stream == schema.StreamDead &&
			strings.Contains(unread[0].Why, "stream not found")
	}, brokertest.Patience, time.Millisecond)
	since := conn.Unread()[0].Since
	_, err = conn.JS.CreateStream(t.Context(), cfg)
	require.NoError(t, err)
	require.False(t, since.IsZero())
	letters(t, conn, 1)
	brokertest.Await(t, got, "a letter")
	require.Eventually(t, func() bool { return len(conn.Unread()) == 0 }, brokertest.Patience,
		time.Millisecond)
}
