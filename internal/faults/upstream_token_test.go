//go:build faults

package faults

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"github.com/kefuhq/kefu/internal/broker/brokertest"
	"github.com/kefuhq/kefu/internal/gate"
	"github.com/kefuhq/kefu/internal/sandbox"
	"github.com/kefuhq/kefu/internal/stage"
)

// tokenRows are about access tokens.
var tokenRows = []row{
	{
		id: "F65", fault: "40001, 40014, 42001 on a send",
		expected: "token fetched anew, sent again at once; no attempt spent", ends: "3 sent",
		posts: span{2, 2},
		run:   func(s *scene) { sent(codes(40001, 40014, 42001)...)(s); s.noAttemptSpent() },
	},
	{
		id: "F65", fault: "40001 whatever the token",
		expected: "no loop: two to four POSTs, then held config; goes on", ends: "1 sent",
		posts: span{3, 5},
		run:   holdsAndLifts(gate.Config, sandbox.Rule{Call: sandbox.CallSend, Errcode: 40001}),
	},
	{
		id: "F66", fault: "another system forces a new token",
		expected: "fetched anew; no attempt spent", ends: "2 sent", posts: span{1, 2},
		run: tokenForcedElsewhere,
	},
	{
		id: "F67", fault: "6 workers begin at once (20 in the full form)",
		expected: "at most one token call each, all with the same token", ends: "600 sent",
		posts: span{1, 1}, run: manyWorkers,
	},
	{
		id: "F68", fault: "the token endpoint is down while the token in hand is good",
		expected: "goes on", ends: "20 sent", posts: span{1, 1}, run: tokenEndpointDown,
	},
	{
		id: "F68", fault: "the token endpoint answers HTTP 502 and there is no token",
		expected: "held upstream, probed; no attempt spent", ends: "2 sent", posts: span{1, 1},
		run: holdsAndLifts(gate.Upstream, sandbox.Rule{Call: sandbox.CallToken, HTTPStatus: 502}),
	},
	{
		id: "F69", fault: "tokens that last 0 s, −5 s, for ever, for nobody knows how long",
		expected: "taken for a minute or two hours: one call each", ends: "40 sent",
		posts: span{1, 1}, options: apps(4), run: oddTokenLifetimes,
	},
	{
		id: "F70", fault: "every second send meets a stale token",
		expected: "a new token is never forced", ends: "10 sent", posts: span{1, 3},
		run: func(s *scene) {
			s.API.Add(sandbox.Rule{Call: sandbox.CallSend, Every: 2, ExpireTokens: true})
			s.Start()
			for i := range 10 {
				s.send(fmt.Sprint("user", i))
				s.Drained()
			}
			s.Zero(s.API.Stats().TokensForced)
			s.noAttemptSpent()
		},
	},
	{
		id: "F71", fault: "40125 and 40013 on token calls: wrong secret, wrong appid",
		expected: "held config; other apps send; goes on; no attempt spent", ends: "6 sent",
		posts: span{1, 1}, options: apps(3),
		run: holdsAndLifts(gate.Config, sandbox.Rule{Call: sandbox.CallToken, Errcode: 40125},
			sandbox.Rule{Call: sandbox.CallToken, Errcode: 40013}),
	},
}

func tokenForcedElsewhere(s *scene) {
	s.Start()
	s.send("before")
	s.Drained()
	body, err := json.Marshal(map[string]any{
		"grant_type": "client_credential", "appid": stage.App, "secret": stage.CanarySecret,
		"force_refresh": true,
	})
	s.NoError(err)
	resp, err := http.Post(s.APIURL+"/cgi-bin/stable_token", "application/json",
		bytes.NewReader(body))
	s.NoError(err)
	s.NoError(resp.Body.Close())
	s.send("after")
	s.Drained()
	s.Equal(map[string]int{"before": 1, "after": 2}, s.Posts())
	s.Equal(2, s.API.Stats().TokensIssued, "the other system's is good for both")
	s.noAttemptSpent()
}

func manyWorkers(s *scene) {
	workers := 6
	if *full {
		workers = 20
	}
	b := brokertest.Bare(s.T)
	s.UseBroker(b.URL())
	s.kefu("setup")
	s.Connect()
	s.sendMany(stage.App, "user", 600)
	s.API.Add(sandbox.Rule{Call: sandbox.CallSend, Delay: 100 * time.Millisecond})
	var all []*stage.Process
	for range workers {
		all = append(all, s.Launch())
	}
	for _, p := range all {
		p.Ready()
	}
	s.Drained()
	stats := s.API.Stats()
	s.LessOrEqual(stats.Calls[sandbox.CallToken].Total, workers)
	s.Equal(1, stats.TokensIssued)
	s.note("%d workers, %d token calls", workers, stats.Calls[sandbox.CallToken].Total)
}

func tokenEndpointDown(s *scene) {
	s.warmUp()
	s.API.Add(sandbox.Rule{Call: sandbox.CallToken, HTTPStatus: 502})
	for i := range 20 {
		s.send(fmt.Sprint("user", i))
	}
	s.Drained()
	s.noAttemptSpent()
}

func oddTokenLifetimes(s *scene) {
	for i, life := range []string{`,"expires_in":0`, `,"expires_in":-5`,
		`,"expires_in":1000000000`, ""} {
		token := fmt.Sprint(stage.CanaryToken, i)
		s.API.Grant(s.Apps()[i], token)
		s.API.Add(sandbox.Rule{Call: sandbox.CallToken, AppID: s.Apps()[i],
			HTTPStatus: http.StatusOK, Body: fmt.Sprintf(`{"access_token":%q%s}`, token, life)})
	}
	s.Start()
	for i, app := range s.Apps() {
		for n := range 10 {
			s.sendTo(app, fmt.Sprintf("app%duser%d", i, n))
		}
	}
	s.Drained()
	s.Less(s.API.Stats().Calls[sandbox.CallToken].Total, 20, "a busy loop")
	s.note("%d token calls", s.API.Stats().Calls[sandbox.CallToken].Total)
}
