package forget

import (
	"context"
	"encoding/json"
	"testing"
	"time"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/campaign"
	"github.com/kefuhq/kefu/internal/deadletter"
	"github.com/kefuhq/kefu/internal/gate"
	"github.com/kefuhq/kefu/internal/ledger"
	"github.com/kefuhq/kefu/internal/queue"
	"github.com/kefuhq/kefu/internal/wire"
	"github.com/kefuhq/kefu/schema"
)

func TestACampaignCountsWhatIsRemovedAsCancelled(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	b.NoError(gate.Pause(t.Context(), b.conn, app, "so that nothing is sent", "me"))
	b.work()
	b.counted()
	b.order("double-11", "o1", one)
	b.until("double-11", func(s campaign.Status) bool { return s.Published == 2 })
	b.Equal(Found{Queued: 1, Rows: 1}, b.forget(options()).Removed)
	b.until("double-11", func(s campaign.Status) bool { return s.Cancelled == 1 && s.Queued == 1 })
}

func TestWhatACampaignHasNotFedYetNeverIs(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	b.order("double-11", "o1", "o2", one, "o3")

	plan, err := Look(t.Context(), b.conn, person())
	b.NoError(err)
	b.Equal(Found{Rows: 1}, plan.Found)
	b.Equal([]string{"double-11"}, plan.Campaigns)
	result := b.forget(options())
	b.Equal(Found{Rows: 1}, result.Removed)
	b.Equal([]string{"double-11"}, result.Orders[0].Campaigns)
	b.Zero(b.forget(options()).Removed.Total())

	b.order("double-12", one)
	b.live("hello", one)
	b.work()
	id := func(name, openID string) string { return campaign.ID(b.pseudonyms, app, name, openID) }
	b.awaitStates(map[string]schema.State{
		id("double-11", "o1"): schema.StateSent, id("double-11", "o2"): schema.StateSent,
		id("double-11", "o3"): schema.StateSent,
		id("double-12", one):  schema.StateSent, "hello": schema.StateSent,
	})
	b.until("double-11", func(s campaign.Status) bool { return s.State == campaign.StateDone })
	s := b.status("double-11")
	b.Equal([]int{4, 3, 1, 0}, []int{s.Rows, s.Sent, s.Cancelled, s.Open})
	b.Equal(Found{Rows: 1, Receipts: 1}, b.forget(options()).Removed, "of double-12")
	b.Zero(b.forget(options()).Removed.Total())
}

func TestWhatAWorkerFeedsOfRowsThatItHasReadIsNotSent(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	b.room = 1
	b.NoError(gate.Pause(t.Context(), b.conn, app, "so that the second row has to wait", "me"))
	b.work()
	b.counted()
	b.order("double-11", "o1", one, "o2")
	b.until("double-11", func(s campaign.Status) bool { return s.Published == 1 })
	b.Equal(Found{Rows: 1}, b.forget(options()).Removed)
	b.NoError(gate.Resume(t.Context(), b.conn, app))
	b.until("double-11", func(s campaign.Status) bool { return s.State == campaign.StateDone })
	s := b.status("double-11")
	b.Equal([]int{3, 2, 1, 0}, []int{s.Rows, s.Sent, s.Cancelled, s.Open})
	b.ElementsMatch([]string{"o1 sale", "o2 sale"}, b.calls())
}

func TestAFileThatIsBeingUploadedIsSaid(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	terms := campaign.Terms{AppID: app, Campaign: "double-11"}
	p, err := campaign.Foresee(t.Context(), b.conn, app, "double-11")
	b.NoError(err)
	u, err := campaign.NewUpload(b.conn, app, "double-11")
	b.NoError(err)
	b.NoError(p.Announce(t.Context(), b.conn, terms, u))
	b.Contains(b.forget(options()).Remains, Remnant{Where: wire.StreamCampaign,
		What: "campaign double-11, whose file is being uploaded: run it again when that is over"})
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
