//go:build faults

package faults

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/kefuhq/kefu/internal/gate"
	"github.com/kefuhq/kefu/internal/sandbox"
	"github.com/kefuhq/kefu/internal/stage"
	"github.com/kefuhq/kefu/schema"
)

// replyRows are about what comes back over HTTP.
var replyRows = []row{
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
		posts: span{2, 2}, doubles: span{3, 3}, run: oversizedReplies,
	},
	{
		id: "F64", fault: "an answer that comes byte by byte, slower than the timeout",
		expected: "ended by the timeout; unknown: sent once more, marked", ends: "1 sent",
		posts: span{2, 2}, doubles: span{1, 1},
		options: timeout("3s"), run: sent(sandbox.Rule{Drip: 500 * time.Millisecond}),
	},
}

func retryAfter(s *scene) {
	date := time.Now().Add(30 * time.Minute).Truncate(time.Second)
	headers := []string{"-1", date.UTC().Format(http.TimeFormat), "1000000000000", "soon", ""}
	for i, h := range headers {
		s.API.Add(sandbox.Rule{Call: sandbox.CallSend, AppID: s.Apps()[i], Times: 1,
			HTTPStatus: 429, RetryAfter: h})
	}
	s.Start()
	for i, app := range s.Apps() {
		s.sendTo(app, fmt.Sprint("user", i))
	}
	s.until("the first goes on by itself", func() bool {
		return s.Stored(schema.SendStream(s.Apps()[0])) == 0
	})
	posts := s.API.Newest(sandbox.Filter{OpenID: "user0"}, 2)
	s.Len(posts, 2)
	s.GreaterOrEqual(posts[1].At.Sub(posts[0].At).Abs(), time.Second)
	// The answer's own Date, which counts, is in whole seconds as well.
	s.WithinRange(s.held(s.Apps()[1], gate.Quota).Until, date, date.Add(30*time.Second))
	inAnHour := func(t time.Time) time.Time { return t.Add(time.Hour) }
	ends := []func(time.Time) time.Time{inAnHour, gate.NextMinute, gate.NextMinute}
	for i, end := range ends {
		h := s.held(s.Apps()[i+2], gate.Quota)
		s.WithinRange(h.Until, end(h.Since), end(h.Since).Add(time.Second))
	}
	s.restore(s.Apps()[1:]...)
}

func redirects(s *scene) {
	elsewhere := s.listen()
	var followed atomic.Int32
	go func() {
		for {
			c, err := elsewhere.Accept()
			if err != nil {
				return
			}
			followed.Add(1)
			_ = c.Close()
		}
	}()
	for i, status := range []int{301, 302, 303, 307, 308} {
		s.API.Add(sandbox.Rule{Call: sandbox.CallSend, AppID: s.Apps()[i], HTTPStatus: status,
			Redirect: "http://" + elsewhere.Addr().String() + "/"})
	}
	s.Start()
	for i, app := range s.Apps() {
		s.sendTo(app, fmt.Sprint("user", i))
	}
	for _, app := range s.Apps() {
		s.Contains(s.held(app, gate.Config).Reason,
			"redirect to "+elsewhere.Addr().String()+" refused")
	}
	s.restore(s.Apps()...)
	s.Zero(followed.Load(), "a redirect was followed")
}

func oversizedReplies(s *scene) {
	s.warmUp()
	p := s.Worker()
	before := number(s, p, "process_resident_memory_bytes")
	for i, r := range []sandbox.Rule{{GzipBomb: 1 << 30}, {PadBody: 10 << 30},
		{PadHeader: 1 << 20}} {
		r.Call, r.OpenID, r.Times = sandbox.CallSend, fmt.Sprint("user", i), 1
		s.API.Add(r)
	}
	for i := range 3 {
		s.send(fmt.Sprint("user", i))
	}
	s.Drained()
	after := number(s, p, "process_resident_memory_bytes")
	s.Less(after, before+64<<20)
	s.note("resident memory %.0f → %.0f MiB", before/(1<<20), after/(1<<20))
}

// warmUp starts a worker and sends one intent that is no part of the scene.
func (s *scene) warmUp() {
	s.T.Helper()
	s.Start()
	s.Publish(stage.Live+"first", text("first"))
	s.Drained()
}

func number(s *scene, p *stage.Process, name string) float64 {
	s.T.Helper()
	v, err := strconv.ParseFloat(metric(s, p, name), 64)
	s.NoError(err)
	return v
}
