//go:build faults

package faults

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
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
	s.bury("letter", n)

	job := s.orderReplay("--all", "--rate", fmt.Sprint(rate))
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

// TestReplayBesideLive replays a box full of letters beside live traffic, then pauses, resumes and
// aborts a second replay.
func TestReplayBesideLive(t *testing.T) {
	t.Parallel()
	n, rate, live := 1500, 500, 100
	if *full {
		n, rate, live = 20_000, 1000, 200
	}
	s := &scene{Stage: stage.New(t, stage.Options{
		Defaults: []string{"rate: {per_second: 5000, burst: 100}"},
	})}
	s.API.Add(sandbox.Rule{Call: sandbox.CallSend, Delay: 20 * time.Millisecond,
		DelayMax: 60 * time.Millisecond})
	s.StartBroker()
	s.Start()
	s.Start()
	s.bury("first", n)
	lasts := time.Duration(n/rate) * time.Second

	sent := s.offer([]string{stage.App}, "alone", live, lasts)
	s.Drained()
	alone := p99(s.queueTimes(sent))
	j := s.orderReplay("--all", "--rate", fmt.Sprint(rate))
	sent = s.offer([]string{stage.App}, "beside", live, lasts)
	j = s.untilReplay(j.Job, replayJob.ended)
	s.Drained()
	beside := p99(s.queueTimes(sent))
	s.Equal([]int{n, 0, 0}, []int{j.Published, j.Left, j.Gone})
	measured := s.rateOf("first-")

	s.bury("second", n)
	j = s.orderReplay("--all", "--rate", fmt.Sprint(rate))
	s.untilReplay(j.Job, func(j replayJob) bool { return j.Published > n/4 })
	s.kefu("dead", "replays", "pause", j.Job)
	s.untilReplay(j.Job, func(j replayJob) bool { return j.State == "paused" })
	s.Drained()
	paused := s.untilReplay(j.Job, func(j replayJob) bool { // the step that was cut off is counted
		return j.Published+len(s.Letters()) == n
	})
	s.kefu("dead", "replays", "resume", j.Job)
	s.untilReplay(j.Job, func(j replayJob) bool { return j.Published > paused.Published+n/10 })
	s.kefu("dead", "replays", "abort", j.Job, "--yes")
	j = s.untilReplay(j.Job, func(j replayJob) bool { return j.State == "aborted" })
	s.Drained()
	j = s.untilReplay(j.Job, func(j replayJob) bool {
		return j.Published+len(s.Letters()) == n && j.Published+j.Left == n
	})
	posts := s.API.CountBy(sandbox.ByOpenID, sandbox.Filter{Call: sandbox.CallSend, Delivered: true})
	again := 0
	for i := range n {
		again += posts[letterID("second", i)]
	}
	s.Equal(j.Published, again, "the sandbox has as many as the report says")
	report("replay beside live", fmt.Sprintf("%d letters at %d/s beside live traffic of %d/s; a "+
		"second replay of %d paused, resumed and aborted", n, rate, live, n),
		fmt.Sprintf("%.1f letters/s; live p99 to the API %s alone, %s beside; paused at %d, "+
			"aborted at %d, as the API received", measured, alone.Round(time.Millisecond),
			beside.Round(time.Millisecond), paused.Published, j.Published))
}

func p99(sorted []time.Duration) time.Duration { return sorted[len(sorted)*99/100] }

// rateOf is how many messages a second reached the API for recipients whose name begins so.
func (s *scene) rateOf(prefix string) float64 {
	var first, last time.Time
	n := 0
	for r := range s.API.Records(sandbox.Filter{Call: sandbox.CallSend}) {
		if !strings.HasPrefix(r.OpenID, prefix) {
			continue
		}
		if n++; first.IsZero() {
			first = r.At
		}
		last = r.At
	}
	return float64(n-1) / last.Sub(first).Seconds()
}

// orderReplay orders a replay and does not watch it.
func (s *scene) orderReplay(args ...string) (j replayJob) {
	s.T.Helper()
	args = append([]string{"dead", "replay", "--yes", "--detach", "-o", "json"}, args...)
	s.NoError(json.Unmarshal([]byte(s.kefu(args...)), &j))
	return j
}

// untilReplay waits until a replay is as holds says.
func (s *scene) untilReplay(id string, holds func(replayJob) bool) (j replayJob) {
	s.T.Helper()
	s.until("the replay goes on", func() bool { j = s.replayJob(id); return holds(j) })
	return j
}

func letterID(box string, i int) string { return fmt.Sprintf("%s-%05d", box, i) }

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
	j = s.untilReplay(id, holds)
	kill()
	<-killed
	return j
}

// bury puts letters into the box.
func (s *scene) bury(box string, n int) {
	s.T.Helper()
	now := time.Now().UTC()
	for i := range n {
		id := letterID(box, i)
		l := &schema.Letter{
			ID: id, AppID: stage.App, Generation: 1, Lane: schema.LaneLive, OpenID: id,
			Reason: schema.ReasonExhausted, Detail: "the API was busy",
			Sequence: uint64(len(s.published) + 1), // another letter of an id has another
			Subject:  stage.Live + id, PublishedAt: now, DiedAt: now,
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
