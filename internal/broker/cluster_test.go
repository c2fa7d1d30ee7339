package broker_test

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/broker/brokertest"
	"github.com/kefuhq/kefu/schema"
)

func TestInAClusterNothingIsLostOrDoubledWhenLeadersChange(t *testing.T) {
	t.Parallel()
	c := brokertest.StartCluster(t)
	conn := c.Connect()
	_, got := follow(t, conn, schema.StreamDead, broker.FollowOptions{})
	const writers, each = 4, 300
	begun := make(chan struct{}, writers*each)
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := range each {
				begun <- struct{}{}
				r := <-publish(t, conn,
					intentTo("kefu.dead.wx1.rejected", fmt.Sprintf("%d-%d", w, i)))
				if r.err != nil {
					t.Error(r.err)
				}
			}
		})
	}
	for i := range 4 {
		for range writers * each / 6 {
			brokertest.Await(t, begun, "progress")
		}
		if i < 3 {
			c.StepDown(schema.StreamDead)
		} else {
			c.StopLeader(schema.StreamDead)
		}
	}
	wg.Wait()
	seen := make(map[string]bool)
	for _, s := range stored(t, conn, schema.StreamDead, broker.ScanOptions{}) {
		require.False(t, seen[string(s.Data)], "%s is stored twice", s.Data)
		seen[string(s.Data)] = true
	}
	require.Len(t, seen, writers*each)
	for i := range writers * each {
		require.EqualValues(t, i+1, brokertest.Await(t, got, "a message").Seq,
			"the follower misses nothing")
	}
	require.Empty(t, got)
}

func TestInAClusterAPullerGoesOnWhenLeadersChange(t *testing.T) {
	t.Parallel()
	c := brokertest.StartCluster(t, "wx1")
	conn := c.Connect()
	const n = 60
	p := newPulled(t, conn, n)
	seen := make(map[string]bool)
	p.Request(10)
	stop := time.After(3 * brokertest.Patience)
	for len(seen) < n {
		select {
		case m := <-p.got:
			if !seen[string(m.Data)] {
				seen[string(m.Data)] = true
				if len(seen) == n/3 {
					c.StepDownConsumer(queue, "bulk")
				}
			}
			require.NoError(t, conn.AckReply(m.Reply))
			p.Request(10)
		case why := <-p.lost: // whatever it was: a look at the consumer, and on
			t.Logf("lost: %v", why)
			require.Eventually(t, func() bool {
				_, err := conn.JS.CreateOrUpdateConsumer(t.Context(), queue,
					broker.BulkConsumer("wx1", 10000))
				return err == nil
			}, 2*brokertest.Patience, 50*time.Millisecond)
			p.Request(10)
		case <-time.After(broker.Silence):
			p.Check(time.Now().Add(broker.Silence))
		case <-stop:
			require.FailNow(t, "it stopped", "%d of %d", len(seen), n)
		}
	}
}

func TestAConnectionLeavesAServerThatIsGoingDown(t *testing.T) {
	t.Parallel()
	c := brokertest.StartCluster(t)
	conn := c.Connect()
	back := brokertest.Reconnected(t, conn)
	before := conn.NC.ConnectedServerName()
	ended := c.LameDuck(before)
	brokertest.Await(t, back, "the reconnect")
	require.NotEqual(t, before, conn.NC.ConnectedServerName())
	select {
	case <-ended:
		require.FailNow(t, "it was thrown out")
	default:
	}
	r := <-publish(t, conn, intentTo("kefu.dead.wx1.rejected", "1"))
	require.NoError(t, r.err)
	brokertest.Await(t, ended, "the end of the server")
}

func TestAConnectionGoesElsewhereOnce(t *testing.T) {
	t.Parallel()
	c := brokertest.StartCluster(t)
	conn := c.Connect()
	back := brokertest.Reconnected(t, conn)
	before := conn.NC.ConnectedServerName()
	conn.LeaveServer()
	brokertest.Await(t, back, "the reconnect")
	after := conn.NC.ConnectedServerName()
	require.NotEqual(t, before, after)
	conn.LeaveServer() // an election answers nothing either
	require.True(t, conn.NC.IsConnected())
	require.Equal(t, after, conn.NC.ConnectedServerName())
	require.EqualValues(t, 1, conn.NC.Stats().Reconnects)
}

func TestAConnectionToOneServerAloneStays(t *testing.T) {
	t.Parallel()
	conn := brokertest.New(t)
	conn.LeaveServer()
	require.True(t, conn.NC.IsConnected())
	require.Zero(t, conn.NC.Stats().Reconnects)
}
