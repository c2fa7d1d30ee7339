package wechat

import (
	"context"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptrace"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// tokenSource is a TokenSource of functions.
type tokenSource struct {
	token func(ctx context.Context) (Secret, error)
	stale func(failed Secret)
}

func (s tokenSource) Token(ctx context.Context) (Secret, error) { return s.token(ctx) }
func (s tokenSource) Stale(failed Secret)                       { s.stale(failed) }

// fixed is a TokenSource that has one token for ever.
type fixed struct{ secret Secret }

func fixedToken(token string) fixed { return fixed{NewSecret(token)} }

func (f fixed) Token(context.Context) (Secret, error) { return f.secret, nil }
func (f fixed) Stale(Secret)                          {}

// roundTrip is a transport that is a function.
type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// respond makes a response.
func respond(r *http.Request, status int, body string) *http.Response {
	return &http.Response{StatusCode: status, Header: http.Header{},
		Body: io.NopCloser(strings.NewReader(body)), Request: r}
}

// gotConn tells the request's trace what net/http would.
func gotConn(r *http.Request, conn net.Conn, reused bool) {
	httptrace.ContextClientTrace(r.Context()).GotConn(httptrace.GotConnInfo{Conn: conn,
		Reused: reused})
}

// discardLog is the error log of test servers whose clients break connections on purpose.
var discardLog = log.New(io.Discard, "", 0)
