package sandbox

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"time"
)

// Names of the calls as rules, records and totals have them. A call that the sandbox does not know goes by its path.
const (
	CallSend  = "send"
	CallToken = "token" // both token calls
)

// maxBody is the longest request body that is read; beyond it the answer is HTTP 413, as a front end's would be.
const maxBody = 1 << 20

// pooledBody is the longest buffer that is kept for the next call.
const pooledBody = 64 << 10

// route is one call of the API. Adding a call is adding a row to [routes] and its two functions.
type route struct {
	call string
	path string
	// read finds in the body what rules and records go by. It judges nothing.
	read func(*Sandbox, *request)
	// answer is what the API says to the request when no rule interferes.
	answer func(*Sandbox, *request) answer
}

var routes = byPath(
	route{CallSend, "/cgi-bin/message/custom/send", (*Sandbox).readSend, (*Sandbox).answerSend},
	route{CallToken, "/cgi-bin/stable_token", (*Sandbox).readStableToken, (*Sandbox).answerStableToken},
	route{CallToken, "/cgi-bin/token", (*Sandbox).readToken, (*Sandbox).answerToken},
)

func byPath(rows ...route) map[string]*route {
	m := make(map[string]*route, len(rows))
	for i := range rows {
		m[rows[i].path] = &rows[i]
	}
	return m
}

// unlisted is the route of an API path that the sandbox does not know. A rule may still answer it.
func unlisted(path string) *route {
	return &route{
		call:   path,
		path:   path,
		read:   func(*Sandbox, *request) {},
		answer: func(*Sandbox, *request) answer { return refuse(40066) },
	}
}

// request is one call as it was received.
type request struct {
	route    *route
	method   string
	query    string
	body     string // empty with Options.Fast
	size     int    // bytes of the body
	chunked  bool
	tooLarge bool
	at       time.Time

	token   *token // of access_token in the query; nil when missing or unknown
	appID   string
	openID  string
	msgType string
	packet  packet    // of a send
	wanted  tokenWish // of a token call
}

// outcome is what happens to one call: what the API made of it and what its caller gets to see.
type outcome struct {
	answer
	rule      *Rule // nil: none had a say
	ruleID    int
	fault     string
	answered  bool
	delivered bool
	delay     time.Duration
}

// serveCall is the way of every call: read, match the script, decide, record, and only then answer. The record comes first,
// so whoever has seen an answer finds its call among the received, and a test can wait for a call whose answer is held back.
func (s *Sandbox) serveCall(w http.ResponseWriter, r *http.Request, rt *route) {
	q := request{route: rt, method: r.Method, query: r.URL.RawQuery, at: time.Now(), chunked: len(r.TransferEncoding) > 0}
	s.findToken(&q)

	o := outcome{}
	if hit, ok := s.script.matchUnread(&q); ok {
		o = s.decide(&q, hit)
	} else {
		if err := s.readBody(&q, r); err != nil {
			s.journal.abort() // the client went away while it was sending; nobody is left to answer
			return
		}
		rt.read(s, &q)
		hit, _ := s.script.match(&q)
		o = s.decide(&q, hit)
	}

	t := s.journal.add(&q, &o)
	defer s.journal.done(&t)
	if s.log.Enabled(context.Background(), slog.LevelDebug) {
		s.log.Debug("sandbox call", "call", rt.call, "app", q.appID, "errcode", o.errcode, "status", o.status, "fault", o.fault, "rule", o.ruleID)
	}
	s.perform(w, r, &o, &t)
}

// findToken looks the query's token up; what is wrong with it is said later, by the call's answer.
func (s *Sandbox) findToken(q *request) {
	if value := accessToken(q.query); value != "" {
		if q.token = s.tokens.find(value); q.token != nil {
			q.appID = q.token.appID
		}
	}
}

// readBody reads the whole body into q.body. The buffer is pooled; what stays is one string of the exact size.
func (s *Sandbox) readBody(q *request, r *http.Request) error {
	if r.ContentLength > maxBody {
		q.tooLarge = true
		return nil
	}
	buf := s.bodies.Get().(*[]byte)
	defer func() {
		if len(*buf) <= pooledBody {
			s.bodies.Put(buf)
		}
	}()
	var n int
	var err error
	if r.ContentLength >= 0 {
		if int64(len(*buf)) < r.ContentLength {
			*buf = make([]byte, r.ContentLength)
		}
		n, err = io.ReadFull(r.Body, (*buf)[:r.ContentLength])
	} else {
		if len(*buf) <= maxBody {
			*buf = make([]byte, maxBody+1)
		}
		n, err = io.ReadFull(r.Body, *buf)
		if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) {
			err = nil
		}
		q.tooLarge = n > maxBody
	}
	if err != nil {
		return err
	}
	q.size = n
	if !s.opts.Fast || q.route.call != CallSend {
		q.body = string((*buf)[:n])
	}
	return nil
}

// decide turns the call and the rule that applies, if any, into what happens. The script comes before the API's own checks: what a test has
// scripted is what it gets, even when the token is stale.
func (s *Sandbox) decide(q *request, hit hit) outcome {
	o := outcome{rule: hit.rule, ruleID: hit.id, delay: hit.delay}
	if q.route.call == CallSend && (hit.rule == nil || !hit.rule.delays()) {
		o.delay = s.latency.between(s.opts.Latency.Min, s.opts.Latency.Max)
	}
	rule := hit.rule
	if rule == nil {
		o.answer = s.normal(q)
		o.answered, o.delivered = o.coded, o.accepted
		o.fault = o.unusual()
		return o
	}
	if rule.ExpireTokens {
		s.tokens.expireOf(q.appID)
	}
	if rule.processes() {
		o.answer = s.normal(q)
		o.delivered = o.accepted
	}
	if rule.replaces() {
		o.answer = rule.answer()
	}
	if o.fault = rule.fault(); o.fault == "" {
		o.fault = o.unusual()
	}
	o.answered = o.coded && rule.wholeAnswer()
	return o
}

// normal is the API's own answer.
func (s *Sandbox) normal(q *request) answer {
	switch {
	case q.chunked:
		// The front end demands a Content-Length. It answers before anything behind it has seen the call, with no body at all.
		return answer{status: http.StatusPreconditionFailed}
	case q.tooLarge:
		return answer{status: http.StatusRequestEntityTooLarge}
	}
	return q.route.answer(s, q)
}
