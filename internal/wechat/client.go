package wechat

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"

	"github.com/kefuhq/kefu/internal/plainjson"
)

// Client calls the API as one app. It is safe for use by many goroutines, starts none, and needs no
// closing.
type Client struct {
	wire   wire
	tokens TokenSource
	base   *url.URL // nil: no use
	send   *endpoint
	typing *endpoint
}

// NewClient returns a client that reaches the API at baseURL ("https://api.weixin.qq.com", or a
// sandbox's) through hc with the tokens of tokens. hc should come from NewHTTPClient: with any
// other transport an error after a connection was had is always FaultUnknown. A baseURL that is not
// an absolute http(s) URL makes every call fail with FaultConfig.
func NewClient(hc *http.Client, baseURL string, tokens TokenSource) *Client {
	base := parseURL(baseURL)
	return &Client{
		wire:   newWire(hc),
		tokens: tokens,
		base:   base,
		send:   newEndpoint(CallSend, http.MethodPost, base, SendPath),
		typing: newEndpoint(CallTyping, http.MethodPost, base, TypingPath),
	}
}

// post and get are the endpoints of calls that are made now and then: nothing of them is kept for
// the next time.
func (c *Client) post(call Call, path string) *endpoint {
	return newEndpoint(call, http.MethodPost, c.base, path)
}

// get answers without an errcode when all is well.
func (c *Client) get(call Call, path string) *endpoint {
	e := newEndpoint(call, http.MethodGet, c.base, path)
	e.codeless = true
	return e
}

// Probe asks whether a token can be had, past all caches and pauses of the token source. It sends
// no message.
func (c *Client) Probe(ctx context.Context) error {
	if p, ok := c.tokens.(interface {
		Probe(ctx context.Context) error
	}); ok {
		return asTokenError(p.Probe(ctx))
	}
	_, err := c.tokens.Token(ctx)
	return asTokenError(err)
}

// do makes one call that is no message's.
func (c *Client) do(ctx context.Context, to *endpoint, body []byte) (reply, error) {
	return c.deliver(ctx, to, &Message{Packet: body})
}

// deliver makes one call: token, exchange, check. A refused token is replaced and the same call
// made once more, even with the same token if that is what comes back: good tokens are refused at
// times. Refused again, there is a third call only if the source then has another one, by force.
// All this costs the caller nothing, since WeChat refused the calls before without acting on them.
// A token still refused at the end is FaultToken.
func (c *Client) deliver(ctx context.Context, to *endpoint, m *Message) (reply, error) {
	token, err := c.tokens.Token(ctx)
	if err != nil {
		return nil, asTokenError(err)
	}
	same := false // the second try was made with the token of the first
	for try := 1; ; try++ {
		if m.Before != nil {
			if err := m.Before(); err != nil {
				return nil, err
			}
		}
		r, failed := c.call(ctx, to, token, m)
		switch {
		case failed == nil:
			return r, nil
		case failed.Fault != FaultToken || try == 2 && !same || try == 3:
			return nil, failed
		}
		c.tokens.Stale(token)
		next, err := c.tokens.Token(ctx)
		if err != nil {
			return nil, asTokenError(err)
		}
		if same = next.Equal(token); same && try == 2 {
			return nil, failed
		}
		token = next
	}
}

// plainOK is what the API answers to a send that it accepts.
const plainOK = `{"errcode":0,"errmsg":"ok"}`

func (c *Client) call(ctx context.Context, to *endpoint, token Secret, m *Message) (reply, *Error) {
	req, err := to.request(token)
	if err != nil {
		return nil, &Error{Call: to.call, Fault: FaultConfig, Err: err}
	}
	a, left, err := c.wire.exchange(ctx, req, m)
	if err != nil {
		return nil, unanswered(to.call, err, left, callMask(token, m.Packet))
	}
	if a.status == http.StatusOK && string(a.body) == plainOK {
		return nil, nil // nearly every answer to a send: no JSON machinery for it
	}
	return check(to.call, &a, to.codeless, callMask(token, m.Packet))
}

// callMask returns what no error of a call may show: the token, and of the body, which an errmsg
// may repeat, the openid and a password.
func callMask(token Secret, body []byte) mask {
	var packet struct {
		ToUser   string `json:"touser"`
		Password string `json:"password"`
	}
	_ = json.Unmarshal(body, &packet) // a body that is no JSON names nobody
	return newMask(token.Reveal(), packet.ToUser, packet.Password)
}

// encode returns the body of a call: raw UTF-8, because the API takes \u003c in a text for these
// six characters. U+2028 and control characters, which encoding/json escapes all the same, are
// refused where the fields are checked.
func encode(fields any) []byte {
	b, _ := plainjson.Marshal(fields) // strings and a bool always can be
	return b
}

// endpoint is one method of the API: its place and form, and the request made ready for the token
// last used. A token lives for two hours, so in the hot path no URL is parsed or built.
type endpoint struct {
	call     Call
	method   string
	url      *url.URL // without the token; nil when the base URL is no use
	query    string   // what the query holds behind the token, from "&" on
	form     string   // Content-Type of the body; "" is JSON
	codeless bool     // success has no errcode
	ready    atomic.Pointer[readyRequest]
}

type readyRequest struct {
	token Secret
	req   *http.Request
}

var errBaseURL = errors.New("the base url is not an absolute http or https url")

func newEndpoint(call Call, method string, base *url.URL, path string) *endpoint {
	e := &endpoint{call: call, method: method}
	if base != nil {
		u := *base
		// JoinPath begins without a slash where there was no path
		u.Path, u.RawPath = strings.TrimSuffix(base.Path, "/")+path, ""
		e.url = &u
	}
	return e
}

// parseURL returns nil for what is not an absolute http(s) URL. The reason is not kept: it would
// repeat the URL.
func parseURL(s string) *url.URL {
	u, err := url.Parse(s)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil
	}
	return u
}

// request returns the endpoint's request with token in its query. It is shared: exchange copies it.
func (e *endpoint) request(token Secret) (*http.Request, error) {
	if made := e.ready.Load(); made != nil && made.token.Equal(token) {
		return made.req, nil
	}
	if e.url == nil {
		return nil, errBaseURL
	}
	u := *e.url
	u.RawQuery = "access_token=" + url.QueryEscape(token.Reveal()) + e.query
	req := newRequest(e.method, &u)
	if e.form != "" {
		req.Header.Set("Content-Type", e.form)
	}
	e.ready.Store(&readyRequest{token: token, req: req})
	return req, nil
}

// newRequest makes a request to be copied by exchange. An Idempotency-Key header must never be
// added: with it net/http repeats a POST whose connection broke after the server had read it
// (measured: the message arrives twice).
func newRequest(method string, u *url.URL) *http.Request {
	req := &http.Request{
		Method: method,
		URL:    u,
		Host:   u.Host,
		Proto:  "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: http.Header{"User-Agent": {"kefu"}},
	}
	if method == http.MethodPost {
		req.Header.Set("Content-Type", "application/json; charset=utf-8")
	}
	return req
}
