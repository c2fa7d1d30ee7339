package worker

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"golang.org/x/sync/errgroup"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/campaign"
	"github.com/kefuhq/kefu/internal/gate"
	"github.com/kefuhq/kefu/internal/ledger"
	"github.com/kefuhq/kefu/internal/wire"
	"github.com/kefuhq/kefu/internal/withdrawal"
	"github.com/kefuhq/kefu/schema"
)

// cancel orders that a campaign is cancelled.
func (b *bed) cancel(name string) {
	b.t.Helper()
	_, _, err := withdrawal.CancelCampaign(b.t.Context(), b.conn, appID, name, "me", time.Hour)
	b.NoError(err)
}

// sweep sweeps a campaign, with the ledger of the worker that was started last.
func (b *bed) sweep(name string) campaign.Swept {
	b.t.Helper()
	swept, err := campaign.Sweep(b.t.Context(), b.conn, appID, name,
		campaign.SweepOptions{Ledger: b.worker.book})
	b.NoError(err)
	return swept
}

// publishBulk publishes n intents of a campaign, as a producer of another language does.
func (b *bed) publishBulk(name string, n int) {
	b.t.Helper()
	var group errgroup.Group
	group.SetLimit(256)
	for i := range n {
		id := fmt.Sprintf("%s-%d", name, i)
		group.Go(func() error {
			_, err := b.conn.Outbox.PublishWait(b.t.Context(), &nats.Msg{
				Subject: bulk + name, Data: packet(id, fmt.Sprintf("user%d", i)),
				Header: nats.Header{schema.HeaderMsgID: {id}},
			})
			return err
		})
	}
	b.NoError(group.Wait())
}

// counts waits until as many intents of a campaign are counted as ended, and returns how.
func (b *bed) counts(name string, n int) ledger.Counts {
	b.t.Helper()
	var got ledger.Counts
	b.Eventually(func() bool {
		progress, err := ledger.ReadCounts(b.t.Context(), b.conn, ledger.CampaignOf(appID, name))
		b.NoError(err)
		got = progress.Counts
		ended := got.Sent + got.Cancelled
		for _, dead := range got.Dead {
			ended += dead
		}
		return ended >= n
	}, patience, 5*time.Millisecond)
	return got
}

// left is what a stream holds.
func (b *bed) left(stream string) uint64 {
	b.t.Helper()
	s, err := b.conn.JS.Stream(b.t.Context(), stream)
	b.NoError(err)
	return s.CachedInfo().State.Msgs
}

func (b *bed) calls() int {
	b.api.mu.Lock()
	defer b.api.mu.Unlock()
	return len(b.api.order)
}

func TestACampaignThatIsCancelledWhileItIsSentEndsAtOnce(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	b.app.Rate = gate.Rate{PerSecond: 500, Burst: 10}
	const n = 2000
	b.publishBulk("summer", n)
	stop := b.start()
	b.covered()
	b.await(func() bool { return b.calls() >= 50 })
	b.cancel("summer")
	b.await(func() bool { return b.worker.withdrawals.CampaignCancelled(appID, "summer") })
	heard := b.calls()
	swept := b.sweep("summer")
	b.Zero(swept.Left)
	got := b.counts("summer", n)
	b.Equal(n, got.Sent+got.Cancelled)
	b.Equal(b.calls(), got.Sent)
	b.LessOrEqual(got.Sent, heard+b.app.Concurrency, "but for what was in flight")
	b.await(func() bool { return b.queued() == 0 })
	b.publishBulk("summer-2", 10)
	b.publish(bulk+"summer", "late", "late", "user1")
	b.Equal(10, b.counts("summer-2", 10).Sent, "of another name")
	b.Equal(got.Cancelled+1, b.counts("summer", n+1).Cancelled, "what is published later, too")
	b.NoError(stop())
	for _, r := range kept[schema.Receipt](b, schema.StreamReceipt) {
		b.Equal(schema.StateSent, r.State, "what is cancelled with its campaign has none of its own")
	}
}

func TestACampaignOfAnAppThatIsHeldIsCancelledWithoutAPermission(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	const n = 2000
	b.NoError(gate.Pause(t.Context(), b.conn, appID, "no reason", "me"))
	stop := b.start()
	b.covered()
	b.publishBulk("summer", n)
	b.publish(bulk+"winter", "other", "other", "user1")
	b.cancel("summer")
	b.Equal(campaign.Swept{Ended: n}, b.sweep("summer"))
	b.Equal(n, b.counts("summer", n).Cancelled)
	b.EqualValues(1, b.queued(), "of another campaign")
	b.Zero(b.calls())
	b.Equal(campaign.Swept{}, b.sweep("summer"), "nothing is left")
	b.NoError(stop())
}

func TestWhatWaitsForTheRateEndsWithItsCampaign(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	b.app.Rate = gate.Rate{PerSecond: 0.01, Burst: 1}
	stop := b.start()
	b.covered()
	b.publishBulk("summer", 20)
	b.await(func() bool { return b.calls() == 1 && b.worker.apps[0].holding() > 1 })
	b.cancel("summer")
	got := b.counts("summer", 20) // without a sweep, and though there is no permission
	b.Equal([]int{1, 19}, []int{got.Sent, got.Cancelled})
	b.Equal(1, b.calls())
	b.await(func() bool { return b.queued() == 0 })
	b.NoError(stop())
}

func TestARetryInKefuLaterIsCancelledWithItsCampaign(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	b.app.Retry = Retry{Attempts: 6, First: time.Minute, Cap: time.Hour}
	b.app.HoldBack = 0
	b.api.answer = func(text string, _ int) error {
		if text == "summer-1" {
			return apiError(-1)
		}
		return nil
	}
	stop := b.start()
	b.covered()
	b.publishBulk("summer", 3)
	b.publish(bulk+"summer", "scheduled", "scheduled", "user9",
		schema.HeaderSendAt, time.Now().Add(time.Hour).UTC().Format(time.RFC3339))
	b.publish(bulk+"winter", "other", "other", "user9",
		schema.HeaderSendAt, time.Now().Add(time.Hour).UTC().Format(time.RFC3339))
	b.await(func() bool { return b.left(wire.StreamLater) == 3 && b.queued() == 0 })
	b.cancel("summer")
	b.Equal(campaign.Swept{Ended: 2}, b.sweep("summer"))
	got := b.counts("summer", 4)
	b.Equal([]int{2, 2, 0}, []int{got.Sent, got.Cancelled, got.PossibleDuplicates})
	b.EqualValues(1, b.left(wire.StreamLater))
	b.NoError(stop())
}

func TestACallUnderWayIsNotCancelledAndNotTriedAgain(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	b.app.Retry = Retry{Attempts: 6, First: time.Minute, Cap: time.Hour}
	called, answer := make(chan struct{}, 2), make(chan struct{})
	b.api.answer = func(text string, _ int) error {
		called <- struct{}{}
		<-answer
		if text == "summer-1" {
			return apiError(-1)
		}
		return nil
	}
	stop := b.start()
	b.covered()
	b.publishBulk("summer", 2)
	<-called
	<-called
	b.cancel("summer")
	swept := make(chan campaign.Swept, 1)
	var group errgroup.Group
	group.Go(func() error {
		s, err := campaign.Sweep(t.Context(), b.conn, appID, "summer",
			campaign.SweepOptions{Ledger: b.worker.book})
		swept <- s
		return err
	})
	b.await(func() bool { return b.worker.withdrawals.CampaignCancelled(appID, "summer") })
	close(answer)
	b.NoError(group.Wait())
	b.Zero((<-swept).Left)
	got := b.counts("summer", 2)
	b.Equal([]int{1, 1}, []int{got.Sent, got.Cancelled})
	b.Equal(2, b.calls())
	b.Zero(b.left(wire.StreamLater))
	b.await(func() bool { return b.queued() == 0 })
	b.NoError(stop())
}

func TestASweepThatIsCutOffGoesOn(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	const n = 3000
	b.NoError(gate.Pause(t.Context(), b.conn, appID, "no reason", "me"))
	stop := b.start()
	b.covered()
	b.publishBulk("summer", n)
	b.cancel("summer")
	ended := 0
	for range 3 {
		ctx, cut := context.WithCancel(t.Context())
		var first atomic.Bool
		swept, err := campaign.Sweep(ctx, b.conn, appID, "summer", campaign.SweepOptions{
			Ledger: b.worker.book, Progress: func(int) {
				if first.CompareAndSwap(false, true) {
					cut()
				}
			}})
		cut()
		b.ErrorIs(err, context.Canceled)
		ended += swept.Ended
	}
	b.Positive(b.queued())
	ended += b.sweep("summer").Ended
	b.LessOrEqual(ended, n)
	b.Equal(n, b.counts("summer", n).Cancelled, "each is counted once")
	b.Zero(b.queued())
	b.NoError(stop())
}

func TestWithoutALedgerASweepCountsWhatItTakesOut(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	b.publishBulk("summer", 100)
	b.cancel("summer")
	b.worker = &Worker{services: &services{}}
	b.Equal(campaign.Swept{Ended: 100}, b.sweep("summer"))
	b.Zero(b.queued())
	b.Zero(b.left(wire.StreamLedger))
	w := b.make()
	w.cfg.Ledger = false
	stop := b.run(w)
	b.publish(bulk+"summer", "late", "late", "user1")
	b.Equal(schema.StateCancelled, b.receiptOf("late").State, "nobody else tells of it")
	b.NoError(stop())
}

func TestACampaignHasOneReceiptForAllThatWereCancelledWithIt(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	b.cancel("summer")
	began := time.Now().Add(-time.Hour).UTC()
	for range 2 {
		b.NoError(campaign.StoreReceipt(t.Context(), b.conn, appID, "summer", began, 1234))
	}
	b.NoError(campaign.StoreReceipt(t.Context(), b.conn, appID, "winter", began, 0))
	told := kept[schema.Receipt](b, schema.StreamReceipt)
	b.Len(told, 1)
	order, ok, err := withdrawal.ReadCampaignOrder(t.Context(), b.conn, appID, "summer")
	b.NoError(err)
	b.True(ok)
	b.Equal(schema.Receipt{
		ID: "summer", AppID: appID, Generation: 1, State: schema.StateCancelled,
		Lane: schema.LaneBulk, Campaign: "summer", PublishedAt: began, SettledAt: order.At,
		Count: 1234,
	}, told[0])
	var subject string
	b.NoError(b.conn.Scan(t.Context(), schema.StreamReceipt, broker.ScanOptions{},
		func(s broker.Stored) error {
			subject = s.Subject
			return nil
		}))
	b.Equal("kefu.receipt."+appID+".cancelled", subject)
}
