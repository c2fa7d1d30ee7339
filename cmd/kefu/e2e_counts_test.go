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
	"github.com/kefuhq/kefu/schema"
)

// TestACampaignIsCountedOverKills kills worker and broker in the middle of a campaign
// without receipts, and compares its status with the API's record. Then its dead
// letters are sent.
func TestACampaignIsCountedOverKills(t *testing.T) {
	t.Parallel()
	s := stage.New(t, stage.Options{Defaults: []string{"concurrency: 32"}, Worker: []string{"receipts: off"}})
	slow := sandbox.Rule{Call: "send", Delay: 10 * time.Millisecond, DelayMax: 60 * time.Millisecond}
	refused := slow
	refused.Contains, refused.Errcode = "closed", 45015
	closed := s.API.Add(refused)
	s.API.Add(slow)
	s.Start()
	state, err := s.JS.KeyValue(t.Context(), "KEFU_STATE")
	s.NoError(err)
	s.Eventually(func() bool {
		_, err := state.Get(t.Context(), "counts.since")
		return err == nil
	}, stage.Patience, 10*time.Millisecond, "it counts")
	const people = 600
	var rows strings.Builder
	rows.WriteString("openid\n")
	for i := range people {
		fmt.Fprintf(&rows, "%s%d\n", []string{"closed", "open", "open"}[i%3], i)
	}
	s.NoError(os.WriteFile(filepath.Join(s.Dir, "people.csv"), []byte(rows.String()), 0o600))
	s.NoError(os.WriteFile(filepath.Join(s.Dir, "packet.json"), []byte(`{"msgtype":"text","text":{"content":"hello"}}`), 0o600))
	_, code := s.Kefu("campaign", "start", "spring", "--file", s.Dir+"/people.csv", "--template", s.Dir+"/packet.json", "--yes")
	s.Zero(code)
	for _, after := range []int{100, 300} {
		s.NoError(s.API.WaitFor(t.Context(), sandbox.Filter{Call: "send"}, after))
		s.Error(s.Stop(syscall.SIGKILL))
		s.Start()
	}
	status := func() (got campaign.Status) {
		t.Helper()
		s.Eventually(func() bool {
			out, code := s.Kefu("campaign", "status", "spring", "-o", "json")
			s.Zero(code)
			got = campaign.Status{}
			s.NoError(json.Unmarshal([]byte(out), &got))
			return got.Open() == 0
		}, stage.Patience, 100*time.Millisecond)
		return got
	}
	got := status()
	posts := s.Posts()
	s.Len(posts, people, "nobody is left out")
	twice := 0
	for _, n := range posts {
		s.LessOrEqual(n, 2)
		twice += n - 1
	}
	s.Equal(people*2/3, got.Sent)
	s.Equal(people/3, got.Dead[schema.ReasonRecipient])
	s.Len(s.Letters(), people/3)
	s.GreaterOrEqual(got.PossibleDuplicates, twice)
	s.LessOrEqual(got.PossibleDuplicates, 2*32, "only what was in flight at a kill may be in doubt")
	s.Empty(s.StoredReceipts())

	s.API.Remove(closed)
	_, code = s.Kefu("dead", "replay", "--all", "--rate", "0", "--yes")
	s.Zero(code)
	s.Eventually(func() bool { return status().Sent == people }, stage.Patience, 100*time.Millisecond)
	s.Empty(status().Dead)
	s.NoError(s.Stop(syscall.SIGTERM))
}
