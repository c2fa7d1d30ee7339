//go:build faults

package faults

import (
	"fmt"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/kefuhq/kefu/internal/broker/brokertest"
	"github.com/kefuhq/kefu/internal/sandbox"
	"github.com/kefuhq/kefu/internal/stage"
	"github.com/kefuhq/kefu/schema"
)

// TestOrder has a pool deliver conversations through busy answers, resets after the message was
// taken, stale tokens and a short hold, while two workers are killed and two join; the API's record
// then says whether anybody got a message before an earlier one.
func TestOrder(t *testing.T) {
	pool, recipients, each := 4, 100, 10
	if *full {
		pool, recipients, each = 8, 2000, 50
	}
	b := brokertest.Bare(t)
	s := &scene{Stage: stage.New(t, stage.Options{
		Broker: b.URL(), Worker: []string{"concurrency: 64"},
		Defaults: []string{"live_shards: 16", "retry: {attempts: 10, first: 100ms, cap: 1s}"},
	})}
	for _, r := range []sandbox.Rule{
		{After: 200, Every: 9973, ExpireTokens: true},
		{After: 300, Times: 3, HTTPStatus: 429, RetryAfter: "1"},
		{Share: 0.05, Errcode: -1}, {Share: 0.01, Reset: sandbox.ResetAfter},
		{Delay: 5 * time.Millisecond, DelayMax: 80 * time.Millisecond},
	} {
		r.Call = sandbox.CallSend
		s.API.Add(r)
	}
	var workers []*stage.Process
	for range pool {
		workers = append(workers, s.Launch())
	}
	for _, w := range workers {
		w.Ready()
	}
	s.Connect()
	dead := 0 // process
	spread := func() bool {
		shards, all := s.Readers()
		_, listed := shards[dead]
		return len(shards) == pool && all == 16 && !listed
	}
	s.Eventually(spread, stage.Patience, 100*time.Millisecond, "the shards are spread")

	var moved []time.Duration
	for i := range each {
		for r := range recipients {
			to := fmt.Sprintf("oUser%d", r)
			m := nats.NewMsg(stage.Live + to)
			m.Data = []byte(stage.Numbered(to, i))
			m.Header.Set(schema.HeaderMsgID, stage.NumberedID(to, i))
			_, err := s.JS.PublishMsgAsync(m)
			s.NoError(err)
			// the order of publication is the order of acceptance
			if r%500 == 499 || r == recipients-1 {
				<-s.JS.PublishAsyncComplete()
			}
		}
		if i == each/3 || i == 2*each/3 {
			killed := time.Now()
			dead = workers[0].PID()
			workers[0].Kill()
			workers = append(workers[1:], s.Launch())
			s.Eventually(spread, stage.Patience, 100*time.Millisecond)
			moved = append(moved, time.Since(killed).Round(100*time.Millisecond))
		}
	}
	s.Drained()

	twice := s.InOrder(recipients, each)
	receipts := s.StoredReceipts()
	s.Len(receipts, recipients*each)
	marked := 0
	for id, rs := range receipts {
		s.Len(rs, 1, id)
		if rs[0].PossibleDuplicate {
			marked++
		}
	}
	s.LessOrEqual(twice, marked, "what was delivered twice is marked")
	for _, w := range workers {
		s.NoError(w.Stop(syscall.SIGTERM))
	}
	report("order", fmt.Sprintf("%d workers, %d recipients, %d live intents each; 2 killed -9, 2 "+
		"joined; 5 %% busy, 1 %% resets after processing, stale tokens, a hold", pool,
		recipients, each),
		fmt.Sprintf("%d intents, none before an earlier one of its recipient; %d delivered "+
			"twice, %d marked; all shards read again %v after a kill (contract: 15 s)",
			recipients*each, twice, marked, moved))
}
