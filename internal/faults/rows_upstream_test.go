//go:build faults

package faults

import (
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/kefuhq/kefu/internal/gate"
	"github.com/kefuhq/kefu/internal/sandbox"
	"github.com/kefuhq/kefu/internal/stage"
)

// ten are the apps of rows about several.
var ten = func() (ids []string) {
	for i := range 10 {
		ids = append(ids, fmt.Sprintf("wx%016d", i+1))
	}
	return ids
}()

func apps(n int) stage.Options { return stage.Options{Apps: ten[:n]} }

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

var upstreamRows = []row{
	{
		id: "F50", fault: "an answer after 5 s",
		expected: "waited for", ends: "1 sent", posts: span{1, 1},
		run: sent(sandbox.Rule{Delay: 5 * time.Second}),
	},
	{
		id: "F50", fault: "an answer after 15 s, which is longer than AckWait; wechat.timeout 30s",
		expected: "waited for, the intent stays in hand", ends: "1 sent", posts: span{1, 1},
		options: timeout("30s"),
		run:     sent(sandbox.Rule{Delay: 15 * time.Second}),
	},
	{
		id: "F50", fault: "no answer ever, though the message was delivered; resend",
		expected: "unknown after the timeout: sent once more, marked", ends: "1 sent",
		posts: span{2, 2}, doubles: span{1, 1},
		options: timeout("3s"), run: sent(sandbox.Rule{Hang: true, Delivered: true}),
	},
	{
		id: "F50", fault: "no answer ever; park",
		expected: "parked after the timeout", ends: "1 dead unknown", posts: span{1, 1},
		doubles: span{1, 1},
		options: stage.Options{WeChat: []string{"timeout: 3s"},
			Defaults: []string{"on_unknown: park"}}, run: sent(sandbox.Rule{Hang: true}),
	},
	{
		id: "F51", fault: "connections are refused, then not any more",
		expected: "held upstream, probed; no attempt spent", ends: "5 sent",
		posts: span{1, 1}, run: refused,
	},
	{
		id: "F51", fault: "the API's name cannot be resolved",
		expected: "held upstream; nothing dead", ends: "3 queued", posts: span{0, 0},
		run: noWay("https://api.kefu.invalid"),
	},
	{
		id: "F51", fault: "no route to the API",
		expected: "held upstream; nothing dead", ends: "3 queued", posts: span{0, 0},
		run: noWay("https://[2001:db8::1]"), options: timeout("1s"),
	},
	{
		id: "F52", fault: "the API's certificate has expired",
		expected: "nothing is sent; held config, says so; goes on with a good one", ends: "3 sent",
		posts: span{1, 1}, run: badCertificate(expired),
	},
	{
		id: "F52", fault: "the API's certificate is another host's",
		expected: "nothing is sent; held config, says so; goes on with a good one", ends: "3 sent",
		posts: span{1, 1}, run: badCertificate(anotherHost),
	},
	{
		id: "F52", fault: "the API's certificate is of an authority that nobody trusts",
		expected: "nothing is sent; held config, says so; goes on with a good one", ends: "3 sent",
		posts: span{1, 1}, run: badCertificate(stranger),
	},
	{
		id: "F52", fault: "TLS handshakes stall",
		expected: "not sent: held upstream, probed; no attempt spent", ends: "3 sent",
		posts:   span{1, 1},
		options: timeout("2s"), run: badDoor(stalled),
	},
	{
		id: "F53", fault: "a reset in the TLS handshake",
		expected: "not sent: held upstream, probed; no attempt spent", ends: "3 sent",
		posts: span{1, 1}, run: badDoor(slammed),
	},
	{
		id:       "F53",
		fault:    "a reset after the request was written and before it was read; resend, park",
		expected: "nobody can know: unknown; sent once more, marked; parked",
		ends:     "1 dead unknown, 1 sent", posts: span{0, 1}, doubles: span{2, 2},
		run: func(s *scene) {
			s.API.Add(sandbox.Rule{Call: sandbox.CallSend, Reset: sandbox.ResetUnread, Times: 1})
			s.Start()
			s.send("resent")
			s.Drained()
			s.API.Add(sandbox.Rule{Call: sandbox.CallSend, Reset: sandbox.ResetUnread, Times: 1})
			s.send("parked", "Kefu-Unknown", "park")
			s.Drained()
		},
	},
	{
		id: "F54", fault: "a reset after the message was delivered; resend",
		expected: "unknown: sent once more, marked", ends: "1 sent", posts: span{2, 2},
		doubles: span{1, 1}, run: sent(sandbox.Rule{Reset: sandbox.ResetAfter}),
	},
	{
		id: "F54", fault: "a reset after the message was delivered; park",
		expected: "parked", ends: "1 dead unknown", posts: span{1, 1}, doubles: span{1, 1},
		options: park, run: sent(sandbox.Rule{Reset: sandbox.ResetAfter}),
	},
	{
		id: "F55", fault: "the API closes idle connections",
		expected: "noticed before anything is written: each sent once", ends: "5 sent",
		posts: span{1, 1}, run: idleClosed,
	},
	{
		id: "F56", fault: "answers that end too early: the body shorter than announced, half a " +
			"JSON object",
		expected: "unknown: sent once more, marked", ends: "2 sent", posts: span{2, 2},
		doubles: span{2, 2},
		run:     sent(append(bodies(`{"errcode":0,"errm`), sandbox.Rule{Truncate: 8})...),
	},
	{
		id: "F57", fault: "a page of HTML with status 200, once",
		expected: "unknown: sent once more, marked", ends: "1 sent", posts: span{2, 2},
		doubles: span{1, 1}, run: sent(htmlReply),
	},
	{
		id: "F57", fault: "a page of HTML with status 200, again and again",
		expected: "unknown: once more, then parked", ends: "3 dead unknown", posts: span{2, 2},
		doubles: span{3, 3},
		run:     always(htmlReply, htmlReply, htmlReply),
	},
	{
		id: "F58", fault: "an empty answer, blanks, an object without errcode",
		expected: "unknown: sent once more, marked", ends: "3 sent", posts: span{2, 2},
		doubles: span{3, 3},
		run: sent(append(bodies(" \r\n", `{"errmsg":"ok"}`),
			sandbox.Rule{HTTPStatus: http.StatusOK})...),
	},
	{
		id: "F59", fault: `errcode "0", 0.0, "45015", 10^40, "abc"`,
		expected: "sent, sent, recipient; the rest unknown: sent once more, marked",
		ends:     "1 dead recipient, 4 sent", posts: span{1, 2}, doubles: span{2, 2},
		run: sent(bodies(`{"errcode":"0"}`, `{"errcode":0.0,"errmsg":"ok"}`, `{"errcode":"45015"}`,
			`{"errcode":1`+strings.Repeat("0", 40)+`}`, `{"errcode":"abc"}`)...),
	},
	{
		id: "F60", fault: "HTTP 500, 502, 504",
		expected: "unknown: sent once more, marked", ends: "3 sent", posts: span{2, 2},
		doubles: span{3, 3},
		run: sent(sandbox.Rule{HTTPStatus: 500}, sandbox.Rule{HTTPStatus: 502},
			sandbox.Rule{HTTPStatus: 504}),
	},
	{
		id: "F60", fault: "HTTP 503 and 500 with errcode −1",
		expected: "busy: retried, not marked", ends: "2 sent", posts: span{2, 2},
		run: sent(sandbox.Rule{HTTPStatus: 503}, sandbox.Rule{HTTPStatus: 500, Errcode: -1}),
	},
	{
		id: "F61", fault: "HTTP 429 with Retry-After −1, a date in 30 minutes, 10^12, a word, none",
		expected: "held for 1 s, 30 min, 1 h, to the next minute, to the next minute; no " +
			"attempt spent", ends: "5 sent", posts: span{2, 2}, options: apps(5), run: retryAfter,
	},
	{
		id: "F62", fault: "redirects: 301, 302, 303, 307, 308",
		expected: "not followed: held config, the target named; goes on", ends: "5 sent",
		posts: span{2, 3}, options: apps(5), run: redirects,
	},
	{
		id: "F63", fault: "a gzip bomb of 1 GiB, an answer of 10 GiB, 1 MiB of headers",
		expected: "cut off, memory stays flat; unknown: sent once more, marked", ends: "3 sent",
		posts: span{2, 2}, doubles: span{3, 3}, run: bombs,
	},
	{
		id: "F64", fault: "an answer that comes byte by byte, slower than the timeout",
		expected: "ended by the timeout; unknown: sent once more, marked", ends: "1 sent",
		posts: span{2, 2}, doubles: span{1, 1},
		options: timeout("3s"), run: sent(sandbox.Rule{Drip: 500 * time.Millisecond}),
	},
	{
		id: "F65", fault: "40001, 40014, 42001 on a send",
		expected: "token fetched anew, sent again at once; no attempt spent", ends: "3 sent",
		posts: span{2, 2},
		run:   func(s *scene) { sent(codes(40001, 40014, 42001)...)(s); s.unspent() },
	},
	{
		id: "F65", fault: "40001 whatever the token",
		expected: "no loop: two to four POSTs, then held config; goes on", ends: "1 sent",
		posts: span{3, 5},
		run:   holds(gate.Config, sandbox.Rule{Call: sandbox.CallSend, Errcode: 40001}),
	},
	{
		id: "F66", fault: "another system forces a new token",
		expected: "fetched anew; no attempt spent", ends: "2 sent", posts: span{1, 2},
		run: tokenTaken,
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
		run: holds(gate.Upstream, sandbox.Rule{Call: sandbox.CallToken, HTTPStatus: 502}),
	},
	{
		id: "F69", fault: "tokens that last 0 s, −5 s, for ever, for nobody knows how long",
		expected: "taken for a minute or two hours: one call each", ends: "40 sent",
		posts: span{1, 1}, options: apps(4), run: oddTokens,
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
			s.unspent()
		},
	},
	{
		id: "F71", fault: "40125 and 40013 on token calls: wrong secret, wrong appid",
		expected: "held config; other apps send; goes on; no attempt spent", ends: "6 sent",
		posts: span{1, 1}, options: apps(3),
		run: holds(gate.Config, sandbox.Rule{Call: sandbox.CallToken, Errcode: 40125},
			sandbox.Rule{Call: sandbox.CallToken, Errcode: 40013}),
	},
	{
		id:       "F72",
		fault:    "40164 on token calls, 61004 and 45035 on sends: the address is not on the list",
		expected: "held config, with the address that WeChat saw; other apps send; goes on",
		ends:     "8 sent", posts: span{1, 3}, options: apps(4),
		run: func(s *scene) {
			holds(gate.Config, sandbox.Rule{Call: sandbox.CallToken, Errcode: 40164},
				sandbox.Rule{Call: sandbox.CallSend, Errcode: 61004},
				sandbox.Rule{Call: sandbox.CallSend, Errcode: 45035})(s)
			s.Contains(strings.Join(s.notes, " "), "203.0.113.7")
		},
	},
	{
		id: "F73", fault: "45009: the day's quota is used up",
		expected: "held quota until midnight in Beijing; other apps send; no attempt spent",
		ends:     "4 sent", posts: span{1, 3}, options: apps(2),
		run: func(s *scene) {
			s.API.SetUsed(s.Apps()[0], sandbox.CallSend, 1_000_000)
			quota(45009, gate.NextDay, 2*time.Second+2*time.Minute)(s)
		},
	},
	{
		id: "F73", fault: "45009, though the quota call says that there is some left",
		expected: "held quota until the next minute", ends: "4 sent", posts: span{1, 3},
		options: apps(2),
		run:     quota(45009, gate.NextMinute, time.Second),
	},
	{
		id: "F74", fault: "45011: the minute's quota is used up",
		expected: "held quota until the next minute; other apps send; no attempt spent",
		ends:     "4 sent", posts: span{1, 3}, options: apps(2),
		run: quota(45011, gate.NextMinute, time.Second),
	},
	{
		id: "F75", fault: "45015, 45047: the window is closed, the allowance used",
		expected: "letter recipient at once", ends: "2 dead recipient", posts: span{1, 1},
		run: always(codes(45015, 45047)...),
	},
	{
		id: "F76", fault: "40003; 40004 to 40009",
		expected: "letter recipient; letters rejected; at once",
		ends:     "1 dead recipient, 6 dead rejected", posts: span{1, 1},
		run: always(codes(40003, 40004, 40005, 40006, 40007, 40008, 40009)...),
	},
	{
		id: "F77", fault: "48001, 48004, 50002: no permission, banned, limited",
		expected: "held config; other apps send; goes on; no attempt spent", ends: "8 sent",
		posts: span{1, 3}, options: apps(4),
		run: holds(gate.Config, sandbox.Rule{Call: sandbox.CallSend, Errcode: 48001},
			sandbox.Rule{Call: sandbox.CallSend, Errcode: 48004},
			sandbox.Rule{Call: sandbox.CallSend, Errcode: 50002}),
	},
	{
		id: "F77", fault: "40200 to one msgmenu, before 50 texts to 50 users",
		expected: "texts go on within seconds; it is rejected after its second try, the " +
			"app stays open", ends: "1 dead rejected, 50 sent", posts: span{1, 3},
		run: onlyOne(picky{40200, sandbox.Rule{MsgType: "msgmenu"}, menu}),
	},
	{
		id: "F77", fault: "50002 to one openid, 65400 to one kf_account, 48001 and 45103 to one " +
			"message type, 40013 inside a miniprogrampage",
		expected: "as 40200", ends: "5 dead rejected, 250 sent", posts: span{1, 3},
		options: apps(5),
		run: onlyOne(
			picky{50002, sandbox.Rule{OpenID: "bad0"}, text},
			picky{65400, sandbox.Rule{Contains: "test1@kefu"}, ofKFAccount},
			picky{48001, sandbox.Rule{MsgType: "msgmenu"}, menu},
			picky{45103, sandbox.Rule{MsgType: "msgmenu"}, menu},
			picky{40013, sandbox.Rule{MsgType: "miniprogrampage"}, miniProgramPage}),
	},
	{
		id: "F77", fault: "40200 to every tenth of a campaign of 1,000",
		expected: "these are rejected, each after its second try; the others go on at their rate",
		ends:     "100 dead rejected, 900 sent", posts: span{1, 3}, run: tenthRefused,
		options: defaults("rate: {per_second: 200, burst: 20}"),
	},
	{
		id: "F77", fault: "40200, 48001 and 50002 to every send of an app each",
		expected: "held config, nothing dead; tried with growing pauses by messages that did not " +
			"draw it; then all sent", ends: "120 sent", posts: span{1, 3},
		options: stage.Options{Apps: ten[:3], Defaults: []string{"concurrency: 4"}},
		run:     everyOne(40200, 48001, 50002),
	},
	{
		id: "F78", fault: "−1 twice; −1 for ever",
		expected: "sent with the third attempt; exhausted with the sixth",
		ends:     "1 dead exhausted, 1 sent", posts: span{3, 6},
		run: func(s *scene) {
			s.API.Add(sandbox.Rule{Call: sandbox.CallSend, OpenID: "twice", Times: 2, Errcode: -1})
			s.API.Add(sandbox.Rule{Call: sandbox.CallSend, OpenID: "forever", Errcode: -1})
			s.Start()
			s.send("twice")
			s.sendBulk("forever")
			s.Drained()
		},
	},
	{
		id: "F79", fault: "errcode 99999, never seen before",
		expected: "two attempts, then rejected with the raw code", ends: "1 dead rejected",
		posts: span{2, 2},
		run: func(s *scene) {
			always(codes(99999)...)(s)
			s.Equal(99999, *s.Letters()[0].Errcode)
			s.Equal("2", metric(s, s.Worker(),
				fmt.Sprintf("kefu_api_calls_total{app=%q,outcome=\"unlisted\"}", stage.App)))
		},
	},
	{
		id:       "F79",
		fault:    "40234, 61014 and 99999, which is not listed, to every send of an app each",
		expected: "held config, the code named, nothing dead; then all sent", ends: "120 sent",
		posts: span{1, 3},
		options: stage.Options{Apps: ten[:3],
			Defaults: []string{"concurrency: 4",
				"retry: {attempts: 6, first: 5s, cap: 5s}"}}, run: everyOne(40234, 61014, 99999),
	},
	{
		id: "F80", fault: "one of ten apps is broken",
		expected: "it occupies nothing; the other nine send all", ends: "50 queued, 450 sent",
		posts: span{0, 3}, options: apps(10), run: oneBroken,
	},
	{
		id: "F81", fault: "one app has 3,000 intents queued, another 20, and there are 8 slots",
		expected: "they take turns: the 20 are sent before half of the others", ends: "3020 sent",
		posts: span{1, 1}, run: backlog,
		options: stage.Options{Apps: ten[:2], Worker: []string{"concurrency: 8"}},
	},
	{
		id: "F82", fault: "no way out for some seconds (10 minutes in the full form) with 300 " +
			"queued, then there is",
		expected: "all sent, never above the budget of 100/s", ends: "300 sent", posts: span{1, 1},
		run:     recovery,
		options: defaults("rate: {per_second: 100, burst: 10}"),
	},
	{
		id: "F83", fault: "half of all sends answer −1",
		expected: "all sent in the end, the app is never held", ends: "200 sent",
		posts: span{1, 20}, run: halfBusy,
		options: defaults("retry: {attempts: 20, first: 100ms, cap: 100ms}"),
	},
	{
		id: "F84", fault: "the API becomes ten times slower",
		expected: "the queue stays at the broker; all sent", ends: "1000 sent", posts: span{1, 1},
		run: slower, options: defaults("concurrency: 16"),
	},
	{
		id: "F85", fault: "HTTP_PROXY and HTTPS_PROXY are set by accident",
		expected: "not used", ends: "1 queued", posts: span{0, 0}, run: proxyEnvironment,
	},
}

var upstreamNotRun []notRun
