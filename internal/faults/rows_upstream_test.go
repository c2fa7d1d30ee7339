//go:build faults

package faults

import (
	"fmt"
	"net/http"
	"slices"

	"github.com/kefuhq/kefu/internal/sandbox"
	"github.com/kefuhq/kefu/internal/stage"
)

// tenApps are the apps of rows about several.
var tenApps = func() (ids []string) {
	for i := range 10 {
		ids = append(ids, fmt.Sprintf("wx%016d", i+1))
	}
	return ids
}()

func apps(n int) stage.Options { return stage.Options{Apps: tenApps[:n]} }

func defaults(lines ...string) stage.Options { return stage.Options{Defaults: lines} }

func timeout(d string) stage.Options { return stage.Options{WeChat: []string{"timeout: " + d}} }

var (
	park      = defaults("on_unknown: park")
	htmlReply = sandbox.Rule{HTTPStatus: http.StatusOK,
		Body: "<html><body>Please log in</body></html>", ContentType: "text/html"}
)

// sent lets each rule act once, on the send of an intent of its own.
func sent(rules ...sandbox.Rule) func(*scene) {
	return func(s *scene) {
		for i, r := range rules {
			r.Call, r.OpenID, r.Times = sandbox.CallSend, fmt.Sprint("user", i), 1
			s.API.Add(r)
		}
		s.Start()
		for i := range rules {
			s.send(fmt.Sprint("user", i))
		}
		s.Drained()
	}
}

// always lets each rule act on every send of an intent of its own.
func always(rules ...sandbox.Rule) func(*scene) {
	return func(s *scene) {
		for i, r := range rules {
			r.Call, r.OpenID = sandbox.CallSend, fmt.Sprint("user", i)
			s.API.Add(r)
		}
		s.Start()
		for i := range rules {
			s.send(fmt.Sprint("user", i))
		}
		s.Drained()
	}
}

func codes(codes ...int) (rules []sandbox.Rule) {
	for _, c := range codes {
		rules = append(rules, sandbox.Rule{Errcode: c})
	}
	return rules
}

func bodies(bodies ...string) (rules []sandbox.Rule) {
	for _, b := range bodies {
		rules = append(rules, sandbox.Rule{HTTPStatus: http.StatusOK, Body: b})
	}
	return rules
}

// upstreamRows are about the API and the way to it.
var upstreamRows = slices.Concat(connectionRows, replyRows, tokenRows, errcodeRows, loadRows,
	proxyRows)

var upstreamNotRun []notRun
