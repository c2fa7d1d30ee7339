//go:build faults

package faults

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/kefuhq/kefu/internal/campaign"
	"github.com/kefuhq/kefu/internal/sandbox"
	"github.com/kefuhq/kefu/internal/stage"
	"github.com/kefuhq/kefu/schema"
)

// TestCampaignIsCancelledAndPaused pauses a campaign, resumes it and cancels it at half.
func TestCampaignIsCancelledAndPaused(t *testing.T) {
	t.Parallel()
	people, rate := 6000, 600
	if *full {
		people, rate = 200_000, 5000
	}
	s := &scene{Stage: stage.New(t, stage.Options{
		Worker:   []string{"concurrency: 64"},
		Defaults: []string{fmt.Sprintf("rate: {per_second: %d, burst: %d}", 2*rate, rate/5)},
	})}
	s.StartBroker()
	s.Start()
	s.Start()
	h := hostCampaigns(s)
	g := invite("autumn", people)
	stop := h.watchSums(g)
	h.begin(g, rate)

	h.untilSends(people / 8)
	before := h.sends()
	paused := h.tell(g.campaign, "pause")
	s.Drained()
	// The queue is empty, so nothing of it is sent but what is fed: nothing, while it is paused.
	at := h.sends()
	st := h.untilCampaign(g.campaign, func(st campaign.Status) bool { return st.Sent == at })
	s.Equal([]any{campaign.StatePaused, people - at, 0}, []any{st.State, st.Queued, st.Open})
	s.Equal(at, h.sends())
	stops := max(0, h.lastSend(at).Sub(paused))
	s.LessOrEqual(at-before, 2*rate, "the command and a second's worth are sent after a pause")

	resumed := h.tell(g.campaign, "resume")
	h.untilSends(people / 2)
	goesOn := max(0, h.sendAfter(at).Sub(resumed))

	at = h.sends() // the command returns when nothing is queued any more
	cancelled := time.Now()
	h.tell(g.campaign, "cancel")
	st = h.untilCampaign(g.campaign, func(st campaign.Status) bool {
		return st.State == campaign.StateCancelled && st.Queued+st.Open == 0
	})
	s.Drained()
	all := h.sends()
	lasted := max(0, h.lastSend(all).Sub(cancelled))
	st = h.untilCampaign(g.campaign, func(st campaign.Status) bool { return st.Sent == all })
	s.Equal([]int{g.rows, g.rows - people, 0, people - all},
		[]int{st.Rows, st.Repeated, st.Queued + st.Open + deadOf(st), st.Cancelled})
	s.LessOrEqual(all-at, 2*rate, "at most two seconds' worth is sent after a cancel")
	h.requireOneReceipt(g, all)
	looks := stop()
	if *full {
		s.Less(stops, time.Second)
		s.Less(goesOn, time.Second)
	}
	report("campaign paused and cancelled", fmt.Sprintf("%d recipients at %d/s, paused and resumed "+
		"at an eighth, cancelled at half", people, rate),
		fmt.Sprintf("last call %s after the pause, first one %s after the resume; %d more sent "+
			"within %s from the beginning of the cancel; %d sent, %d cancelled with one receipt; added up at each "+
			"of %d looks", round(stops), round(goesOn), all-at, round(lasted), all, st.Cancelled,
			looks))
}

func round(d time.Duration) time.Duration { return d.Round(time.Millisecond) }

// lastSend is when the API was offered the message number n, of all campaigns.
func (h *host) lastSend(n int) (at time.Time) {
	h.T.Helper()
	i := 0
	for r := range h.API.Records(sandbox.Filter{Call: sandbox.CallSend}) {
		if i++; i == n {
			return r.At
		}
	}
	h.FailNow("the API was offered fewer", "%d, not %d", i, n)
	return at
}

// sendAfter is when the API was offered the one behind that.
func (h *host) sendAfter(n int) time.Time { return h.lastSend(n + 1) }

// requireOneReceipt waits for the one receipt of a campaign that was cancelled when so many of its
// messages were sent.
func (h *host) requireOneReceipt(g guests, sent int) {
	h.T.Helper()
	h.until("the campaign has its receipt", func() bool {
		return len(h.StoredReceipts()[g.campaign]) > 0
	})
	receipts := h.StoredReceipts()
	h.Len(receipts, sent+1, "each that was sent, and the campaign")
	own := receipts[g.campaign]
	h.Len(own, 1)
	h.Equal([]any{schema.StateCancelled, g.people - sent}, []any{own[0].State, own[0].Count})
}

// TestTwoCampaignsBesideLive has two campaigns with rates of their own go on beside live traffic.
func TestTwoCampaignsBesideLive(t *testing.T) {
	t.Parallel()
	live, lasts := 50, 5*time.Second
	rates := map[string]int{"fast": 300, "slow": 100}
	if *full {
		live, lasts = 200, 30*time.Second
		rates = map[string]int{"fast": 800, "slow": 400}
	}
	s := &scene{Stage: stage.New(t, stage.Options{
		Defaults: []string{"rate: {per_second: 5000, burst: 100}"},
	})}
	s.API.Add(sandbox.Rule{Call: sandbox.CallSend, Delay: 20 * time.Millisecond,
		DelayMax: 60 * time.Millisecond})
	s.StartBroker()
	s.Start()
	s.Start()
	h := hostCampaigns(s)
	alone := p99(s.queueTimes(s.offer([]string{stage.App}, "alone", live, lasts)))
	s.Drained()

	for name, rate := range rates {
		// Longer than the live traffic, so that both go on all the while.
		h.begin(invite(name, rate*int(lasts.Seconds()+4)), rate)
	}
	h.until("both campaigns are fed", func() bool {
		return h.sendsOf("fast-") > 0 && h.sendsOf("slow-") > 0
	})
	sent := s.offer([]string{stage.App}, "beside", live, lasts)
	s.Drained()
	beside := p99(s.queueTimes(sent))
	measured := make(map[string]float64)
	for name, rate := range rates {
		st := h.untilCampaign(name, func(st campaign.Status) bool {
			return st.State == campaign.StateDone
		})
		s.Equal(rate*int(lasts.Seconds()+4), st.Sent, name)
		measured[name] = s.rateOf(name + "-")
		s.LessOrEqual(measured[name], 1.05*float64(rate), name)
		if *full {
			s.InEpsilon(float64(rate), measured[name], 0.05, name)
		}
	}
	if *full {
		s.LessOrEqual(beside, 3*alone/2)
	}
	report("two campaigns beside live", fmt.Sprintf("campaigns at %d/s and %d/s at once, beside "+
		"live traffic of %d/s", rates["fast"], rates["slow"], live),
		fmt.Sprintf("%.1f/s and %.1f/s; live p99 to the API %s alone, %s beside", measured["fast"],
			measured["slow"], round(alone), round(beside)))
}

// sendsOf counts the messages that the API was offered for recipients whose name begins so.
func (h *host) sendsOf(prefix string) (n int) {
	for r := range h.API.Records(sandbox.Filter{Call: sandbox.CallSend}) {
		if strings.HasPrefix(r.OpenID, prefix) {
			n++
		}
	}
	return n
}
