package sandbox

import (
	"encoding/json"
	"net"
	"net/http"
	"net/url"
	"strings"
	"unicode/utf8"
)

// admit is what every call with an access token has to pass first: token, method, quota. It returns
// an errcode, 0 to go on.
func (s *Sandbox) admit(q *request, method string) int {
	if code := s.checkToken(q); code != 0 {
		return code
	}
	if method != "" && q.method != method {
		if method == http.MethodGet {
			return 43001
		}
		return 43002
	}
	return s.spend(q.token.app, q)
}

// admitPost admits a POST and reads its body into v.
func (s *Sandbox) admitPost(q *request, v any) int {
	if code := s.admit(q, http.MethodPost); code != 0 {
		return code
	}
	return q.decode(v)
}

// decode reads a body that must be there and be a JSON object into v.
func (q *request) decode(v any) int {
	switch {
	case q.size == 0:
		return 44002
	case !utf8.ValidString(q.body) || json.Unmarshal([]byte(q.body), v) != nil:
		return 47001
	}
	return 0
}

// clientIP returns the address that the call came from.
func (q *request) clientIP() string {
	host, _, err := net.SplitHostPort(q.http.RemoteAddr)
	if err != nil {
		return q.http.RemoteAddr
	}
	return host
}

// checkToken returns the errcode that a call with this access_token draws, 0 when the token is
// good.
func (s *Sandbox) checkToken(q *request) int {
	if q.token != nil {
		return q.token.check(q.at)
	}
	if accessToken(q.query) == "" {
		return 41001
	}
	return 40001
}

// accessToken finds access_token in a raw query. It is on the path of every send, so it builds no
// map of the parameters.
func accessToken(query string) string {
	for query != "" {
		var pair string
		pair, query, _ = strings.Cut(query, "&")
		value, found := strings.CutPrefix(pair, "access_token=")
		if !found {
			continue
		}
		if strings.ContainsAny(value, "%+") {
			value, _ = url.QueryUnescape(value)
		}
		return value
	}
	return ""
}
