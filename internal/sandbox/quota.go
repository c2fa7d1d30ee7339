package sandbox

import (
	"encoding/json"
	"sync"
	"time"
)

// Quota is how often an app may make a call. 0 is no limit.
type Quota struct {
	Day    int `json:"day,omitempty"`    // in a day of China's time; beyond it 45009
	Minute int `json:"minute,omitempty"` // in a minute of the clock; beyond it 45011
}

// What the real API allows each day by its table, told by quota/get where no [Settings] name a
// limit. The other calls have no published one.
const (
	legacyTokenDay = 2000
	otherDay       = 500_000
)

// clearsInMonth is how often an app may clear its quotas.
const clearsInMonth = 10

// usage counts one app's calls of one kind. It counts whether or not there is a limit, since
// quota/get is asked for it.
type usage struct {
	mu                  sync.Mutex
	day, minute         int64 // the ones that the counts are of
	inDay, inThisMinute int
}

// monthlyClears counts how often quotas were cleared this month.
type monthlyClears struct {
	month string
	n     int
}

// china is where the day of a quota begins and ends. It has no summer time.
var china = time.FixedZone("UTC+8", 8*60*60)

func dayOf(t time.Time) int64    { return (t.Unix() + 8*60*60) / (24 * 60 * 60) }
func minuteOf(t time.Time) int64 { return t.Unix() / 60 }

// take counts a call, or returns the errcode of a limit that it would break.
func (u *usage) take(q Quota, now time.Time) int {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.startPeriods(now)
	switch {
	case q.Day > 0 && u.inDay >= q.Day:
		return 45009
	case q.Minute > 0 && u.inThisMinute >= q.Minute:
		return 45011
	}
	u.inDay++
	u.inThisMinute++
	return 0
}

// startPeriods starts new counts when their time has come.
func (u *usage) startPeriods(now time.Time) {
	if day := dayOf(now); day != u.day {
		u.day, u.inDay = day, 0
	}
	if minute := minuteOf(now); minute != u.minute {
		u.minute, u.inThisMinute = minute, 0
	}
}

// used returns the day's count.
func (u *usage) used(now time.Time) int {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.startPeriods(now)
	return u.inDay
}

// set makes the day's count n.
func (u *usage) set(n int, now time.Time) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.startPeriods(now)
	u.inDay, u.inThisMinute = n, 0
}

func (a *appState) clearUsage(now time.Time) {
	for i := range a.usage {
		a.usage[i].set(0, now)
	}
}

// mayClear counts a clearing of quotas, or returns the errcode of one too many.
func (a *appState) mayClear(now time.Time) int {
	month := now.In(china).Format("2006-01")
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.clears.month != month {
		a.clears = monthlyClears{month: month}
	}
	if a.clears.n >= clearsInMonth {
		return 48006
	}
	a.clears.n++
	return 0
}

// Used returns how often an app has made each call today, by path.
func (s *Sandbox) Used(appID string) map[string]int {
	a, now, used := s.apps.get(appID), s.now(), map[string]int{}
	for path, rt := range s.routes {
		if n := a.usage[rt.n].used(now); n > 0 {
			used[path] = n
		}
	}
	return used
}

// SetUsed makes it n times today of a call, given by name or path, and none in this minute.
func (s *Sandbox) SetUsed(appID, call string, n int) {
	a := s.apps.get(appID)
	for _, rt := range routesOf(s.routes, call) {
		a.usage[rt.n].set(n, s.now())
	}
}

// spend takes one call of the app's quota.
func (s *Sandbox) spend(a *appState, q *request) int {
	return a.usage[q.route.n].take(s.settings.Load().quotas[q.route.n], q.at)
}

func (s *Sandbox) answerQuotaGet(q *request) answer {
	rt, code := s.aboutQuota(q)
	if code != 0 {
		return refuse(code)
	}
	type limit struct {
		Limit  int `json:"daily_limit"`
		Used   int `json:"used"`
		Remain int `json:"remain"`
	}
	type rate struct {
		Calls   int `json:"call_count"`
		Seconds int `json:"refresh_second"`
	}
	var a struct {
		Errcode int    `json:"errcode"`
		Errmsg  string `json:"errmsg"`
		Quota   limit  `json:"quota"`
		Rate    *rate  `json:"rate_limit,omitempty"`
	}
	quota, used := s.settings.Load().quotas[rt.n], q.token.app.usage[rt.n].used(q.at)
	if quota.Minute > 0 {
		a.Rate = &rate{quota.Minute, 60}
	}
	if quota.Day == 0 {
		quota.Day = otherDay
		if rt.path == "/cgi-bin/token" {
			quota.Day = legacyTokenDay
		}
	}
	a.Errmsg, a.Quota = "ok", limit{quota.Day, used, max(0, quota.Day-used)}
	return okWith(a)
}

func (s *Sandbox) answerQuotaClear(q *request) answer {
	rt, code := s.aboutQuota(q)
	if code == 0 {
		code = q.token.app.mayClear(q.at)
	}
	if code != 0 {
		return refuse(code)
	}
	q.token.app.usage[rt.n].set(0, q.at)
	return done()
}

// aboutQuota admits a call about the quota of another and finds that one.
func (s *Sandbox) aboutQuota(q *request) (*route, int) {
	var asked struct {
		Path string `json:"cgi_path"`
	}
	if code := s.admitPost(q, &asked); code != 0 {
		return nil, code
	}
	rt := s.routes[asked.Path]
	if rt == nil {
		return nil, 76021
	}
	return rt, 0
}

func (s *Sandbox) answerClearQuota(q *request) answer {
	var asked struct {
		AppID string `json:"appid"`
	}
	code := s.admitPost(q, &asked)
	switch {
	case code != 0:
	case asked.AppID == "":
		code = 41002
	case asked.AppID != q.appID:
		code = 40013
	default:
		code = q.token.app.mayClear(q.at)
	}
	if code != 0 {
		return refuse(code)
	}
	q.token.app.clearUsage(q.at)
	return done()
}

// readClearQuotaV2 hides the body, as a token call's: it holds the secret.
func (s *Sandbox) readClearQuotaV2(q *request) {
	var asked struct {
		AppID  string `json:"appid"`
		Secret string `json:"appsecret"`
	}
	q.tokenCall.ok = json.Unmarshal([]byte(q.body), &asked) == nil
	q.tokenCall.AppID, q.tokenCall.Secret = asked.AppID, asked.Secret
	s.hideSecret(q)
}

// answerClearQuotaV2 asks for no token, so that it works when the quota of the token call itself is
// used up.
func (s *Sandbox) answerClearQuotaV2(q *request) answer {
	if code := q.checkPost(); code != 0 {
		return refuse(code)
	}
	if code := s.apps.checkSecret(q.tokenCall.AppID, q.tokenCall.Secret); code != 0 {
		return refuse(code)
	}
	a := s.apps.get(q.appID)
	if code := a.mayClear(q.at); code != 0 {
		return refuse(code)
	}
	a.clearUsage(q.at)
	return done()
}
