package worker

import (
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/pool"
)

// overtaken has the claims of some shards arrive after the worker has been
// reconfigured to do without them.
type overtaken struct {
	*claims
	without  func(*pool.Claim) bool
	acquired chan *pool.Claim
}

func (o overtaken) Acquired(c *pool.Claim) {
	if o.without(c) {
		o.serve()
		defer func() { o.acquired <- c }()
	}
	o.claims.Acquired(c)
}

func TestAWorkerThatStoodStillLooksAgainBeforeABulkCall(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	stop := b.start()
	b.await(func() bool { return b.worker.reads() == 4 })
	a := b.worker.current()[0]
	a.mu.Lock()
	lane := a.lanes[len(a.lanes)-1]
	now := time.Now()
	late := now.Add(2 * pool.Lease) // the lease may be renewed meanwhile
	term, _ := b.worker.pool.Term(now)
	d := &delivery{mayCall: lane.mayStart, scheduled: scheduled{line: lane.line}, term: term,
		life: life{stage: stageStarted, deadline: now.Add(time.Hour)}}
	b.False(a.engine.mustNotCall(d, now))
	b.True(a.engine.mustNotCall(d, late), "others may have taken it over")
	d.term--
	b.True(a.engine.mustNotCall(d, now), "also when it has gone on since")
	b.ErrorIs(a.engine.checkBeforeSend(d), errNotNow)
	d.stage = stageIdle
	b.False(a.engine.mustNotCall(d, late), "what has not been started is not")
	lane.line.ready.pushBack(d)
	b.Nil(a.scheduler.nextLine(a.conditions(late, trialChoice{}, 0)),
		"but it waits until nobody takes this worker for dead")
	b.Equal(lane.line, a.scheduler.nextLine(a.conditions(now, trialChoice{}, 0)))
	lane.line.ready.popFront()
	a.mu.Unlock()
	b.NoError(stop())
}

func TestAClaimThatNoLaneIsThereForIsGivenBack(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name    string
		shards  map[string]int
		without func(*pool.Claim) bool
	}{
		{
			"its app is gone", map[string]int{appID: 4, "gone": 1},
			func(c *pool.Claim) bool { return c.App == "gone" },
		},
		{
			"its app has fewer shards", map[string]int{appID: 5},
			func(c *pool.Claim) bool { return c.Shard == 4 },
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			b := newBed(t)
			stop := b.start()
			wait := func(f func() bool, what string) {
				b.t.Helper()
				b.Eventually(f, patience, 5*time.Millisecond, what)
			}
			wait(func() bool { return b.worker.reads() == 4 }, "it has joined the pool")
			late := overtaken{b.worker.claims, c.without, make(chan *pool.Claim, 1)}
			revision := uint64(0)
			for range 2 { // the shard can be had again when there is a lane for it
				b.worker.pool.Serve(late, c.shards)
				select {
				case claim := <-late.acquired:
					b.False(claim.Valid(time.Now()))
					b.Greater(claim.Revision, revision)
					revision = claim.Revision
				case <-time.After(patience):
					b.FailNow("the shard is not claimed")
				}
				wait(func() bool {
					_, held, err := pool.Read(t.Context(), b.conn)
					return err == nil && len(held) == 4
				}, "others may have it")
			}
			b.Equal(4, b.worker.reads())
			b.NoError(stop())
		})
	}
}

func TestAWorkerWithoutALeaseTriesNoHold(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	stop := b.start()
	b.await(func() bool { return b.worker.reads() == 4 })
	a := b.worker.current()[0]
	a.mu.Lock()
	lane := a.lanes[len(a.lanes)-1]
	m := nats.NewMsg(bulk + "c1")
	m.Data = packet("x", "u1")
	d := lane.deliver(m, broker.Delivery{Seq: 1, Stored: time.Now()}, time.Now())
	chosen := func(now time.Time) *delivery {
		best, _ := chooseTrial(a.scheduler.lines, a.conditions(now, a.trialChoice(now), 0))
		return best
	}
	lane.line.ready.pushBack(d)
	now := time.Now()
	b.Same(d, chosen(now))
	b.Nil(chosen(now.Add(2*pool.Lease)),
		"its Start would be taken back, and it be chosen again at once")
	lane.line.ready.remove(d)
	a.mu.Unlock()
	b.NoError(stop())
}
