//go:build faults

package faults

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/kefuhq/kefu/internal/sandbox"
	"github.com/kefuhq/kefu/internal/stage"
	"github.com/kefuhq/kefu/internal/wire"
	"github.com/kefuhq/kefu/schema"
)

// TestCluster has leaders of a three-node cluster step down, and one node killed and brought back,
// while intents go through it.
func TestCluster(t *testing.T) {
	n, steps := 2000, 6
	if *full {
		n, steps = 50_000, 20
	}
	s := busyScene(t)
	nodes := s.StartCluster()
	workers := []*stage.Process{s.Start(), s.Start()}
	wait := s.publishInBackground(t.Context(), n)
	stepped := 0
	for i := range steps {
		// The steps are spread over the load: each has its share of it.
		s.NoError(s.API.Wait(t.Context(), (i+1)*n/(steps+2)))
		stream := clusterStreams[i%len(clusterStreams)]
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
	got := s.requireAllSent(n, workers...)
	report("cluster of three",
		fmt.Sprintf("%d leaders stepped down, 1 node killed -9 and back, under %d "+
			"intents, two workers", stepped, n),
		got+"; longest stall "+s.longestStall().String())
}

// busyScene returns a stage whose API takes its time, so that there is always something under way.
func busyScene(t *testing.T) *scene {
	t.Helper()
	s := &scene{Stage: stage.New(t, stage.Options{Worker: []string{"concurrency: 64"}})}
	s.API.Add(sandbox.Rule{Call: sandbox.CallSend, Delay: 5 * time.Millisecond,
		DelayMax: 20 * time.Millisecond})
	return s
}

// requireAllSent waits for the end of n intents, stops the workers and checks that each was sent;
// it returns that for the table.
func (s *scene) requireAllSent(n int, workers ...*stage.Process) string {
	s.T.Helper()
	s.Drained()
	for _, p := range workers {
		s.NoError(p.Stop(syscall.SIGTERM))
	}
	got := s.requireOneEndEach(n)
	s.Equal(fmt.Sprintf("%d sent", n), got.ends)
	return fmt.Sprintf("%s; lost %d; posts of an intent %s; possible duplicates %d", got.ends,
		got.lost, got.posts, got.doubles)
}

// longestStall returns the longest time in which the API heard nothing.
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

// TestNoQuorum takes two of three nodes away from a running worker and brings them back.
func TestNoQuorum(t *testing.T) {
	n, d := 600, 3*time.Second
	if *full {
		n, d = 6000, time.Minute
	}
	s := busyScene(t)
	nodes := s.StartCluster()
	p := s.Start()
	wait := s.publishInBackground(t.Context(), n)
	s.NoError(s.API.Wait(t.Context(), n/3))
	nodes[1].Kill()
	nodes[2].Kill()
	s.Eventually(func() bool {
		status, _ := p.Readiness()
		return status == http.StatusServiceUnavailable
	}, stage.Patience, 50*time.Millisecond,
		"readiness says that it cannot work")
	_, says := p.Readiness()
	time.Sleep(d) // the outage
	s.True(p.Running())
	nodes[1].Start()
	nodes[2].Start()
	wait()
	p.Ready()
	got := s.requireAllSent(n, p)
	report("no quorum", fmt.Sprintf("2 of 3 nodes killed -9 for %s under %d intents", d, n),
		strings.Join(strings.Fields(says), " ")+"; then "+got)
}

// TestRollingUpgrade has each node of a cluster go down in lame duck mode and come back, one after
// the other, while intents go through it.
func TestRollingUpgrade(t *testing.T) {
	n := 3000
	if *full {
		n = 50_000
	}
	s := busyScene(t)
	nodes := s.StartCluster()
	workers := []*stage.Process{s.Start(), s.Start()}
	wait := s.publishInBackground(t.Context(), n)
	for i, node := range nodes {
		s.NoError(s.API.Wait(t.Context(), (i+1)*n/(len(nodes)+2)))
		node.LameDuck()
		node.Start()
		s.awaitCaughtUp(node)
	}
	wait()
	got := s.requireAllSent(n, workers...)
	report("rolling upgrade",
		fmt.Sprintf("each of 3 nodes goes down in lame duck mode and comes back, under %d "+
			"intents, two workers", n),
		got+"; longest stall "+s.longestStall().String())
}

// awaitCaughtUp waits until a node that came back has all that the others have: the next one may go
// only then.
func (s *scene) awaitCaughtUp(node *stage.BrokerProcess) {
	s.T.Helper()
	s.Eventually(func() bool {
		for _, stream := range clusterStreams {
			i, err := s.JS.Stream(s.T.Context(), stream)
			if err != nil {
				return false
			}
			cluster := i.CachedInfo().Cluster
			if cluster.Leader == node.Name() {
				continue
			}
			if !slices.ContainsFunc(cluster.Replicas,
				func(p *jetstream.PeerInfo) bool {
					return p.Name == node.Name() && p.Current && !p.Offline
				}) {
				return false
			}
		}
		return true
	}, stage.Patience, 100*time.Millisecond, "%s catches up", node.Name())
}

// clusterStreams are the streams that every intent needs.
var clusterStreams = []string{schema.SendStream(stage.App), wire.StreamLedger, schema.StreamReceipt,
	wire.StreamState, wire.StreamLater}

// TestLeaderCutOff cuts the node that leads everything off from its peers, with one of two workers
// on its side.
func TestLeaderCutOff(t *testing.T) {
	n := 3000
	if *full {
		n = 20_000
	}
	s := busyScene(t)
	nodes := s.StartSeverableCluster()
	here := s.Launch()
	here.Ready()
	leader := nodes[0]
	var others []string
	for _, node := range nodes {
		if strings.Contains(s.Output.String(), `"msg":"broker found","server":"`+node.Name()) {
			leader = node
		} else {
			others = append(others, node.URL())
		}
	}
	s.Len(others, 2)
	s.ConnectTo(strings.Join(others, ","))
	there := s.Start("KEFU_NATS_URL=" + strings.Join(others, ","))
	for _, stream := range clusterStreams {
		s.makeLeader(stream, leader)
	}
	wait := s.publishInBackground(t.Context(), n)
	s.NoError(s.API.Wait(t.Context(), n/3))
	leader.Isolate()
	s.Eventually(func() bool {
		status, _ := here.Readiness()
		return status == http.StatusServiceUnavailable
	}, stage.Patience, 50*time.Millisecond,
		"the worker on the wrong side says that it cannot work")
	here.Ready() // on the right side now
	s.Contains(s.Output.String(), "leaving a server for another one")
	wait()
	s.Drained()
	leader.Rejoin()
	s.awaitCaughtUp(leader)
	got := s.requireAllSent(n, here, there)
	report("leader cut off",
		fmt.Sprintf("the node that leads all streams is cut off from the two others under %d "+
			"intents, one of two workers on its side", n),
		got+"; longest stall "+s.longestStall().String())
}

// makeLeader makes a node the leader of a stream.
func (s *scene) makeLeader(stream string, node *stage.BrokerProcess) {
	s.T.Helper()
	s.Eventually(func() bool {
		i, err := s.JS.Stream(s.T.Context(), stream)
		if err == nil && i.CachedInfo().Cluster.Leader == node.Name() {
			return true
		}
		_, _ = s.Conn.Request("$JS.API.STREAM.LEADER.STEPDOWN."+stream,
			[]byte(`{"placement":{"preferred":"`+node.Name()+`"}}`), 2*time.Second)
		return false
	}, stage.Patience, 100*time.Millisecond, "%s leads %s", node.Name(), stream)
}
