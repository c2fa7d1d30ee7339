package main_test

import (
	"encoding/json"
	"fmt"
	"syscall"
	"testing"
	"time"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/sandbox"
	"github.com/kefuhq/kefu/internal/stage"
	"github.com/kefuhq/kefu/schema"
)

// TestKillNine kills worker and broker in the middle of their work, three
// times over, and looks at every intent afterwards.
func TestKillNine(t *testing.T) {
	t.Parallel()
	s := stage.New(t, stage.Options{Defaults: []string{"concurrency: 32"}})
	s.API.Add(sandbox.Rule{Call: "send", Delay: 20 * time.Millisecond,
		DelayMax: 120 * time.Millisecond})
	s.Start()
	const n = 900
	for i := range n {
		openID := fmt.Sprintf("u%d", i)
		subject := stage.Bulk + "spring"
		if i%3 == 0 {
			subject = stage.Live + openID
		}
		packet := fmt.Sprintf(`{"touser":%q,"msgtype":"text","text":{"content":"hello"}}`, openID)
		s.Publish(subject, packet, "Nats-Msg-Id", openID)
	}
	for _, after := range []int{100, 300} {
		s.NoError(s.API.WaitFor(t.Context(), sandbox.Filter{Call: "send"}, after))
		s.Error(s.Stop(syscall.SIGKILL))
		s.Start()
	}
	s.Eventually(func() bool { return s.Queued() == 0 }, stage.Patience, 100*time.Millisecond,
		"not everything ended")

	ends := map[string][]schema.Receipt{}
	s.EachMessage(schema.StreamReceipt, func(m broker.Stored) {
		var r schema.Receipt
		s.NoError(json.Unmarshal(m.Data, &r))
		ends[r.ID] = append(ends[r.ID], r)
	})
	s.Len(ends, n, "every intent has an end")
	posts, twice, reported := s.Posts(), 0, 0
	for id, rs := range ends {
		s.Len(rs, 1, "%s ended more than once", id)
		s.Equal(schema.StateSent, rs[0].State)
		if rs[0].PossibleDuplicate {
			reported++
		}
		if posts[id] > 1 {
			twice++
			s.Equal(2, posts[id], id)
			s.True(rs[0].PossibleDuplicate, "%s was posted twice and nobody says so", id)
		}
		s.GreaterOrEqual(posts[id], 1, "%s is called sent and never was", id)
	}
	s.LessOrEqual(reported, 2*32, "only what was in flight at a kill may be in doubt")
	t.Logf("%d intents, 2 kills: %d posted twice, %d marked possible_duplicate", n, twice, reported)
	s.NoError(s.Stop(syscall.SIGTERM))
}
