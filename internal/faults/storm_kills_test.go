//go:build faults

package faults

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"syscall"
	"testing"
	"time"

	"github.com/kefuhq/kefu/internal/sandbox"
	"github.com/kefuhq/kefu/internal/stage"
)

// TestRandomKills kills two workers and their broker at random, again and again, while intents are
// published and one call in ten meets a fault.
func TestRandomKills(t *testing.T) {
	t.Parallel()
	kills, n := 8, 2000
	if *full {
		kills, n = 50, 20_000
	}
	s := &scene{Stage: stage.New(t, stage.Options{
		Worker:   []string{"concurrency: 64"},
		Defaults: []string{"retry: {attempts: 10, first: 100ms, cap: 2s}"},
	})}
	for _, r := range []sandbox.Rule{ // one call in ten meets one of them
		{Share: 0.03, Errcode: -1}, {Share: 0.015, Errcode: 45015},
		{Share: 0.015, Reset: sandbox.ResetAfter}, {Share: 0.01, Reset: sandbox.ResetBefore},
		{Share: 0.01, HTTPStatus: http.StatusBadGateway},
		{Share: 0.01, HTTPStatus: http.StatusOK, Body: "<html>", ContentType: "text/html"},
		{Every: 601, ExpireTokens: true}, {Share: 0.005, Delay: 2 * time.Second},
	} {
		r.Call = sandbox.CallSend
		s.API.Add(r)
	}
	s.API.Add(sandbox.Rule{Call: sandbox.CallSend, Delay: 5 * time.Millisecond,
		DelayMax: 80 * time.Millisecond})
	b := s.StartBroker()
	workers := []*stage.Process{s.Start(), s.Start()}

	ctx, end := context.WithCancel(t.Context())
	defer end()
	wait := s.publishInBackground(ctx, n)
	began := time.Now()
	killed := map[string]int{}
	for range kills {
		// Anywhere in what goes on: the pause is part of the chance, nothing is waited for.
		time.Sleep(time.Duration(200+rand.IntN(1300)) * time.Millisecond)
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
	wait()
	t.Logf("published after %s", time.Since(began).Round(time.Second))
	s.Drained()

	t.Logf("drained after %s", time.Since(began).Round(time.Second))
	for _, p := range workers {
		p.Ready() // the last one to be launched may not listen to signals yet
		s.NoError(p.Stop(syscall.SIGTERM))
	}

	got := s.requireOneEndEach(n)
	report("random kills", fmt.Sprintf("%d kills of two workers and %d of the broker under %d "+
		"intents with 10 %% of faults", killed["worker"], killed["broker"], n),
		fmt.Sprintf("%s; lost %d; possible duplicates %d; one end each", got.ends,
			got.lost, got.doubles))
}
