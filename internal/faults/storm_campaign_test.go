//go:build faults

package faults

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/kefuhq/kefu/internal/campaign"
	"github.com/kefuhq/kefu/internal/sandbox"
	"github.com/kefuhq/kefu/internal/stage"
	"github.com/kefuhq/kefu/internal/wire"
	"github.com/kefuhq/kefu/schema"
)

// TestCampaignUnderKills kills the command of a campaign while it uploads, then the workers that
// feed it and the broker. The command is run again after each of its kills.
func TestCampaignUnderKills(t *testing.T) {
	t.Parallel()
	people, rate, uploads, feeds, brokers := 3000, 400, 3, 2, 1
	if *full {
		people, rate, uploads, feeds, brokers = 50_000, 1000, 5, 5, 3
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
	h := hostCampaigns(s)
	g := invite("spring", people)
	stop := h.watchSums(g)

	for i := range uploads {
		// The last one is killed when the file was read: anywhere around the order.
		h.killUpload(g, rate, i == uploads-1)
	}
	began := time.Now()
	h.begin(g, rate)
	kills := append(make([]bool, feeds), make([]bool, brokers)...)
	for i := range brokers {
		kills[feeds+i] = true
	}
	rand.Shuffle(len(kills), func(i, j int) { kills[i], kills[j] = kills[j], kills[i] })
	for i, broker := range kills {
		h.untilSends(people * (i + 1) / (len(kills) + 2))
		if broker {
			b.Kill()
			b.Start()
			continue
		}
		k := h.feeder(workers)
		workers[k].Kill()
		workers[k] = s.Launch()
	}
	st := h.untilCampaign(g.campaign, func(st campaign.Status) bool {
		return st.State == campaign.StateDone
	})
	s.Drained()
	took := time.Since(began).Round(time.Second)
	looks := stop()
	for _, p := range workers {
		p.Ready() // the last one to be launched may not listen to signals yet
		s.NoError(p.Stop(syscall.SIGTERM))
	}

	got := s.requireOneEndEach(people)
	h.requireSame(st, g)
	report("campaign", fmt.Sprintf("%d kills of the command that uploads, %d of the worker that "+
		"feeds and %d of the broker, over a campaign of %d at %d/s with 7 %% of faults", uploads,
		feeds, brokers, people, rate),
		fmt.Sprintf("done after %s; %s; lost %d; possible duplicates %d; one end each; the status "+
			"added up at each of %d looks, and counts as the API and the receipts do", took,
			got.ends, got.lost, got.doubles, looks))
}

// killUpload starts a campaign whose file is a pipe, and kills the command while the file is still
// being written, when some of it is stored; or, at the end of the file, anywhere in what follows.
func (h *host) killUpload(g guests, rate int, whole bool) {
	h.T.Helper()
	pipe := filepath.Join(h.Dir, "pipe.csv")
	_ = os.Remove(pipe) // the one before
	h.NoError(syscall.Mkfifo(pipe, 0o600))
	file, err := os.OpenFile(pipe, os.O_RDWR, 0) // does not wait for the reader
	h.NoError(err)
	stored := h.lastChunk()
	ctx, kill := context.WithCancel(h.T.Context())
	command := h.command(g, pipe, rate)
	killed, written := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(killed)
		h.KefuKilled(ctx, command...)
	}()
	// Behind some chunks of a thousand rows each.
	least := len(g.text) * 4 / 5
	cut := least + rand.IntN(len(g.text)-least)
	if whole {
		cut = len(g.text)
	}
	go func() {
		defer close(written)
		_, _ = file.WriteString(g.text[:cut]) // a reader that is killed reads no more
		if whole {
			_ = file.Close()
		}
	}()
	h.until("some of the file is stored", func() bool { return h.lastChunk() > stored })
	if whole {
		<-written
		time.Sleep(time.Duration(rand.IntN(60)) * time.Millisecond) // the pause is part of the chance
	}
	kill()
	<-killed
	_ = file.Close() // ends the writing
	<-written
	st, err := campaign.ReadStatus(h.T.Context(), h.conn, stage.App, g.campaign)
	h.NoError(err)
	h.T.Logf("killed at %d of %d bytes: %s, %d chunks", cut, len(g.text), st.State,
		h.Stored(wire.StreamCampaign))
}

// lastChunk is the sequence of the chunk that was stored last.
func (h *host) lastChunk() uint64 {
	h.T.Helper()
	stream, err := h.JS.Stream(h.T.Context(), wire.StreamCampaign)
	h.NoError(err)
	return stream.CachedInfo().State.LastSeq
}

// feeder says which of the workers feeds the app's campaigns.
func (h *host) feeder(workers []*stage.Process) (at int) {
	h.T.Helper()
	var rows []struct {
		Worker string
		PID    int
	}
	h.until("one of the workers feeds", func() bool {
		e, err := h.conn.LastJob(h.T.Context(), "open."+stage.App)
		if err != nil {
			return false
		}
		var desk struct{ Worker string }
		h.NoError(json.Unmarshal(e.Value, &desk))
		out, code := h.Kefu("pool", "-o", "json")
		if code != 0 {
			return false
		}
		h.NoError(json.Unmarshal([]byte(out), &rows))
		for _, r := range rows {
			for k, w := range workers {
				if r.Worker == desk.Worker && r.PID == w.PID() && w.Running() {
					at = k
					return true
				}
			}
		}
		return false
	})
	return at
}

// requireSame checks that a campaign's status says what the API's record and the receipts say.
func (h *host) requireSame(st campaign.Status, g guests) {
	h.T.Helper()
	h.Equal([]int{g.rows, g.rows - g.people, 0, 0, 0, 0},
		[]int{st.Rows, st.Repeated, st.Invalid, st.Queued, st.Open, st.Cancelled})
	delivered := h.API.CountBy(sandbox.ByOpenID,
		sandbox.Filter{Call: sandbox.CallSend, Delivered: true})
	sent, marked := 0, 0
	dead := make(map[schema.Reason]int)
	for id, receipts := range h.StoredReceipts() {
		r, to := receipts[0], h.recipients[id]
		if r.PossibleDuplicate {
			marked++
		}
		if r.State == schema.StateSent {
			sent++
			h.Positive(delivered[to], "%s is sent", id)
			continue
		}
		dead[r.Reason]++
		h.True(delivered[to] == 0 || r.PossibleDuplicate, "%s is dead and was delivered", id)
	}
	h.Equal(sent, st.Sent)
	h.Equal(dead, st.Dead)
	h.Equal(marked, st.PossibleDuplicates)
}
