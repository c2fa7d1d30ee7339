package sandbox

import (
	"bufio"
	"compress/gzip"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestScriptedAnswers(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name      string
		rule      Rule
		status    int
		body      string // regular expression
		header    map[string]string
		record    Record
		keepAlive bool
	}{
		{
			"an errcode has the real API's wording and a rid", Rule{Errcode: 45015},
			200,
			`^{"errcode":45015,"errmsg":"response out of time limit or subscription is canceled ` +
				`rid: [0-9a-f-]{26}"}$`, nil,
			Record{Answered: true, Errcode: 45015, HTTPStatus: 200}, true,
		},
		{
			"an unknown errcode has a rid alone", Rule{Errcode: 99999},
			200, `^{"errcode":99999,"errmsg":"rid: [0-9a-f-]{26}"}$`, nil,
			Record{Answered: true, Errcode: 99999, HTTPStatus: 200}, true,
		},
		{
			"a given errmsg stands as it is", Rule{Errcode: -1, Errmsg: "<busy> & \"tired\""},
			200, `^{"errcode":-1,"errmsg":"<busy> & \\"tired\\""}$`, nil,
			Record{Answered: true, Errcode: -1, HTTPStatus: 200}, true,
		},
		{
			"an errcode may come with a status",
			Rule{Errcode: -1, HTTPStatus: 503, RetryAfter: "7"},
			503, `"errcode":-1`, map[string]string{"Retry-After": "7"},
			Record{Answered: true, Errcode: -1, HTTPStatus: 503}, true,
		},
		{
			"an errcode may hide a delivery", Rule{Errcode: -1, Delivered: true},
			200, `"errcode":-1`, nil,
			Record{Answered: true, Errcode: -1, HTTPStatus: 200, Delivered: true}, true,
		},
		{
			"a status alone has no body", Rule{HTTPStatus: 502},
			502, `^$`, nil,
			Record{HTTPStatus: 502, Fault: "http 502"}, true,
		},
		{
			"a gateway may time out after the delivery", Rule{HTTPStatus: 504, Delivered: true},
			504, `^$`, nil,
			Record{HTTPStatus: 504, Fault: "http 504", Delivered: true}, true,
		},
		{
			"status 200 alone is an empty success", Rule{HTTPStatus: 200},
			200, `^$`, nil,
			Record{HTTPStatus: 200, Fault: "body"}, true,
		},
		{
			"a body stands as it is, under the type given",
			Rule{Body: "<html>portal</html>", ContentType: "text/html"},
			200, `^<html>portal</html>$`, map[string]string{"Content-Type": "text/html"},
			Record{HTTPStatus: 200, Fault: "body"}, true,
		},
		{
			"headers go with the API's own answer",
			Rule{Headers: map[string]string{"X-Test": "1", "Connection": "close"}},
			200, `^{"errcode":0,"errmsg":"ok"}$`, map[string]string{"X-Test": "1"},
			Record{Answered: true, HTTPStatus: 200, Delivered: true}, false,
		},
		{
			"a redirect is a 302", Rule{Redirect: "https://elsewhere.example/x"},
			302, `^$`, map[string]string{"Location": "https://elsewhere.example/x"},
			Record{HTTPStatus: 302, Fault: "http 302"}, true,
		},
		{
			"or the 3xx given", Rule{Redirect: "/x", HTTPStatus: 308},
			308, `^$`, map[string]string{"Location": "/x"},
			Record{HTTPStatus: 308, Fault: "http 308"}, true,
		},
		{
			"an answer can be padded", Rule{PadBody: 100_000},
			200, `^{"errcode":0,"errmsg":"ok"} +$`, map[string]string{"Content-Length": "100000"},
			Record{Answered: true, HTTPStatus: 200, Fault: "pad", Delivered: true}, true,
		},
		{
			"padding never cuts", Rule{PadBody: 3},
			200, `^{"errcode":0,"errmsg":"ok"}$`, nil,
			Record{Answered: true, HTTPStatus: 200, Fault: "pad", Delivered: true}, true,
		},
		{
			"headers can be padded", Rule{PadHeader: 9},
			200, `"ok"`, map[string]string{"X-Padding": "xxxxxxxxx"},
			Record{Answered: true, HTTPStatus: 200, Fault: "pad", Delivered: true}, true,
		},
		{
			"a dripping answer arrives in the end", Rule{Drip: time.Microsecond},
			200, `^{"errcode":0,"errmsg":"ok"}$`, map[string]string{"Content-Length": "27"},
			Record{HTTPStatus: 200, Fault: "drip", Delivered: true}, true,
		},
		{
			"a connection hung up answers in full first", Rule{HangUp: true},
			200, `^{"errcode":0,"errmsg":"ok"}$`, nil,
			Record{Answered: true, HTTPStatus: 200, Fault: "hang up", Delivered: true}, false,
		},
		{
			"a rule without an action lets the call through", Rule{},
			200, `^{"errcode":0,"errmsg":"ok"}$`, nil,
			Record{Answered: true, HTTPStatus: 200, Delivered: true}, true,
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			b := start(t, Options{})
			tc.rule.Call = CallSend
			b.Add(tc.rule)
			conn := b.dial(b.rawSend("oUser1", "hi"))
			br := bufio.NewReader(conn)
			resp, err := http.ReadResponse(br, nil)
			require.NoError(t, err)
			body, err := io.ReadAll(resp.Body)
			require.NoError(t, err)
			require.NoError(t, resp.Body.Close())
			require.Equal(t, tc.status, resp.StatusCode)
			require.Regexp(t, tc.body, string(body))
			for name, value := range tc.header {
				require.Equal(t, value, resp.Header.Get(name))
			}

			got := b.Received()[0]
			tc.record.Rule = 1
			require.Equal(t, tc.record, Record{
				Answered: got.Answered, Errcode: got.Errcode, HTTPStatus: got.HTTPStatus,
				Fault: got.Fault, Rule: got.Rule, Delivered: got.Delivered,
			})

			b.RemoveRules()
			_, err = io.WriteString(conn, b.rawSend("oUser1", "again"))
			if !tc.keepAlive {
				_, err = br.ReadByte()
				require.Error(t, err, "the connection is closed")
				return
			}
			require.NoError(t, err)
			resp, err = http.ReadResponse(br, nil)
			require.NoError(t, err, "the connection is good for another call")
			require.Equal(t, 200, resp.StatusCode)
			require.NoError(t, resp.Body.Close())
			require.Zero(t, b.Stats().Overlaps)
		})
	}
}

func TestResets(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		reset     string
		openID    string
		delivered bool
	}{
		{ResetUnread, "", false},
		{ResetBefore, "oUser1", false},
		{ResetAfter, "oUser1", true},
	} {
		t.Run("a raw client sees a reset "+tc.reset, func(t *testing.T) {
			t.Parallel()
			b := start(t, Options{})
			b.Add(Rule{Call: CallSend, Reset: tc.reset, Times: 1})
			conn := b.dial(b.rawSend("oUser1", "hi"))
			n, err := conn.Read(make([]byte, 1))
			require.ErrorIs(t, err, syscall.ECONNRESET)
			require.Zero(t, n)

			got := b.Received()[0]
			require.Equal(t, tc.openID, got.OpenID)
			require.Equal(t, tc.delivered, got.Delivered)
			require.False(t, got.Answered)
			require.Zero(t, got.HTTPStatus)
			require.Equal(t, "reset "+tc.reset, got.Fault)
			require.Zero(t, b.Stats().InFlight)
			require.Zero(t, b.send("oUser1", "and the next is fine").code)
			require.Zero(t, b.Stats().Overlaps)
		})
		t.Run("below TLS too: "+tc.reset, func(t *testing.T) {
			t.Parallel()
			sb := New(Options{})
			sb.Grant(app, "good-token")
			sb.Add(Rule{Reset: tc.reset})
			srv := httptest.NewTLSServer(sb)
			defer srv.Close()
			trusted := srv.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs
			conn, err := tls.Dial("tcp", srv.Listener.Addr().String(),
				&tls.Config{RootCAs: trusted, ServerName: "example.com"})
			require.NoError(t, err)
			defer func() { _ = conn.Close() }()
			_, err = io.WriteString(conn, (&fixture{token: "good-token"}).rawSend("oUser1", "hi"))
			require.NoError(t, err)
			_, err = conn.Read(make([]byte, 1))
			require.ErrorIs(t, err, syscall.ECONNRESET)
			require.NoError(t, sb.Close())
		})
	}

	t.Run("an unread reset comes while the body is still on its way", func(t *testing.T) {
		t.Parallel()
		b := start(t, Options{})
		b.Add(Rule{Call: CallSend, AppID: app, Reset: ResetUnread})
		conn := b.dial(fmt.Sprintf(
			"POST /cgi-bin/message/custom/send?access_token=%s HTTP/1.1\r\n"+
				"Host: x\r\nContent-Length: 1000000\r\n\r\n{", b.token))
		_, err := conn.Read(make([]byte, 1))
		require.ErrorIs(t, err, syscall.ECONNRESET)
	})
	t.Run("a reset after a bad message has delivered nothing", func(t *testing.T) {
		t.Parallel()
		b := start(t, Options{})
		b.Add(Rule{Reset: ResetAfter})
		_, err := b.do("POST", b.sendURL(), `{}`)
		require.ErrorIs(t, err, syscall.ECONNRESET)
		require.False(t, b.Received()[0].Delivered)
	})
	t.Run("over HTTP/2 the stream is reset", func(t *testing.T) {
		t.Parallel()
		sb := New(Options{})
		sb.Add(Rule{Reset: ResetAfter})
		srv := httptest.NewUnstartedServer(sb)
		srv.EnableHTTP2 = true
		srv.StartTLS()
		defer srv.Close()
		_, err := srv.Client().Post(srv.URL+"/cgi-bin/stable_token", "application/json",
			strings.NewReader(`{}`))
		require.ErrorContains(t, err, "INTERNAL_ERROR")
		require.Equal(t, "reset after", sb.Received()[0].Fault)
	})
}

func TestTruncatedAnswers(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name string
		n    int
		want string
	}{
		{"the first bytes", 9, `{"errcode`},
		{"at most all but the last", 1000, `{"errcode":0,"errmsg":"ok"`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			b := start(t, Options{})
			b.Add(Rule{Truncate: tc.n})
			r, err := b.do("POST", b.sendURL(), message("oUser1", "hi"))
			require.NoError(t, err)
			require.ErrorIs(t, r.err, io.ErrUnexpectedEOF)
			require.Equal(t, tc.want, r.body)
			got := b.Received()[0]
			require.False(t, got.Answered)
			require.True(t, got.Delivered)
		})
	}
}

func TestGzipBomb(t *testing.T) {
	t.Parallel()
	b := start(t, Options{})
	b.Add(Rule{GzipBomb: 200 << 20})
	r := b.must("POST", b.sendURL(), message("oUser1", "hi"))
	require.Equal(t, "gzip", r.header.Get("Content-Encoding"))
	require.Less(t, len(r.body), 1<<20)
	zr, err := gzip.NewReader(strings.NewReader(r.body))
	require.NoError(t, err)
	n, err := io.Copy(io.Discard, zr)
	require.NoError(t, err)
	require.EqualValues(t, 200<<20, n)
}

func TestWhatNeverEndsIsGivenUp(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name string
		rule Rule
	}{
		{"a hang", Rule{Hang: true}},
		{"a hang with a delivery behind it", Rule{Hang: true, Delivered: true}},
		{"a delay", Rule{Delay: time.Hour}},
		{"a delay before a reset", Rule{Delay: time.Hour, Reset: ResetAfter}},
		{"a drip", Rule{Drip: time.Hour}},
		{"a body without end", Rule{PadBody: 1 << 50}},
		{"a bomb without end", Rule{GzipBomb: 1 << 50}},
	} {
		t.Run(tc.name+" when the client goes away", func(t *testing.T) {
			t.Parallel()
			b := start(t, Options{})
			b.Add(tc.rule)
			conn := b.dial(b.rawSend("oUser1", "hi"))
			require.NoError(t, b.Wait(t.Context(), 1))
			require.Equal(t, tc.rule.Delivered || !tc.rule.Hang && !tc.rule.replaces(),
				b.Received()[0].Delivered)
			require.NoError(t, conn.Close())
			require.Eventually(t, func() bool { return b.Stats().InFlight == 0 }, 10*time.Second,
				time.Millisecond)
		})
		t.Run(tc.name+" when the sandbox is closed", func(t *testing.T) {
			t.Parallel()
			b := start(t, Options{})
			b.Add(tc.rule)
			conn := b.dial(b.rawSend("oUser1", "hi"))
			require.NoError(t, b.Wait(t.Context(), 1))
			require.NoError(t, b.Close())
			require.Zero(t, b.Stats().InFlight)
			_, _ = io.Copy(io.Discard, conn) // it ends, with or without an error
		})
	}
}

func TestDelays(t *testing.T) {
	t.Parallel()
	took := func(f func()) time.Duration {
		begin := time.Now()
		f()
		return time.Since(begin)
	}
	t.Run("every send takes the latency, a token call does not", func(t *testing.T) {
		t.Parallel()
		b := start(t, Options{Latency: Latency{Min: 30 * time.Millisecond}})
		require.GreaterOrEqual(t, took(func() { b.send("oUser1", "hi") }), 30*time.Millisecond)
		b2 := start(t, Options{Latency: Latency{Min: time.Hour}})
		b2.stableToken(app, "any", false)
	})
	t.Run("a rule's delay takes its place", func(t *testing.T) {
		t.Parallel()
		b := start(t, Options{Latency: Latency{Min: time.Hour}})
		b.Add(Rule{Delay: 20 * time.Millisecond, DelayMax: 30 * time.Millisecond})
		require.GreaterOrEqual(t, took(func() { b.send("oUser1", "hi") }), 20*time.Millisecond)
	})
	t.Run("an errcode keeps the latency", func(t *testing.T) {
		t.Parallel()
		b := start(t,
			Options{Latency: Latency{Min: 20 * time.Millisecond, Max: 25 * time.Millisecond}})
		b.Add(Rule{Errcode: -1})
		require.GreaterOrEqual(t, took(func() { b.send("oUser1", "hi") }), 20*time.Millisecond)
	})
}

func TestAClientsTimeoutLooksLikeARealOne(t *testing.T) {
	t.Parallel()
	b := start(t, Options{})
	b.Add(Rule{Hang: true, Delivered: true})
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		_ = b.Wait(ctx, 1)
		cancel()
	}()
	req, err := http.NewRequestWithContext(ctx, "POST", b.sendURL(),
		strings.NewReader(message("oUser1", "hi")))
	require.NoError(t, err)
	_, err = b.roundTrip(req)
	require.ErrorIs(t, err, context.Canceled)
	require.True(t, b.Received()[0].Delivered)
}

func TestClosingRefusesConnections(t *testing.T) {
	t.Parallel()
	b := start(t, Options{})
	idle := b.dial("")
	require.NoError(t, b.Close())
	_, err := net.Dial("tcp", b.addr)
	require.ErrorIs(t, err, syscall.ECONNREFUSED)
	_, err = idle.Read(make([]byte, 1))
	require.Error(t, err)
}
