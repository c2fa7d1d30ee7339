package intent_test

import (
	"context"
	"testing"
	"time"

	"github.com/kefuhq/kefu/internal/broker/brokertest"
	"github.com/kefuhq/kefu/internal/cli"
	"github.com/kefuhq/kefu/internal/cli/clitest"
	"github.com/kefuhq/kefu/internal/ledger"
	"github.com/kefuhq/kefu/internal/pool"
	"github.com/kefuhq/kefu/internal/withdrawal"
	"github.com/kefuhq/kefu/schema"
)

// again sends order-1, whose packet is that of Operation.Send, and waits.
const again = "send --app wx1 --id order-1 --wait --timeout 10m"

// as has a command read a packet from a pipe.
func as(packet string) func(*clitest.Try) { return func(c *clitest.Try) { c.Stdin = packet } }

var (
	sameMessage  = as(clitest.PacketFor(clitest.Recipient))
	otherMessage = as(clitest.GoodPacket)
)

// started is the mark of order-1's first attempt, with the queue's sequence.
var started = ledger.Mark{Kind: ledger.Start, Seq: 1, Attempt: 1}

func ended(kind ledger.Kind) ledger.Mark {
	return ledger.Mark{Kind: kind, Seq: 1, Generation: 1, Attempt: 1}
}

// Whatever the workers write, a repeat is told at once how the first one ended: the wait would be
// ten minutes.
func TestARepeatIsToldWhatBecameOfTheFirst(t *testing.T) {
	t.Parallel()
	sent := func(o *clitest.Operation) {
		o.Story("order-1", "worker-a", started, ended(ledger.Sent))
	}
	for name, row := range map[string]struct {
		ends   func(*clitest.Operation)
		change func(*clitest.Try)
		want   clitest.Result
	}{
		"sent": {sent, sameMessage, clitest.Ended(cli.ExitDone, "order-1  sent, 1 attempt\n",
			"order-1 was accepted before, so this one was dropped; the first was sent\n")},
		"sent, and this one is another message": {sent, otherMessage, clitest.Ended(cli.ExitFailed,
			"order-1  sent, 1 attempt\n", "order-1 was accepted before with another message, "+
				"so this one was dropped; the first was sent\n"+
				"kefu: this message was not sent: another one has the id order-1\n")},
		"dead": {func(o *clitest.Operation) {
			o.Story("order-1", "worker-a", started, ended(ledger.Dying(schema.ReasonRecipient)))
			o.Bury(clitest.DeadLetter("order-1", func(l *schema.Letter) {
				l.PublishedAt = clitest.Died.Add(-3 * time.Second)
			}, clitest.DiedOf(schema.ReasonRecipient, 45015, "too late")))
			o.Story("order-1", "worker-b", ended(ledger.Dead))
		}, sameMessage, clitest.Ended(cli.ExitFailed,
			"order-1  dead (recipient) after 3s, 1 attempt\nerrcode 45015: too late\n",
			"order-1 was accepted before, so this one was dropped; the first is dead\n"+
				"kefu: order-1 was not sent: kefu dead replay order-1 sends the first one again\n")},
		"cancelled": {func(o *clitest.Operation) {
			o.Story("order-1", "worker-a", started, ended(ledger.Cancelled))
		}, sameMessage, clitest.Ended(cli.ExitFailed, "order-1  cancelled, 1 attempt\n",
			"order-1 was accepted before, so this one was dropped; the first was cancelled\n"+
				"kefu: order-1 was not sent: publish it under another id\n")},
		"withdrawn, and its time has not come": {func(o *clitest.Operation) {
			o.Wait("order-1", time.Now().Add(time.Minute))
			o.Equal(cli.ExitDone, o.Kefu("cancel order-1 --app wx1").Code)
		}, sameMessage, clitest.Result{Code: cli.ExitFailed,
			Err: "kefu: order-1 will not be sent: it was withdrawn by "}},
		"waiting for longer than the command would": {func(o *clitest.Operation) {
			o.Wait("order-1", time.Now().Add(time.Hour))
		}, otherMessage, clitest.Result{Code: cli.ExitFailed,
			Err: "kefu: order-1 does not end within 10m0s: kefu find order-1 tells about it"}},
	} {
		for _, receipts := range []pool.Receipts{
			pool.ReceiptsAll, pool.ReceiptsFailures, pool.ReceiptsOff,
		} {
			t.Run(name+", receipts "+string(receipts), func(t *testing.T) {
				t.Parallel()
				o := clitest.NewOperation(t)
				o.Worker(pool.Worker{Name: "one", Receipts: receipts, Counts: true})
				ack := o.Send("wx1", "order-1")
				s, err := o.Conn.JS.Stream(t.Context(), ack.Stream)
				o.NoError(err)
				o.NoError(s.DeleteMsg(t.Context(), ack.Seq)) // as acknowledged
				row.ends(o)
				got := o.Kefu(again, row.change)
				o.Equal(row.want.Code, got.Code, got.Err)
				o.Contains(got.Out, row.want.Out)
				o.Contains(got.Err, row.want.Err)
				o.NotContains(got.Out+got.Err, clitest.Recipient)
			})
		}
	}
}

func TestTheEndIsSeenWhateverReceiptsAreWritten(t *testing.T) {
	t.Parallel()
	for receipts, writes := range map[pool.Receipts]bool{
		pool.ReceiptsAll: true, pool.ReceiptsFailures: false, pool.ReceiptsOff: false,
	} {
		t.Run(string(receipts), func(t *testing.T) {
			t.Parallel()
			o := clitest.NewOperation(t)
			o.Worker(pool.Worker{Name: "one", Receipts: receipts, Counts: true})
			done := make(chan clitest.Result, 1)
			go func() { done <- o.Kefu(again, sameMessage) }()
			o.Eventually(func() bool { return len(o.Queued("wx1")) == 1 }, brokertest.Patience,
				time.Millisecond)
			o.Story("order-1", "worker-a", started, ended(ledger.Sent))
			if writes {
				now := time.Now()
				o.Receipt(schema.Receipt{ID: "order-1", AppID: "wx1", Generation: 1, Attempts: 1,
					State: schema.StateSent, PublishedAt: now, SettledAt: now})
			}
			got := brokertest.Await(t, done, "the end of kefu send")
			o.Equal(cli.ExitDone, got.Code, got.Err)
			o.Regexp(`^order-1  sent after \S+, 1 attempt\n$`, got.Out)
		})
	}
}

func TestTheEndOfAnEarlierLifeIsNotTakenForThisOnes(t *testing.T) {
	t.Parallel()
	o := clitest.NewOperation(t)
	o.Worker(pool.Worker{Name: "one", Receipts: pool.ReceiptsOff, Counts: true})
	o.Send("wx1", "other") // sequence 1: that of order-1's life before, in the story
	o.Story("order-1", "worker-a", started, ended(ledger.Dead))
	got := o.Kefu("send --app wx1 --id order-1 --wait --timeout 1s", sameMessage)
	o.Equal(cli.ExitFailed, got.Code)
	o.Empty(got.Out)
	o.Equal("kefu: order-1 is queued; it has not ended within 1s: kefu find order-1 says more\n",
		got.Err)
}

func TestWhoWaitsIsToldThatNothingCanBeSeen(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		workers []pool.Worker
		line    string
		code    int
		says    string
	}{
		"no receipts and no ledger: at once": {
			[]pool.Worker{{Name: "one", Receipts: pool.ReceiptsOff}}, again, cli.ExitFailed,
			"the workers of wx1 write no receipts (worker.receipts: off) and keep no ledger; " +
				"kefu find order-1 says what is known\n"},
		"failures only and no ledger": {
			[]pool.Worker{{Name: "one", Receipts: pool.ReceiptsFailures}},
			"send --app wx1 --id order-1 --wait --timeout 1s", cli.ExitFailed,
			"the workers of wx1 write no receipt of what is sent (worker.receipts: failures); " +
				"waiting for a failure\n"},
		"several minds and no ledger": {
			[]pool.Worker{{Name: "one", Receipts: pool.ReceiptsFailures},
				{Name: "two", Receipts: pool.ReceiptsAll, Counts: true}},
			"send --app wx1 --id order-1 --wait --timeout 1s", cli.ExitFailed,
			"not all workers of wx1 write all receipts (worker.receipts)\n"},
		"no worker": {nil, "send --app wx1 --id order-1 --wait --timeout 1s", cli.ExitFailed,
			"no worker takes intents of wx1 now\nkefu: order-1 is queued; there was no receipt " +
				"within 1s: no worker takes intents of wx1; kefu find order-1 says more\n"},
		"its time comes later: nothing is published": {nil, again + " --send-at 2h", cli.ExitUsage,
			"kefu: --wait ends before --send-at: it would need a --timeout above 10m0s\n"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := clitest.NewOperation(t)
			for _, w := range row.workers {
				o.Worker(w)
			}
			got := o.Kefu(row.line, sameMessage)
			o.Equal(row.code, got.Code)
			o.Contains(got.Err, row.says)
			o.Empty(got.Out)
			if row.code == cli.ExitUsage {
				o.Empty(o.Queued("wx1"))
			}
		})
	}
}

func TestWhoWaitsInVainIsToldWhereItStands(t *testing.T) {
	t.Parallel()
	const briefly = "send --app wx1 --id order-1 --wait --timeout 1s"
	for name, row := range map[string]struct {
		before func(*clitest.Operation)
		change func(*clitest.Try)
		says   []string
	}{
		"the app is held": {func(o *clitest.Operation) {
			o.Equal(cli.ExitDone, o.Kefu("app pause wx1 --reason typo --yes").Code)
		}, sameMessage, []string{
			"kefu: order-1 is queued; it was not sent within 1s because wx1 is held: typo ("}},
		"the first is queued, and is another message": {func(o *clitest.Operation) {
			o.Send("wx1", "order-1")
		}, otherMessage, []string{
			"order-1 was accepted before with another message, so this one was dropped; " +
				"the first is queued\n",
			"kefu: order-1 is queued; it has not ended within 1s: kefu find order-1 says more\n"}},
		"the first is being sent": {func(o *clitest.Operation) {
			o.Send("wx1", "order-1")
			o.Story("order-1", "one", started)
		}, sameMessage, []string{
			"order-1 was accepted before, so this one was dropped; the first is being sent\n",
			"kefu: order-1 is being sent; it has not ended within 1s"}},
	} {
		for _, receipts := range []pool.Receipts{pool.ReceiptsAll, pool.ReceiptsOff} {
			t.Run(name+", receipts "+string(receipts), func(t *testing.T) {
				t.Parallel()
				o := clitest.NewOperation(t)
				o.Worker(pool.Worker{Name: "one", Receipts: receipts, Counts: true})
				row.before(o)
				got := o.Kefu(briefly, row.change)
				o.Equal(cli.ExitFailed, got.Code)
				o.Empty(got.Out)
				for _, says := range row.says {
					o.Contains(got.Err, says)
				}
			})
		}
	}
}

func TestWhoIsInterruptedIsToldThatItIsQueued(t *testing.T) {
	t.Parallel()
	for _, receipts := range []pool.Receipts{pool.ReceiptsAll, pool.ReceiptsOff} {
		t.Run(string(receipts), func(t *testing.T) {
			t.Parallel()
			o := clitest.NewOperation(t)
			o.Worker(pool.Worker{Name: "one", Receipts: receipts, Counts: true})
			ctx, interrupt := context.WithCancel(t.Context())
			done := make(chan clitest.Result, 1)
			go func() {
				done <- o.Kefu(again, sameMessage, func(c *clitest.Try) { c.Ctx = ctx })
			}()
			o.Eventually(func() bool { return len(o.Queued("wx1")) == 1 }, brokertest.Patience,
				time.Millisecond)
			interrupt()
			got := brokertest.Await(t, done, "the end of kefu send")
			o.Equal(cli.ExitFailed, got.Code)
			o.Empty(got.Out)
			// The broker's answer may still be on its way.
			o.Regexp(`^order-1 (is queued and will be sent|may be queued): kefu find order-1 tells.*\n`+
				`kefu: interrupted\n$`, got.Err)
		})
	}
}

// TestACancelledCampaignIsNotWaitedFor: nothing of it is sent, and the wait would be ten minutes.
func TestACancelledCampaignIsNotWaitedFor(t *testing.T) {
	t.Parallel()
	const sale = again + " --campaign sale"
	cancel := func(o *clitest.Operation) {
		_, _, err := withdrawal.CancelCampaign(t.Context(), o.Conn, "wx1", "sale", "ann@desk",
			time.Hour)
		o.NoError(err)
	}
	for name, ends := range map[string]func(*clitest.Operation) (says string){
		"it is queued": func(*clitest.Operation) string {
			return "kefu: order-1 will not be sent: campaign sale was cancelled "
		},
		"it has ended": func(o *clitest.Operation) string {
			o.Story("order-1", "worker-a", ended(ledger.Cancelled))
			return "kefu: order-1 was not sent\n"
		},
	} {
		t.Run("it is cancelled later, and "+name, func(t *testing.T) {
			t.Parallel()
			o := clitest.NewOperation(t)
			done := make(chan clitest.Result, 1)
			go func() { done <- o.Kefu(sale, sameMessage) }()
			o.Eventually(func() bool { return len(o.Queued("wx1")) == 1 }, brokertest.Patience,
				time.Millisecond)
			says := ends(o)
			cancel(o)
			got := brokertest.Await(t, done, "the end of kefu send")
			o.Equal(cli.ExitFailed, got.Code)
			o.Contains(got.Err, says)
			o.Contains(got.Err, " by ann@desk\n")
		})
	}
	o := clitest.NewOperation(t)
	cancel(o)
	got := o.Kefu(sale, sameMessage)
	o.Equal(cli.ExitFailed, got.Code)
	o.Contains(got.Err, "by ann@desk, and nothing of it is sent any more: nothing was published")
	o.Empty(o.Queued("wx1"))
}
