package worker

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kefuhq/kefu/internal/broker/brokertest"
	"github.com/kefuhq/kefu/internal/gate"
	"github.com/kefuhq/kefu/internal/wechat"
	"github.com/kefuhq/kefu/schema"
)

// slowAPI is a Sender whose calls end when it is told to.
type slowAPI struct {
	token  func()        // getting one; nil: it is at hand
	stale  int           // how many times in each call the token is refused first
	answer chan struct{} // closed: calls end; nil: they end at once

	mu         sync.Mutex
	asked      time.Time   // before the first packet was permitted
	at         []time.Time // when packets left, or a little later
	live, bulk int         // calls that have begun
}

func (f *slowAPI) Deliver(ctx context.Context, m wechat.Message) error {
	if f.token != nil {
		f.token()
	}
	f.mu.Lock()
	if f.asked.IsZero() {
		f.asked = time.Now()
	}
	f.mu.Unlock()
	for range f.stale + 1 {
		if err := m.Before(); err != nil {
			return err
		}
		f.mu.Lock()
		f.at = append(f.at, time.Now())
		f.mu.Unlock()
	}
	f.mu.Lock()
	if strings.Contains(string(m.Packet), "live") {
		f.live++
	} else {
		f.bulk++
	}
	f.mu.Unlock()
	delays.call(ctx)
	if f.answer == nil {
		return nil
	}
	select {
	case <-f.answer:
		return nil
	case <-ctx.Done():
		return &wechat.Error{Call: wechat.CallSend, Fault: wechat.FaultUnknown, Err: ctx.Err()}
	}
}

// calls is how many have begun, of each lane.
func (f *slowAPI) calls() (live, bulk int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.live, f.bulk
}

// paced says that so many packets left, and not faster than a rate after the
// first few. That a goroutine was kept from noting when its packet left makes
// them look slower, never faster.
func (b *bed) paced(f *slowAPI, packets int, perSecond float64, few int) {
	b.t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	b.Len(f.at, packets)
	for i, at := range f.at {
		earliest := time.Duration(float64(i-few) / perSecond * float64(time.Second))
		b.GreaterOrEqual(at.Sub(f.asked), earliest, "packet %d", i)
	}
}

func TestWhatWaitedForATokenDoesNotLeaveAtOnce(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	token := make(chan struct{})
	var first sync.Once
	api := &slowAPI{token: func() {
		// Long enough for the rate to allow many.
		first.Do(func() { time.AfterFunc(500*time.Millisecond, func() { close(token) }) })
		<-token
	}}
	b.app.Sender, b.app.Rate = api, gate.Rate{PerSecond: 100, Burst: 1}
	const n = 100
	for i := range n {
		b.publish(bulk+"c", fmt.Sprint(i), "hello", "user1")
	}
	stop := b.start()
	for range n {
		b.Equal(schema.StateSent, b.receipt().State)
	}
	b.paced(api, n, 100, 8)
	b.NoError(stop())
}

func TestEachRequestAfterARefusedTokenTakesRate(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	api := &slowAPI{stale: 2}
	b.app.Sender, b.app.Rate = api, gate.Rate{PerSecond: 20, Burst: 1}
	stop := b.start()
	for i := range 5 {
		b.publish(bulk+"c", fmt.Sprint(i), "hello", "user1")
	}
	for range 5 {
		b.Equal(schema.StateSent, b.receipt().State)
	}
	b.paced(api, 15, 20, 3)
	b.NoError(stop())
}

func TestWhatCannotBeSentYetUsesUpNoRate(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	b.app.Rate = gate.Rate{PerSecond: 2, Burst: 1}
	at := time.Now().Add(time.Hour).UTC().Format(time.RFC3339)
	past := time.Now().Add(-time.Hour).UTC().Format(time.RFC3339)
	for i := range 100 {
		b.publish(bulk+"c", fmt.Sprint("later", i), "hello", "user1", schema.HeaderSendAt, at)
		b.publish(bulk+"c", fmt.Sprint("expired", i), "hello", "user1",
			schema.HeaderExpiresAt, past)
		b.publish(live+"user2", fmt.Sprint("invalid", i), "hello", "somebody else")
	}
	b.publish(bulk+"c", "now", "now", "user1")
	stop := b.start()
	// At the rate the 300 before it would take more than two minutes.
	b.await(func() bool { return b.posts("now") == 1 })
	b.NoError(stop())
}

func TestASlowAPITakesAllSlotsThatTheRateNeeds(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	api := &slowAPI{answer: make(chan struct{})}
	// In the time that a call takes here the rate fills all slots, many times what
	// half a second of it would.
	b.app.Sender, b.app.Rate, b.app.Concurrency = api, gate.Rate{PerSecond: 40, Burst: 4}, 60
	for i := range 100 {
		b.publish(bulk+"c", fmt.Sprint(i), "hello", "user1")
	}
	stop := b.start()
	b.await(func() bool { _, n := api.calls(); return n == 60 })
	close(api.answer)
	for range 100 {
		b.Equal(schema.StateSent, b.receipt().State)
	}
	b.NoError(stop())
}

func TestBulkLeavesSlotsToLive(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name       string
		process    int // slots
		app        int
		bulk, live int // calls at the same time
	}{
		{"of the app", 128, 20, 15, 5},
		{"of the process", 20, 20, 15, 5},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			b := newBed(t)
			api := &slowAPI{answer: make(chan struct{})}
			b.app.Sender, b.app.Rate, b.app.Concurrency = api, gate.Rate{LiveReserve: 0.25}, c.app
			b.concurrency = c.process
			for i := range 100 {
				b.publish(bulk+"c", fmt.Sprint("b", i), "bulk", "user1")
			}
			stop := b.start()
			b.await(func() bool { _, n := api.calls(); return n == c.bulk })
			for i := range 10 {
				user := fmt.Sprint("user", i)
				b.publish(live+user, user, "live", user)
			}
			b.await(func() bool { n, _ := api.calls(); return n == c.live })
			_, n := api.calls()
			b.Equal(c.bulk, n)
			close(api.answer)
			for range 110 {
				b.Equal(schema.StateSent, b.receipt().State)
			}
			b.NoError(stop())
		})
	}
}

func TestADistantBrokerKeepsNothingBack(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	b.app.Rate = gate.Rate{PerSecond: 100, Burst: 20, LiveReserve: 0.2}
	proxy := brokertest.NewProxyTo(t, strings.TrimPrefix(b.embedded.URL(), "nats://"))
	proxy.Delay(100 * time.Millisecond)
	const n = 200
	for i := range n {
		b.publish(bulk+"c", fmt.Sprint(i), "hello", "user1")
	}
	_, stop, _ := b.handAt("far", proxy.URL())
	for range n {
		b.Equal(schema.StateSent, b.receipt().State)
	}
	b.Equal(n, b.posts("hello"))
	b.NoError(stop())
}

func TestSlotsKeptForLive(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		share  float64
		slots  int
		inSlot time.Duration
		want   int
	}{
		{0.2, 128, 0, 25}, {0, 128, 0, 0}, {0.9, 1, 0, 0}, {1, 10, 0, 9}, {0.5, 2, 0, 1},
		{0.2, 128, 50 * time.Millisecond, 0}, {0.2, 128, time.Second, 12},
		{0.2, 128, 3 * time.Second, 21}, {0.2, 128, time.Hour, 25},
	} {
		require.Equal(t, c.want, keptFor(c.share, c.slots, c.inSlot), "%v of %d at %v",
			c.share, c.slots, c.inSlot)
	}
	one, two := &slotUser{}, &slotUser{}
	s := &slots{total: 3, free: 3}
	take := func(a *slotUser, lane schema.Lane) bool { return s.acquire(a, lane, 0.34, 0) }
	require.True(t, take(one, schema.LaneBulk))
	require.True(t, take(one, schema.LaneBulk))
	require.False(t, take(one, schema.LaneBulk), "the last is live's")
	require.True(t, take(two, schema.LaneLive))
	require.False(t, take(two, schema.LaneLive))
	require.Same(t, two, s.release(two, schema.LaneLive), "live first")
	require.Nil(t, s.returnUnused(two), "it has no use for it, and bulk may not have it")
	require.Same(t, one, s.release(one, schema.LaneBulk))
	require.True(t, take(one, schema.LaneBulk))
	require.False(t, take(one, schema.LaneBulk))
	require.True(t, s.acquire(one, schema.LaneBulk, 0.34, time.Millisecond),
		"calls end soon: nothing is kept")
}

func TestHowManyMayWaitInHand(t *testing.T) {
	t.Parallel()
	ms := time.Millisecond
	for name, c := range map[string]struct {
		slots        int
		perSecond    float64
		inSlot, trip time.Duration
		want         int
	}{
		"as many as there are slots, before anything is known":      {128, 0, 0, 0, 128},
		"half a second of the rate":                                 {128, 100, 10 * ms, 0, 50},
		"whatever a call takes":                                     {128, 100, 3000 * ms, 0, 50},
		"a few at least":                                            {128, 0.1, 10 * ms, 0, 4},
		"and two round trips of it":                                 {128, 100, 600 * ms, 500 * ms, 150},
		"without a rate as many as begin in two round trips more":   {128, 0, 70 * ms, 60 * ms, 347},
		"no more than slots can begin, whatever the rate":           {10, 5000, 1000 * ms, 100 * ms, 12},
		"where nothing takes time but the broker, very many indeed": {128, 0, ms, 500 * ms, maxAckPending},
	} {
		require.Equal(t, c.want, bufferOf(c.slots, c.perSecond, c.inSlot, c.trip), name)
	}
}
