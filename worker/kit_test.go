package worker

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/broker/brokertest"
	"github.com/kefuhq/kefu/internal/gate"
	"github.com/kefuhq/kefu/internal/job"
	"github.com/kefuhq/kefu/internal/ledger"
	"github.com/kefuhq/kefu/internal/pool"
	"github.com/kefuhq/kefu/internal/wechat"
	"github.com/kefuhq/kefu/schema"
)

const appID = "wx0000000000000001"

// delays are what the tests of this package run with. Figures and times that a test
// expects must not depend on them:
//
//	KEFU_TEST_DELAY=60ms go test ./worker   # to and from the broker, each way
//	KEFU_TEST_API=2s go test ./worker       # what a call of the API takes
var delays = testDelays{delay: fromEnv("KEFU_TEST_DELAY"), api: fromEnv("KEFU_TEST_API")}

type testDelays struct{ delay, api time.Duration }

func fromEnv(name string) time.Duration {
	v := os.Getenv(name)
	if v == "" {
		return 0
	}
	d, err := time.ParseDuration(v)
	if err != nil {
		panic(name + ": " + err.Error())
	}
	return d
}

// call is what a call of the API takes.
func (f testDelays) call(ctx context.Context) {
	if f.api == 0 {
		return
	}
	select {
	case <-time.After(f.api):
	case <-ctx.Done():
	}
}

// patience is how long a test waits for what must happen: never reached but by
// a test that fails, on a machine that may be busy with something else.
const patience = time.Minute

// fakeAPI is a Sender that answers as its script says.
type fakeAPI struct {
	mu     sync.Mutex
	posts  map[string]int
	order  []string
	answer func(text string, n int) error
	hang   bool
	token  func() error // getting one, before the packet leaves
}

func (f *fakeAPI) Deliver(ctx context.Context, m wechat.Message) error {
	if f.token != nil {
		if err := f.token(); err != nil {
			return err
		}
	}
	if err := m.Before(); err != nil {
		return err
	}
	var p struct {
		Text struct{ Content string } `json:"text"`
	}
	if err := json.Unmarshal(m.Packet, &p); err != nil {
		return err
	}
	f.mu.Lock()
	f.posts[p.Text.Content]++
	n := f.posts[p.Text.Content]
	f.order = append(f.order, p.Text.Content)
	f.mu.Unlock()
	delays.call(ctx)
	if f.hang {
		<-ctx.Done()
		return &wechat.Error{Call: wechat.CallSend, Fault: wechat.FaultUnknown, Err: ctx.Err()}
	}
	if f.answer == nil {
		return nil
	}
	return f.answer(p.Text.Content, n)
}

// answersLate has the API tell of each of two calls when it comes, and answer
// when end is closed.
func (b *bed) answersLate() (calls <-chan struct{}, end chan<- struct{}) {
	came, over := make(chan struct{}, 2), make(chan struct{})
	b.api.answer = func(string, int) error {
		came <- struct{}{}
		<-over
		return nil
	}
	return came, over
}

type bed struct {
	*require.Assertions
	t        *testing.T
	embedded *broker.Embedded
	conn     *broker.Conn
	url      string       // by which workers reach the broker
	way      *broker.Conn // a worker's
	api      *fakeAPI
	app      App
	grace    time.Duration

	concurrency int // of the process
	tell        Receipts
	works       func(*ledger.Ledger) map[job.Kind]job.Work
	pseudonyms  broker.Pseudonyms

	worker   *Worker // the one started last
	receipts chan schema.Receipt
}

func newBed(t *testing.T) *bed {
	t.Helper()
	r := require.New(t)
	e, err := broker.StartEmbedded(
		broker.EmbeddedOptions{Listen: brokertest.FreeAddress(t), Dir: t.TempDir()})
	r.NoError(err)
	conn, err := broker.Connect(t.Context(), broker.Options{URL: e.URL(), Name: "test"})
	r.NoError(err)
	t.Cleanup(conn.Close)
	spec := broker.Spec{Replicas: 1, LedgerKeep: time.Hour, Apps: []broker.AppSpec{{
		AppID: appID, LiveShards: 4, DuplicateWindow: time.Minute,
		QueueMessages: 100000, QueueBytes: 1 << 30,
	}}}
	plan, err := broker.NewPlan(t.Context(), conn.JS, spec)
	r.NoError(err)
	_, err = plan.Apply(t.Context(), conn.JS, false)
	r.NoError(err)
	b := &bed{
		Assertions: r, t: t, embedded: e, conn: conn, grace: 5 * time.Second,
		concurrency: 128, tell: ReceiptsAll, api: &fakeAPI{posts: make(map[string]int)},
		receipts: make(chan schema.Receipt, 10000),
	}
	b.app = App{
		ID: appID, Sender: b.api, Rate: gate.Rate{}, Concurrency: 64,
		Retry:     Retry{Attempts: 6, First: 20 * time.Millisecond, Cap: time.Second},
		OnUnknown: schema.PolicyResend, ExpireAfter: time.Hour, HoldBack: 5 * time.Second,
	}
	t.Cleanup(func() { b.embedded.Close() })
	b.url, b.way = e.URL(), conn
	if delays.delay > 0 {
		proxy := brokertest.NewProxyTo(t, strings.TrimPrefix(e.URL(), "nats://"))
		proxy.Delay(delays.delay)
		b.url, b.way = proxy.URL(), proxy.Connect()
	}
	_, err = conn.NC.Subscribe("kefu.receipt.>", func(m *nats.Msg) {
		var rec schema.Receipt
		if json.Unmarshal(m.Data, &rec) == nil {
			b.receipts <- rec
		}
	})
	r.NoError(err)
	return b
}

// await waits until something holds.
func (b *bed) await(holds func() bool, why ...any) {
	b.t.Helper()
	b.Eventually(holds, patience, time.Millisecond, why...)
}

func (b *bed) start() (stop func() error) {
	b.t.Helper()
	return b.run(b.make())
}

// make makes a worker that has not begun yet.
func (b *bed) make() *Worker {
	b.t.Helper()
	log := slog.New(slog.DiscardHandler)
	if os.Getenv("KEFU_TEST_LOG") != "" {
		log = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	w, err := New(Config{
		Process: pool.Worker{Name: pool.NewName("test")}, Apps: []App{b.app},
		Concurrency: b.concurrency, Grace: b.grace, Receipts: b.tell,
		Ledger: true, LedgerKeep: time.Hour, Pseudonyms: b.pseudonyms, Log: log, Works: b.works,
	}, b.way)
	b.NoError(err)
	return w
}

func (b *bed) run(w *Worker) (stop func() error) {
	b.worker = w
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- w.Run(ctx, nil) }()
	return func() error {
		cancel()
		select {
		case err := <-done:
			return err
		case <-time.After(patience):
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
	options := broker.EmbeddedOptions{Listen: u.Host, Dir: b.embedded.Dir}
	b.embedded, err = broker.StartEmbedded(options)
	b.NoError(err)
}

func (b *bed) publish(subject, id, text, touser string, header ...string) broker.Ack {
	b.t.Helper()
	m := nats.NewMsg(subject)
	m.Data = packet(text, touser)
	m.Header.Set("Nats-Msg-Id", id)
	for i := 0; i+1 < len(header); i += 2 {
		m.Header.Set(header[i], header[i+1])
	}
	ack, err := b.conn.Outbox.PublishWait(b.t.Context(), m)
	b.NoError(err)
	return ack
}

func packet(text, touser string) []byte {
	return fmt.Appendf(nil, `{"touser":%q,"msgtype":"text","text":{"content":%q}}`, touser, text)
}

// first is a mark of the first message of the queue.
func (b *bed) first(id, text, touser string, kind ledger.Kind) ledger.Mark {
	b.t.Helper()
	s, err := b.conn.JS.Stream(b.t.Context(), schema.SendStream(appID))
	b.NoError(err)
	return ledger.Mark{
		Key: ledger.KeyOf(appID, id), Seq: 1, Stream: s.CachedInfo().Created.UnixNano(),
		Body: ledger.BodyOf(packet(text, touser)), Kind: kind,
	}
}

// mark has another worker, which is gone by then, write marks into the ledger.
func (b *bed) mark(worker string, marks ...ledger.Mark) {
	b.t.Helper()
	l, err := ledger.Open(b.t.Context(), b.conn, ledger.Options{Worker: worker, Keep: time.Hour})
	b.NoError(err)
	defer l.Close()
	for _, m := range marks {
		done := make(chan error, 1)
		l.Write(m, func(_ ledger.Standing, err error) { done <- err })
		b.NoError(<-done)
	}
}

func (b *bed) receipt() schema.Receipt {
	b.t.Helper()
	select {
	case r := <-b.receipts:
		return r
	case <-time.After(patience):
		b.FailNow("no receipt came")
		return schema.Receipt{}
	}
}

func apiError(code int) error {
	c := wechat.Explain(wechat.CallSend, code)
	return &wechat.Error{Call: wechat.CallSend, Code: code, HasCode: true,
		Fault: c.Fault, HTTPStatus: 200}
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

// kept are the messages of a stream as JSON of one kind.
func kept[T any](b *bed, stream string) (out []T) {
	b.t.Helper()
	b.NoError(b.conn.Scan(b.t.Context(), stream, broker.ScanOptions{}, func(s broker.Stored) error {
		var v T
		err := json.Unmarshal(s.Data, &v)
		out = append(out, v)
		return err
	}))
	return out
}
