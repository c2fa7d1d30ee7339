package worker_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/gate"
	"github.com/kefuhq/kefu/internal/pool"
	"github.com/kefuhq/kefu/internal/sandbox"
	"github.com/kefuhq/kefu/internal/wechat"
	"github.com/kefuhq/kefu/schema"
	"github.com/kefuhq/kefu/worker"
)

const (
	benchApp   = "wx0000000000000001"
	benchDrain = 20000
)

// BenchmarkDrain empties a queue of 20,000 bulk intents (embedded broker, file
// storage) into the sandbox, which answers at once. Everything runs in this
// process, so CPU is that of broker, worker and sandbox together. Each
// iteration runs all contenders one after the other, and figures are medians
// over the iterations: compare within one run only, the machine's speed drifts.
//
// The bare loop is what somebody would write by hand for the same job: no
// ledger, no receipts, no rate, no retry.
//
//	go test ./worker -run '^$' -bench Drain -benchtime 5x
func BenchmarkDrain(b *testing.B) {
	compare(b, []contender{
		{"bare", bareLoop},
		{"full", drainWith(true, worker.ReceiptsAll)},
		{"ledger", drainWith(true, worker.ReceiptsOff)},
		{"receipts", drainWith(false, worker.ReceiptsAll)},
		{"off", drainWith(false, worker.ReceiptsOff)},
	})
}

// BenchmarkReceipts is Drain with the settings of worker.receipts, all with a
// ledger. All messages are sent, so with failures no receipt is written.
//
//	go test ./worker -run '^$' -bench Receipts -benchtime 5x
func BenchmarkReceipts(b *testing.B) {
	compare(b, []contender{
		{"all", drainWith(true, worker.ReceiptsAll)},
		{"failures", drainWith(true, worker.ReceiptsFailures)},
		{"off", drainWith(true, worker.ReceiptsOff)},
	})
}

type contender struct {
	name string
	run  func(*testing.B, *benchBed)
}

// compare reports the figures of each contender, and its rate beside that of the
// first.
func compare(b *testing.B, contenders []contender) {
	b.Helper()
	bed := newBenchBed(b)
	figures := make([][]figure, len(contenders))
	for b.Loop() {
		for i, c := range contenders {
			bed.fill(b)
			figures[i] = append(figures[i], measure(func() { c.run(b, bed) }))
		}
	}
	base := median(figures[0])
	for i, c := range contenders {
		f := median(figures[i])
		b.ReportMetric(f.rate, c.name+"-msgs/s")
		b.ReportMetric(f.cpu, c.name+"-cpu-µs/msg")
		b.ReportMetric(f.allocs, c.name+"-allocs/msg")
		b.ReportMetric(f.rate/base.rate, c.name+"/"+contenders[0].name)
	}
	b.ReportMetric(0, "ns/op")
}

type figure struct{ rate, cpu, allocs float64 }

func measure(f func()) figure {
	runtime.GC()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	cpu, start := cpuTime(), time.Now()
	f()
	took := time.Since(start)
	cpu = cpuTime() - cpu
	runtime.ReadMemStats(&after)
	return figure{
		rate:   benchDrain / took.Seconds(),
		cpu:    float64(cpu.Microseconds()) / benchDrain,
		allocs: float64(after.Mallocs-before.Mallocs) / benchDrain,
	}
}

func median(fs []figure) figure {
	pick := func(get func(figure) float64) float64 {
		v := make([]float64, len(fs))
		for i, f := range fs {
			v[i] = get(f)
		}
		slices.Sort(v)
		return v[len(v)/2]
	}
	return figure{
		pick(func(f figure) float64 { return f.rate }),
		pick(func(f figure) float64 { return f.cpu }),
		pick(func(f figure) float64 { return f.allocs }),
	}
}

func cpuTime() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

type benchBed struct {
	conn   *broker.Conn
	url    string // of the broker
	api    string
	stream jetstream.Stream
	round  int
}

func newBenchBed(b *testing.B) *benchBed {
	r := require.New(b)
	e, err := broker.StartEmbedded(broker.EmbeddedOptions{Listen: "127.0.0.1:0", Dir: b.TempDir()})
	r.NoError(err)
	b.Cleanup(e.Close)
	conn, err := broker.Connect(b.Context(), broker.Options{URL: e.URL(), Name: "bench"})
	r.NoError(err)
	b.Cleanup(conn.Close)
	spec := broker.Spec{Replicas: 1, LedgerKeep: time.Hour, Apps: []broker.AppSpec{{
		AppID: benchApp, LiveShards: 4, DuplicateWindow: time.Minute,
		QueueMessages: 1 << 30, QueueBytes: 1 << 34,
	}}}
	plan, err := broker.NewPlan(b.Context(), conn.JS, spec)
	r.NoError(err)
	_, err = plan.Apply(b.Context(), conn.JS, false)
	r.NoError(err)
	stream, err := conn.JS.Stream(b.Context(), schema.SendStream(benchApp))
	r.NoError(err)
	sb := sandbox.New(sandbox.Options{Fast: true, Keep: -1})
	url, err := sb.Listen("127.0.0.1:0")
	r.NoError(err)
	b.Cleanup(func() { _ = sb.Close() })
	return &benchBed{conn: conn, url: e.URL(), api: url, stream: stream}
}

// fill queues the intents; not measured.
func (bed *benchBed) fill(b *testing.B) {
	bed.round++
	text := "您好,这是一条测试消息。Your order has been shipped, " +
		"see <a href=\"https://example.com/?a=1&b=2\">here</a>."
	var wg sync.WaitGroup
	for i := range benchDrain {
		m := nats.NewMsg("kefu.send." + benchApp + ".bulk.c1")
		const packet = `{"touser":"oABCDEFGHIJKLMNOPQRSTU%06d","msgtype":"text",` +
			`"text":{"content":%q}}`
		m.Data = fmt.Appendf(nil, packet, i, text)
		m.Header.Set("Nats-Msg-Id", strconv.Itoa(bed.round)+"-"+strconv.Itoa(i))
		wg.Add(1)
		bed.conn.Outbox.Publish(m, func(_ broker.Ack, err error) {
			if err != nil {
				b.Error(err)
			}
			wg.Done()
		})
	}
	wg.Wait()
}

func (bed *benchBed) awaitEmpty(b *testing.B) {
	poll := time.NewTicker(3 * time.Millisecond)
	defer poll.Stop()
	for ; ; <-poll.C {
		info, err := bed.stream.Info(b.Context())
		require.NoError(b, err)
		if info.State.Msgs == 0 {
			return
		}
	}
}

func drainWith(keep bool, receipts worker.Receipts) func(*testing.B, *benchBed) {
	return func(b *testing.B, bed *benchBed) { drain(b, bed, keep, receipts) }
}

func drain(b *testing.B, bed *benchBed, keep bool, receipts worker.Receipts) {
	hc, err := wechat.NewHTTPClient(wechat.HTTPOptions{IdlePerHost: 256})
	require.NoError(b, err)
	secret := func() (wechat.Secret, error) { return wechat.NewSecret("secret"), nil }
	w, err := worker.New(worker.Config{
		Process:     pool.Worker{Name: pool.NewName("bench")},
		Concurrency: 256, Grace: 10 * time.Second, Receipts: receipts,
		Ledger: keep, LedgerKeep: time.Hour, Pseudonyms: broker.NewPseudonyms([]byte("bench")),
		Apps: []worker.App{{
			ID: benchApp, Sender: wechat.NewClient(hc, bed.api,
				wechat.NewStableToken(hc, bed.api, benchApp, secret)),
			Rate: gate.Rate{PerSecond: 1e6, Burst: 1000, LiveReserve: 0.2}, Concurrency: 128,
			Retry:       worker.Retry{Attempts: 6, First: time.Second, Cap: time.Minute},
			OnUnknown:   schema.PolicyResend,
			ExpireAfter: time.Hour, HoldBack: time.Second,
		}},
	}, bed.conn)
	require.NoError(b, err)
	ctx, cancel := context.WithCancel(b.Context())
	done := make(chan error, 1)
	go func() { done <- w.Run(ctx, nil) }()
	bed.awaitEmpty(b)
	cancel()
	require.NoError(b, <-done)
}

// bareLoop is speed.md's floor: consume, check, POST, read errcode, ack.
func bareLoop(b *testing.B, bed *benchBed) {
	r := require.New(b)
	hc := &http.Client{Timeout: 10 * time.Second,
		Transport: &http.Transport{MaxIdleConns: 64, MaxIdleConnsPerHost: 64}}
	token := bareToken(r, hc, bed.api)
	consumer, err := bed.conn.JS.CreateOrUpdateConsumer(b.Context(), schema.SendStream(benchApp),
		broker.BulkConsumer(benchApp, 8192))
	r.NoError(err)
	work := make(chan jetstream.Msg, 1000)
	var wg sync.WaitGroup
	for range 64 {
		wg.Go(func() {
			for m := range work {
				if err := bareSend(hc, bed.api, token, m); err != nil {
					b.Error(err)
				}
			}
		})
	}
	reader, err := consumer.Consume(func(m jetstream.Msg) { work <- m },
		jetstream.PullMaxMessages(1000))
	r.NoError(err)
	bed.awaitEmpty(b)
	reader.Stop()
	<-reader.Closed()
	close(work)
	wg.Wait()
	hc.CloseIdleConnections()
}

func bareToken(r *require.Assertions, hc *http.Client, api string) string {
	resp, err := hc.Post(api+"/cgi-bin/stable_token", "application/json",
		bytes.NewReader(
			[]byte(`{"grant_type":"client_credential","appid":"`+benchApp+`","secret":"secret"}`)))
	r.NoError(err)
	defer func() { _ = resp.Body.Close() }()
	var t struct {
		Token string `json:"access_token"`
	}
	r.NoError(json.NewDecoder(resp.Body).Decode(&t))
	return t.Token
}

func bareSend(hc *http.Client, api, token string, m jetstream.Msg) error {
	var p struct {
		ToUser  string          `json:"touser"`
		MsgType string          `json:"msgtype"`
		Text    json.RawMessage `json:"text"`
	}
	if err := json.Unmarshal(m.Data(), &p); err != nil || p.ToUser == "" ||
		p.MsgType == "" || p.Text == nil {
		return fmt.Errorf("invalid: %w", err)
	}
	resp, err := hc.Post(api+"/cgi-bin/message/custom/send?access_token="+token, "application/json",
		bytes.NewReader(m.Data()))
	if err != nil {
		return err
	}
	body, err := io.ReadAll(resp.Body)
	_ = resp.Body.Close()
	if err != nil {
		return err
	}
	var answer struct {
		Errcode int `json:"errcode"`
	}
	if err := json.Unmarshal(body, &answer); err != nil || answer.Errcode != 0 {
		return fmt.Errorf("errcode %d: %w", answer.Errcode, err)
	}
	return m.Ack()
}
