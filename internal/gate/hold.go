package gate

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"
)

// Kind is why an app is held.
type Kind string

// The kinds of hold.
const (
	Quota    Kind = "quota"    // the platform's, minute or day; or the app's own of a day
	Config   Kind = "config"   // secret, IP list, permission, certificate: somebody must mend something
	Upstream Kind = "upstream" // no way out: nothing reaches the API
	Operator Kind = "operator" // a person paused it; only a person resumes it
)

// Hold says why an app sends nothing, for people as well as for workers. It is
// stored as JSON under app.<appid>.hold, an operator's under
// app.<appid>.operator.
type Hold struct {
	Kind    Kind      `json:"kind"`
	Reason  string    `json:"reason"`            // one sentence
	Call    string    `json:"call,omitempty"`    // call family of the answer that drew it: send, token …
	Errcode int       `json:"errcode,omitempty"` // of that answer
	Errmsg  string    `json:"errmsg,omitempty"`  // names the address WeChat saw, for 40164
	RID     string    `json:"rid,omitempty"`
	PerDay  int64     `json:"per_day,omitempty"` // the app's own budget of a day, used up; 0: it is about something else
	Since   time.Time `json:"since"`
	Until   time.Time `json:"until,omitzero"`   // when the next try is made; zero: when an operator says so
	Asked   time.Time `json:"asked,omitzero"`   // when an operator wanted it tried at once
	Trying  bool      `json:"trying,omitempty"` // a worker tries it just now; Until is when others may, should it vanish
	Tries   int       `json:"tries,omitempty"`
	By      string    `json:"by,omitempty"` // worker or operator
}

// AppKey is the key of an app's hold in KEFU_STATE.
func AppKey(appID string, kind Kind) string {
	if kind == Operator {
		return "app." + appID + ".operator"
	}
	return "app." + appID + ".hold"
}

// ParseAppKey reads a key of AppKey.
func ParseAppKey(key string) (appID string, operator bool, ok bool) {
	rest, found := strings.CutPrefix(key, "app.")
	if !found {
		return "", false, false
	}
	appID, what, found := strings.Cut(rest, ".")
	return appID, what == "operator", found && (what == "operator" || what == "hold")
}

// ParseHold reads a stored hold.
func ParseHold(data []byte) (Hold, error) {
	var h Hold
	if err := json.Unmarshal(data, &h); err != nil {
		return Hold{}, fmt.Errorf("unreadable hold: %w", err)
	}
	return h, nil
}

const (
	// trialLease is for how long a trial keeps the other workers from theirs: a
	// token call and a send.
	trialLease = 25 * time.Second

	// staggerLeast and staggerMost are how much later than the worker that drew a
	// hold the others try it: they are told of its trial meanwhile.
	staggerLeast = 100 * time.Millisecond
	staggerMost  = 400 * time.Millisecond

	// daySlack is how long after the day that used up its budget the next one is
	// tried: workers' clocks and the platform's differ.
	daySlack = 2 * time.Second
)

// pauses between the tries of a hold that nobody knows the end of.
var pauses = map[Kind]struct{ first, top time.Duration }{
	Config:   {30 * time.Second, 10 * time.Minute}, // a person is needed: minutes are soon enough
	Upstream: {time.Second, time.Minute},           // a network comes back by itself
	Quota:    {time.Minute, time.Hour},             // when the named end turned out too early
}

// nextTry is when a hold is tried again: at its hint if it has one, or after a
// pause that doubles with each try that failed.
func nextTry(kind Kind, tries int, now, hint time.Time) time.Time {
	if kind == Operator {
		return time.Time{}
	}
	if hint.After(now) {
		return hint
	}
	p := pauses[kind]
	d := p.first
	for range tries {
		if d = 2 * d; d >= p.top {
			d = p.top
			break
		}
	}
	return now.Add(d)
}

// Beijing is where the platform's days begin. China keeps no summer time.
var Beijing = time.FixedZone("UTC+8", 8*60*60)

// NextDay is the platform's next midnight, when day quotas begin anew.
func NextDay(now time.Time) time.Time {
	y, m, d := now.In(Beijing).Date()
	return time.Date(y, m, d+1, 0, 0, 0, 0, Beijing)
}

// NextMinute is the next full minute, when minute quotas begin anew.
func NextMinute(now time.Time) time.Time {
	return now.Truncate(time.Minute).Add(time.Minute)
}
