package worker

import (
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/broker/brokertest"
	"github.com/kefuhq/kefu/internal/gate"
	"github.com/kefuhq/kefu/schema"
)

// proxy is a way to the bed's broker that can be disturbed.
func (b *bed) proxy() *brokertest.Proxy {
	b.t.Helper()
	u, err := url.Parse(b.embedded.URL())
	b.NoError(err)
	return brokertest.NewProxyTo(b.t, u.Host)
}

// unsettled is how many intents the live shards have handed out.
func (b *bed) unsettled() (n int) {
	b.t.Helper()
	s, err := b.conn.JS.Stream(b.t.Context(), schema.SendStream(appID))
	b.NoError(err)
	for i := range s.ListConsumers(b.t.Context()).Info() {
		if strings.HasPrefix(i.Name, "live") {
			n += i.NumAckPending
		}
	}
	return n
}

func TestADeliveryThatIsLostOnItsWayChangesNoOrder(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	p := b.proxy()
	w, stop, _ := b.handAt("one", p.URL())
	b.publish(live+"u1", "m0", "u1 0", "u1")
	b.receiptOf("m0")
	b.await(func() bool { return b.unsettled() == 0 })
	back := brokertest.Reconnected(t, w.conn)
	p.Deafen()
	b.publish(live+"u1", "m1", "u1 1", "u1")
	b.await(func() bool { return b.unsettled() == 1 }, "it is on its way, and never arrives")
	p.Cut()
	p.Mend()
	brokertest.Await(t, back, "the reconnect")
	b.publish(live+"u1", "m2", "u1 2", "u1")
	b.receiptOf("m1")
	b.receiptOf("m2")
	b.inOrder()
	b.NoError(stop())
}

func TestAHoldWhileALaneIsMendedChangesNoOrder(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	b.app.Concurrency = 1
	answer := make(chan struct{})
	b.api.answer = func(text string, _ int) error {
		if text == "x 0" {
			<-answer
		}
		return nil
	}
	p := b.proxy()
	w, stop, _ := b.handAt("one", p.URL())
	b.await(func() bool { return w.reads() == 4 })
	b.publish(live+"x", "x0", "x 0", "x")
	b.await(func() bool { return b.posts("x 0") == 1 })
	a := w.current()[0]
	b.publish(live+"u1", "m0", "u1 0", "u1")
	b.await(func() bool { return a.holding() == 2 }, "it waits for the slot")

	p.Stall()
	for _, l := range a.lanes {
		l.lost(broker.ErrSilent)
	}
	close(answer)
	a.gate.Hold(gate.Hold{Kind: gate.Upstream, Reason: "test"}, gate.Permission{},
		time.Time{}, time.Now())
	b.await(func() bool {
		a.mu.Lock()
		defer a.mu.Unlock()
		return a.scheduler.phase == closing && a.scheduler.running == 0
	}, "the hold waits for the puller, and the lane for the broker")
	p.Mend()
	b.publish(live+"u1", "m1", "u1 1", "u1")
	for range 3 {
		b.receipt()
	}
	b.inOrder()
	b.NoError(stop())
}
