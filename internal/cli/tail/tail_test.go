package tail_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/broker/brokertest"
	"github.com/kefuhq/kefu/internal/cli"
	"github.com/kefuhq/kefu/internal/cli/clitest"
	"github.com/kefuhq/kefu/internal/cli/root"
	"github.com/kefuhq/kefu/internal/cli/tail"
	"github.com/kefuhq/kefu/internal/pool"
	"github.com/kefuhq/kefu/schema"
)

// noted is an output that others look at while it is written.
type noted struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (n *noted) Write(p []byte) (int, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.text.Write(p)
}

func (n *noted) String() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.text.String()
}

// running is a `kefu tail` that goes on until it is interrupted.
type running struct {
	*require.Assertions
	t         *testing.T
	out, err  *noted
	interrupt context.CancelFunc
	ended     chan int
}

// tails starts one and waits until it reads.
func tails(o *clitest.Operation, line string, change ...func(*cli.Process)) *running {
	o.T.Helper()
	ctx, cancel := context.WithCancel(o.T.Context())
	r := &running{Assertions: o.Assertions, t: o.T, out: &noted{}, err: &noted{}, interrupt: cancel,
		ended: make(chan int, 1)}
	p := cli.Process{
		In: strings.NewReader(""), Out: r.out, Err: r.err, Environ: []string{"S=x", "NO_COLOR=1"},
		Search: []string{clitest.WriteConfig(o.T, o.File)}, Hangups: clitest.NoHangups,
	}
	for _, f := range change {
		f(&p)
	}
	before := consumers(o)
	go func() { r.ended <- root.Run(ctx, clitest.Args("tail "+line), p) }()
	o.Eventually(func() bool {
		return len(r.ended) > 0 || slices.ContainsFunc(consumers(o), func(name string) bool {
			return !slices.Contains(before, name)
		})
	}, brokertest.Patience, time.Millisecond)
	return r
}

// consumers returns who reads the receipts.
func consumers(o *clitest.Operation) (names []string) {
	s, err := o.Conn.JS.Stream(o.T.Context(), schema.StreamReceipt)
	o.NoError(err)
	for name := range s.ConsumerNames(o.T.Context()).Name() {
		names = append(names, name)
	}
	return names
}

// shows waits until the output has that many lines.
func (r *running) shows(lines int) {
	r.t.Helper()
	r.Eventually(func() bool { return strings.Count(r.out.String(), "\n") >= lines },
		brokertest.Patience, time.Millisecond, "%d lines", lines)
}

// end interrupts it and returns what it has printed.
func (r *running) end() clitest.Result {
	r.t.Helper()
	r.interrupt()
	code := brokertest.Await(r.t, r.ended, "the end of kefu tail")
	return clitest.Ended(code, r.out.String(), r.err.String())
}

func onTerminal(width int) func(*cli.Process) {
	return func(p *cli.Process) {
		p.Terminal = &cli.Terminal{In: true, Out: true, Err: true, Width: width}
	}
}

// settled is when the intents of these tests ended.
var settled = time.Date(2026, 11, 20, 8, 0, 0, 0, time.UTC)

// receipt is one of a live message that was sent, with some changes.
func receipt(id string, change ...func(*schema.Receipt)) schema.Receipt {
	r := schema.Receipt{
		ID: id, AppID: "wx1", Generation: 1, State: schema.StateSent, Lane: schema.LaneLive,
		Source: "shop", Attempts: 1, PublishedAt: settled.Add(-48 * time.Millisecond),
		SettledAt: settled,
	}
	for _, f := range change {
		f(&r)
	}
	return r
}

func died(reason schema.Reason, errcode int) func(*schema.Receipt) {
	return func(r *schema.Receipt) {
		r.State, r.Reason, r.Errcode = schema.StateDead, reason, &errcode
		r.PublishedAt = r.SettledAt.Add(-3723 * time.Second)
	}
}

func ofCampaign(name string) func(*schema.Receipt) {
	return func(r *schema.Receipt) { r.Lane, r.Campaign, r.Source = schema.LaneBulk, name, "" }
}

func ofApp(appID string) func(*schema.Receipt) {
	return func(r *schema.Receipt) { r.AppID = appID }
}

// several are receipts of all states and of two apps.
func several() []schema.Receipt {
	return []schema.Receipt{
		receipt("order-4711"),
		receipt("Cgh1H1PmBrW8ktCrb5ZbEE", ofCampaign("double-11-shanghai-vip"),
			died(schema.ReasonRecipient, 45015)),
		receipt("订单-20261120-000001", ofApp("wx2"), func(r *schema.Receipt) {
			r.PossibleDuplicate, r.Attempts = true, 2
		}),
		receipt("late", func(r *schema.Receipt) {
			r.State, r.Generation, r.Errmsg = schema.StateCancelled, 2, "Nobody waits for it"
		}),
	}
}

func TestTailShowsALineForEachReceipt(t *testing.T) {
	t.Parallel()
	o := clitest.NewOperation(t)
	o.File += "  - {appid: wx2, name: 旗舰店二号店, secret_env: S}\n"
	narrow := tails(o, "", onTerminal(80))
	wide := tails(o, "", onTerminal(160))
	only := tails(o, "--app wx2", onTerminal(80))
	for _, r := range several() {
		o.Receipt(r)
	}
	at := settled.Local().Format("15:04:05")
	narrow.shows(5)
	o.Equal(clitest.Ended(cli.ExitDone, strings.TrimPrefix(`
TIME      APP           ID                    STATE      WHY                TOOK
`+at+`  旗舰店        order-4711            sent                          48ms
`+at+`  旗舰店        Cgh1H1PmBrW8ktCrb5Z…  dead       recipient 45015    1h2m
`+at+`  旗舰店二号店  订单-20261120-000001  sent+dup?                     48ms
`+at+`  旗舰店        late                  cancelled                     48ms
`, "\n"), "4 of 4 matching receipts shown\n"), narrow.end())
	wide.shows(5)
	o.Equal(clitest.Ended(cli.ExitDone, strings.TrimPrefix(`
TIME      APP           ID                                    STATE      WHY              LANE  CAMPAIGN                  SOURCE        ATTEMPTS    TOOK
`+at+`  旗舰店        order-4711                            sent                        live                            shop                 1    48ms
`+at+`  旗舰店        Cgh1H1PmBrW8ktCrb5ZbEE                dead       recipient 45015  bulk  double-11-shanghai-vip                         1    1h2m
`+at+`  旗舰店二号店  订单-20261120-000001                  sent+dup?                   live                            shop                 2    48ms
`+at+`  旗舰店        late                                  cancelled                   live                            shop                 1    48ms
`, "\n"), "4 of 4 matching receipts shown\n"), wide.end())
	only.shows(2)
	o.Equal(clitest.Ended(cli.ExitDone, strings.TrimPrefix(`
TIME      ID                STATE      WHY              CAMPAIGN            TOOK
`+at+`  订单-20261120-0…  sent+dup?                                       48ms
`, "\n"), "1 of 1 matching receipt shown\n"), only.end())
}

func TestTailSaysHowManyWereCancelledWithTheirCampaign(t *testing.T) {
	t.Parallel()
	o := clitest.NewOperation(t)
	r := tails(o, "--app wx1", onTerminal(80))
	o.Receipt(receipt("double-11", ofCampaign("double-11"), func(r *schema.Receipt) {
		r.State, r.Count, r.PublishedAt = schema.StateCancelled, 99_500, settled.Add(-time.Hour)
	}))
	r.shows(2)
	o.Equal(clitest.Ended(cli.ExitDone, strings.TrimPrefix(`
TIME      ID                STATE      WHY              CAMPAIGN            TOOK
`+settled.Local().Format("15:04:05")+`  double-11         cancelled  99,500 intents   double-11             1h
`, "\n"), "1 of 1 matching receipt shown\n"), r.end())
}

func TestTailColoursTheState(t *testing.T) {
	t.Parallel()
	o := clitest.NewOperation(t)
	r := tails(o, "", onTerminal(80), func(p *cli.Process) { p.Environ = []string{"S=x"} })
	for _, receipt := range several() {
		o.Receipt(receipt)
	}
	r.shows(5)
	got := r.end().Out
	for _, coloured := range []string{"32msent", "31mdead", "33msent+dup?", "33mcancelled"} {
		o.Contains(got, "\x1b["+coloured+"\x1b[0m")
	}
}

func TestTailHasOneLineForEachReceiptOnEveryTerminal(t *testing.T) {
	t.Parallel()
	o := clitest.NewOperation(t)
	o.Receipt(receipt(strings.Repeat("订单", 40), ofCampaign(strings.Repeat("c", 128)),
		died(schema.ReasonRejected, 65400001)))
	for width := 60; width < 170; width += 11 {
		r := tails(o, "--since 1h", onTerminal(width))
		r.shows(2)
		for line := range strings.Lines(r.end().Out) {
			o.LessOrEqual(len([]rune(line)), width+1, "%d: %s", width, line)
		}
	}
	r := tails(o, "--since 1h")
	r.shows(2)
	o.Contains(r.end().Out, strings.Repeat("订单", 40), "nothing is cut in a pipe")
}

func TestTailChooses(t *testing.T) {
	t.Parallel()
	o := clitest.NewOperation(t)
	for _, r := range several() {
		o.Receipt(r)
	}
	for line, want := range map[string]string{
		"--state dead":                       "Cgh1H1PmBrW8ktCrb5ZbEE",
		"--state cancelled,dead --lane live": "late",
		"--app wx1 --state cancelled":        "late",
		"--reason recipient,expired":         "Cgh1H1PmBrW8ktCrb5ZbEE",
		"--errcode 45015,45047":              "Cgh1H1PmBrW8ktCrb5ZbEE",
		"--lane bulk":                        "Cgh1H1PmBrW8ktCrb5ZbEE",
		"--campaign double-11-shanghai-vip":  "Cgh1H1PmBrW8ktCrb5ZbEE",
		"--source shop --app wx2":            "订单-20261120-000001",
		"--id order-4711 --id nobody":        "order-4711",
		"--min-attempts 2":                   "订单-20261120-000001",
		"--generation 2":                     "late",
		"--search WAITS":                     "late",
	} {
		r := tails(o, line+" --since 1h -o ndjson")
		r.shows(1)
		got := r.end()
		o.Equal(cli.ExitDone, got.Code, got.Err)
		var shown schema.Receipt
		o.NoError(json.Unmarshal([]byte(got.Out), &shown), "%s: %s", line, got.Out)
		o.Equal(want, shown.ID, line)
		o.Equal("1 of 1 matching receipt shown\n", got.Err)
	}
	for line, says := range map[string]string{
		"--state queued":  `--state "queued" is not one of sent, dead, cancelled`,
		"--reason tired":  `--reason "tired" is not one of invalid, `,
		"--lane express":  `--lane "express" is not live or bulk`,
		"--app wx.1":      `--app "wx.1" is no appid`,
		"--generation -1": `--generation counts from 1`,
		"--since morning": `--since "morning" is not a time`,
	} {
		got := o.Kefu("tail " + line)
		o.Equal(cli.ExitUsage, got.Code, line)
		o.Contains(got.Err, says)
	}
}

func TestTailAsJSONIsOneArray(t *testing.T) {
	t.Parallel()
	o := clitest.NewOperation(t)
	empty := tails(o, "-o json")
	r := tails(o, "-o json")
	for _, receipt := range several() {
		o.Receipt(receipt)
	}
	o.Eventually(func() bool { return strings.Contains(r.out.String(), `"late"`) },
		brokertest.Patience, time.Millisecond)
	o.Equal(several(), clitest.Decode[[]schema.Receipt](o, r.end()))
	o.Equal(cli.ExitDone, empty.end().Code)
}

func TestTailIsThereWhenTheBrokerIsBack(t *testing.T) {
	t.Parallel()
	b := brokertest.Start(t, "wx1")
	o := &clitest.Operation{Assertions: require.New(t), T: t, Conn: b.Connect(),
		File: fmt.Sprintf("nats: {url: %q}\napps: [{appid: wx1, secret_env: S}]\n", b.URL())}
	r := tails(o, "-o ndjson")
	const each = 50
	for i := range 3 * each {
		if i > 0 && i%each == 0 {
			b.Restart()
		}
		o.Receipt(receipt(fmt.Sprint("order-", i)))
	}
	r.shows(3 * each)
	got := r.end()
	o.Equal(cli.ExitDone, got.Code, got.Err)
	lines := strings.Split(strings.TrimSpace(got.Out), "\n")
	o.Len(lines, 3*each)
	for i, line := range lines {
		o.Contains(line, fmt.Sprintf(`"id":"order-%d"`, i))
	}
}

// blocked is an output that takes nothing until it is opened.
type blocked struct {
	io.Writer
	asked chan struct{} // somebody writes
	open  chan struct{}
}

func (b *blocked) Write(p []byte) (int, error) {
	select {
	case b.asked <- struct{}{}:
	default:
	}
	<-b.open
	return b.Writer.Write(p)
}

func TestASlowTerminalLosesLinesAndIsTold(t *testing.T) {
	t.Parallel()
	o := clitest.NewOperation(t)
	slow := &blocked{asked: make(chan struct{}, 1), open: make(chan struct{})}
	r := tails(o, "--id first --id other", func(p *cli.Process) {
		slow.Writer, p.Out = p.Out, slow
	})
	o.Receipt(receipt("first"))
	brokertest.Await(t, slow.asked, "the first line")
	const more = tail.BacklogSize + 204
	publish(o, "other", more)
	quick := tails(o, "--since 1h --id other -o ndjson") // what the other has not seen this has
	quick.shows(more)
	quick.end()
	o.Eventually(func() bool { return undelivered(o) == 0 }, brokertest.Patience, time.Millisecond)
	close(slow.open)
	r.shows(1 + 1 + tail.BacklogSize + 1)
	o.Receipt(receipt("other", func(r *schema.Receipt) { r.Generation = 9999 }))
	r.shows(1 + 1 + tail.BacklogSize + 1 + 1)
	got := r.end()
	o.Equal(cli.ExitDone, got.Code)
	o.Equal(1, strings.Count(got.Out, "\n… 204 not shown\n"))
	o.Equal("1,002 of 1,206 matching receipts shown\n", got.Err)
}

func TestWhatWasSettledBeforeIsNeverLeftOut(t *testing.T) {
	t.Parallel()
	o := clitest.NewOperation(t)
	const all = 3*tail.BacklogSize + 17
	publish(o, "old", all)
	slow := &blocked{asked: make(chan struct{}, 1), open: make(chan struct{})}
	r := tails(o, "--since 1h -o ndjson", func(p *cli.Process) { slow.Writer, p.Out = p.Out, slow })
	brokertest.Await(t, slow.asked, "the first line")
	close(slow.open)
	r.shows(all)
	o.Equal("3,017 of 3,017 matching receipts shown\n", r.end().Err)
}

func TestAnInterruptEndsATailWhoseTerminalTakesNothing(t *testing.T) {
	t.Parallel()
	o := clitest.NewOperation(t)
	publish(o, "old", 2*tail.BacklogSize)
	slow := &blocked{asked: make(chan struct{}, 1), open: make(chan struct{})}
	defer close(slow.open)
	r := tails(o, "--since 1h", func(p *cli.Process) { slow.Writer, p.Out = p.Out, slow })
	brokertest.Await(t, slow.asked, "the first line")
	got := r.end()
	o.Equal(cli.ExitDone, got.Code)
	o.Contains(got.Err, "0 of ")
}

// closedPipe is an output whose reader has gone.
type closedPipe struct{}

func (closedPipe) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }

func TestATailThatCannotPrintEnds(t *testing.T) {
	t.Parallel()
	o := clitest.NewOperation(t)
	r := tails(o, "", func(p *cli.Process) { p.Out = closedPipe{} })
	o.Receipt(receipt("a"))
	o.Equal(cli.ExitFailed, brokertest.Await(t, r.ended, "the end"))
	o.Contains(r.err.String(), "closed pipe")
}

func TestTailSaysWhichReceiptsThereAreNot(t *testing.T) {
	t.Parallel()
	o := clitest.NewOperation(t)
	for setting, says := range map[string]string{
		"off":      "nothing of theirs is shown",
		"failures": "publish no receipt of what is sent",
		"all":      "",
	} {
		r := tails(o, "--set worker.receipts="+setting)
		got := r.end()
		o.Equal(cli.ExitDone, got.Code)
		if says == "" {
			o.Equal("0 of 0 matching receipts shown\n", got.Err)
			continue
		}
		o.Equal(1, strings.Count(got.Err, "warning: worker.receipts is "+setting))
		o.Contains(got.Err, says)
	}
}

func TestTailSaysWhichReceiptsTheWorkersWrite(t *testing.T) {
	t.Parallel()
	o := clitest.NewOperation(t)
	warning := func(line string) string {
		got := tails(o, line).end()
		o.Equal(cli.ExitDone, got.Code)
		return strings.TrimSuffix(got.Err, "0 of 0 matching receipts shown\n")
	}
	o.Worker(pool.Worker{Name: "one", Receipts: pool.ReceiptsFailures})
	failures := "warning: worker.receipts is failures: the workers publish no receipt of what is sent\n"
	o.Equal(failures, warning(""), "whatever this configuration says")
	o.Equal(failures, warning("--app wx1 --set worker.receipts=off"))
	o.Empty(warning("--app wx2"), "no worker serves it")
	o.Worker(pool.Worker{Name: "two", Receipts: pool.ReceiptsOff})
	o.Equal("warning: worker.receipts is not the same everywhere: "+
		"the workers do not all publish all receipts: some of what ends is not shown\n", warning(""))
	o.Worker(pool.Worker{Name: "earlier-version"})
	o.Empty(warning(""))
}

func TestTailCountsWhatCannotBeRead(t *testing.T) {
	t.Parallel()
	o := clitest.NewOperation(t)
	m := nats.NewMsg(schema.ReceiptSubject("wx1", schema.StateSent))
	m.Data = []byte("{")
	o.Publish(m)
	o.Receipt(receipt("a"))
	r := tails(o, "--since 1h")
	r.shows(2)
	o.Contains(r.end().Err, "warning: 1 receipt could not be read\n")
}

// publish publishes receipts of one id, each of a generation of its own.
func publish(o *clitest.Operation, id string, n int) {
	o.T.Helper()
	stored := make(chan error, n)
	for i := range n {
		body, err := json.Marshal(receipt(id, func(r *schema.Receipt) { r.Generation = i + 1 }))
		o.NoError(err)
		m := nats.NewMsg(schema.ReceiptSubject("wx1", schema.StateSent))
		m.Data = body
		o.Conn.Outbox.Publish(m, func(_ broker.Ack, err error) { stored <- err })
	}
	for range n {
		o.NoError(<-stored)
	}
}

// undelivered returns how many receipts no consumer has been given yet.
func undelivered(o *clitest.Operation) (n uint64) {
	s, err := o.Conn.JS.Stream(o.T.Context(), schema.StreamReceipt)
	o.NoError(err)
	for info := range s.ListConsumers(o.T.Context()).Info() {
		n += info.NumPending
	}
	return n
}
