package sandbox

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"time"
)

// Names of the calls as rules, records and totals have them. A call that the sandbox does not know
// goes by its path.
const (
	CallSend      = "send"
	CallToken     = "token"     // both token calls
	CallTyping    = "typing"    // typing
	CallKFAccount = "kfaccount" // add, update, del, uploadheadimg, getkflist, getonlinekflist
	CallQuota     = "quota"     // quota/get, the three ways to clear, rid/get
)

// maxBody is the longest request body that is read; beyond it the answer is HTTP 413, as a front
// end's would be.
const maxBody = 1 << 20

// pooledBody is the longest buffer that is kept for the next call.
const pooledBody = 64 << 10

// route is one call of the API. Adding a call is adding a row to newRoutes and its two functions.
type route struct {
	call string
	path string
	n    int // its place in what is kept for each call
	// read finds in the body what rules and records go by. It judges nothing.
	read func(*Sandbox, *request)
	// answer is what the API says to the request when no rule interferes.
	answer func(*Sandbox, *request) answer
}

// newRoutes returns the API's routes by path.
func newRoutes() map[string]*route {
	rows := []route{
		{call: CallSend, path: "/cgi-bin/message/custom/send", read: (*Sandbox).readSend,
			answer: (*Sandbox).answerSend},
		{call: CallTyping, path: "/cgi-bin/message/custom/typing", read: (*Sandbox).readTyping,
			answer: (*Sandbox).answerTyping},
		{call: CallToken, path: "/cgi-bin/stable_token", read: (*Sandbox).readStableToken,
			answer: (*Sandbox).answerStableToken},
		{call: CallToken, path: "/cgi-bin/token", read: (*Sandbox).readToken,
			answer: (*Sandbox).answerToken},
		{call: CallKFAccount, path: "/customservice/kfaccount/add", read: readNothing,
			answer: (*Sandbox).answerKFAdd},
		{call: CallKFAccount, path: "/customservice/kfaccount/update", read: readNothing,
			answer: (*Sandbox).answerKFUpdate},
		{call: CallKFAccount, path: "/customservice/kfaccount/del", read: readNothing,
			answer: (*Sandbox).answerKFDelete},
		{call: CallKFAccount, path: "/customservice/kfaccount/uploadheadimg", read: readNothing,
			answer: (*Sandbox).answerKFAvatar},
		{call: CallKFAccount, path: "/cgi-bin/customservice/getkflist", read: readNothing,
			answer: (*Sandbox).answerKFList},
		{call: CallKFAccount, path: "/cgi-bin/customservice/getonlinekflist", read: readNothing,
			answer: (*Sandbox).answerKFOnline},
		{call: CallQuota, path: "/cgi-bin/openapi/quota/get", read: readNothing,
			answer: (*Sandbox).answerQuotaGet},
		{call: CallQuota, path: "/cgi-bin/openapi/quota/clear", read: readNothing,
			answer: (*Sandbox).answerQuotaClear},
		{call: CallQuota, path: "/cgi-bin/clear_quota", read: readNothing,
			answer: (*Sandbox).answerClearQuota},
		{call: CallQuota, path: "/cgi-bin/clear_quota/v2", read: (*Sandbox).readClearQuotaV2,
			answer: (*Sandbox).answerClearQuotaV2},
		{call: CallQuota, path: "/cgi-bin/openapi/rid/get", read: readNothing,
			answer: (*Sandbox).answerRIDGet},
	}
	m := make(map[string]*route, len(rows))
	for i := range rows {
		rows[i].n = i
		m[rows[i].path] = &rows[i]
	}
	return m
}

// readNothing is for calls of which rules and records know no more than call and app.
func readNothing(*Sandbox, *request) {}

// unlisted returns the route of an API path that the sandbox does not know. A rule may still answer
// it.
func unlisted(path string) *route {
	return &route{
		call:   path,
		path:   path,
		read:   readNothing,
		answer: func(*Sandbox, *request) answer { return refuse(40066) },
	}
}

// request is one call as it was received.
type request struct {
	route    *route
	http     *http.Request // its body has been read
	method   string
	query    string
	body     string // empty with Options.Fast
	size     int    // bytes of the body
	chunked  bool
	tooLarge bool
	lose     bool // a rule has it answered and not done
	at       time.Time

	token     *token // of access_token in the query; nil when missing or unknown
	appID     string
	openID    string
	msgType   string
	packet    packet       // of a send
	tokenCall tokenRequest // of a token call, and of clear_quota/v2
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

// serveCall is the way of every call: read, match the script, decide, record, and only then answer.
// The record comes first, so whoever has seen an answer finds its call among the received, and a
// test can wait for a call whose answer is held back.
func (s *Sandbox) serveCall(w http.ResponseWriter, r *http.Request, rt *route) {
	q := request{route: rt, http: r, method: r.Method, query: r.URL.RawQuery, at: s.now(),
		chunked: len(r.TransferEncoding) > 0}
	s.findToken(&q)

	o := outcome{}
	if hit, ok := s.script.matchUnread(&q); ok {
		o = s.decide(&q, hit)
	} else {
		if err := s.readBody(&q, r); err != nil {
			s.journal.countAborted() // the client went away while it was sending
			return
		}
		rt.read(s, &q)
		hit, _ := s.script.match(&q)
		o = s.decide(&q, hit)
	}
	if o.rid != "" {
		s.rids.keep(&q, &o)
	}

	t := s.journal.add(&q, &o)
	defer s.journal.done(&t)
	s.tell(Event{Kind: Called, N: t.n, Call: rt.call, AppID: q.appID, OpenID: q.openID, At: q.at})
	if s.log.Enabled(context.Background(), slog.LevelDebug) {
		s.log.Debug("sandbox call", "call", rt.call, "app", q.appID, "errcode", o.errcode,
			"status", o.status, "fault", o.fault, "rule", o.ruleID)
	}
	s.respond(w, r, &o, &t)
}

// findToken looks the query's token up; what is wrong with it is said later, by the call's answer.
func (s *Sandbox) findToken(q *request) {
	if value := accessToken(q.query); value != "" {
		if q.token = s.tokens.find(value); q.token != nil {
			q.appID = q.token.app.id
		}
	}
}

// readBody reads the whole body into q.body. The buffer is pooled; what stays is one string of the
// exact size.
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

// decide turns the call and the rule that applies, if any, into what happens. The script comes
// before the API's own checks: what a test has scripted is what it gets, even when the token is
// stale.
func (s *Sandbox) decide(q *request, hit ruleHit) outcome {
	o := outcome{rule: hit.rule, ruleID: hit.id, delay: hit.delay}
	if q.route.call == CallSend && (hit.rule == nil || !hit.rule.delays()) {
		o.delay = s.latency.between(s.opts.Latency.Min, s.opts.Latency.Max)
	}
	rule := hit.rule
	if rule == nil {
		o.answer = s.apiAnswer(q)
		o.answered, o.delivered = o.coded, o.accepted
		o.fault = o.unusual()
		return o
	}
	if rule.ExpireTokens {
		s.tokens.expireOf(q.appID)
	}
	q.lose = rule.Lose
	if rule.processes() {
		o.answer = s.apiAnswer(q)
		o.delivered = o.accepted && !rule.Lose
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

// apiAnswer returns the API's own answer.
func (s *Sandbox) apiAnswer(q *request) answer {
	switch {
	case q.chunked:
		// The front end demands a Content-Length. It answers before anything behind it has seen the
		// call, with no body at all.
		return answer{status: http.StatusPreconditionFailed}
	case q.tooLarge:
		return answer{status: http.StatusRequestEntityTooLarge}
	}
	return q.route.answer(s, q)
}
