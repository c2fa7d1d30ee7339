package main_test

import (
	"fmt"
	"maps"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/kefuhq/kefu/internal/broker/brokertest"
	"github.com/kefuhq/kefu/internal/sandbox"
	"github.com/kefuhq/kefu/internal/stage"
)

// TestOrderOverKilledWorkers has workers killed and joining while live intents
// of many recipients are on their way, busy answers, resets and stale tokens
// among them, and looks at the API's record: nobody's intent arrived before an
// earlier one.
func TestOrderOverKilledWorkers(t *testing.T) {
	t.Parallel()
	b := brokertest.Bare(t)
	s := stage.New(t, stage.Options{Broker: b.URL(),
		Defaults: []string{"rate: {per_second: 2000, burst: 100}", "concurrency: 64"}})
	s.API.Add(sandbox.Rule{Call: "send", Every: 1500, ExpireTokens: true})
	s.API.Add(sandbox.Rule{Call: "send", Share: 0.05, Errcode: -1})
	s.API.Add(sandbox.Rule{Call: "send", Delay: 5 * time.Millisecond,
		DelayMax: 80 * time.Millisecond})
	var workers []*stage.Process
	for range 3 {
		workers = append(workers, s.Launch())
	}
	for _, w := range workers {
		w.Ready()
	}
	s.Connect()
	s.Eventually(func() bool {
		shards, all := s.Readers()
		return len(shards) == 3 && all == 4 && slices.Max(slices.Collect(maps.Values(shards))) == 2
	}, stage.Patience, 100*time.Millisecond, "the shards are spread")

	const recipients, each = 100, 20
	for i := range each {
		for r := range recipients {
			to := fmt.Sprintf("oUser%d", r)
			s.Publish(stage.Live+to, stage.Numbered(to, i), "Nats-Msg-Id", stage.NumberedID(to, i))
		}
		switch i {
		case each / 3:
			s.Error(workers[0].Stop(syscall.SIGKILL))
			workers = append(workers[1:], s.Launch())
		case 2 * each / 3:
			s.NoError(workers[0].Stop(syscall.SIGTERM))
			workers = append(workers[1:], s.Launch())
		}
	}
	s.Drained()

	doubles := s.InOrder(recipients, each)
	receipts := s.StoredReceipts()
	s.Len(receipts, recipients*each)
	marked := 0
	for _, rs := range receipts {
		if rs[0].PossibleDuplicate {
			marked++
		}
	}
	s.LessOrEqual(doubles, marked, "what was delivered twice is marked")
	t.Logf("%d intents, %d delivered twice, %d marked possible_duplicate", recipients*each, doubles,
		marked)
	s.Eventually(func() bool {
		shards, all := s.Readers()
		return len(shards) == 3 && all == 4
	}, stage.Patience, 100*time.Millisecond, "all shards have readers")
	for _, w := range workers {
		s.NoError(w.Stop(syscall.SIGTERM))
	}
}
