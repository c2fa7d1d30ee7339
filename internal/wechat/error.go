package wechat

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"
)

// Error is the one error type of the package: a call that did not succeed, and why. It holds no URL
// query, no token, no AppSecret, no openid and nothing of the message, in no form of printing;
// texts of the other side are stripped of control characters and cut at 512 bytes.
//
// An error of the token source, Call == CallToken, comes out of Send unchanged. Its Fault is then
// config, quota or upstream only (see tokenFault): a message whose token could not be had was
// certainly not sent.
type Error struct {
	Call       Call
	Fault      Fault
	Code       int           // the errcode, when HasCode
	HasCode    bool          // an errcode was read
	Msg        string        // the errmsg
	RID        string        // the rid in the errmsg: WeChat's id of this call, known for 7 days
	HTTPStatus int           // 0: no answer came
	RetryAfter time.Duration // FaultMinuteQuota by HTTP 429 only: 1 s to 1 h; 0: not known
	Err        error         // what went wrong when no errcode tells it
}

// Error returns, for example,
// "send: recipient: errcode 45015 (window_closed): response out of time limit … rid: 5f7a…" or
// "send: upstream: dial tcp 127.0.0.1:1: connect: connection refused".
func (e *Error) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s", e.Call, e.Fault)
	if e.HTTPStatus != 0 && e.HTTPStatus != http.StatusOK {
		fmt.Fprintf(&b, ": http %d", e.HTTPStatus)
	}
	if e.HasCode {
		fmt.Fprintf(&b, ": errcode %d (%s)", e.Code, Explain(e.Call, e.Code).Name)
	}
	if e.Msg != "" {
		b.WriteString(": " + e.Msg)
	}
	if e.Err != nil {
		b.WriteString(": " + e.Err.Error())
	}
	if e.RetryAfter > 0 {
		fmt.Fprintf(&b, ": retry after %s", e.RetryAfter)
	}
	return b.String()
}

// Unwrap returns Err, so that errors.Is(err, context.Canceled) and the like see through.
func (e *Error) Unwrap() error { return e.Err }

// Is reports whether target is an *Error with the same errcode, and the same Call where target
// names one:
//
//	errors.Is(err, &wechat.Error{Code: 45015, HasCode: true})
func (e *Error) Is(target error) bool {
	t, ok := target.(*Error) // Is must not unwrap its target
	return ok && t.HasCode && e.HasCode && t.Code == e.Code &&
		(t.Call == CallAny || t.Call == e.Call)
}

// Timeout reports whether a deadline ended the call.
func (e *Error) Timeout() bool {
	var t interface{ Timeout() bool }
	return errors.As(e.Err, &t) && t.Timeout()
}

// NotSent reports whether it is certain that no byte of the call itself left this machine: there
// was no token, no connection, or the connection ended before the first byte. A call that was
// answered with a refusal is false here, though it too was certainly not carried out; the only
// fault that leaves that open is FaultUnknown.
func (e *Error) NotSent() bool {
	return e.Fault == FaultUpstream || e.Call == CallToken ||
		e.Fault == FaultConfig && e.HTTPStatus == 0
}

// unanswered returns the error of a call that ended without an answer. left says whether a byte of
// it may have left.
func unanswered(call Call, err error, left bool, m mask) *Error {
	fault := FaultUpstream
	switch {
	case left:
		fault = FaultUnknown
	case isCertificate(err):
		fault = FaultConfig
	}
	if call == CallToken {
		fault = tokenFault(fault)
	}
	return &Error{Call: call, Fault: fault, Err: m.err(err)}
}

// asTokenError makes an *Error of what a token source returned.
func asTokenError(err error) error {
	if err == nil {
		return nil
	}
	if e := (*Error)(nil); errors.As(err, &e) {
		return e
	}
	return unanswered(CallToken, err, false, nil)
}
