package worker

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kefuhq/kefu/internal/gate"
	"github.com/kefuhq/kefu/internal/wechat"
	"github.com/kefuhq/kefu/internal/withdrawal"
	"github.com/kefuhq/kefu/schema"
)

func TestASentIntentHasAReceipt(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	stop := b.start()
	b.publish(live+"user1", "one", "hello", "user1", "Kefu-Source", "orders")
	r := b.receiptOf("one")
	b.Equal(schema.StateSent, r.State)
	b.Equal(1, r.Attempts)
	b.Equal("orders", r.Source)
	b.False(r.PossibleDuplicate)
	b.Eventually(func() bool { return b.queued() == 0 }, patience, 5*time.Millisecond)
	b.NoError(stop())
}

func TestBusyTwiceThenSent(t *testing.T) {
	t.Parallel()
	for _, lane := range []string{live + "user1", bulk + "c1"} {
		b := newBed(t)
		b.api.answer = func(_ string, n int) error {
			if n <= 2 {
				return apiError(-1)
			}
			return nil
		}
		stop := b.start()
		b.publish(lane, "one", "hello", "user1")
		r := b.receiptOf("one")
		b.Equal(schema.StateSent, r.State)
		b.Equal(3, r.Attempts)
		b.NoError(stop())
	}
}

func TestUnknownOutcomes(t *testing.T) {
	t.Parallel()
	unknown := func(string, int) error {
		return &wechat.Error{Call: wechat.CallSend, Fault: wechat.FaultUnknown}
	}
	once := func(_ string, n int) error {
		if n == 1 {
			return unknown("", 0)
		}
		return nil
	}
	rows := []struct {
		name      string
		answer    func(string, int) error
		header    []string
		state     schema.State
		reason    schema.Reason
		posts     int
		duplicate bool
	}{
		{"resend sends once more", once, nil, schema.StateSent, "", 2, true},
		{
			"and gives up after the second", unknown, nil, schema.StateDead, schema.ReasonUnknown,
			2,
			true,
		},
		{
			"park gives up at once", once, []string{"Kefu-Unknown", "park"}, schema.StateDead,
			schema.ReasonUnknown, 1,
			true,
		},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			b := newBed(t)
			b.api.answer = row.answer
			stop := b.start()
			b.publish(live+"user1", "one", "hello", "user1", row.header...)
			r := b.receiptOf("one")
			b.Equal(row.state, r.State)
			b.Equal(row.reason, r.Reason)
			b.Equal(row.duplicate, r.PossibleDuplicate)
			b.Equal(row.posts, b.posts("hello"))
			b.NoError(stop())
		})
	}
}

func TestARepeatIsSentOnce(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	stop := b.start()
	b.publish(live+"user1", "one", "hello", "user1")
	b.Equal(schema.StateSent, b.receiptOf("one").State)

	// Past the broker's duplicate window the ledger has to know: a stream that was
	// purged of its memory stands for that.
	b.forgetDuplicates()
	b.publishAnew(live+"user1", "one", "hello", "user1")
	r := b.receiptOf("one")
	b.Equal(schema.StateSent, r.State, "who repeats a publish may wait for its receipt")
	b.Equal(1, r.Attempts)
	b.forgetDuplicates()
	b.publishAnew(live+"user1", "one", "another text", "user1")
	r = b.receiptOf("one")
	b.Equal(schema.StateDead, r.State)
	b.Equal(schema.ReasonIDReuse, r.Reason)
	b.Equal(1, b.posts("hello"))
	b.Zero(b.posts("another text"))
	b.Eventually(func() bool { return b.queued() == 0 }, patience, 5*time.Millisecond)
	b.NoError(stop())
}

// forgetDuplicates shortens the stream's duplicate window so that it has passed.
func (b *bed) forgetDuplicates() {
	b.t.Helper()
	s, err := b.conn.JS.Stream(b.t.Context(), schema.SendStream(appID))
	b.NoError(err)
	cfg := s.CachedInfo().Config
	cfg.Duplicates = 100 * time.Millisecond
	_, err = b.conn.JS.UpdateStream(b.t.Context(), cfg)
	b.NoError(err)
}

// publishAnew publishes an id once more, past the broker's duplicate window.
func (b *bed) publishAnew(subject, id, text, touser string, header ...string) {
	b.t.Helper()
	b.Eventually(func() bool { return !b.publish(subject, id, text, touser, header...).Duplicate },
		patience, 20*time.Millisecond)
}

func TestTheIDOfADeadIntentCanBePublishedAgain(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	b.api.answer = func(_ string, n int) error {
		if n == 1 {
			return apiError(45015)
		}
		return nil
	}
	stop := b.start()
	b.publish(live+"user1", "one", "hello", "user1")
	r := b.receiptOf("one")
	b.Equal(schema.ReasonRecipient, r.Reason)
	b.Equal(1, r.Generation)
	b.forgetDuplicates()
	b.publishAnew(live+"user1", "one", "hello", "user1")
	r = b.receiptOf("one")
	b.Equal(schema.StateSent, r.State)
	b.Equal(2, r.Generation)
	b.NoError(stop())
}

func TestOneRecipientsIntentsGoOutInOrder(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	b.app.HoldBack = 10 * time.Second
	const users, each = 10, 20
	b.api.answer = func(text string, n int) error {
		if n == 1 && strings.HasSuffix(text, "7") { // each of these holds back those behind it
			return apiError(-1)
		}
		return nil
	}
	for i := range each {
		for u := range users {
			user := fmt.Sprintf("u%d", u)
			b.publish(live+user, fmt.Sprintf("%s-%d", user, i), fmt.Sprintf("%s-%d", user, i), user)
		}
	}
	stop := b.start()
	for range users * each {
		b.Equal(schema.StateSent, b.receipt().State)
	}
	b.NoError(stop())
	next := map[string]int{}
	for _, text := range b.api.order {
		user, number, _ := strings.Cut(text, "-")
		i, err := strconv.Atoi(number)
		b.NoError(err)
		if i == next[user]-1 { // the second attempt of what was busy
			continue
		}
		b.Equal(next[user], i, "%s out of order", user)
		next[user]++
	}
}

func TestAHoldSpendsNothingAndEndsWithATrial(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	var down atomic.Bool
	down.Store(true)
	b.api.answer = func(string, int) error {
		if down.Load() {
			return &wechat.Error{Call: wechat.CallToken, Fault: wechat.FaultUpstream,
				Err: errors.New("connection refused")}
		}
		return nil
	}
	stop := b.start()
	const n = 200
	for i := range n {
		b.publish(live+fmt.Sprintf("u%d", i%20), fmt.Sprintf("id%d", i), "t",
			fmt.Sprintf("u%d", i%20))
	}
	b.Eventually(func() bool {
		holds, err := gate.Holds(b.t.Context(), b.conn)
		return err == nil && len(holds[appID]) == 1 && holds[appID][0].Kind == gate.Upstream
	}, patience, 10*time.Millisecond)
	b.EqualValues(n, b.queued())
	down.Store(false)
	for range n {
		r := b.receipt()
		b.Equal(schema.StateSent, r.State)
		b.Equal(1, r.Attempts)
	}
	b.Eventually(func() bool {
		holds, err := gate.Holds(b.t.Context(), b.conn)
		return err == nil && len(holds[appID]) == 0
	}, patience, 10*time.Millisecond, "the hold is lifted for everybody")
	b.NoError(stop())
}

func TestAWithdrawnIntentIsNotSent(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	b.NoError(gate.Pause(b.t.Context(), b.conn, appID, "test", "me"))
	stop := b.start()
	b.publish(live+"user1", "one", "hello", "user1")
	b.NoError(withdrawal.Write(b.t.Context(), b.conn, appID, "one",
		withdrawal.Order{Cancellation: schema.Cancellation{Generation: 1}}, time.Hour))
	b.NoError(gate.Resume(b.t.Context(), b.conn, appID))
	r := b.receiptOf("one")
	b.Equal(schema.StateCancelled, r.State)
	b.Zero(b.posts("hello"))
	b.NoError(stop())
}

func TestAQueueMadeAnewMakesNewDefaultIDs(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	stop := b.start()
	nameless := func() {
		_, err := b.conn.JS.Publish(b.t.Context(), bulk+"c1",
			[]byte(`{"touser":"user1","msgtype":"text","text":{"content":"hello"}}`))
		b.NoError(err)
	}
	nameless()
	first := b.receipt()
	s, err := b.conn.JS.Stream(t.Context(), schema.SendStream(appID))
	b.NoError(err)
	cfg := s.CachedInfo().Config
	b.Eventually(func() bool { return b.queued() == 0 }, patience, 5*time.Millisecond)
	b.NoError(b.conn.JS.DeleteStream(t.Context(), cfg.Name))
	b.Eventually(func() bool { return len(b.worker.Troubles()) > 0 }, patience, 5*time.Millisecond)
	_, err = b.conn.JS.CreateStream(t.Context(), cfg)
	b.NoError(err)
	nameless() // under the sequence that the first one had
	b.NotEqual(first.ID, b.receipt().ID)
	b.Equal(2, b.posts("hello"))
	b.NoError(stop())
}

func TestAQueueMadeAnewWhileAnIntentIsInHandLosesNothing(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	answer := make(chan struct{})
	b.api.answer = func(text string, _ int) error {
		if text == "old" {
			<-answer
		}
		return nil
	}
	stop := b.start()
	old := b.publish(live+"user1", "old", "old", "user1")
	b.await(func() bool { return b.posts("old") == 1 })
	s, err := b.conn.JS.Stream(t.Context(), schema.SendStream(appID))
	b.NoError(err)
	cfg := s.CachedInfo().Config
	b.NoError(b.conn.JS.DeleteStream(t.Context(), cfg.Name))
	b.await(func() bool { return len(b.worker.Troubles()) > 0 })
	_, err = b.conn.JS.CreateStream(t.Context(), cfg)
	b.NoError(err)
	b.Equal(old.Seq, b.publish(live+"user2", "new", "new", "user2").Seq)
	b.receiptOf("new")
	close(answer)
	b.receiptOf("old")
	b.await(func() bool { return b.queued() == 0 })
	b.Equal(1, b.posts("new"))
	b.NoError(stop())
}
