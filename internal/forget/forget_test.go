package forget

import (
	"context"
	"encoding/json"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/broker/brokertest"
	"github.com/kefuhq/kefu/internal/campaign"
	"github.com/kefuhq/kefu/internal/deadletter"
	"github.com/kefuhq/kefu/internal/gate"
	"github.com/kefuhq/kefu/internal/ledger"
	"github.com/kefuhq/kefu/internal/queue"
	"github.com/kefuhq/kefu/internal/wire"
	"github.com/kefuhq/kefu/publisher"
	"github.com/kefuhq/kefu/schema"
)

// recipients is a campaign's file.
func recipients(openIDs ...string) campaign.Source {
	return campaign.Source{Format: campaign.CSV, Open: func() (io.ReadCloser, error) {
		return io.NopCloser(strings.NewReader("openid\n" + strings.Join(openIDs, "\n"))), nil
	}}
}

// interrupted is a queue that takes so many intents, and then interrupts the campaign.
type interrupted struct {
	campaign.Queue
	takes     int
	interrupt context.CancelFunc
}

func (q *interrupted) PublishBulk(
	ctx context.Context, appID string, terms campaign.Terms, intents []campaign.Intent,
) ([]campaign.Accepted, error) {
	if q.takes -= len(intents); q.takes < 0 {
		q.interrupt()
		return nil, context.Canceled
	}
	return q.Queue.PublishBulk(ctx, appID, terms, intents)
}

// bulkOf is the text of a campaign and the way to its queue.
func (b *bed) bulkOf(text string) (*campaign.Template, campaign.Queue) {
	b.t.Helper()
	template, err := campaign.ParseTemplate([]byte(
		`{"msgtype":"text","text":{"content":"` + text + `"}}`))
	b.NoError(err)
	p, err := publisher.New(b.conn.JS)
	b.NoError(err)
	return template, campaign.PublisherQueue{Publisher: p}
}

func TestACampaignCountsWhatIsRemovedAsCancelled(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	template, queue := b.bulkOf("sale")
	job := campaign.Job{AppID: app, Campaign: "double-11", Template: template,
		Source: recipients("o1", one)}
	b.NoError(gate.Pause(t.Context(), b.conn, app, "so that nothing is sent", "me"))
	b.work()
	b.Eventually(func() bool {
		since, err := ledger.CountedSince(t.Context(), b.conn)
		return err == nil && !since.IsZero()
	}, brokertest.Patience, 10*time.Millisecond)
	_, err := job.Start(t.Context(), campaign.Options{Conn: b.conn, Queue: queue})
	b.NoError(err)
	b.Equal(Found{Queued: 1}, b.forget(options()).Removed)
	b.Eventually(func() bool {
		status, err := campaign.ReadStatus(t.Context(), b.conn, app, "double-11")
		return err == nil && status.Cancelled == 1 && status.Queued == 1
	}, brokertest.Patience, 10*time.Millisecond)
}

func TestWhatACampaignHasNotPublishedYetIsNotSentEither(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	template, queue := b.bulkOf("sale")
	job := campaign.Job{AppID: app, Campaign: "double-11", Template: template,
		Source: recipients("o1", "o2", one, "o3")}
	ctx, interrupt := context.WithCancel(t.Context())
	defer interrupt()
	_, err := job.Start(ctx, campaign.Options{Conn: b.conn, Batch: 1,
		Queue: &interrupted{queue, 2, interrupt}})
	b.ErrorIs(err, context.Canceled)

	plan, err := Look(t.Context(), b.conn, person())
	b.NoError(err)
	b.Zero(plan.Total())
	b.Equal([]string{"double-11"}, plan.Campaigns)
	result := b.forget(options())
	b.Zero(result.Removed.Total())
	b.Equal([]string{"double-11"}, result.Orders[0].Campaigns)

	_, err = job.Start(t.Context(), campaign.Options{Conn: b.conn, Queue: queue, Batch: 1})
	b.NoError(err)
	next := campaign.Job{AppID: app, Campaign: "double-12", Template: template,
		Source: recipients(one)}
	_, err = next.Start(t.Context(), campaign.Options{Conn: b.conn, Queue: queue})
	b.NoError(err)
	b.live("hello", one)
	b.work()
	id := func(name, openID string) string { return campaign.ID(b.pseudonyms, app, name, openID) }
	b.awaitStates(map[string]schema.State{
		id("double-11", "o1"): schema.StateSent, id("double-11", "o2"): schema.StateSent,
		id("double-11", one): schema.StateCancelled, id("double-11", "o3"): schema.StateSent,
		id("double-12", one): schema.StateSent, "hello": schema.StateSent,
	})
	status, err := campaign.ReadStatus(t.Context(), b.conn, app, "double-11")
	b.NoError(err)
	b.Equal([]int{3, 1, 0}, []int{status.Sent, status.Cancelled, status.Open()})
	b.Equal(Found{Receipts: 1}, b.forget(options()).Removed,
		"of double-12; that double-11 was cancelled stays on record")
	b.Zero(b.forget(options()).Removed.Total())
}

func TestACallUnderWayIsLeftToItsWorker(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	end := b.callUnderWay("a")
	b.live("b", one) // it waits for a
	o, waited := options(), 0
	o.Progress = func(doing string) {
		b.Equal("waiting for calls that are under way", doing)
		if waited++; waited == 1 {
			close(end)
		}
	}
	result := b.forget(o)
	b.NotZero(waited)
	b.Zero(result.Left)
	b.Zero(result.Deaf)
	b.Equal(1, result.Removed.Receipts, "of a, which was sent")
	b.live("c", one) // the worker reads on behind what was taken out of its hands
	b.awaitStates(map[string]schema.State{"b": schema.StateCancelled, "c": schema.StateSent})
	b.Equal([]string{one + " a", one + " c"}, b.calls())
}

func TestACallThatDoesNotEndIsLeft(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	end := b.callUnderWay("a")
	o := options()
	o.callsEnd = time.Millisecond
	result := b.forget(o)
	b.Equal(1, result.Left)
	b.Zero(result.Removed.Total())
	close(end)
	b.awaitStates(map[string]schema.State{"a": schema.StateSent})
}

func TestWhatAWorkerThatIsGoneHadBegunMayHaveArrived(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	b.live("a", one)
	var begun []ledger.Mark
	b.NoError(queue.NewReader(b.conn, person().Apps[0], queue.OfRecipient(one)).Read(t.Context(),
		func(m queue.Message) error {
			begun = append(begun, m.Start())
			return nil
		}))
	b.NoError(ledger.Append(t.Context(), b.conn, "gone-1", begun))
	b.Equal(Found{Queued: 1}, b.forget(options()).Removed)
	told := b.receipts()
	b.Len(told, 1)
	b.Equal(schema.StateCancelled, told[0].State)
	b.True(told[0].PossibleDuplicate)
}

func TestARepeatThatIsQueuedEndsNothing(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	b.live("a", one)
	sent := ledger.Mark{Key: ledger.KeyOf(app, "a"), Seq: 1000, Kind: ledger.Sent, Generation: 1,
		Body: ledger.BodyOf(packet(one, "a"))}
	b.NoError(ledger.Append(t.Context(), b.conn, "worker-1", []ledger.Mark{sent}))
	b.Equal(Found{Queued: 1}, b.forget(options()).Removed)
	b.Empty(b.receipts(), "it was sent, as its first receipt said")
}

func TestNoReceiptIsStoredThatNamesThePersonOrWhereNobodyWantsAny(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	b.live("welcome-"+one, one)
	b.Equal(Found{Queued: 1}, b.forget(options()).Removed)
	b.Empty(b.receipts())
	b.live("a", one)
	o := options()
	o.Receipts = false
	b.Equal(Found{Queued: 1}, b.forget(o).Removed)
	b.Empty(b.receipts())
}

func TestTheReceiptOfACampaignIsNobodys(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	before := time.Now().Add(-time.Hour)
	whole, err := json.Marshal(schema.Receipt{ID: "double-11", AppID: app, Count: 7,
		State: schema.StateCancelled, Lane: schema.LaneBulk, Campaign: "double-11",
		PublishedAt: before, SettledAt: before})
	b.NoError(err)
	subject := schema.ReceiptSubject(app, schema.StateCancelled)
	_, err = b.conn.JS.Publish(t.Context(), subject, whole)
	b.NoError(err)
	b.live("double-11", one)
	b.Equal(Found{Queued: 1}, b.forget(options()).Removed)
	b.Equal(7, b.receipts()[0].Count)
}

func TestTheOriginalsOfEditedLettersAreRemoved(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	put := func(key string, value any) {
		body, err := json.Marshal(value)
		b.NoError(err)
		_, err = b.conn.Outbox.PublishWait(t.Context(), broker.PutJob(key, body, 0))
		b.NoError(err)
	}
	edited := func(openID string) any {
		l := schema.Letter{ID: "a", AppID: app, OpenID: openID, PublishedAt: time.Now()}
		wire.SetPacket(&l, packet(openID, "hello"))
		return map[string]any{"job": "j1", "by": "me", "at": time.Now(), "letter": l}
	}
	put("edited.wx1.1", edited(one))
	put("edited.wx1.2", edited(other))
	put("job.j1.order", map[string]any{"spec": map[string]any{"openid": one}})

	result := b.forget(options())
	b.Equal(Found{Edited: 1}, result.Removed)
	left, err := b.conn.ReadJobs(t.Context(), "edited.")
	b.NoError(err)
	b.Len(left, 1)
	b.Equal("edited.wx1.2", left[0].Key)
	b.Contains(result.Remains, Remnant{Where: "KEFU_JOB", What: "job j1, which was ordered for " +
		"this openid; it names nobody any more when it has ended"})
}

func TestAnInterruptedForgettingGoesOn(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	l := schema.Letter{ID: "dead-1", AppID: app, Generation: 1, OpenID: one, Lane: schema.LaneLive,
		Reason: schema.ReasonExpired, PublishedAt: time.Now(), DiedAt: time.Now()}
	m, err := deadletter.Message(&l)
	b.NoError(err)
	_, err = b.conn.Outbox.PublishWait(t.Context(), m)
	b.NoError(err)
	end := b.callUnderWay("a")
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	o := options()
	o.Progress = func(string) { stop() }
	result, err := Forget(ctx, b.conn, person(), o)
	b.ErrorIs(err, context.Canceled)
	b.Len(result.Orders, 1)
	b.Zero(result.Removed.Total())
	close(end)

	b.Equal(1, b.forget(options()).Removed.Letters)
	var said []string
	b.NoError(b.conn.ReadAudit(t.Context(), broker.AuditFilter{Verbs: []string{"forget"}},
		func(r broker.AuditRecord) error {
			said = append(said, r.Detail)
			return nil
		}))
	b.Len(said, 4)
	b.Contains(said[1], "; interrupted")
}
