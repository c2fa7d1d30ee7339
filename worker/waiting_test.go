package worker

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/gate"
	"github.com/kefuhq/kefu/internal/ledger"
	"github.com/kefuhq/kefu/internal/wire"
	"github.com/kefuhq/kefu/schema"
)

func TestALongerRetryGoesThroughLater(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	b.app.Retry.First = 1500 * time.Millisecond
	b.app.Retry.Cap = 1500 * time.Millisecond
	b.api.answer = func(_ string, n int) error {
		if n == 1 {
			return apiError(-1)
		}
		return nil
	}
	stop := b.start()
	b.publish(bulk+"c1", "one", "hello", "user1", "Kefu-Source", "crm")
	r := b.receiptOf("one")
	b.Equal(schema.StateSent, r.State)
	b.Equal(2, r.Attempts)
	b.Equal("crm", r.Source, "headers survive the waiting")
	b.Equal("c1", r.Campaign)
	b.NoError(stop())
}

func TestSendAtIsWaitedFor(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	stop := b.start()
	at := time.Now().Add(1700 * time.Millisecond)
	b.publish(live+"user1", "later", "hello", "user1", "Kefu-Send-At", at.Format(time.RFC3339Nano))
	soon := time.Now().Add(400 * time.Millisecond)
	b.publish(live+"user2", "soon", "hi", "user2", "Kefu-Send-At", soon.Format(time.RFC3339Nano))
	for range 2 {
		r := b.receipt()
		b.Equal(schema.StateSent, r.State)
		b.Equal(1, r.Attempts, "waiting for its time is no attempt")
		b.False(r.SettledAt.Before(map[string]time.Time{"soon": soon, "later": at}[r.ID]), r.ID)
	}
	b.NoError(stop())
}

func TestAReplayMayWaitForItsTimeToo(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	stop := b.start()
	at := time.Now().Add(1500 * time.Millisecond)
	env := wire.Envelope{Envelope: schema.Envelope{ID: "one", SendAt: at}, Generation: 2,
		Attempt: 1, PublishedAt: time.Now()}
	m := nats.NewMsg("kefu.again." + appID + ".live.user1")
	m.Header = nats.Header(env.Header())
	m.Header.Set("Nats-Msg-Id", wire.ReplayMsgID(appID, "one", 2, 1))
	m.Data = []byte(`{"touser":"user1","msgtype":"text","text":{"content":"hello"}}`)
	_, err := b.conn.Outbox.PublishWait(t.Context(), m)
	b.NoError(err)
	r := b.receiptOf("one")
	b.Equal(schema.StateSent, r.State)
	b.Equal(2, r.Generation)
	b.False(r.SettledAt.Before(at))
	b.NoError(stop())
}

func TestDeadlines(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	stop := b.start()
	b.publish(live+"user1", "late", "hello", "user1", "Kefu-Expires-At",
		time.Now().Add(-time.Second).Format(time.RFC3339))
	r := b.receiptOf("late")
	b.Equal(schema.StateDead, r.State)
	b.Equal(schema.ReasonExpired, r.Reason)
	b.Zero(b.posts("hello"))
	b.NoError(stop())
}

func TestADeadlineMayPassWhileATokenIsFetched(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	deadline := time.Now().Add(3 * time.Second)
	b.api.token = func() error {
		time.Sleep(time.Until(deadline)) // what is tested is the passing of time
		return nil
	}
	stop := b.start()
	b.publish(live+"user1", "late", "hello", "user1", "Kefu-Expires-At",
		deadline.Format(time.RFC3339Nano))
	r := b.receiptOf("late")
	b.Equal(schema.ReasonExpired, r.Reason)
	b.Zero(b.posts("hello"))
	b.NoError(stop())
}

func TestAHoldMayComeWhileATokenIsFetched(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	fetching, fetched := make(chan struct{}), make(chan struct{})
	var once sync.Once
	b.api.token = func() error {
		once.Do(func() { close(fetching); <-fetched })
		return nil
	}
	stop := b.start()
	b.publish(live+"user1", "one", "hello", "user1")
	<-fetching
	b.NoError(gate.Pause(t.Context(), b.conn, appID, "test", "me"))
	a := b.worker.current()[0]
	b.await(func() bool { _, held := a.gate.Held(); return held })
	close(fetched)
	b.await(func() bool { return a.holding() == 0 }, "it is given back")
	b.Zero(b.posts("hello"))
	b.NoError(gate.Resume(t.Context(), b.conn, appID))
	r := b.receiptOf("one")
	b.Equal(schema.StateSent, r.State)
	b.Equal(1, r.Attempts)
	b.NoError(stop())
}

func TestAWaitingIntentIsNotReplacedByARepeatOfItsID(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	stop := b.start()
	at := time.Now().Add(time.Hour).Format(time.RFC3339Nano)
	b.publish(live+"user1", "one", "first", "user1", "Kefu-Send-At", at)
	b.Eventually(func() bool { return b.queued() == 0 }, patience, 5*time.Millisecond)
	b.forgetDuplicates()
	b.publishAnew(live+"user1", "one", "second", "user1", "Kefu-Send-At", at)
	b.Equal(schema.ReasonIDReuse, b.receiptOf("one").Reason)
	var waits []string
	b.NoError(b.conn.Scan(t.Context(), wire.StreamLater, broker.ScanOptions{},
		func(s broker.Stored) error {
			waits = append(waits, string(s.Data))
			return nil
		}))
	b.Len(waits, 1)
	b.Contains(waits[0], "first")
	b.NoError(stop())
}

func TestABrokerClockThatIsAheadLosesNothing(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	stop := b.start()
	at := time.Now().Add(4 * time.Second)
	b.publish(live+"user1", "one", "hello", "user1", "Kefu-Send-At", at.Format(time.RFC3339Nano))
	later, err := b.conn.JS.Stream(t.Context(), wire.StreamLater)
	b.NoError(err)
	var waiting *jetstream.RawStreamMsg
	b.Eventually(func() bool {
		waiting, err = later.GetLastMsgForSubject(t.Context(), "kefu.later.wait.>")
		return err == nil
	}, patience, 5*time.Millisecond)
	b.NoError(later.DeleteMsg(t.Context(), waiting.Sequence))
	// As the broker publishes it when its clock says so.
	due := nats.NewMsg(wire.LaterDueSubject(appID))
	due.Data = waiting.Data
	for name, values := range waiting.Header {
		if !strings.HasPrefix(name, "Nats-") {
			due.Header[name] = values
		}
	}
	_, err = b.conn.Outbox.PublishWait(t.Context(), due)
	b.NoError(err)
	r := b.receiptOf("one")
	b.Equal(schema.StateSent, r.State)
	b.False(r.SettledAt.Before(at))
	b.NoError(stop())
}

func TestWhatWasSentIsNotBuriedByItsDeadline(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	stop := b.start()
	b.publish(bulk+"c", "one", "hello", "user1")
	b.Equal(schema.StateSent, b.receiptOf("one").State)
	b.forgetDuplicates()
	b.publishAnew(bulk+"c", "one", "hello", "user1", "Kefu-Expires-At",
		time.Now().Add(-time.Second).Format(time.RFC3339Nano))
	b.Equal(schema.StateSent, b.receiptOf("one").State,
		"a late repeat of what was sent is a repeat")
	b.Equal(1, b.posts("hello"))
	b.NoError(stop())
}

func TestAnAppHasAShareOfWhatWaits(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	b.app.MostLater = 3
	b.api.answer = func(text string, n int) error {
		if text == "again" && n == 1 {
			return apiError(-1)
		}
		return nil
	}
	b.app.Retry.First, b.app.Retry.Cap = 1500*time.Millisecond, 1500*time.Millisecond
	stop := b.start()
	at := time.Now().Add(time.Hour)
	for i := range 5 {
		b.publish(bulk+"c", fmt.Sprint("later", i), "hello", "user1", "Kefu-Send-At",
			at.Format(time.RFC3339Nano))
	}
	b.await(func() bool {
		apps := b.worker.current()
		return len(apps) == 1 && apps[0].laterShare.isFull()
	})
	b.await(func() bool { return b.queued() == 2 }, "what finds no room stays in the queue")
	n, err := b.conn.Count(t.Context(), wire.StreamLater, wire.LaterWaitFilter(appID))
	b.NoError(err)
	b.EqualValues(3, n)

	b.publish(bulk+"c", "one", "again", "user2")
	r := b.receiptOf("one")
	b.Equal(schema.StateSent, r.State, "a retry then waits here")
	b.Equal(2, r.Attempts)
	b.NoError(stop())
	b.await(func() bool { return b.queued() == 2 },
		"and is given back at a stop; the acknowledgement before it is not waited for")
}

// slowLedger takes its time for each Start, as one on a slow disk does.
type slowLedger struct{ intentLog }

func (s slowLedger) Write(m ledger.Mark, done func(ledger.Standing, error)) {
	if m.Kind != ledger.Start {
		s.intentLog.Write(m, done)
		return
	}
	time.AfterFunc(500*time.Millisecond, func() { s.intentLog.Write(m, done) })
}

func TestASlowLedgerCostsTimeAndNoSend(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	b.app.Rate = gate.Rate{PerSecond: 50, Burst: 10}
	w := b.make()
	w.wrapLedger = func(l intentLog) intentLog { return slowLedger{l} }
	stop := b.run(w)
	b.await(func() bool { return b.worker.reads() == 4 })
	const n = 20
	for i := range n {
		to := fmt.Sprint("u", i)
		b.publish(live+to, to, to+" 0", to)
	}
	for range n {
		r := b.receipt()
		b.Equal(schema.StateSent, r.State)
		b.Equal(1, r.Attempts)
	}
	b.NoError(stop())
}

func TestALetterTellsAllOfAnIntentThatWaited(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	b.app.Retry = Retry{Attempts: 12, First: time.Millisecond, Cap: time.Millisecond}
	b.api.answer = func(string, int) error { return apiError(-1) }
	stop := b.start()
	at := time.Now().Add(1500 * time.Millisecond).UTC()
	b.publish(bulk+"spring", "one", "hello", "user1", "Kefu-Send-At", at.Format(time.RFC3339Nano),
		"X-Order", "77", "Kefu-Source", "crm")
	b.Equal(schema.ReasonExhausted, b.receiptOf("one").Reason)
	letters := kept[schema.Letter](b, schema.StreamDead)
	b.Len(letters, 1)
	l := letters[0]
	b.Equal("kefu.send."+appID+".bulk.spring", l.Subject)
	b.Equal(map[string][]string{
		"Nats-Msg-Id": {"one"}, "Kefu-Send-At": {at.Format(time.RFC3339Nano)},
		"X-Order": {"77"}, "Kefu-Source": {"crm"},
	}, l.Header())
	b.Len(l.Attempts, 12)
	b.Equal(1, l.Attempts[0].Number)
	b.True(l.FirstAt.Equal(l.Attempts[0].At))
	b.NoError(stop())
}
