//go:build faults

package faults

import (
	"fmt"
	"strings"
	"time"

	"github.com/kefuhq/kefu/internal/broker/brokertest"
	"github.com/kefuhq/kefu/internal/gate"
	"github.com/kefuhq/kefu/internal/sandbox"
	"github.com/kefuhq/kefu/internal/stage"
	"github.com/kefuhq/kefu/schema"
)

// loadRows are about the load on kefu and on the API.
var loadRows = []row{
	{
		id: "F80", fault: "one of ten apps is broken",
		expected: "it occupies nothing; the other nine send all", ends: "50 queued, 450 sent",
		posts: span{0, 3}, options: apps(10), run: oneBrokenApp,
	},
	{
		id: "F81", fault: "one app has 3,000 intents queued, another 20, and there are 8 slots",
		expected: "they take turns: the 20 are sent before half of the others", ends: "3020 sent",
		posts: span{1, 1}, run: backlog,
		options: stage.Options{Apps: tenApps[:2], Worker: []string{"concurrency: 8"}},
	},
	{
		id: "F82", fault: "no way out for some seconds (10 minutes in the full form) with 300 " +
			"queued, then there is",
		expected: "all sent, never above the budget of 100/s", ends: "300 sent", posts: span{1, 1},
		run:     outageThenRecovery,
		options: defaults("rate: {per_second: 100, burst: 10}"),
	},
	{
		id: "F83", fault: "half of all sends answer −1",
		expected: "all sent in the end, the app is never held", ends: "200 sent",
		posts: span{1, 20}, run: halfOfSendsBusy,
		options: defaults("retry: {attempts: 20, first: 100ms, cap: 100ms}"),
	},
	{
		id: "F84", fault: "the API becomes ten times slower",
		expected: "the queue stays at the broker; all sent", ends: "1000 sent", posts: span{1, 1},
		run: slowingAPI, options: defaults("concurrency: 16"),
	},
}

func oneBrokenApp(s *scene) {
	s.API.Add(sandbox.Rule{Call: sandbox.CallSend, AppID: s.Apps()[0], Errcode: 48001})
	p := s.Start()
	for _, app := range s.Apps() {
		s.sendMany(app, app+"user", 50)
	}
	s.held(s.Apps()[0], gate.Config)
	for _, app := range s.Apps()[1:] {
		s.until(app+" has sent all", func() bool { return s.Stored(schema.SendStream(app)) == 0 })
	}
	s.until("the held app occupies nothing", func() bool {
		return metric(s, p, fmt.Sprintf("kefu_intents_in_hand{app=%q}", s.Apps()[0])) == "0"
	})
}

func backlog(s *scene) {
	const most = 3_000
	b := brokertest.Bare(s.T)
	s.UseBroker(b.URL())
	s.kefu("setup")
	s.Connect()
	s.sendMany(s.Apps()[0], "many", most)
	s.sendMany(s.Apps()[1], "few", 20)
	s.API.Add(sandbox.Rule{Call: sandbox.CallSend, Delay: 5 * time.Millisecond})
	s.Start()
	s.Drained()
	before, few := 0, 0
	for r := range s.API.Records(sandbox.Filter{Call: sandbox.CallSend}) {
		if strings.HasPrefix(r.OpenID, "few") {
			few++
		}
		if few == 20 {
			break
		}
		before++
	}
	s.Less(before, most/2)
	s.note("the last of the 20 was number %d", before+1)
}

func outageThenRecovery(s *scene) {
	const intents, perSecond, burst = 300, 100, 10
	address := s.FreeAddress()
	s.UseAPI("http://" + address)
	s.Start()
	s.sendMany(stage.App, "user", intents)
	s.held(stage.App, gate.Upstream)
	if *full {
		time.Sleep(10 * time.Minute)
	}
	restored := time.Now()
	_, err := s.API.Listen(address)
	s.NoError(err)
	s.Drained()
	s.noAttemptSpent()
	took := s.API.Newest(sandbox.Filter{Call: sandbox.CallSend}, 1)[0].At.Sub(restored)
	s.Greater(took, (intents-2*burst)*time.Second/perSecond, "faster than the budget")
	s.note("sent within %s", took.Round(100*time.Millisecond))
}

func halfOfSendsBusy(s *scene) {
	s.API.Add(sandbox.Rule{Call: sandbox.CallSend, Share: 0.5, Errcode: -1})
	s.Start()
	s.sendMany(stage.App, "user", 200)
	s.Drained()
	s.NotContains(s.Output.String(), "app held")
	s.note("%.2f posts for each", float64(s.API.Stats().Sends)/200)
}

func slowingAPI(s *scene) {
	const slots = 16
	fast := s.API.Add(sandbox.Rule{Call: sandbox.CallSend, Delay: 10 * time.Millisecond})
	p := s.Start()
	s.sendMany(stage.App, "user", 1000)
	s.NoError(s.API.Wait(s.T.Context(), 100))
	s.API.Add(sandbox.Rule{Call: sandbox.CallSend, Delay: 100 * time.Millisecond})
	s.API.Remove(fast)
	// What was sent a moment ago and waits for its acknowledgement is in hand, too.
	s.until("little is in hand while much is queued", func() bool {
		return number(s, p, fmt.Sprintf("kefu_intents_in_hand{app=%q}", stage.App)) <= 4*slots &&
			s.Queued() > 200
	})
	s.Drained()
	s.LessOrEqual(s.API.Stats().PeakInFlight, slots+1, "and a token call")
}
