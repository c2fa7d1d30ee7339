//go:build faults

package faults

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"syscall"
	"testing"
	"time"

	"github.com/kefuhq/kefu/internal/deadletter"
	"github.com/kefuhq/kefu/internal/sandbox"
	"github.com/kefuhq/kefu/internal/stage"
	"github.com/kefuhq/kefu/internal/wire"
	"github.com/kefuhq/kefu/schema"
)

// TestReplayUnderKills replays a box full of letters while the command that watches, the workers
// and the broker are killed at random.
func TestReplayUnderKills(t *testing.T) {
	t.Parallel()
	kills, n, rate := 4, 1500, 300
	if *full {
		kills, n, rate = 20, 20_000, 400
	}
	s := &scene{Stage: stage.New(t, stage.Options{
		Worker:   []string{"concurrency: 64"},
		Defaults: []string{"retry: {attempts: 10, first: 100ms, cap: 2s}"},
	})}
	for _, r := range []sandbox.Rule{
		{Share: 0.03, Errcode: -1}, {Share: 0.03, Errcode: 45015},
		{Share: 0.01, Reset: sandbox.ResetAfter},
	} {
		r.Call = sandbox.CallSend
		s.API.Add(r)
	}
	b := s.StartBroker()
	workers := []*stage.Process{s.Start(), s.Start()}
	s.bury(n)

	var job replayJob
	s.NoError(json.Unmarshal([]byte(s.kefu("dead", "replay", "--all", "--yes", "--detach",
		"--rate", fmt.Sprint(rate), "-o", "json")), &job))
	s.Equal(n, job.Chosen)
	began := time.Now()
	killed := map[string]int{}
	for kill := range kills {
		s.watchUntil(job.Job, func(j replayJob) bool {
			return j.ended() || j.Published >= n*(kill+1)/(kills+1)
		})
		switch i := rand.IntN(3); i {
		case 2:
			b.Kill()
			b.Start()
			killed["broker"]++
		default:
			workers[i].Kill()
			workers[i] = s.Launch()
			killed["worker"]++
		}
	}
	job = s.watchUntil(job.Job, replayJob.ended)
	s.Drained()
	took := time.Since(began).Round(time.Second)
	s.until("all ends are counted", func() bool {
		job = s.replayJob(job.Job)
		return job.Sent != nil && *job.Sent+*job.Dead == n
	})
	for _, p := range workers {
		p.Ready() // the last one to be launched may not listen to signals yet
		s.NoError(p.Stop(syscall.SIGTERM))
	}

	got := s.requireOneEndEach(n)
	s.Equal([]int{n, 0, 0}, []int{job.Published, job.Left, job.Gone})
	s.Equal("done", job.State)
	ends := make(map[schema.State]int)
	for id, receipts := range s.StoredReceipts() {
		s.Equal(2, receipts[0].Generation, id)
		ends[receipts[0].State]++
	}
	s.Equal(*job.Sent, ends[schema.StateSent])
	s.Equal(*job.Dead, ends[schema.StateDead])
	s.Len(s.Letters(), *job.Dead, "a letter is in the box if and only if it died again")
	delivered := s.API.CountBy(sandbox.ByOpenID,
		sandbox.Filter{Call: sandbox.CallSend, Delivered: true})
	s.GreaterOrEqual(len(delivered), *job.Sent)
	report("replay", fmt.Sprintf("%d kills of two workers, %d of the broker and %d of the command "+
		"that watches, over a replay of %d letters at %d/s with 7 %% of faults", killed["worker"],
		killed["broker"], kills, n, rate),
		fmt.Sprintf("done after %s; %s; lost %d; possible duplicates %d; one end each; the job "+
			"counts the same", took, got.ends, got.lost, got.doubles))
}

// replayJob is a replay as its commands tell it.
type replayJob struct {
	Job       string
	State     string
	Chosen    int
	Published int
	Sent      *int
	Dead      *int
	Left      int
	Gone      int
}

func (j replayJob) ended() bool { return j.State == "done" }

// replayJob asks for a replay; nothing is known of it while the broker is away.
func (s *scene) replayJob(id string) (j replayJob) {
	s.T.Helper()
	out, code := s.Kefu("dead", "replays", "show", id, "-o", "json")
	if code == 0 {
		s.NoError(json.Unmarshal([]byte(out), &j))
	}
	return j
}

// watchUntil waits until a replay is as holds says. A command watches meanwhile, and is killed.
func (s *scene) watchUntil(id string, holds func(replayJob) bool) (j replayJob) {
	s.T.Helper()
	ctx, kill := context.WithCancel(s.T.Context())
	killed := make(chan struct{})
	go func() {
		defer close(killed)
		s.KefuKilled(ctx, "dead", "replays", "watch", id)
	}()
	s.until("the replay goes on", func() bool { j = s.replayJob(id); return holds(j) })
	kill()
	<-killed
	return j
}

// bury puts letters into the box.
func (s *scene) bury(n int) {
	s.T.Helper()
	now := time.Now().UTC()
	for i := range n {
		id := fmt.Sprintf("letter-%05d", i)
		l := &schema.Letter{
			ID: id, AppID: stage.App, Generation: 1, Lane: schema.LaneLive, OpenID: id,
			Reason: schema.ReasonExhausted, Detail: "the API was busy", Sequence: uint64(i + 1),
			Subject: stage.Live + id, PublishedAt: now, DiedAt: now,
			Headers: map[string][]string{schema.HeaderMsgID: {id}},
		}
		wire.SetPacket(l, []byte(text(id)))
		m, err := deadletter.Message(l)
		s.NoError(err)
		_, err = s.JS.PublishMsgAsync(m)
		s.NoError(err)
		s.published = append(s.published, id)
		if i%1000 == 999 || i == n-1 { // the client takes some thousands without an answer
			<-s.JS.PublishAsyncComplete()
		}
	}
}
