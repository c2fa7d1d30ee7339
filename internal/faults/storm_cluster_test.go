//go:build faults

package faults

import (
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/kefuhq/kefu/internal/sandbox"
	"github.com/kefuhq/kefu/internal/stage"
	"github.com/kefuhq/kefu/schema"
)

// TestCluster has leaders of a three-node cluster step down, and one node
// killed and brought back, while intents go through it.
func TestCluster(t *testing.T) {
	n, steps := 2000, 6
	if *full {
		n, steps = 50_000, 20
	}
	s := &scene{Stage: stage.New(t, stage.Options{Worker: []string{"concurrency: 64"}})}
	s.API.Add(sandbox.Rule{Call: sandbox.CallSend, Delay: 5 * time.Millisecond, DelayMax: 20 * time.Millisecond})
	nodes := s.StartCluster()
	t.Cleanup(func() { _ = os.WriteFile("/tmp/cluster.out", []byte(s.Output.String()), 0o600) })
	workers := []*stage.Process{s.Start(), s.Start()}
	wait := s.publishing(t.Context(), n)
	streams := []string{schema.SendStream(stage.App), schema.StreamLedger, schema.StreamReceipt, "KV_" + schema.BucketState, schema.StreamLater}
	stepped := 0
	for i := range steps {
		// The steps are spread over the load: each has its share of it.
		s.NoError(s.API.Wait(t.Context(), (i+1)*n/(steps+2)))
		stream := streams[i%len(streams)]
		s.Eventually(func() bool {
			_, err := s.Conn.Request("$JS.API.STREAM.LEADER.STEPDOWN."+stream, nil, 2*time.Second)
			return err == nil
		}, stage.Patience, 50*time.Millisecond, "step down %s", stream)
		stepped++
		if i == steps/2 {
			nodes[2].Kill()
			s.NoError(s.API.Wait(t.Context(), (i+1)*n/(steps+2)+n/(2*(steps+2))))
			nodes[2].Start()
		}
	}
	wait()
	s.Drained()
	for _, p := range workers {
		s.NoError(p.Stop(syscall.SIGTERM))
	}
	got := s.endsOnce(n)
	s.Equal(fmt.Sprintf("%d sent", n), got.ends)
	report("cluster of three", fmt.Sprintf("%d leaders stepped down, 1 node killed -9 and back, under %d intents, two workers", stepped, n),
		fmt.Sprintf("%s; lost %d; posts of an intent %s; possible duplicates %d; longest stall %s", got.ends, got.lost, got.posts, got.doubles, s.longestStall()))
}

// longestStall is the longest time in which the API heard nothing.
func (s *scene) longestStall() time.Duration {
	var times []time.Time
	for r := range s.API.Records(sandbox.Filter{Call: sandbox.CallSend}) {
		times = append(times, r.At)
	}
	slices.SortFunc(times, time.Time.Compare)
	var longest time.Duration
	for i := 1; i < len(times); i++ {
		longest = max(longest, times[i].Sub(times[i-1]))
	}
	return longest.Round(10 * time.Millisecond)
}

// TestNoQuorum takes two of three nodes away from a running worker and brings
// them back.
func TestNoQuorum(t *testing.T) {
	n, d := 600, 3*time.Second
	if *full {
		n, d = 6000, time.Minute
	}
	s := &scene{Stage: stage.New(t, stage.Options{Worker: []string{"concurrency: 64"}})}
	s.API.Add(sandbox.Rule{Call: sandbox.CallSend, Delay: 5 * time.Millisecond, DelayMax: 20 * time.Millisecond})
	nodes := s.StartCluster()
	p := s.Start()
	wait := s.publishing(t.Context(), n)
	s.NoError(s.API.Wait(t.Context(), n/3))
	nodes[1].Kill()
	nodes[2].Kill()
	s.Eventually(func() bool { status, _ := p.Readiness(); return status == http.StatusServiceUnavailable }, stage.Patience, 50*time.Millisecond,
		"readiness says that it cannot work")
	_, says := p.Readiness()
	time.Sleep(d) // the outage
	s.True(p.Running())
	nodes[1].Start()
	nodes[2].Start()
	wait()
	s.Drained()
	p.Ready()
	s.NoError(p.Stop(syscall.SIGTERM))
	got := s.endsOnce(n)
	s.Equal(fmt.Sprintf("%d sent", n), got.ends)
	report("no quorum", fmt.Sprintf("2 of 3 nodes killed -9 for %s under %d intents", d, n),
		fmt.Sprintf("%s; then %s; lost %d; posts of an intent %s; possible duplicates %d", strings.Join(strings.Fields(says), " "), got.ends, got.lost, got.posts, got.doubles))
}
