package sandbox

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// token is an access token the sandbox accepts, or has accepted.
type token struct {
	value      string
	app        *appState
	expires    atomic.Int64 // Unix nanoseconds
	superseded atomic.Bool  // a newer one of its family was issued; good until expires all the same
	stale      atomic.Bool  // made invalid before its time
}

// check returns the errcode of a call made with the token: 0, 40001 (not the latest) or 42001 (its
// time is over).
func (t *token) check(now time.Time) int {
	switch over := now.UnixNano() >= t.expires.Load(); {
	case t.stale.Load(), over && t.superseded.Load():
		return 40001
	case over:
		return 42001
	}
	return 0
}

// tokenFamily keeps the two token calls apart: a token got by one does not retire one got by the
// other.
type tokenFamily struct {
	appID  string
	stable bool
}

// tokens are all tokens issued. Every send looks one up; issuing is rare.
type tokens struct {
	ttl     time.Duration
	overlap time.Duration // how long an old token lives beside its successor
	prefix  string
	apps    *apps

	mu       sync.RWMutex
	byValue  map[string]*token
	current  map[tokenFamily]*token
	forcings map[string]*forcedRefreshes // by app
	sweepAt  int
	issued   int
	forced   int
}

func newTokens(ttl time.Duration, prefix string, apps *apps) *tokens {
	return &tokens{
		ttl:      ttl,
		overlap:  ttl / 24, // 7200 s: the documented 5 minutes
		prefix:   prefix,
		apps:     apps,
		byValue:  map[string]*token{},
		current:  map[tokenFamily]*token{},
		forcings: map[string]*forcedRefreshes{},
		sweepAt:  1024,
	}
}

func (ts *tokens) find(value string) *token {
	ts.mu.RLock()
	defer ts.mu.RUnlock()
	return ts.byValue[value]
}

// stable returns the app's stable token, the same one until its last moments.
func (ts *tokens) stable(appID string, now time.Time) *token {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	return ts.renew(tokenFamily{appID, true}, now)
}

// force returns a new stable token at once and kills the old one, or returns the errcode of one
// renewal too many. aDay is how many there may be in a day, 0 any number.
func (ts *tokens) force(appID string, aDay int, now time.Time) (*token, int) {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	f := ts.forcings[appID]
	if f == nil {
		f = &forcedRefreshes{}
		ts.forcings[appID] = f
	}
	fam := tokenFamily{appID, true}
	renew, code := f.allow(aDay, now)
	switch {
	case code != 0:
		return nil, code
	case renew:
		ts.forced++
		if old := ts.current[fam]; old != nil {
			old.stale.Store(true)
		}
	}
	return ts.renew(fam, now), 0
}

// renew issues a stable token when the one there is has seen its time.
func (ts *tokens) renew(fam tokenFamily, now time.Time) *token {
	if old := ts.current[fam]; old != nil && old.check(now) == 0 &&
		old.expires.Load()-now.UnixNano() > int64(ts.overlap) {
		return old
	}
	return ts.issue(fam, now)
}

// legacy returns a new token each time; the one before it lives on for the overlap only. Two
// processes that both refresh therefore kill each other's tokens, as they do with the real call.
func (ts *tokens) legacy(appID string, now time.Time) *token {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	fam := tokenFamily{appID, false}
	if old := ts.current[fam]; old != nil {
		old.superseded.Store(true)
		old.expires.Store(min(old.expires.Load(), now.Add(ts.overlap).UnixNano()))
	}
	return ts.issue(fam, now)
}

func (ts *tokens) issue(fam tokenFamily, now time.Time) *token {
	// As long as real ones: a client that stores tokens in too small a place should notice here.
	t := &token{value: ts.prefix + rand.Text() + rand.Text() + rand.Text() + rand.Text() +
		rand.Text(), app: ts.apps.get(fam.appID)}
	t.expires.Store(now.Add(ts.ttl).UnixNano())
	ts.current[fam] = t
	ts.issued++
	ts.remember(t, now)
	return t
}

func (ts *tokens) grant(appID, value string, now time.Time) {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	t := &token{value: value, app: ts.apps.get(appID)}
	t.expires.Store(now.Add(ts.ttl).UnixNano())
	ts.remember(t, now)
}

// remember adds a token and now and then drops those long dead, so that a client that fetches
// tokens in a loop fills no memory. A dropped token is unknown and draws 40001.
func (ts *tokens) remember(t *token, now time.Time) {
	ts.byValue[t.value] = t
	if len(ts.byValue) < ts.sweepAt {
		return
	}
	for value, old := range ts.byValue {
		if old.check(now) != 0 {
			delete(ts.byValue, value)
		}
	}
	ts.sweepAt = max(1024, 2*len(ts.byValue))
}

// expire makes the tokens of these apps stale, of all apps when none is given.
func (ts *tokens) expire(appIDs []string) {
	ts.mu.RLock()
	defer ts.mu.RUnlock()
	for _, t := range ts.byValue {
		if len(appIDs) == 0 || slices.Contains(appIDs, t.app.id) {
			t.stale.Store(true)
		}
	}
}

// expireOf makes the tokens of one app stale, of all when the call did not say whose it is.
func (ts *tokens) expireOf(appID string) {
	if appID == "" {
		ts.expire(nil)
		return
	}
	ts.expire([]string{appID})
}

func (ts *tokens) counts() (issued, forced int) {
	ts.mu.RLock()
	defer ts.mu.RUnlock()
	return ts.issued, ts.forced
}

func (ts *tokens) forgetCounts() {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	ts.issued, ts.forced = 0, 0
}

func (ts *tokens) forgetForced() {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	clear(ts.forcings)
}

// tokenRequest is what a token call asks for.
type tokenRequest struct {
	ok        bool   // the body could be read
	GrantType string `json:"grant_type"`
	AppID     string `json:"appid"`
	Secret    string `json:"secret"`
	Force     bool   `json:"force_refresh"`
}

func (s *Sandbox) readStableToken(q *request) {
	q.tokenCall.ok = json.Unmarshal([]byte(q.body), &q.tokenCall) == nil
	s.hideSecret(q)
}

func (s *Sandbox) readToken(q *request) {
	v, err := url.ParseQuery(q.query)
	q.tokenCall = tokenRequest{ok: err == nil, GrantType: v.Get("grant_type"),
		AppID: v.Get("appid"), Secret: v.Get("secret")}
	s.hideSecret(q)
}

// hideSecret drops the body of a token call before anything can keep it: the secret in it may be a
// real one that was sent to the wrong address, and what was received can be read by everybody.
func (s *Sandbox) hideSecret(q *request) {
	q.appID = strings.Clone(q.tokenCall.AppID)
	q.body = ""
}

func (s *Sandbox) answerStableToken(q *request) answer {
	if code := q.checkPost(); code != 0 {
		return refuse(code)
	}
	code := s.admitTokenCall(q)
	if code != 0 {
		return q.refuseTokenCall(code)
	}
	t := (*token)(nil)
	if q.tokenCall.Force {
		t, code = s.tokens.force(q.appID, s.settings.Load().Tokens.ForcedADay, q.at)
	} else {
		t = s.tokens.stable(q.appID, q.at)
	}
	if code != 0 {
		return refuse(code)
	}
	return tokenAnswer(t, q.at)
}

func (s *Sandbox) answerToken(q *request) answer {
	if q.method != http.MethodGet {
		return refuse(43001)
	}
	if code := s.admitTokenCall(q); code != 0 {
		return q.refuseTokenCall(code)
	}
	return tokenAnswer(s.tokens.legacy(q.appID, q.at), q.at)
}

// checkPost is about a call that is POSTed without an access token.
func (q *request) checkPost() int {
	switch {
	case q.method != http.MethodPost:
		return 43002
	case q.size == 0:
		return 44002
	case !q.tokenCall.ok:
		return 47001
	}
	return 0
}

// admitTokenCall is what a token call has to pass: grant, app, secret, address, quota.
func (s *Sandbox) admitTokenCall(q *request) int {
	w := &q.tokenCall
	if w.GrantType != "client_credential" {
		return 40002
	}
	if code := s.apps.checkSecret(w.AppID, w.Secret); code != 0 {
		return code
	}
	if !s.settings.Load().allowsAddress(q) {
		return 40164
	}
	return s.spend(s.apps.get(q.appID), q)
}

// refuseTokenCall tells a caller who is on no list the address it came from, as the real API does.
func (q *request) refuseTokenCall(code int) answer {
	if code != 40164 {
		return refuse(code)
	}
	ip := q.clientIP()
	return refuseSaying(code, fmt.Sprintf("invalid ip %s ipv6 ::ffff:%s, not in whitelist", ip, ip))
}

func tokenAnswer(t *token, now time.Time) answer {
	left := max(1, (t.expires.Load()-now.UnixNano())/int64(time.Second))
	b := append([]byte(`{"access_token":`), appendJSON(nil, t.value)...)
	b = strconv.AppendInt(append(b, `,"expires_in":`...), left, 10)
	return answer{status: http.StatusOK, body: append(b, '}'), coded: true}
}
