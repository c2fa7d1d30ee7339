package publisher_test

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/kefuhq/kefu/internal/broker/brokertest"
	"github.com/kefuhq/kefu/publisher"
	"github.com/kefuhq/kefu/schema"
)

// Leaders change while it is published: nothing is lost, nothing doubled.
func TestLeaderChangesNeitherLoseNorDouble(t *testing.T) {
	t.Parallel()
	conn := brokertest.StartCluster(t, app).Connect()
	js := conn.JS
	queue := schema.SendStream(app)
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
				// One that has never heard of the app must not take an election for its absence.
				fresh := newPublisher(t, js, publisher.WithTimeout(brokertest.Patience))
				fresh.Election(time.Nanosecond)
				_, err := fresh.Publish(t.Context(), app, text("oAlice", "hi"),
					publisher.WithID(fmt.Sprintf("single-%d-%d", g, i)))
				if err != nil {
					t.Error(err)
				}
				if err := fresh.Close(); err != nil {
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
			_, _ = conn.NC.Request("$JS.API.STREAM.LEADER.STEPDOWN."+queue, nil, time.Second)
			continue
		}
		break
	}
	// The last change of leaders may not be over.
	require.Eventually(t, func() bool {
		s, err := js.Stream(t.Context(), queue)
		return err == nil && s.CachedInfo().State.Msgs == 4400
	}, brokertest.Patience, 100*time.Millisecond, "each is stored, and once")
	var c jetstream.Consumer
	require.Eventually(t, func() bool {
		var err error
		c, err = js.CreateOrUpdateConsumer(t.Context(), queue,
			jetstream.ConsumerConfig{Durable: "all", AckPolicy: jetstream.AckExplicitPolicy,
				AckWait: time.Hour, MaxAckPending: -1})
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
