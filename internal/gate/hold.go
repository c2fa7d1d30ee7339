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
	Config   Kind = "config"   // secret, IP list, permission, certificate: somebody must mend it
	Upstream Kind = "upstream" // no way out: nothing reaches the API
	Operator Kind = "operator" // a person paused it; only a person resumes it
)

// Hold says why an app sends nothing, for people as well as for workers. It is stored as JSON under
// app.<appid>.hold, an operator's under app.<appid>.operator.
type Hold struct {
	Kind    Kind      `json:"kind"`
	Reason  string    `json:"reason"`            // one sentence
	Call    string    `json:"call,omitempty"`    // family of the call: send, token …
	Errcode int       `json:"errcode,omitempty"` // of that answer
	Errmsg  string    `json:"errmsg,omitempty"`  // names the address WeChat saw, for 40164
	RID     string    `json:"rid,omitempty"`
	PerDay  int64     `json:"per_day,omitempty"` // the app's budget of a day, if used up; else 0
	Since   time.Time `json:"since"`
	Until   time.Time `json:"until,omitzero"`   // of the next try; zero: an operator lifts it
	Asked   time.Time `json:"asked,omitzero"`   // when an operator wanted it tried at once
	Trying  bool      `json:"trying,omitempty"` // by a worker, now; if it dies others may at Until
	Tries   int       `json:"tries,omitempty"`  // that failed
	By      string    `json:"by,omitempty"`     // worker or operator

	// Of a hold that refused messages caused. It may be about those only, so others try it first:
	// from Until one of a kind that was not refused, from AnotherAt any other, from SameAt those
	// that caused it. A limit names its end, and that is Until: one of a kind that was not refused
	// may try from NovelAt.
	Refusals  []Refusal `json:"drawn,omitempty"` // newest last, at most 64
	NovelAt   time.Time `json:"novel_at,omitzero"`
	AnotherAt time.Time `json:"another_at,omitzero"`
	SameAt    time.Time `json:"same_at,omitzero"`
	Others    int       `json:"others,omitempty"` // of Tries, those not by earlier Refusals
}

// Selective is what the pool remembers of answers with which some messages are refused while others
// are sent. It is stored as JSON under app.<appid>.selective.
type Selective struct {
	Answers  map[string]Known `json:"answers"`         // by Refusal.Answer
	Refusals []Refusal        `json:"drawn,omitempty"` // newest last, at most 64
}

// Known is what is known of one such answer.
type Known struct {
	At    time.Time `json:"at"`              // when that was seen last
	Kinds []string  `json:"kinds,omitempty"` // of those refused, if none of the kind was sent since
}

// part is what one key in KEFU_STATE says of an app.
type part string

const (
	partHold      part = "hold"
	partOperator  part = "operator" // the hold of an operator
	partSelective part = "selective"
)

func (p part) key(appID string) string { return "app." + appID + "." + string(p) }

func parseKey(key string) (appID string, p part, ok bool) {
	rest, found := strings.CutPrefix(key, "app.")
	if !found {
		return "", "", false
	}
	appID, what, found := strings.Cut(rest, ".")
	p = part(what)
	return appID, p, found && (p == partHold || p == partOperator || p == partSelective)
}

// AppKey is the key of an app's hold in KEFU_STATE.
func AppKey(appID string, kind Kind) string {
	if kind == Operator {
		return partOperator.key(appID)
	}
	return partHold.key(appID)
}

// ParseAppKey reads a key of AppKey.
func ParseAppKey(key string) (appID string, operator bool, ok bool) {
	appID, p, ok := parseKey(key)
	return appID, p == partOperator, ok && p != partSelective
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
	// trialLease is for how long a trial keeps the other workers from theirs: a token call and a
	// send.
	trialLease = 25 * time.Second

	// staggerLeast and staggerMost are how much later than the worker that began a hold the others
	// try it: they are told of its trial meanwhile.
	staggerLeast = 100 * time.Millisecond
	staggerMost  = 400 * time.Millisecond

	// daySlack is how long after the day that used up its budget the next one is tried: workers'
	// clocks and the platform's differ.
	daySlack = 2 * time.Second
)

// pauses between the tries of a hold that nobody knows the end of.
var pauses = map[Kind]struct{ first, top time.Duration }{
	Config:   {30 * time.Second, 10 * time.Minute}, // a person is needed: minutes are soon enough
	Upstream: {time.Second, time.Minute},           // a network comes back by itself
	Quota:    {time.Minute, time.Hour},             // when the named end turned out too early
}

// nextTry is when a hold is tried again: at its hint if it has one, or after a pause that doubles
// with each try that failed.
func nextTry(kind Kind, tries int, now, hint time.Time) time.Time {
	if kind == Operator {
		return time.Time{}
	}
	if hint.After(now) {
		return hint
	}
	return now.Add(doubled(pauses[kind].first, pauses[kind].top, tries))
}

// doubled is a pause that doubles so many times, up to a bound.
func doubled(first, top time.Duration, times int) time.Duration {
	d := first
	for range times {
		if d = 2 * d; d >= top {
			return top
		}
	}
	return d
}

const (
	// novelPause is from a refusal to the trial by a message of another kind. An account-wide
	// problem costs one post for each kind that is queued.
	novelPause = 500 * time.Millisecond

	// anotherPause doubles with each other message that causes the hold as well: one bad message
	// holds the app for a second, a limited account is tried a dozen times in the first quarter of
	// an hour.
	anotherPause = time.Second

	// samePause keeps the messages that caused a quota's hold from being its trial, as long as
	// there is another one to take.
	samePause = time.Second
)

// schedule sets when a hold is tried again. All of it is the wall clock's: a machine that was
// suspended, or whose clock was set, must not overstay.
func (h *Hold) schedule(now, hint time.Time) {
	now, hint = now.Round(0), hint.Round(0)
	h.Until = nextTry(h.Kind, h.Tries, now, hint)
	h.NovelAt, h.AnotherAt, h.SameAt = time.Time{}, time.Time{}, time.Time{}
	switch {
	case len(h.Refusals) == 0:
	case h.Kind == Config:
		h.SameAt = h.Until
		h.AnotherAt = now.Add(doubled(anotherPause, pauses[Config].top, h.Others))
		h.Until = now.Add(novelPause)
	default:
		h.NovelAt = now.Add(novelPause)
		h.SameAt = h.Until.Add(samePause)
	}
}

// early says whether the hold may be tried at now, though by messages of another kind only: it is a
// limit whose end has not come.
func (h *Hold) early(now time.Time) bool {
	return !h.NovelAt.IsZero() && !h.Trying && !now.Before(h.NovelAt) && now.Before(h.Until)
}

// first is when the first of all may try the hold.
func (h *Hold) first() time.Time {
	if h.Trying || h.NovelAt.IsZero() || h.Until.Before(h.NovelAt) {
		return h.Until
	}
	return h.NovelAt
}

// from is when intents of a rank may try the hold, by its own word.
func (h *Hold) from(r Rank) time.Time {
	switch r {
	case Another:
		return latest(h.Until, h.AnotherAt)
	case Refused:
		return latest(h.Until, h.SameAt)
	default:
		return h.first()
	}
}

// atOnce has a hold tried at once: by another message first if there is one.
func (h *Hold) atOnce(now time.Time) {
	h.Until, h.NovelAt, h.AnotherAt, h.SameAt = now, time.Time{}, time.Time{}, time.Time{}
	if len(h.Refusals) > 0 {
		h.SameAt = now.Add(samePause)
	}
}

func latest(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
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
