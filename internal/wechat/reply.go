package wechat

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Why an answer is of no use. None of them repeats anything of it.
var (
	errEmptyReply = errors.New("the answer is empty")
	errTooLong    = errors.New("the answer is longer than 64 KiB")
	errNotObject  = errors.New("the answer is not a JSON object")
	errTwoCodes   = errors.New("the answer holds two different errcodes")
	errNoErrcode  = errors.New("the answer holds no errcode")
	errBadErrcode = errors.New("the errcode of the answer is not a number")
	errNoLength   = errors.New("the front end asks for a Content-Length: something in between " +
		"rewrites the request")
	errNoToken = errors.New("the answer holds no usable access token")
)

// reply is the JSON object of an answer, field by field.
type reply map[string]json.RawMessage

// check says what an answer means: the object when the call was carried out, else why it was not.
// codeless calls answer without an errcode when all is well.
//
// The HTTP status is looked at first where it comes from something in front of the API that has
// refused the request (3xx, 412, 429). At any other status an errcode that the table knows decides,
// since only the API itself can have written it: a 500 with errcode −1 is busy and not unknown. At
// 400 and above an unknown code, or errcode 0, proves nothing, and the status decides.
func check(call Call, a *answer, codeless bool, m mask) (reply, *Error) {
	r, code, err := parseAnswer(a)
	if a.status == http.StatusOK && err == nil && (code == 0 || codeless && code == noCode) {
		return r, nil
	}
	e := &Error{Call: call, HTTPStatus: a.status}
	if err == nil && code != 0 && code != noCode {
		e.Code, e.HasCode = code, true
		e.Msg = m.text(r.text("errmsg"))
		e.RID = findRID(e.Msg)
	}
	e.judge(a, err, m)
	if call == CallToken {
		e.Fault = tokenFault(e.Fault)
	}
	return nil, e
}

// judge sets Fault, and Err or RetryAfter where they say why. unread is why no errcode could be
// read, if none could.
func (e *Error) judge(a *answer, unread error, m mask) {
	known := FaultUnlisted
	if e.HasCode {
		if row, listed := find(e.Call, e.Code); listed {
			known = row.Fault
		}
	}
	switch {
	case a.status >= 300 && a.status < 400:
		e.Fault = FaultConfig
		e.Err = m.err(fmt.Errorf("redirect to %s refused", hostOf(a.header.Get("Location"))))
	case a.status == http.StatusPreconditionFailed:
		e.Fault, e.Err = FaultConfig, errNoLength
	case a.status == http.StatusTooManyRequests && known == FaultDayQuota:
		e.Fault = FaultDayQuota
	case a.status == http.StatusTooManyRequests:
		e.Fault, e.RetryAfter = FaultMinuteQuota, retryAfter(a.header, time.Now())
	case e.HasCode && (a.status == http.StatusOK || a.status >= 400 && known != FaultUnlisted):
		e.Fault = known
	case a.status == http.StatusServiceUnavailable:
		e.Fault = FaultBusy
	case a.status != http.StatusOK:
		e.Fault = FaultUnknown
	case unread != nil:
		e.Fault, e.Err = FaultUnknown, unread
	default:
		e.Fault, e.Err = FaultUnknown, errNoErrcode
	}
}

// noCode stands for an object without errcode. No errcode of WeChat's comes near it.
const noCode = math.MinInt32

// parseAnswer parses the body of an answer whatever its Content-Type says, as leniently as is safe:
// control characters may stand raw in strings, the errcode may be a string. What is cut short,
// followed by more, or ambiguous is an error.
func parseAnswer(a *answer) (reply, int, error) {
	if a.tooLong {
		return nil, noCode, errTooLong
	}
	body := bytes.TrimPrefix(a.body, []byte("\xef\xbb\xbf"))
	if len(bytes.TrimSpace(body)) == 0 {
		return nil, noCode, errEmptyReply
	}
	r, err := parseObject(blankControls(body))
	if err != nil {
		return nil, noCode, err
	}
	code, err := r.errcode()
	return r, code, err
}

// blankControls returns body with control characters made blanks: between tokens they mean the
// same, and inside a string encoding/json would refuse them, as WeChat does not.
func blankControls(body []byte) []byte {
	control := func(c rune) bool { return c < ' ' }
	if bytes.IndexFunc(body, control) < 0 {
		return body
	}
	return bytes.Map(func(c rune) rune {
		if control(c) {
			return ' '
		}
		return c
	}, body)
}

func parseObject(body []byte) (reply, error) {
	dec := json.NewDecoder(bytes.NewReader(body))
	if open, err := dec.Token(); err != nil || open != json.Delim('{') {
		return nil, errNotObject
	}
	r := make(reply)
	for dec.More() {
		name, err := dec.Token()
		field, ok := name.(string)
		if err != nil || !ok {
			return nil, errNotObject
		}
		var value json.RawMessage
		if err := dec.Decode(&value); err != nil {
			return nil, errNotObject
		}
		if first, twice := r[field]; twice && field == "errcode" && !bytes.Equal(first, value) {
			return nil, errTwoCodes
		}
		r[field] = value
	}
	if _, err := dec.Token(); err != nil {
		return nil, errNotObject
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, errNotObject
	}
	return r, nil
}

// errcode returns the errcode, which may be a number or a number in a string; noCode when there is
// none.
func (r reply) errcode() (int, error) {
	raw, ok := r["errcode"]
	if !ok || string(raw) == "null" {
		return noCode, nil
	}
	n, ok := r.integer("errcode")
	if !ok || n <= math.MinInt32 || n > math.MaxInt32 {
		return noCode, errBadErrcode
	}
	return int(n), nil
}

// integer returns the whole number in a field: 45015, "45015" and 4.5015e4 are the same.
func (r reply) integer(field string) (int64, bool) { return wholeNumber(r.text(field)) }

func wholeNumber(s string) (int64, bool) {
	s = strings.TrimSpace(s)
	if strings.Trim(s, "+-.0123456789eE") != "" {
		return 0, false // no words, and none of the hexadecimal, Inf and NaN that ParseFloat takes
	}
	if n, err := strconv.ParseInt(s, 10, 64); err == nil {
		return n, true
	}
	f, err := strconv.ParseFloat(s, 64)
	if err != nil || f != math.Trunc(f) || math.Abs(f) > 1<<53 {
		return 0, false
	}
	return int64(f), true
}

// text returns a field's string, or its JSON when it is not a string, or "".
func (r reply) text(field string) string {
	var s string
	if json.Unmarshal(r[field], &s) == nil {
		return s
	}
	return string(r[field])
}

// into reads a field into v. An answer without it is one that nobody can use, whatever its errcode
// says: to take a missing list for an empty one would be to take an account for deleted.
func (r reply) into(call Call, field string, v any) error {
	raw, ok := r[field]
	if !ok || json.Unmarshal(raw, v) != nil { // its error could repeat what is in the answer
		return &Error{Call: call, Fault: FaultUnknown, HTTPStatus: http.StatusOK,
			Err: fmt.Errorf("the answer holds no usable %s", field)}
	}
	return nil
}

// lenientText is a text or a number: kf_id is a string on one page of the document, a number on
// another and in the field.
type lenientText string

// UnmarshalJSON takes a string, a number as it is written, or null.
func (l *lenientText) UnmarshalJSON(b []byte) error {
	if len(b) > 0 && (b[0] == '-' || b[0] >= '0' && b[0] <= '9') {
		*l = lenientText(b)
		return nil
	}
	return json.Unmarshal(b, (*string)(l))
}

// integer returns the whole number in it, 0 when there is none.
func (l lenientText) integer() int64 {
	n, _ := wholeNumber(string(l))
	return n
}

// time returns the moment that it counts the seconds to, zero when there is none.
func (l lenientText) time() time.Time {
	if n := l.integer(); n > 0 && n < 1<<40 {
		return time.Unix(n, 0).UTC()
	}
	return time.Time{}
}

// maxRID bounds a rid, in bytes; real ones have 26.
const maxRID = 64

// findRID returns the id behind "rid:" in an errmsg, or "".
func findRID(msg string) string {
	const mark = "rid:"
	for at := 0; ; {
		i := strings.Index(msg[at:], mark)
		if i < 0 {
			return ""
		}
		start := at + i
		at = start + len(mark)
		if start > 0 && isRIDByte(msg[start-1]) {
			continue // the end of another word
		}
		rest := strings.TrimLeft(msg[at:], " ")
		end := 0
		for end < len(rest) && isRIDByte(rest[end]) {
			end++
		}
		if end > 0 && end <= maxRID {
			return rest[:end]
		}
	}
}

func isRIDByte(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' ||
		c == '-' || c == '_'
}

const (
	retryAfterMin = time.Second
	retryAfterMax = time.Hour
)

// retryAfter reads a Retry-After header, seconds or HTTP date (RFC 9110 section 10.2.3), within 1 s
// to 1 h; 0 when there is none, or one that says nothing. A date is taken relative to the answer's
// own Date where it has one, so that our clock may be wrong.
func retryAfter(h http.Header, now time.Time) time.Duration {
	value := strings.TrimSpace(h.Get("Retry-After"))
	if date, err := http.ParseTime(value); err == nil {
		if sent, err := http.ParseTime(h.Get("Date")); err == nil {
			now = sent
		}
		return clamp(date.Sub(now), retryAfterMin, retryAfterMax)
	}
	if value == "" || strings.Trim(value, "+-.0123456789eE") != "" {
		return 0
	}
	seconds, err := strconv.ParseFloat(value, 64)
	if err != nil && !errors.Is(err, strconv.ErrRange) {
		return 0
	}
	// before it can overflow a Duration
	seconds = min(max(seconds, retryAfterMin.Seconds()), retryAfterMax.Seconds())
	return time.Duration(seconds * float64(time.Second))
}

func clamp(d, low, high time.Duration) time.Duration { return min(max(d, low), high) }
