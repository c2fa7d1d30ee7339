package worker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/gate"
	"github.com/kefuhq/kefu/internal/ledger"
	"github.com/kefuhq/kefu/internal/pool"
	"github.com/kefuhq/kefu/internal/wechat"
	"github.com/kefuhq/kefu/schema"
)

const appID = "wx0000000000000001"

// fakeAPI is a Sender that answers as its script says.
type fakeAPI struct {
	mu     sync.Mutex
	posts  map[string]int
	order  []string
	answer func(text string, n int) error
	hang   bool
}

func (f *fakeAPI) Send(ctx context.Context, packet []byte) error {
	var p struct {
		Text struct{ Content string } `json:"text"`
	}
	if err := json.Unmarshal(packet, &p); err != nil {
		return err
	}
	f.mu.Lock()
	f.posts[p.Text.Content]++
	n := f.posts[p.Text.Content]
	f.order = append(f.order, p.Text.Content)
	f.mu.Unlock()
	if f.hang {
		<-ctx.Done()
		return &wechat.Error{Call: wechat.CallSend, Fault: wechat.FaultUnknown, Err: ctx.Err()}
	}
	if f.answer == nil {
		return nil
	}
	return f.answer(p.Text.Content, n)
}

type bed struct {
	*require.Assertions
	t        *testing.T
	embedded *broker.Embedded
	conn     *broker.Conn
	api      *fakeAPI
	app      App
	grace    time.Duration
	worker   *Worker // the one started last
	receipts chan schema.Receipt
}

func newBed(t *testing.T) *bed {
	t.Helper()
	r := require.New(t)
	e, err := broker.StartEmbedded(broker.EmbeddedOptions{Listen: "127.0.0.1:0", Dir: t.TempDir()})
	r.NoError(err)
	conn, err := broker.Connect(t.Context(), broker.Options{URL: e.URL(), Name: "test"})
	r.NoError(err)
	t.Cleanup(conn.Close)
	plan, err := broker.NewPlan(t.Context(), conn.JS, broker.Spec{Replicas: 1, LedgerKeep: time.Hour, Apps: []broker.AppSpec{{
		AppID: appID, LiveShards: 4, DuplicateWindow: time.Minute, QueueMessages: 100000, QueueBytes: 1 << 30}}})
	r.NoError(err)
	_, err = plan.Apply(t.Context(), conn.JS, false)
	r.NoError(err)
	b := &bed{Assertions: r, t: t, embedded: e, conn: conn, grace: 5 * time.Second, api: &fakeAPI{posts: make(map[string]int)}, receipts: make(chan schema.Receipt, 10000)}
	b.app = App{ID: appID, Sender: b.api, Rate: gate.Rate{}, Concurrency: 64,
		Retry: Retry{Attempts: 6, First: 20 * time.Millisecond, Cap: time.Second}, OnUnknown: schema.Resend,
		ExpireAfter: time.Hour, HoldBack: 5 * time.Second}
	t.Cleanup(func() { b.embedded.Close() })
	_, err = conn.NC.Subscribe("kefu.receipt.>", func(m *nats.Msg) {
		var rec schema.Receipt
		if json.Unmarshal(m.Data, &rec) == nil {
			b.receipts <- rec
		}
	})
	r.NoError(err)
	return b
}

func (b *bed) start() (stop func() error) {
	b.t.Helper()
	log := slog.New(slog.DiscardHandler)
	if os.Getenv("KEFU_TEST_LOG") != "" {
		log = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	w, err := New(Config{Process: pool.Worker{Name: pool.NewName("test")}, Apps: []App{b.app}, Concurrency: 128,
		Grace: b.grace, Receipts: ReceiptsAll, Ledger: true, LedgerKeep: time.Hour, Log: log}, b.conn)
	b.NoError(err)
	b.worker = w
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- w.Run(ctx, nil) }()
	return func() error {
		cancel()
		select {
		case err := <-done:
			return err
		case <-time.After(20 * time.Second):
			panic("worker does not stop")
		}
	}
}

// restartBroker stops the broker and starts it again with the same files and port.
func (b *bed) restartBroker() {
	b.t.Helper()
	u, err := url.Parse(b.embedded.URL())
	b.NoError(err)
	b.embedded.Close()
	b.embedded, err = broker.StartEmbedded(broker.EmbeddedOptions{Listen: u.Host, Dir: b.embedded.Dir})
	b.NoError(err)
}

func (b *bed) publish(subject, id, text, touser string, header ...string) {
	b.t.Helper()
	m := nats.NewMsg(subject)
	m.Data = fmt.Appendf(nil, `{"touser":%q,"msgtype":"text","text":{"content":%q}}`, touser, text)
	m.Header.Set("Nats-Msg-Id", id)
	for i := 0; i+1 < len(header); i += 2 {
		m.Header.Set(header[i], header[i+1])
	}
	_, err := b.conn.Outbox.PublishWait(b.t.Context(), m)
	b.NoError(err)
}

func (b *bed) receipt() schema.Receipt {
	b.t.Helper()
	select {
	case r := <-b.receipts:
		return r
	case <-time.After(15 * time.Second):
		b.FailNow("no receipt came")
		return schema.Receipt{}
	}
}

func apiError(code int) error {
	c := wechat.Explain(wechat.CallSend, code)
	return &wechat.Error{Call: wechat.CallSend, Code: code, HasCode: true, Fault: c.Fault, HTTPStatus: 200}
}

func (b *bed) receiptOf(id string) schema.Receipt {
	b.t.Helper()
	r := b.receipt()
	b.Equal(id, r.ID)
	return r
}

func (b *bed) posts(text string) int {
	b.api.mu.Lock()
	defer b.api.mu.Unlock()
	return b.api.posts[text]
}

const (
	live = "kefu.send." + appID + ".live."
	bulk = "kefu.send." + appID + ".bulk."
)

func (b *bed) queued() uint64 {
	b.t.Helper()
	s, err := b.conn.JS.Stream(b.t.Context(), schema.SendStream(appID))
	b.NoError(err)
	return s.CachedInfo().State.Msgs
}

func TestAnIntentIsSentAndSaidSo(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	stop := b.start()
	b.publish(live+"user1", "one", "hello", "user1", "Kefu-Source", "orders")
	r := b.receiptOf("one")
	b.Equal(schema.Sent, r.State)
	b.Equal(1, r.Attempts)
	b.Equal("orders", r.Source)
	b.False(r.PossibleDuplicate)
	b.Eventually(func() bool { return b.queued() == 0 }, 5*time.Second, 5*time.Millisecond)
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
		b.Equal(schema.Sent, r.State)
		b.Equal(3, r.Attempts)
		b.NoError(stop())
	}
}

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
	b.Equal(schema.Sent, r.State)
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
	r := b.receiptOf("soon")
	b.False(r.SettledAt.Before(soon))
	r = b.receiptOf("later")
	b.Equal(schema.Sent, r.State)
	b.Equal(1, r.Attempts, "waiting for its time is no attempt")
	b.False(r.SettledAt.Before(at))
	b.NoError(stop())
}

func TestAReplayMayWaitForItsTimeToo(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	stop := b.start()
	at := time.Now().Add(1500 * time.Millisecond)
	env := schema.Envelope{ID: "one", Generation: 2, Attempt: 1, PublishedAt: time.Now(), SendAt: at}
	m := nats.NewMsg("kefu.again." + appID + ".live.user1")
	m.Header = nats.Header(env.Header())
	m.Header.Set("Nats-Msg-Id", schema.AgainMsgID(appID, "one", 2, 1, 0))
	m.Data = []byte(`{"touser":"user1","msgtype":"text","text":{"content":"hello"}}`)
	_, err := b.conn.Outbox.PublishWait(t.Context(), m)
	b.NoError(err)
	r := b.receiptOf("one")
	b.Equal(schema.Sent, r.State)
	b.Equal(2, r.Generation)
	b.False(r.SettledAt.Before(at))
	b.NoError(stop())
}

func TestDeadlines(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	stop := b.start()
	b.publish(live+"user1", "late", "hello", "user1", "Kefu-Expires-At", time.Now().Add(-time.Second).Format(time.RFC3339))
	r := b.receiptOf("late")
	b.Equal(schema.Dead, r.State)
	b.Equal(schema.Expired, r.Reason)
	b.Zero(b.posts("hello"))
	b.NoError(stop())
}

func TestUnknownOutcomes(t *testing.T) {
	t.Parallel()
	unknown := func(string, int) error { return &wechat.Error{Call: wechat.CallSend, Fault: wechat.FaultUnknown} }
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
		{"resend sends once more", once, nil, schema.Sent, "", 2, true},
		{"and gives up after the second", unknown, nil, schema.Dead, schema.Unknown, 2, true},
		{"park gives up at once", once, []string{"Kefu-Unknown", "park"}, schema.Dead, schema.Unknown, 1, true},
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
	b.Equal(schema.Sent, b.receiptOf("one").State)

	// Past the broker's duplicate window the ledger has to know: a stream that was
	// purged of its memory stands for that.
	b.forgetDuplicates()
	b.publish(live+"user1", "one", "hello", "user1")
	r := b.receiptOf("one")
	b.Equal(schema.Sent, r.State, "who repeats a publish may wait for its receipt")
	b.Equal(1, r.Attempts)
	b.forgetDuplicates()
	b.publish(live+"user1", "one", "another text", "user1")
	r = b.receiptOf("one")
	b.Equal(schema.Dead, r.State)
	b.Equal(schema.IDReuse, r.Reason)
	b.Equal(1, b.posts("hello"))
	b.Zero(b.posts("another text"))
	b.Eventually(func() bool { return b.queued() == 0 }, 5*time.Second, 5*time.Millisecond)
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
	<-time.After(300 * time.Millisecond)
}

func TestAnIDLivesAgainAfterItsDeath(t *testing.T) {
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
	b.Equal(schema.Recipient, r.Reason)
	b.Equal(1, r.Generation)
	b.forgetDuplicates()
	b.publish(live+"user1", "one", "hello", "user1")
	r = b.receiptOf("one")
	b.Equal(schema.Sent, r.State)
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
		b.Equal(schema.Sent, b.receipt().State)
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
			return &wechat.Error{Call: wechat.CallToken, Fault: wechat.FaultUpstream, Err: errors.New("connection refused")}
		}
		return nil
	}
	stop := b.start()
	const n = 200
	for i := range n {
		b.publish(live+fmt.Sprintf("u%d", i%20), fmt.Sprintf("id%d", i), "t", fmt.Sprintf("u%d", i%20))
	}
	b.Eventually(func() bool {
		holds, err := gate.Holds(b.t.Context(), b.conn)
		return err == nil && len(holds[appID]) == 1 && holds[appID][0].Kind == gate.Upstream
	}, 10*time.Second, 10*time.Millisecond)
	b.EqualValues(n, b.queued())
	down.Store(false)
	for range n {
		r := b.receipt()
		b.Equal(schema.Sent, r.State)
		b.Equal(1, r.Attempts)
	}
	b.Eventually(func() bool {
		holds, err := gate.Holds(b.t.Context(), b.conn)
		return err == nil && len(holds[appID]) == 0
	}, 5*time.Second, 10*time.Millisecond, "the hold is lifted for everybody")
	b.NoError(stop())
}

func TestStoppingGivesBackWhatWasNotStarted(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	b.app.Concurrency = 4
	release := make(chan struct{})
	b.api.answer = func(string, int) error { <-release; return nil }
	stop := b.start()
	const n = 40
	for i := range n {
		b.publish(bulk+"c", fmt.Sprintf("id%d", i), "t", "user1")
	}
	b.Eventually(func() bool { return b.posts("t") == 4 }, 5*time.Second, time.Millisecond)
	stopped := make(chan error, 1)
	a := b.worker.apps[0]
	go func() { stopped <- stop() }()
	b.Eventually(func() bool { a.mu.Lock(); defer a.mu.Unlock(); return a.stopping }, 5*time.Second, time.Millisecond)
	close(release)
	b.NoError(<-stopped)
	b.Equal(4, b.posts("t"), "only what was under way went out")
	b.Eventually(func() bool { return b.queued() == n-4 }, 5*time.Second, time.Millisecond, "the broker takes acks in its own time")

	b.api.answer = nil
	stop = b.start()
	for range n {
		r := b.receipt()
		b.Equal(schema.Sent, r.State)
		b.Equal(1, r.Attempts)
		b.False(r.PossibleDuplicate)
	}
	b.Equal(n, b.posts("t"), "each once over both lives")
	b.NoError(stop())
}

func TestAGracePeriodThatIsTooShortLosesNothing(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	b.grace = 100 * time.Millisecond
	b.api.hang = true
	stop := b.start()
	b.publish(live+"user1", "one", "hello", "user1")
	b.Eventually(func() bool { return b.posts("hello") == 1 }, 5*time.Second, time.Millisecond)
	b.ErrorIs(stop(), ErrUnclean)
	b.EqualValues(1, b.queued())
}

func TestAWithdrawnIntentIsNotSent(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	b.NoError(gate.Pause(b.t.Context(), b.conn, appID, "test", "me"))
	stop := b.start()
	b.publish(live+"user1", "one", "hello", "user1")
	b.NoError(ledger.Withdraw(b.t.Context(), b.conn, appID, "one", ledger.Withdrawal{Generation: 1}, time.Hour))
	b.NoError(gate.Resume(b.t.Context(), b.conn, appID))
	r := b.receiptOf("one")
	b.Equal(schema.Cancelled, r.State)
	b.Zero(b.posts("hello"))
	b.NoError(stop())
}

func TestAPanicInACallIsAnUnknownOutcome(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	b.api.answer = func(text string, _ int) error {
		if text == "boom" {
			panic("a bug")
		}
		return nil
	}
	stop := b.start()
	b.publish(live+"user1", "bad", "boom", "user1")
	b.publish(live+"user2", "good", "fine", "user2")
	b.Equal(schema.Sent, b.receiptOf("good").State, "the others are not affected")
	r := b.receiptOf("bad")
	b.Equal(schema.Unknown, r.Reason)
	b.True(r.PossibleDuplicate)
	b.Equal(2, b.posts("boom"))
	b.NoError(stop())
}

func TestWhatKilledTheWorkerThreeTimesIsPoison(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	b.publish(bulk+"c", "bad", "hello", "user1")
	l, err := ledger.Open(t.Context(), b.conn, ledger.Options{Worker: "dead-one", Keep: time.Hour})
	b.NoError(err)
	marked := make(chan struct{}, 2)
	for range 2 { // two workers before were handed it and died
		l.Write(ledger.Mark{Key: ledger.KeyOf(appID, "bad"), Seq: 1, Kind: ledger.Suspect}, func(ledger.Standing, error) { marked <- struct{}{} })
		<-marked
	}
	l.Close()
	b.handOut()
	stop := b.start()
	r := b.receiptOf("bad")
	b.Equal(schema.Poison, r.Reason)
	b.Zero(b.posts("hello"))
	b.NoError(stop())
}

// handOut has the bulk lane's consumer hand its next message out once, in vain.
func (b *bed) handOut() {
	b.t.Helper()
	c, err := b.conn.JS.CreateOrUpdateConsumer(b.t.Context(), schema.SendStream(appID), broker.BulkConsumer(appID, maxAckPending))
	b.NoError(err)
	m, err := c.Next()
	b.NoError(err)
	b.NoError(m.Nak())
}

func TestCutOffByTheEndOfGraceIsUnknown(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	b.publish(bulk+"c", "one", "hello", "user1")
	b.handOut() // as any hold or stop gives back
	b.grace = 100 * time.Millisecond
	b.api.hang = true
	stop := b.start()
	b.Eventually(func() bool { return b.posts("hello") == 1 }, 5*time.Second, time.Millisecond)
	b.ErrorIs(stop(), ErrUnclean)
	b.api.hang = false
	stop = b.start()
	r := b.receiptOf("one")
	b.Equal(schema.Sent, r.State)
	b.Equal(2, b.posts("hello"))
	b.True(r.PossibleDuplicate, "the API was called twice")
	b.NoError(stop())
}

func TestAPanicThenAHoldKeepsTheUnknown(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	called := make(chan struct{}, 8)
	b.api.answer = func(_ string, n int) error {
		called <- struct{}{}
		switch n {
		case 1:
			return apiError(-1)
		case 2:
			panic("a bug")
		}
		return nil
	}
	stop := b.start()
	b.publish(bulk+"c", "one", "hello", "user1")
	<-called
	<-called
	b.NoError(gate.Pause(t.Context(), b.conn, appID, "test", "me"))
	b.Eventually(func() bool { return b.worker.apps[0].holding() == 0 }, 5*time.Second, time.Millisecond, "it is given back")
	b.NoError(gate.Resume(t.Context(), b.conn, appID))
	b.True(b.receiptOf("one").PossibleDuplicate)
	b.NoError(stop())
}

func TestAWaitingIntentIsNotReplacedByARepeatOfItsID(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	stop := b.start()
	at := time.Now().Add(2500 * time.Millisecond).Format(time.RFC3339Nano)
	b.publish(live+"user1", "one", "first", "user1", "Kefu-Send-At", at)
	b.Eventually(func() bool { return b.queued() == 0 }, 5*time.Second, 5*time.Millisecond)
	b.forgetDuplicates()
	b.publish(live+"user1", "one", "second", "user1", "Kefu-Send-At", at)
	b.Equal(schema.IDReuse, b.receiptOf("one").Reason)
	b.Equal(schema.Sent, b.receiptOf("one").State)
	b.Equal(1, b.posts("first"))
	b.Zero(b.posts("second"))
	receipts, err := b.conn.JS.Stream(t.Context(), schema.StreamReceipt)
	b.NoError(err)
	b.Eventually(func() bool {
		info, err := receipts.Info(t.Context())
		return err == nil && info.State.Msgs == 2
	}, 5*time.Second, 5*time.Millisecond, "both receipts are stored")
	b.NoError(stop())
}

func TestABrokerClockThatIsAheadLosesNothing(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	stop := b.start()
	at := time.Now().Add(4 * time.Second)
	b.publish(live+"user1", "one", "hello", "user1", "Kefu-Send-At", at.Format(time.RFC3339Nano))
	later, err := b.conn.JS.Stream(t.Context(), schema.StreamLater)
	b.NoError(err)
	var waiting *jetstream.RawStreamMsg
	b.Eventually(func() bool {
		waiting, err = later.GetLastMsgForSubject(t.Context(), "kefu.later.wait.>")
		return err == nil
	}, 5*time.Second, 5*time.Millisecond)
	b.NoError(later.DeleteMsg(t.Context(), waiting.Sequence))
	due := nats.NewMsg(schema.LaterDueSubject(appID)) // as the broker publishes it when its clock says so
	due.Data = waiting.Data
	for name, values := range waiting.Header {
		if !strings.HasPrefix(name, "Nats-") {
			due.Header[name] = values
		}
	}
	_, err = b.conn.Outbox.PublishWait(t.Context(), due)
	b.NoError(err)
	r := b.receiptOf("one")
	b.Equal(schema.Sent, r.State)
	b.False(r.SettledAt.Before(at))
	b.NoError(stop())
}

func TestWhatWasSentIsNotBuriedByItsDeadline(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	stop := b.start()
	b.publish(bulk+"c", "one", "hello", "user1")
	b.Equal(schema.Sent, b.receiptOf("one").State)
	b.forgetDuplicates()
	b.publish(bulk+"c", "one", "hello", "user1", "Kefu-Expires-At", time.Now().Add(-time.Second).Format(time.RFC3339Nano))
	b.Equal(schema.Sent, b.receiptOf("one").State, "a late repeat of what was sent is a repeat")
	b.Equal(1, b.posts("hello"))
	b.NoError(stop())
}

func TestTheBrokerRestartsUnderTheWorker(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	stop := b.start()
	const n = 300
	for i := range n {
		b.publish(bulk+"c", fmt.Sprintf("id%d", i), fmt.Sprintf("t%d", i), "user1")
		if i == 100 {
			b.restartBroker()
		}
	}
	ends := map[string]int{}
	for len(ends) < n {
		r := b.receipt()
		b.Equal(schema.Sent, r.State)
		ends[r.ID]++
	}
	for i := range n {
		b.Equal(1, b.posts(fmt.Sprintf("t%d", i)), "no second post by this worker")
	}
	b.Eventually(func() bool { return b.queued() == 0 }, 10*time.Second, 10*time.Millisecond)
	b.NoError(stop())
}
