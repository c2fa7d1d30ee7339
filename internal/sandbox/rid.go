package sandbox

import (
	"fmt"
	"math/rand/v2"
	"regexp"
	"sync"
	"time"
)

// keepRIDs is how many refusals can be looked up, ridBody how many bytes of a request body, ridLife
// how long: as the real API has it.
const (
	keepRIDs = 1000
	ridBody  = 64 << 10
	ridLife  = 7 * 24 * time.Hour
)

var ridForm = regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{8}-[0-9a-f]{8}$`)

// newRID is unique and starts with the time.
func newRID() string {
	return fmt.Sprintf("%08x-%08x-%08x", uint32(time.Now().Unix()), rand.Uint32(), rand.Uint32())
}

// rids are the last calls that were refused with a request id.
type rids struct {
	mu    sync.Mutex
	byID  map[string]refusal
	order []string // a ring
	next  int
}

// refusal is a call as rid/get shows it, access token and all.
type refusal struct {
	appID string
	at    time.Time
	Time  int64  `json:"invoke_time"`
	Cost  int64  `json:"cost_in_ms"`
	URL   string `json:"request_url"`
	Body  string `json:"request_body"`
	Reply string `json:"response_body"`
	IP    string `json:"client_ip"`
}

func newRIDs() *rids { return &rids{byID: map[string]refusal{}, order: make([]string, keepRIDs)} }

func (rs *rids) keep(q *request, o *outcome) {
	r := refusal{
		appID: q.appID, at: q.at, Time: q.at.Unix(), Cost: o.delay.Milliseconds(),
		URL: "http://" + q.http.Host + q.route.path, Body: q.body[:min(len(q.body), ridBody)],
		Reply: string(o.body), IP: q.clientIP(),
	}
	// A token call's query may hold a secret, which never comes out of the sandbox again.
	if q.query != "" && q.route.call != CallToken {
		r.URL += "?" + q.query
	}
	rs.mu.Lock()
	defer rs.mu.Unlock()
	delete(rs.byID, rs.order[rs.next])
	rs.order[rs.next] = o.rid
	rs.next = (rs.next + 1) % len(rs.order)
	rs.byID[o.rid] = r
}

// find returns what app may know of the call, or the errcode.
func (rs *rids) find(id, appID string, now time.Time) (refusal, int) {
	if !ridForm.MatchString(id) {
		return refusal{}, 76002
	}
	rs.mu.Lock()
	defer rs.mu.Unlock()
	switch r, known := rs.byID[id]; {
	case !known, now.Sub(r.at) > ridLife:
		return refusal{}, 76001
	case r.appID != appID:
		return refusal{}, 76003
	default:
		return r, 0
	}
}

func (s *Sandbox) answerRIDGet(q *request) answer {
	var asked struct {
		RID string `json:"rid"`
	}
	if code := s.admitPost(q, &asked); code != 0 {
		return refuse(code)
	}
	found, code := s.rids.find(asked.RID, q.appID, q.at)
	if code != 0 {
		return refuse(code)
	}
	return okWith(struct {
		Errcode int     `json:"errcode"`
		Errmsg  string  `json:"errmsg"`
		Request refusal `json:"request"`
	}{0, "ok", found})
}
