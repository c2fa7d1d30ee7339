package publisher_test

import (
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/broker/brokertest"
	"github.com/kefuhq/kefu/publisher"
	"github.com/kefuhq/kefu/schema"
)

// cluster starts three brokers that know each other and returns where one of them listens.
func cluster(t *testing.T) string {
	t.Helper()
	const n = 3
	var routes []*url.URL
	var ports []int
	for range n {
		address := netip.MustParseAddrPort(brokertest.FreeAddress(t))
		ports = append(ports, int(address.Port()))
		routes = append(routes, &url.URL{Scheme: "nats", Host: address.String()})
	}
	servers := make([]*server.Server, n)
	for i := range servers {
		s, err := server.NewServer(&server.Options{
			ServerName: fmt.Sprintf("n%d", i), Host: "127.0.0.1", Port: server.RANDOM_PORT,
			JetStream: true, StoreDir: t.TempDir(), NoSigs: true, NoLog: true, Routes: routes,
			Cluster: server.ClusterOpts{Name: "c", Host: "127.0.0.1", Port: ports[i]},
		})
		require.NoError(t, err)
		servers[i] = s
		s.Start()
		t.Cleanup(func() {
			s.Shutdown()
			s.WaitForShutdown()
		})
	}
	require.Eventually(t, func() bool {
		return slices.ContainsFunc(servers, func(s *server.Server) bool { return s.JetStreamIsLeader() })
	}, brokertest.Patience, 10*time.Millisecond)
	return servers[0].ClientURL()
}

// Leaders change while it is published: nothing is lost, nothing doubled.
func TestLeaderChangesNeitherLoseNorDouble(t *testing.T) {
	nc, err := nats.Connect(cluster(t))
	require.NoError(t, err)
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	require.NoError(t, err)
	cfg := broker.SendStream(brokertest.App(app))
	cfg.Replicas, cfg.AllowDirect, cfg.Storage = 3, true, jetstream.FileStorage
	require.Eventually(t, func() bool { _, err := js.CreateStream(t.Context(), cfg); return err == nil }, brokertest.Patience, 100*time.Millisecond)
	p := newPublisher(t, js, publisher.WithTimeout(brokertest.Patience))

	var all sync.WaitGroup
	all.Go(func() {
		results, err := p.PublishBatch(t.Context(), app, crowd(4000))
		if err != nil || len(results) != 4000 {
			t.Errorf("%d results: %v", len(results), err)
		}
	})
	for g := range 4 {
		all.Go(func() {
			for i := range 100 {
				_, err := p.Publish(t.Context(), app, text("oAlice", "hi"), publisher.WithID(fmt.Sprintf("single-%d-%d", g, i)))
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	done := make(chan struct{})
	go func() { all.Wait(); close(done) }()
	for changes := 0; ; changes++ {
		select {
		case <-done:
			require.Positive(t, changes)
		case <-time.After(100 * time.Millisecond):
			_, _ = nc.Request("$JS.API.STREAM.LEADER.STEPDOWN."+cfg.Name, nil, time.Second)
			continue
		}
		break
	}
	// The last change of leaders may not be over.
	require.Eventually(t, func() bool {
		s, err := js.Stream(t.Context(), cfg.Name)
		return err == nil && s.CachedInfo().State.Msgs == 4400
	}, brokertest.Patience, 100*time.Millisecond, "each is stored, and once")
	var c jetstream.Consumer
	require.Eventually(t, func() bool {
		c, err = js.CreateOrUpdateConsumer(t.Context(), cfg.Name, jetstream.ConsumerConfig{Durable: "all", AckPolicy: jetstream.AckExplicitPolicy, AckWait: time.Hour, MaxAckPending: -1})
		return err == nil
	}, brokertest.Patience, 100*time.Millisecond)
	seen := make(map[string]bool)
	for len(seen) < 4400 {
		batch, err := c.Fetch(1000, jetstream.FetchMaxWait(time.Second))
		require.NoError(t, err)
		for m := range batch.Messages() {
			id := m.Headers().Get(schema.HeaderMsgID)
			require.False(t, seen[id], id)
			seen[id] = true
		}
	}
}
