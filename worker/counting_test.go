package worker

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/campaign"
	"github.com/kefuhq/kefu/internal/job"
	"github.com/kefuhq/kefu/internal/ledger"
	"github.com/kefuhq/kefu/internal/pool"
	"github.com/kefuhq/kefu/internal/replay"
	"github.com/kefuhq/kefu/internal/wechat"
	"github.com/kefuhq/kefu/internal/wire"
	"github.com/kefuhq/kefu/internal/withdrawal"
	"github.com/kefuhq/kefu/schema"
)

// runCampaign publishes a campaign to n recipients, user0 and so on, who get their
// name as text, once the pool counts what becomes of it.
func (b *bed) runCampaign(name string, n int) {
	b.t.Helper()
	b.covered()
	b.startCampaign(name, n)
}

// covered waits until the pool counts, and returns since when.
func (b *bed) covered() (since time.Time) {
	b.t.Helper()
	b.Eventually(func() bool {
		var err error
		since, err = ledger.CountedSince(b.t.Context(), b.conn)
		b.NoError(err)
		return !since.IsZero()
	}, patience, 5*time.Millisecond, "all workers count")
	return since
}

func (b *bed) startCampaign(name string, n int) {
	b.t.Helper()
	for i := range n {
		openID := fmt.Sprintf("user%d", i)
		packet := fmt.Sprintf(`{"touser":%q,"msgtype":"text","text":{"content":"name%d"}}`, openID, i)
		_, err := b.conn.Outbox.PublishWait(b.t.Context(), &nats.Msg{
			Subject: schema.BulkSubject(appID, name).String(), Data: []byte(packet),
			Header: nats.Header{schema.HeaderMsgID: {b.campaignID(name, openID)}},
		})
		b.NoError(err)
	}
}

// campaignID is the id of a campaign's intent for a recipient.
func (b *bed) campaignID(name, recipient string) string {
	b.t.Helper()
	p, err := b.conn.Pseudonyms(b.t.Context())
	b.NoError(err)
	return campaign.ID(p, appID, name, recipient)
}

// status waits until a campaign stands as it must. ends are in words, as those of
// package ledger.
func (b *bed) status(name string, ends map[string]int) {
	b.t.Helper()
	var got map[string]int
	b.Eventually(func() bool {
		s, err := campaign.ReadStatus(b.t.Context(), b.conn, appID, name)
		if errors.Is(err, campaign.ErrUnknown) {
			return false // nothing of it is counted yet
		}
		b.NoError(err)
		b.Zero(s.OutcomesSince, "it is counted")
		got = map[string]int{
			"sent": s.Sent, "cancelled": s.Cancelled, "maybe twice": s.PossibleDuplicates,
			"closed": s.Closed,
		}
		for reason, n := range s.Dead {
			got["dead "+string(reason)] = n
		}
		for what, n := range got {
			if n == 0 {
				delete(got, what)
			}
		}
		return fmt.Sprint(got) == fmt.Sprint(ends)
	}, patience, 10*time.Millisecond, "%v", ends)
}

// answersInTurn has the API refuse every tenth recipient, since their windows are
// closed, but for one who has left, be busy at first for every tenth, and leave every
// tenth without an answer at first.
func (b *bed) answersInTurn() {
	b.api.answer = func(text string, n int) error {
		switch {
		case strings.HasSuffix(text, "11"):
			return apiError(43004)
		case strings.HasSuffix(text, "1"):
			return apiError(45015)
		case strings.HasSuffix(text, "2") && n == 1:
			return apiError(-1)
		case strings.HasSuffix(text, "3") && n == 1:
			return &wechat.Error{Call: wechat.CallSend, Fault: wechat.FaultUnknown,
				Err: io.ErrUnexpectedEOF}
		}
		return nil
	}
}

func TestACampaignIsCountedWithoutReceipts(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		tell  Receipts
		purge bool
	}{
		{"they have aged out", ReceiptsAll, true},
		{"they are for failures", ReceiptsFailures, false},
		{"there are none", ReceiptsOff, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			b := newBed(t)
			b.tell = c.tell
			b.answersInTurn()
			withdrawn := withdrawal.Order{
				Cancellation: schema.Cancellation{Generation: 1, By: "me", At: time.Now()},
			}
			id := b.campaignID("summer", "user0")
			b.NoError(withdrawal.Write(t.Context(), b.conn, appID, id, withdrawn, time.Hour))
			stop := b.start()
			b.runCampaign("summer", 100)
			want := map[string]int{"sent": 89, "dead recipient": 10, "closed": 9,
				"cancelled": 1, "maybe twice": 10}
			b.status("summer", want)
			if c.purge {
				s, err := b.conn.JS.Stream(t.Context(), schema.StreamReceipt)
				b.NoError(err)
				b.NoError(s.Purge(t.Context()))
				b.status("summer", want)
			}
			b.NoError(stop())
			b.status("summer", want)
		})
	}
}

func TestCountsGoOnOverARestartOfBrokerAndWorkers(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	b.app.Rate.PerSecond, b.app.Rate.Burst = 400, 10
	_, stopOne, cut := b.hand("one")
	two, stopTwo, _ := b.hand("two")
	b.await(two.isStarted)
	const n = 600
	b.runCampaign("summer", n)
	posts := func() int { b.api.mu.Lock(); defer b.api.mu.Unlock(); return len(b.api.order) }
	b.await(func() bool { return posts() > n/6 })
	cut() // as a machine that is switched off
	_ = stopOne()
	b.await(func() bool { return posts() > n/3 })
	b.restartBroker()
	b.await(func() bool { return posts() > n/2 })
	_, stopThree, _ := b.hand("three")
	b.NoError(stopTwo())
	b.Eventually(func() bool {
		s, err := campaign.ReadStatus(t.Context(), b.conn, appID, "summer")
		return err == nil && s.Sent == n
	}, patience, 10*time.Millisecond)
	twice := make(map[string]bool)
	for _, r := range kept[schema.Receipt](b, schema.StreamReceipt) {
		b.Equal(schema.StateSent, r.State)
		twice[r.ID] = r.PossibleDuplicate
	}
	b.Len(twice, n)
	want := map[string]int{"sent": n}
	for _, maybe := range twice {
		if maybe {
			want["maybe twice"]++
		}
	}
	b.LessOrEqual(posts()-n, want["maybe twice"])
	b.status("summer", want)
	b.NoError(stopThree())
}

// replays has the bed's workers carry out replays, with what they know of the ledger or without.
func (b *bed) replays(remembers bool) {
	b.works = func(book *ledger.Ledger) map[job.Kind]job.Work {
		if !remembers {
			book = nil
		}
		settings := replay.Settings{Apps: map[string]replay.App{appID: {}}}
		return map[job.Kind]job.Work{
			job.KindReplay: replay.NewWork(b.conn, book, func() replay.Settings { return settings }),
		}
	}
}

func TestAReplayMovesWhatItSendsFromDeadToSent(t *testing.T) {
	t.Parallel()
	for _, forgotten := range []bool{false, true} {
		t.Run(fmt.Sprint("the ledger has forgotten: ", forgotten), func(t *testing.T) {
			t.Parallel()
			b := newBed(t)
			closed := true
			b.answersInTurn()
			in := b.api.answer
			b.api.answer = func(text string, n int) error {
				if strings.HasSuffix(text, "1") && !closed {
					if n == 2 {
						return apiError(-1) // by way of KEFU_LATER
					}
					return nil
				}
				return in(text, n)
			}
			b.app.Retry.First, b.app.HoldBack = time.Second, 0
			before := map[string]int{"sent": 18, "dead recipient": 2, "closed": 1,
				"maybe twice": 2}
			stop := b.start()
			b.runCampaign("summer", 20)
			b.status("summer", before)
			b.NoError(stop())
			if forgotten {
				s, err := b.conn.JS.Stream(t.Context(), wire.StreamLedger)
				b.NoError(err)
				b.NoError(s.Purge(t.Context()))
			}
			closed = false
			plan, err := replay.NewPlan(t.Context(), b.conn, replay.Request{}, replay.Known{},
				time.Now())
			b.NoError(err)
			_, err = replay.Submit(t.Context(), b.conn, replay.Request{}, plan, "me")
			b.NoError(err)
			b.status("summer", before)
			b.replays(!forgotten)
			stop = b.start()
			b.status("summer", map[string]int{"sent": 20, "maybe twice": 2})
			b.NoError(stop())
		})
	}
}

func TestAMessageUnderAnothersIdIsCountedOnce(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	stop := b.start()
	b.runCampaign("summer", 1)
	b.status("summer", map[string]int{"sent": 1})
	s, err := b.conn.JS.Stream(t.Context(), schema.SendStream(appID))
	b.NoError(err)
	cfg := s.CachedInfo().Config
	cfg.Duplicates = 100 * time.Millisecond
	_, err = b.conn.JS.UpdateStream(t.Context(), cfg)
	b.NoError(err)
	id := b.campaignID("summer", "user0")
	b.Eventually(func() bool { // once the broker itself has forgotten the id
		return !b.publish(bulk+"summer", id, "another", "user0").Duplicate
	}, patience, 50*time.Millisecond)
	b.status("summer", map[string]int{"sent": 1, "dead id-reuse": 1})
	b.Eventually(func() bool {
		broken := []string{"Kefu-Expires-At", "never"}
		return !b.publish(bulk+"summer", id, "name0", "user0", broken...).Duplicate
	}, patience, 50*time.Millisecond)
	b.status("summer", map[string]int{"sent": 1, "dead id-reuse": 1, "dead invalid": 1})
	b.NoError(stop())
}

func TestOneWorkerWritesWhatAllCount(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	_, stopLast, _ := b.hand("z")
	b.runCampaign("summer", 10)
	b.status("summer", map[string]int{"sent": 10})
	first, stopFirst, _ := b.hand("a")
	b.await(func() bool { return first.isStarted() && first.pool.WritesCounts() })
	b.NoError(stopLast())
	b.startCampaign("winter", 10)
	b.publish(bulk+"summer", "one more", "text", "user100")
	b.status("winter", map[string]int{"sent": 10})
	b.status("summer", map[string]int{"sent": 11})
	b.NoError(stopFirst())
}

func TestWhatNotAllWorkersCountIsReadFromReceipts(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	stop := b.start()
	b.runCampaign("summer", 10)
	b.status("summer", map[string]int{"sent": 10})
	since := b.covered()
	uncovered := func() {
		b.t.Helper()
		b.Eventually(func() bool {
			now, err := ledger.CountedSince(t.Context(), b.conn)
			b.NoError(err)
			return now.IsZero()
		}, patience, 5*time.Millisecond)
	}
	fromReceipts := func() {
		b.t.Helper()
		s, err := campaign.ReadStatus(t.Context(), b.conn, appID, "summer")
		b.NoError(err)
		b.Equal(10, s.Sent)
		receipts, err := b.conn.JS.Stream(t.Context(), schema.StreamReceipt)
		b.NoError(err)
		b.NoError(receipts.Purge(t.Context(), jetstream.WithPurgeKeep(5)))
		s, err = campaign.ReadStatus(t.Context(), b.conn, appID, "summer")
		b.NoError(err)
		b.Equal(5, s.Sent)
	}

	// A worker of an earlier version comes and goes.
	heartbeat, err := json.Marshal(pool.Worker{Name: "old", Lease: 1})
	b.NoError(err)
	b.NoError(b.conn.SaveState(t.Context(), broker.PutState("pool.worker.old", heartbeat, 0)))
	uncovered()
	fromReceipts()
	b.NoError(b.conn.SaveState(t.Context(), broker.DeleteState("pool.worker.old")))
	again := b.covered()
	b.NotEqual(since, again)

	// It was there for a moment, or while no other was: its marks are in the log.
	b.NoError(stop())
	b.mark("old", b.first("x", "text", "user1", ledger.Sent))
	stop = b.start()
	b.Eventually(func() bool { return !b.covered().Equal(again) }, patience, 5*time.Millisecond)
	b.NoError(stop())

	// One keeps no ledger.
	b.covered()
	w := b.make()
	w.cfg.Ledger, w.cfg.Process.Counts = false, false
	stop = b.run(w)
	uncovered()
	b.NoError(stop())
}
