package brokertest

import (
	"context"
	"fmt"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/stretchr/testify/require"

	"github.com/kefuhq/kefu/internal/broker"
)

// Cluster is three brokers in this process, every stream on each of them.
type Cluster struct {
	t       testing.TB
	Servers []*server.Server
}

// StartCluster starts three brokers with the streams of some apps, in three
// replicas; they end with the test.
func StartCluster(t testing.TB, apps ...string) *Cluster {
	t.Helper()
	c := &Cluster{t: t}
	const nodes = 3
	var routes []*url.URL
	ports := make([]int, nodes)
	for i := range ports {
		address := netip.MustParseAddrPort(FreeAddress(t))
		ports[i] = int(address.Port())
		routes = append(routes, &url.URL{Scheme: "nats", Host: address.String()})
	}
	for i, port := range ports {
		s, err := server.NewServer(&server.Options{
			ServerName: fmt.Sprint("n", i), Host: "127.0.0.1", Port: server.RANDOM_PORT,
			NoSigs: true, NoLog: true,
			JetStream: true, StoreDir: t.TempDir(),
			Cluster:             server.ClusterOpts{Name: "kefu", Host: "127.0.0.1", Port: port},
			Routes:              routes,
			LameDuckGracePeriod: 5 * time.Second, LameDuckDuration: 6 * time.Second,
		})
		require.NoError(t, err)
		c.Servers = append(c.Servers, s)
		t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
		s.Start()
	}
	require.Eventually(t, func() bool {
		for _, s := range c.Servers {
			if s.JetStreamIsLeader() && len(s.JetStreamClusterPeers()) == nodes {
				return true
			}
		}
		return false
	}, Patience, 10*time.Millisecond, "the cluster elects its leader")

	spec := Spec(apps...)
	spec.Replicas = nodes
	conn := c.Connect()
	defer conn.Close()
	// a cluster that is young may leave a question without an answer
	require.Eventually(t, func() bool {
		plan, err := broker.NewPlan(t.Context(), conn.JS, spec)
		if err == nil {
			_, err = plan.Apply(t.Context(), conn.JS, false)
		}
		return err == nil
	}, Patience, 50*time.Millisecond, "the cluster takes its objects")
	return c
}

// Connect makes a connection to one of them that ends with the test.
func (c *Cluster) Connect() *broker.Conn {
	c.t.Helper()
	urls := make([]string, 0, len(c.Servers))
	for _, s := range c.Servers {
		urls = append(urls, s.ClientURL())
	}
	ctx, cancel := context.WithTimeout(c.t.Context(), Patience)
	defer cancel()
	conn, err := broker.Connect(ctx, broker.Options{URL: strings.Join(urls, ","), Name: c.t.Name()})
	require.NoError(c.t, err)
	c.t.Cleanup(conn.Close)
	return conn
}

// StepDown has a stream's leader hand its office to another.
func (c *Cluster) StepDown(stream string) {
	c.t.Helper()
	for _, s := range c.Servers {
		if s.JetStreamIsStreamLeader(server.DEFAULT_GLOBAL_ACCOUNT, stream) {
			require.NoError(c.t, s.JetStreamStepdownStream(server.DEFAULT_GLOBAL_ACCOUNT, stream))
			return
		}
	}
}

// StepDownConsumer is StepDown of one consumer.
func (c *Cluster) StepDownConsumer(stream, consumer string) {
	c.t.Helper()
	for _, s := range c.Servers {
		if s.JetStreamIsConsumerLeader(server.DEFAULT_GLOBAL_ACCOUNT, stream, consumer) {
			require.NoError(c.t,
				s.JetStreamStepdownConsumer(server.DEFAULT_GLOBAL_ACCOUNT, stream, consumer))
			return
		}
	}
}

// StopLeader shuts down the broker that leads a stream.
func (c *Cluster) StopLeader(stream string) {
	c.t.Helper()
	for _, s := range c.Servers {
		if s.JetStreamIsStreamLeader(server.DEFAULT_GLOBAL_ACCOUNT, stream) {
			s.Shutdown()
			s.WaitForShutdown()
			return
		}
	}
	require.FailNow(c.t, "nobody leads "+stream)
}

// LameDuck has a broker say that it is going down, and go down: it begins to
// close connections 5 s later. The channel is closed when it has ended.
func (c *Cluster) LameDuck(name string) <-chan struct{} {
	c.t.Helper()
	ended := make(chan struct{})
	for _, s := range c.Servers {
		if s.Name() == name {
			go func() {
				defer close(ended)
				s.LameDuckShutdown()
			}()
			return ended
		}
	}
	require.FailNow(c.t, "no broker "+name)
	return nil
}
