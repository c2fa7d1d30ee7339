package worker

import (
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/gate"
	"github.com/kefuhq/kefu/internal/ledger"
	"github.com/kefuhq/kefu/schema"
)

// renewQueue deletes the app's queue, with all that it holds, and makes it anew.
func (b *bed) renewQueue() {
	b.t.Helper()
	s, err := b.conn.JS.Stream(b.t.Context(), schema.SendStream(appID))
	b.NoError(err)
	cfg := s.CachedInfo().Config
	b.NoError(b.conn.JS.DeleteStream(b.t.Context(), cfg.Name))
	_, err = b.conn.JS.CreateStream(b.t.Context(), cfg)
	b.NoError(err)
}

func TestARepeatGoesOnWhenTheFirstIsGoneWithItsQueue(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	var held atomic.Bool
	held.Store(true)
	b.api.answer = func(string, int) error {
		if held.Load() {
			return apiError(40164)
		}
		return nil
	}
	b.publish(bulk+"c1", "first", "first", "u0")
	stop := b.start()
	b.await(func() bool {
		holds, err := gate.Holds(t.Context(), b.conn)
		return err == nil && len(holds[appID]) == 1
	})
	b.NoError(stop())
	refused := b.posts("first")
	b.renewQueue()
	held.Store(false)
	b.publish(bulk+"c1", "other", "other", "u1")
	// From the producer's own records: its publish was accepted.
	b.publish(bulk+"c1", "first", "first", "u0")
	b.publish(bulk+"c1", "first", "first", "u0")
	b.NoError(gate.Resume(t.Context(), b.conn, appID))
	stop = b.start()
	ends := map[string]schema.Receipt{}
	for range 2 {
		r := b.receipt()
		ends[r.ID] = r
	}
	b.Equal(schema.StateSent, ends["first"].State)
	b.Equal(1, ends["first"].Attempts)
	b.False(ends["first"].PossibleDuplicate)
	b.Equal(refused+1, b.posts("first"))
	b.Equal(schema.StateSent, ends["other"].State)
	b.await(func() bool { return b.queued() == 0 })
	b.NoError(stop())
}

func TestARepeatOfWhatHadBegunInAQueueThatIsGoneIsAPossibleDuplicate(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	b.publish(bulk+"c1", "first", "first", "u0")
	m := b.first("first", "first", "u0", ledger.Start)
	m.Attempt = 1
	b.mark("dead-one", m)
	b.renewQueue()
	b.publish(bulk+"c1", "first", "first", "u0")
	stop := b.start()
	r := b.receiptOf("first")
	b.Equal(schema.StateSent, r.State)
	b.Equal(2, r.Attempts)
	b.True(r.PossibleDuplicate)
	b.Equal(1, b.posts("first"))
	b.NoError(stop())
}

func TestAMessageThatTakesAnothersPlaceIsNotAcknowledgedByIt(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	calls, end := b.answersLate()
	b.publish(bulk+"c1", "first", "first", "u0")
	stop := b.start()
	<-calls
	a := b.worker.current()[0]
	l := a.lanes[len(a.lanes)-1]
	a.mu.Lock()
	first := a.scheduler.inHand[1]
	a.mu.Unlock()
	meta, ok := broker.ParseDelivery(first.getReply())
	b.True(ok)

	// The queue was deleted and made anew, and another worker has made the lane's
	// consumer before this one knew: sequences begin at 1 again.
	reply := strings.Replace(first.getReply(), fmt.Sprint(meta.Stored.UnixNano()),
		fmt.Sprint(time.Now().UnixNano()), 1)
	m := nats.NewMsg(bulk + "c1")
	m.Reply, m.Data = reply, packet("second", "u1")
	m.Header.Set(schema.HeaderMsgID, "second")
	a.arrive(l, nil, m)
	b.Empty(first.getReply(), "that is the second one's now")
	a.mu.Lock()
	b.Equal(1, l.line.inHand)
	a.mu.Unlock()
	close(end)
	b.await(func() bool { return b.posts("second") == 1 })
	b.NoError(stop())
}
