package main_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/kefuhq/kefu/internal/campaign"
	"github.com/kefuhq/kefu/internal/sandbox"
	"github.com/kefuhq/kefu/internal/stage"
	"github.com/kefuhq/kefu/internal/wire"
	"github.com/kefuhq/kefu/schema"
)

// TestACampaignIsCountedOverKills kills worker and broker in the middle of a campaign
// without receipts, and compares its status with the API's record. Then its dead
// letters are sent.
func TestACampaignIsCountedOverKills(t *testing.T) {
	t.Parallel()
	s := stage.New(t, stage.Options{
		Defaults: []string{"concurrency: 32"}, Worker: []string{"receipts: off"},
	})
	slow := sandbox.Rule{Call: "send", Delay: 10 * time.Millisecond,
		DelayMax: 60 * time.Millisecond}
	refused := slow
	refused.Contains, refused.Errcode = "closed", 45015
	closed := s.API.Add(refused)
	s.API.Add(slow)
	s.Start()
	state, err := s.JS.KeyValue(t.Context(), wire.BucketState)
	s.NoError(err)
	s.Eventually(func() bool {
		_, err := state.Get(t.Context(), "counts.since")
		return err == nil
	}, stage.Patience, 10*time.Millisecond, "it counts")
	const n = 600
	var rows strings.Builder
	rows.WriteString("openid\n")
	for i := range n {
		fmt.Fprintf(&rows, "%s%d\n", []string{"closed", "open", "open"}[i%3], i)
	}
	people, packet := filepath.Join(s.Dir, "people.csv"), filepath.Join(s.Dir, "packet.json")
	const hello = `{"msgtype":"text","text":{"content":"hello"}}`
	s.NoError(os.WriteFile(people, []byte(rows.String()), 0o600))
	s.NoError(os.WriteFile(packet, []byte(hello), 0o600))
	_, code := s.Kefu("campaign", "start", "spring", "--file", people, "--template", packet,
		"--yes")
	s.Zero(code)
	for _, after := range []int{100, 300} {
		s.NoError(s.API.WaitFor(t.Context(), sandbox.Filter{Call: "send"}, after))
		s.Error(s.Stop(syscall.SIGKILL))
		s.Start()
	}
	got := ended(s, "spring")
	posts := s.Posts()
	s.Len(posts, n, "nobody is left out")
	twice := 0
	for _, times := range posts {
		s.LessOrEqual(times, 2)
		twice += times - 1
	}
	// Both kills may have met a call of one intent: nobody knows whether it was sent.
	unknown := got.Dead[schema.ReasonUnknown]
	s.LessOrEqual(unknown, 32)
	s.LessOrEqual(n*2/3-got.Sent, unknown)
	s.Equal(n, got.Sent+got.Dead[schema.ReasonRecipient]+unknown)
	s.Len(s.Letters(), n-got.Sent)
	s.GreaterOrEqual(got.PossibleDuplicates, twice)
	s.LessOrEqual(got.PossibleDuplicates, 2*32, "only what was in flight at a kill may be in doubt")
	s.Empty(s.StoredReceipts())

	s.API.Remove(closed)
	_, code = s.Kefu("dead", "replay", "--all", "--rate", "0", "--yes")
	s.Zero(code)
	s.Eventually(func() bool { return ended(s, "spring").Sent == n }, stage.Patience,
		100*time.Millisecond)
	s.Empty(ended(s, "spring").Dead)
	s.NoError(s.Stop(syscall.SIGTERM))
}

// ended waits until everything of a campaign has ended, and returns its status.
func ended(s *stage.Stage, name string) (got campaign.Status) {
	s.Eventually(func() bool {
		out, code := s.Kefu("campaign", "status", name, "-o", "json")
		s.Zero(code)
		got = campaign.Status{}
		s.NoError(json.Unmarshal([]byte(out), &got))
		return got.State == campaign.StateDone
	}, stage.Patience, 100*time.Millisecond)
	return got
}
