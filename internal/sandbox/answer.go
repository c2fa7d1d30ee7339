package sandbox

import (
	"net/http"
	"strconv"
	"strings"

	"github.com/kefuhq/kefu/internal/plainjson"
)

// answer is one reply of the API.
type answer struct {
	status   int
	body     []byte
	errcode  int
	coded    bool // the body says errcode (or is a token), so errcode means something
	accepted bool // a message was taken for delivery
	silent   bool // no answer at all
	rid      string
}

// unusual names an answer without an errcode for records and totals.
func (a *answer) unusual() string {
	switch {
	case a.silent:
		return "hang"
	case a.coded || a.status == 0:
		return ""
	}
	if a.status == http.StatusOK {
		return "body"
	}
	return "http " + strconv.Itoa(a.status)
}

var okBody = []byte(`{"errcode":0,"errmsg":"ok"}`)

// accept returns the answer to a message that was taken for delivery. Shared bytes: nobody writes
// to an answer's body.
func accept() answer {
	return answer{status: http.StatusOK, body: okBody, coded: true, accepted: true}
}

// done returns the answer to what was done and is no message.
func done() answer { return answer{status: http.StatusOK, body: okBody, coded: true} }

// okWith returns an answer of errcode 0 that says more.
func okWith(v any) answer {
	body, err := plainjson.Marshal(v)
	if err != nil {
		panic(err) // v is one of our structs
	}
	return answer{status: http.StatusOK, body: body, coded: true}
}

// refuse returns the API's answer with this errcode, worded as the real one, and with the tail that
// it appends: the request's id. Codes without a known text get the tail alone, which is what the
// real API does for undocumented ones.
func refuse(code int) answer { return refuseSaying(code, errmsgs[code]) }

func refuseSaying(code int, msg string) answer {
	id := newRID()
	a := refuseWith(code, strings.TrimLeft(msg+" rid: "+id, " "))
	a.rid = id
	return a
}

func refuseWith(code int, msg string) answer {
	b := append([]byte(`{"errcode":`), strconv.Itoa(code)...)
	b = append(b, `,"errmsg":`...)
	b = append(appendJSON(b, msg), '}')
	return answer{status: http.StatusOK, body: b, errcode: code, coded: true}
}

// errmsgs are the errmsgs of the real API without their rid, as SDK error tables and users'
// threads quote them.
var errmsgs = map[int]string{
	-1: "system error",
	40001: "invalid credential, access_token is invalid or not latest, could get access_token by " +
		"getStableAccessToken, more details at https://mmbizurl.cn/s/JtxxFh33r",
	40002: "invalid grant_type",
	40003: "invalid openid",
	40007: "invalid media_id",
	40008: "invalid message type",
	40013: "invalid appid",
	40014: "invalid access_token",
	40066: "invalid url",
	40125: "invalid appsecret",
	40164: "invalid ip 203.0.113.7 ipv6 ::ffff:203.0.113.7, not in whitelist",
	41001: "access_token missing",
	41002: "appid missing",
	41004: "appsecret missing",
	41009: "missing openid",
	42001: "access_token expired",
	43001: "require GET method",
	43002: "require POST method",
	43004: "require subscribe",
	44002: "empty post data",
	45002: "content size out of limit",
	45008: "article size out of limit",
	45009: "reach max api daily quota limit",
	45011: "api minute-quota reach limit  mustslower  retry next minute",
	45015: "response out of time limit or subscription is canceled",
	45047: "out of response count limit",
	47001: "data format error",
	44003: "empty news data",
	44004: "empty content",
	40033: "invalid charset. please check your request, if include \\uxxxx will create fail!",
	41006: "media_id missing",
	40137: "invalid image format",
	41005: "media data missing",
	44001: "empty media data",
	40009: "invalid image size",
	61450: "system error",
	61451: "invalid parameter",
	61452: "invalid kf_account",
	61453: "kf_account exsited", //nolint:misspell // the real API's spelling
	61454: "invalid kf_acount length",
	61455: "illegal character in kf_account",
	61456: "kf_account count exceeded",
	61457: "invalid file type",
	48001: "api unauthorized",
	50002: "user limited",
}

func appendJSON(b []byte, s string) []byte {
	quoted, _ := plainjson.Marshal(s) // a string always encodes
	return append(b, quoted...)
}
