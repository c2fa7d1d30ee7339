package worker

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/kefuhq/kefu/internal/ledger"
	"github.com/kefuhq/kefu/internal/wire"
	"github.com/kefuhq/kefu/schema"
)

func TestWorkersWriteDownTheNamesOfCampaigns(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	names := func() (out []string) {
		b.t.Helper()
		all, err := ledger.Names(t.Context(), b.conn, appID)
		b.NoError(err)
		for _, n := range all {
			b.WithinDuration(time.Now(), n.FirstAt, time.Minute)
			out = append(out, n.Name)
		}
		return out
	}
	named := func(want ...string) {
		b.t.Helper()
		b.Eventually(func() bool { return fmt.Sprint(names()) == fmt.Sprint(want) },
			patience, 5*time.Millisecond, "%v", want)
	}
	stop := b.start()
	b.publish(live+"user1", "live", "hello", "user1")
	b.publish(bulk+"straight", "1", "hello", "user1")
	named("straight")
	first, err := ledger.Names(t.Context(), b.conn, appID)
	b.NoError(err)
	b.publish(bulk+"straight", "2", "hello", "user2")
	b.publish(bulk+"invalid", "3", "", "user1")
	b.await(func() bool { return len(kept[schema.Receipt](b, schema.StreamReceipt)) == 4 })
	b.NoError(stop()) // which writes what is left
	b.Equal([]string{"straight", "invalid"}, names())

	w := b.make() // without a ledger, and with another process's memory
	w.cfg.Ledger, w.cfg.Process.Counts = false, false
	stop = b.run(w)
	b.publish(bulk+"straight", "4", "hello", "user3")
	b.publish(bulk+"uncounted", "5", "hello", "user1")
	named("straight", "invalid", "uncounted")
	b.NoError(stop())
	all, err := ledger.Names(t.Context(), b.conn, appID)
	b.NoError(err)
	b.Equal(first[0], all[0])
}

func TestHowManyNamesOfCampaignsAreKeptInMindIsBounded(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	var n names
	now := time.Now()
	meet := func(campaign string) {
		n.meet(&delivery{life: life{campaign: ledger.CampaignOf(appID, campaign),
			subject: wire.Subject{Subject: schema.BulkSubject(appID, campaign)}}})
	}
	n.meet(&delivery{life: life{campaign: ledger.NoCampaign}})
	b.Empty(n.next(now))
	for i := range 2 * namesWaiting {
		meet(fmt.Sprint("c", i))
		meet("c0")
	}
	b.Len(n.waiting, namesWaiting, "the others are met again")
	b.Len(n.known, namesWaiting)
	b.Len(n.next(now), namesAtOnce)

	n.waiting = n.waiting[:2]
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	b.Error(n.save(ctx, b.conn))
	b.Len(n.waiting, 2, "they are not written yet")
	b.NoError(n.save(t.Context(), b.conn))
	b.Empty(n.waiting)
	meet("c0")
	b.Empty(n.next(now))
	b.Empty(n.next(now.Add(2*namesFor)), "it is due again when it is met again")
	meet("c0")
	b.Len(n.next(now), 1)

	for i := range namesMost {
		n.waiting = nil
		meet(fmt.Sprint("d", i))
	}
	b.LessOrEqual(len(n.known), namesMost)
}
