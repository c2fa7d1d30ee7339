package sandbox

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/kefuhq/kefu/internal/plainjson"
)

// Values of [Rule.Reset].
const (
	ResetUnread = "unread" // the head was read, the body was not; such a rule cannot go by the body
	ResetBefore = "before" // the request was read in full, but not processed
	ResetAfter  = "after"  // processed: a good message counts as delivered, the answer never comes
)

// Rule is one line of the script: which calls it is about, and what becomes of them. Its first part
// selects; a field left empty selects everything. Its second part acts; a rule without an action
// lets its calls through, out of reach of later rules.
//
// Of several rules the first one that selects the call and whose turn it is (After, Times, Every,
// Share) acts, alone. A call counts as seen by a rule when the rule selects it and no earlier rule
// has acted on it.
//
// In JSON the fields have the names in their tags, unknown names are refused, and durations are
// strings such as "150ms".
type Rule struct {
	// Call is a call's name ("send", "token", "kfaccount", …) or its path
	// ("/cgi-bin/stable_token"). A path that the sandbox does not know may be scripted as well,
	// with Body.
	Call string `json:"call,omitempty"`
	// AppID is the app that the access token belongs to, or that asks for a token.
	AppID string `json:"appid,omitempty"`
	// OpenID and MsgType are the message's touser and msgtype.
	OpenID  string `json:"openid,omitempty"`
	MsgType string `json:"msgtype,omitempty"`
	// Contains is found in the body. Bodies with an app's secret are not kept, so it never selects
	// token calls and clear_quota/v2.
	Contains string `json:"contains,omitempty"`

	// After passes over the first so many calls seen; the k-th alone is After k-1, Times 1.
	After int `json:"after,omitempty"`
	// Times is how often the rule acts at most; 0 is always.
	Times int `json:"times,omitempty"`
	// Every acts on each n-th call seen after After; 0 and 1 are each.
	Every int `json:"every,omitempty"`
	// Share acts on this share of the remaining calls, above 0 and below 1, drawn from
	// [Options.Seed] and the rule's number. 0 and 1 are all.
	Share float64 `json:"share,omitempty"`

	// Delay and DelayMax are how long the answer, or the reset, is held back after the call was
	// processed and recorded: exactly Delay, or evenly between the two. Without them sends take
	// [Options.Latency].
	Delay    time.Duration `json:"delay,omitempty"`
	DelayMax time.Duration `json:"delay_max,omitempty"`

	// ExpireTokens makes the tokens of the call's app stale before the call is processed, as when
	// somebody else refreshed them.
	ExpireTokens bool `json:"expire_tokens,omitempty"`

	// Errcode is answered with Errmsg, or with the real API's wording and a fresh rid when that is
	// empty. 0 is not scripted.
	Errcode int    `json:"errcode,omitempty"`
	Errmsg  string `json:"errmsg,omitempty"`
	// Body is answered as it stands.
	Body string `json:"body,omitempty"`
	// Raw is written on the connection as it stands in the place of an HTTP answer, whether it is
	// one or not, and the connection closed.
	Raw string `json:"raw,omitempty"`
	// HTTPStatus of the answer, 200..599. Without Errcode and Body the answer has no body, so 200
	// alone is an empty success.
	HTTPStatus int `json:"http_status,omitempty"`
	// Redirect is answered as Location, with HTTPStatus or 302.
	Redirect string `json:"redirect,omitempty"`
	// GzipBomb is answered: so many bytes of blanks (rounded up to 1 MiB), a thousand times smaller
	// on the wire.
	GzipBomb int64 `json:"gzip_bomb,omitempty"`

	// ContentType, RetryAfter and Headers are set on the answer, whichever it is.
	ContentType string            `json:"content_type,omitempty"`
	RetryAfter  string            `json:"retry_after,omitempty"`
	Headers     map[string]string `json:"headers,omitempty"`
	// PadHeader adds a header of so many bytes.
	PadHeader int `json:"pad_header,omitempty"`
	// EndlessHeader begins an answer whose headers never end.
	EndlessHeader bool `json:"endless_header,omitempty"`
	// PadBody adds blanks to the answer's body until it has so many bytes.
	PadBody int64 `json:"pad_body,omitempty"`

	// Reset ends the connection with a TCP RST and no answer: [ResetUnread], [ResetBefore] or
	// [ResetAfter].
	Reset string `json:"reset,omitempty"`
	// Hang never answers. It ends when the client goes away or the sandbox is closed.
	Hang bool `json:"hang,omitempty"`
	// Truncate sends the answer's head and the first so many bytes of its body (at most all but
	// one), and closes the connection.
	Truncate int `json:"truncate,omitempty"`
	// Drip sends the answer's body byte by byte with this pause between them; with Raw all that is
	// written, headers too.
	Drip time.Duration `json:"drip,omitempty"`
	// HangUp answers in full and closes the connection without having said so: the client finds its
	// idle connection dead.
	HangUp bool `json:"hang_up,omitempty"`

	// Lose answers as the API would and loses what was asked for: the message is not delivered, the
	// account not added, changed or deleted.
	Lose bool `json:"lose,omitempty"`

	// Delivered processes the call although the rule hides the API's own answer: a good message
	// counts as delivered behind the HTTP 502, the empty body or the hang. Reset "after" and what
	// only disturbs the API's own answer imply it.
	Delivered bool `json:"delivered,omitempty"`
}

// Check says what makes a rule impossible, naming the field.
func (r *Rule) Check() error {
	if len(r.endings()) > 1 {
		return fmt.Errorf("rule: %s exclude each other", strings.Join(r.endings(), ", "))
	}
	for _, f := range []struct {
		wrong bool
		msg   string
	}{
		{r.After < 0 || r.Times < 0 || r.Every < 0, "after, times, every: below zero"},
		{r.Share < 0 || r.Share > 1, "share: not within 0..1"},
		{r.Delay < 0 || r.DelayMax < 0 || r.Drip < 0, "delay, delay_max, drip: below zero"},
		{r.DelayMax > 0 && r.DelayMax < r.Delay, "delay_max: below delay"},
		{r.HTTPStatus != 0 && (r.HTTPStatus < 200 || r.HTTPStatus > 599),
			"http_status: not within 200..599"},
		{r.PadHeader < 0 || r.PadBody < 0 || r.GzipBomb < 0 || r.Truncate < 0,
			"pad_header, pad_body, gzip_bomb, truncate: below zero"},
		{r.Lose && r.Delivered, "lose, delivered: exclude each other"},
		{r.Errmsg != "" && r.Errcode == 0, "errmsg: without errcode"},
		{r.Raw != "" && r.worded(),
			"raw: excludes errcode, body, http_status, redirect and headers"},
		{r.EndlessHeader && r.worded(),
			"endless_header: excludes errcode, body, http_status, redirect and headers"},
		{r.Errcode != 0 && r.Body != "", "errcode, body: exclude each other"},
		{r.GzipBomb > 0 && (r.Body != "" || r.Errcode != 0),
			"gzip_bomb: excludes body and errcode"},
		{r.Redirect != "" && r.HTTPStatus != 0 && r.HTTPStatus/100 != 3,
			"redirect: http_status is not 3xx"},
		{r.Lose && !r.processes(), "lose: the rule does not let the call be processed"},
		{r.Delivered && (r.Reset == ResetUnread || r.Reset == ResetBefore),
			"delivered: not with a reset before processing"},
	} {
		if f.wrong {
			return errors.New("rule: " + f.msg)
		}
	}
	switch r.Reset {
	case "", ResetBefore, ResetAfter:
	case ResetUnread:
		if r.OpenID != "" || r.MsgType != "" || r.Contains != "" {
			return errors.New("rule: reset: unread cannot go by openid, msgtype or contains, " +
				"which stand in the body")
		}
	default:
		return errors.New("rule: reset: not unread, before or after")
	}
	return nil
}

// worded reports whether the rule has a say in an HTTP answer, which there is none of when it
// writes past net/http.
func (r *Rule) worded() bool {
	return r.Errcode != 0 || r.Body != "" || r.HTTPStatus != 0 || r.Redirect != "" ||
		r.ContentType != "" || r.RetryAfter != "" || len(r.Headers) > 0 || r.PadHeader > 0
}

// endings names the actions that each decide how the exchange ends, of which a rule can have one.
func (r *Rule) endings() []string {
	var names []string
	for _, e := range []struct {
		set  bool
		name string
	}{
		{r.Reset != "", "reset"},
		{r.Hang, "hang"},
		{r.Truncate > 0, "truncate"},
		{r.Drip > 0, "drip"},
		{r.HangUp, "hang_up"},
		{r.GzipBomb > 0, "gzip_bomb"},
		{r.PadBody > 0, "pad_body"},
		{r.EndlessHeader, "endless_header"},
		{r.Raw != "" && r.Drip == 0, "raw"},
	} {
		if e.set {
			names = append(names, e.name)
		}
	}
	return names
}

// selects is the first part of the rule. Before the body is read, only unread rules are asked.
func (r *Rule) selects(q *request) bool {
	return (r.Call == "" || r.Call == q.route.call || r.Call == q.route.path) &&
		(r.AppID == "" || r.AppID == q.appID) &&
		(r.OpenID == "" || r.OpenID == q.openID) &&
		(r.MsgType == "" || r.MsgType == q.msgType) &&
		(r.Contains == "" || strings.Contains(q.body, r.Contains))
}

func (r *Rule) delays() bool { return r.Delay > 0 || r.DelayMax > 0 }

// replaces reports whether the rule brings its own answer.
func (r *Rule) replaces() bool {
	return r.Errcode != 0 || r.Body != "" || r.HTTPStatus != 0 || r.Redirect != "" ||
		r.GzipBomb > 0 || r.Raw != "" || r.EndlessHeader
}

// processes reports whether the API does its work: always, unless the rule keeps the call from it
// or answers in its place.
func (r *Rule) processes() bool {
	switch {
	case r.Reset == ResetUnread, r.Reset == ResetBefore:
		return false
	case r.Reset == ResetAfter, r.Delivered:
		return true
	}
	return !r.Hang && !r.replaces()
}

// wholeAnswer reports whether the client gets all of the answer.
func (r *Rule) wholeAnswer() bool {
	return r.Reset == "" && !r.Hang && r.Truncate == 0 && r.Drip == 0
}

// answer returns the answer that the rule brings.
func (r *Rule) answer() answer {
	a := answer{status: http.StatusOK}
	switch {
	case r.Redirect != "":
		a.status = http.StatusFound
	case r.Errcode != 0 && r.Errmsg != "":
		a = refuseWith(r.Errcode, r.Errmsg)
	case r.Errcode != 0:
		a = refuse(r.Errcode)
	case r.Body != "":
		a.body = []byte(r.Body)
	case r.Raw != "":
		a = answer{body: []byte(r.Raw)} // which status it has is its own affair
	}
	if r.HTTPStatus != 0 {
		a.status = r.HTTPStatus
	}
	return a
}

// fault names what the rule does to the exchange beyond an answer, for records and totals.
func (r *Rule) fault() string {
	switch {
	case r.Reset != "":
		return "reset " + r.Reset
	case r.Hang:
		return "hang"
	case r.Truncate > 0:
		return "truncate"
	case r.Drip > 0:
		return "drip"
	case r.EndlessHeader:
		return "endless header"
	case r.Raw != "":
		return "raw"
	case r.HangUp:
		return "hang up"
	case r.GzipBomb > 0:
		return "gzip bomb"
	case r.PadBody > 0, r.PadHeader > 0:
		return "pad"
	case r.Lose:
		return "lose"
	}
	return ""
}

// plainRule is a Rule without its methods, so that encoding it does not come back here.
type plainRule Rule

// ruleJSON is a Rule with its durations as text: the fields here hide those of the same name
// inside.
type ruleJSON struct {
	plainRule
	Delay    textDuration `json:"delay,omitempty"`
	DelayMax textDuration `json:"delay_max,omitempty"`
	Drip     textDuration `json:"drip,omitempty"`
}

type textDuration time.Duration

func (d textDuration) MarshalText() ([]byte, error) {
	return []byte(time.Duration(d).String()), nil
}

func (d *textDuration) UnmarshalText(b []byte) error {
	v, err := time.ParseDuration(string(b))
	if err != nil {
		return fmt.Errorf("%q is no duration such as 150ms or 2s", b)
	}
	*d = textDuration(v)
	return nil
}

// MarshalJSON writes the rule as the control API has it.
func (r Rule) MarshalJSON() ([]byte, error) {
	return plainjson.Marshal(ruleJSON{plainRule(r), textDuration(r.Delay), textDuration(r.DelayMax),
		textDuration(r.Drip)})
}

// UnmarshalJSON reads a rule strictly: a misspelt field is an error, not a rule that selects too
// much.
func (r *Rule) UnmarshalJSON(b []byte) error {
	var w ruleJSON
	if err := unmarshalStrict(b, &w); err != nil {
		return fmt.Errorf("rule: %w", err)
	}
	*r = Rule(w.plainRule)
	r.Delay, r.DelayMax, r.Drip = time.Duration(w.Delay), time.Duration(w.DelayMax),
		time.Duration(w.Drip)
	return nil
}
