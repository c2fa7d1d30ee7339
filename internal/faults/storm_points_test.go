//go:build faults

package faults

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/broker/brokertest"
	"github.com/kefuhq/kefu/internal/failpoint"
	"github.com/kefuhq/kefu/internal/ledger"
	"github.com/kefuhq/kefu/internal/sandbox"
	"github.com/kefuhq/kefu/internal/stage"
	"github.com/kefuhq/kefu/internal/wire"
	"github.com/kefuhq/kefu/schema"
)

// TestKilledAtEachPoint kills the worker with 200 intents in flight at each step of their path, and
// compares what is in doubt afterwards with what the ledger says was started and not settled.
func TestKilledAtEachPoint(t *testing.T) {
	t.Parallel()
	times := 2
	if *full {
		times = 20
	}
	sums := make(map[string]*deathTally)
	var mu sync.Mutex
	t.Cleanup(func() {
		for done, s := range sums {
			report("kill -9 at a point", done, s.String())
		}
	})
	for _, policy := range []schema.UnknownPolicy{schema.PolicyResend, schema.PolicyPark} {
		for _, point := range failpoint.Points() {
			for i := range times {
				t.Run(fmt.Sprintf("%s/%s/%d", policy, point, i+1), func(t *testing.T) {
					t.Parallel()
					got := killedAmong200(t, point, policy)
					mu.Lock()
					defer mu.Unlock()
					done := fmt.Sprintf("%s, %s, 200 in flight", point, policy)
					if sums[done] == nil {
						sums[done] = &deathTally{}
					}
					sums[done].add(got)
				})
			}
		}
	}
}

// deathTally is what several deaths at one point came to.
type deathTally struct{ deaths, lost, unsettled, marked, twice int }

func (s *deathTally) add(o deathTally) {
	s.deaths++
	s.lost += o.lost
	s.unsettled += o.unsettled
	s.marked += o.marked
	s.twice += o.twice
}

func (s *deathTally) String() string {
	return fmt.Sprintf("%d times: lost %d, started and unsettled %d, marked or parked %d, "+
		"delivered twice %d", s.deaths, s.lost, s.unsettled, s.marked, s.twice)
}

func killedAmong200(t *testing.T, point failpoint.Point, policy schema.UnknownPolicy) deathTally {
	b := brokertest.Bare(t)
	s := &scene{Stage: stage.New(t, stage.Options{
		Crash: true, Broker: b.URL(),
		Worker: []string{"concurrency: 200"},
		Defaults: []string{"concurrency: 200", "on_unknown: " + string(policy),
			"retry: {attempts: 6, first: 1500ms, cap: 2s}"},
	})}
	s.API.Add(sandbox.Rule{Call: sandbox.CallSend, Every: 8, Errcode: -1,
		Delay: 30 * time.Millisecond})
	s.API.Add(sandbox.Rule{Call: sandbox.CallSend, Every: 9, Errcode: 45015,
		Delay: 30 * time.Millisecond})
	if point == failpoint.Held || point == failpoint.Cleared {
		s.API.Add(sandbox.Rule{Call: sandbox.CallSend, After: 20, Times: 20, HTTPStatus: 429,
			RetryAfter: "1"})
	}
	s.API.Add(sandbox.Rule{Call: sandbox.CallSend, Delay: 20 * time.Millisecond,
		DelayMax: 400 * time.Millisecond})

	// The queue is full before anybody reads it, so 200 calls begin at once.
	s.provision()
	const n = 400
	for i := range n {
		if id := fmt.Sprint("user", i); i%2 == 0 {
			s.send(id)
		} else {
			s.sendBulk(id)
		}
	}
	unsettled := make(map[string]bool)
	die := func(at failpoint.Point, arrival int) {
		p := s.Launch(fmt.Sprintf("FAILPOINT=%s=kill@%d", at, arrival))
		s.Error(p.Wait(), "it was killed")
		s.collectStarted(b, unsettled)
	}
	if point == failpoint.Suspected { // nothing is, in a first life
		die(failpoint.Started, 1+rand.IntN(200))
		die(point, 1+rand.IntN(10))
	} else {
		die(point, 1+rand.IntN(10))
	}
	s.Start()
	s.Drained()

	got := s.look()
	s.Zero(got.lost)
	delivered := s.API.CountBy(sandbox.ByOpenID,
		sandbox.Filter{Call: sandbox.CallSend, Delivered: true})
	receipts := s.StoredReceipts()
	beyond, marked := 0, 0
	for _, id := range s.published {
		s.Len(receipts[id], 1, "%s has one end", id)
		r := receipts[id][0]
		beyond += max(0, delivered[id]-1)
		s.Equal(unsettled[id], r.PossibleDuplicate,
			"%s: in doubt is what was started and not settled: %+v", id, r)
		if r.PossibleDuplicate {
			marked++
		}
		if policy == schema.PolicyPark {
			s.LessOrEqual(delivered[id], 1, "%s was sent twice", id)
			s.Equal(unsettled[id], r.Reason == schema.ReasonUnknown,
				"%s: what is in doubt is parked: %+v", id, r)
		}
	}
	s.Equal(len(unsettled), marked)
	s.LessOrEqual(beyond, marked)
	return deathTally{lost: got.lost, unsettled: len(unsettled), marked: marked, twice: beyond}
}

// provision makes the JetStream objects that the workers will find.
func (s *scene) provision() {
	s.T.Helper()
	out, code := s.Kefu("setup")
	s.Zero(code, out)
	s.Connect()
}

// arrived returns when the streams hold what was published to them before. A stream takes its
// messages one after the other, some time after their connection has gone: it refuses a condition
// that cannot hold only after all that came before.
func (s *scene) arrived(conn *broker.Conn) {
	s.T.Helper()
	for _, subject := range []string{
		wire.LedgerSubject("checker"), wire.LaterWaitSubject(stage.App, "checker"),
		schema.BulkSubject(stage.App, "checker").String(),
	} {
		_, err := conn.Swap(s.T.Context(), nats.NewMsg(subject), 1<<40)
		s.ErrorIs(err, broker.ErrOvertaken, subject)
	}
}

// collectStarted adds to the set the intents whose newest mark in the ledger is a Start: a call of
// theirs was begun, and nobody wrote how it ended. Not in doubt are those whose next attempt is
// stored already: it knows.
func (s *scene) collectStarted(b *brokertest.Broker, set map[string]bool) {
	s.T.Helper()
	// What the dead process had handed to the system is still on its way.
	s.Eventually(func() bool { return b.Embedded().Server.NumClients() == 1 }, stage.Patience,
		5*time.Millisecond)
	conn, err := broker.Connect(s.T.Context(), broker.Options{URL: b.URL(), Name: "checker"})
	s.NoError(err)
	defer conn.Close()
	s.arrived(conn)
	l, err := ledger.Open(s.T.Context(), conn,
		ledger.Options{Worker: "checker", Keep: 72 * time.Hour})
	s.NoError(err)
	defer l.Close()
	next := s.queuedAttempts()
	for _, id := range s.published {
		if s := l.Peek(ledger.Mark{Key: ledger.KeyOf(stage.App, id)}); s.Kind == ledger.Start &&
			next[id] <= s.Attempts {
			set[id] = true
		}
	}
}
