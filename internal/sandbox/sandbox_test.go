package sandbox

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if addr := os.Getenv(benchClientEnv); addr != "" {
		benchClient(addr)
		return
	}
	goleak.VerifyTestMain(m)
}

const app = "wx0000000000000001"

// fixture is a sandbox on a port, a token it accepts and a client of its own.
type fixture struct {
	*Sandbox
	t      *testing.T
	url    string
	addr   string
	token  string
	client *http.Client
}

func start(t *testing.T, opts Options) *fixture {
	t.Helper()
	b := &fixture{Sandbox: New(opts), t: t, token: "good-token"}
	url, err := b.Listen("127.0.0.1:0")
	require.NoError(t, err)
	b.url, b.addr = url, strings.TrimPrefix(url, "http://")
	b.Grant(app, b.token)
	b.client = &http.Client{
		Transport: &http.Transport{DisableCompression: true},
		CheckRedirect: func(*http.Request, []*http.Request) error {
			return http.ErrUseLastResponse
		},
	}
	t.Cleanup(func() {
		b.client.CloseIdleConnections()
		require.NoError(t, b.Close())
	})
	return b
}

func message(openID, text string) string {
	return fmt.Sprintf(`{"touser":%q,"msgtype":"text","text":{"content":%q}}`, openID, text)
}

func (b *fixture) sendURL() string {
	return b.url + "/cgi-bin/message/custom/send?access_token=" + b.token
}

// reply is one HTTP answer, read to its end.
type reply struct {
	status int
	header http.Header
	body   string
	code   int // errcode, 0 when the body has none
	msg    string
	err    error // of reading the body
}

func (b *fixture) do(method, url, body string) (reply, error) {
	req, err := http.NewRequestWithContext(b.t.Context(), method, url, strings.NewReader(body))
	require.NoError(b.t, err)
	return b.roundTrip(req)
}

func (b *fixture) roundTrip(req *http.Request) (reply, error) {
	resp, err := b.client.Do(req)
	if err != nil {
		return reply{}, err
	}
	defer func() { _ = resp.Body.Close() }()
	raw, err := io.ReadAll(resp.Body)
	r := reply{status: resp.StatusCode, header: resp.Header, body: string(raw), err: err}
	var coded struct {
		Errcode int    `json:"errcode"`
		Errmsg  string `json:"errmsg"`
	}
	if json.Unmarshal(raw, &coded) == nil {
		r.code, r.msg = coded.Errcode, coded.Errmsg
	}
	return r, nil
}

// must is do for exchanges that have an answer.
func (b *fixture) must(method, url, body string) reply {
	b.t.Helper()
	r, err := b.do(method, url, body)
	require.NoError(b.t, err)
	require.NoError(b.t, r.err)
	return r
}

func (b *fixture) send(openID, text string) reply {
	b.t.Helper()
	return b.must(http.MethodPost, b.sendURL(), message(openID, text))
}

// dial opens a raw connection and writes a request on it.
func (b *fixture) dial(request string) net.Conn {
	b.t.Helper()
	conn, err := net.Dial("tcp", b.addr)
	require.NoError(b.t, err)
	b.t.Cleanup(func() { _ = conn.Close() })
	_, err = io.WriteString(conn, request)
	require.NoError(b.t, err)
	return conn
}

func (b *fixture) rawSend(openID, text string) string {
	body := message(openID, text)
	return fmt.Sprintf("POST /cgi-bin/message/custom/send?access_token=%s HTTP/1.1\r\n"+
		"Host: sandbox\r\nContent-Length: %d\r\n\r\n%s", b.token, len(body), body)
}

func TestSendAnswers(t *testing.T) {
	t.Parallel()
	const rid = `.* rid: [0-9a-f]{8}-[0-9a-f]{8}-[0-9a-f]{8}$`
	good := message("oUser1", "hello")
	for _, tc := range []struct {
		name   string
		method string
		query  string
		body   string
		code   int
		msg    string
	}{
		{"a good message is accepted", "POST", "access_token=good-token", good, 0, "^ok$"},
		{"other parameters do not matter",
			"POST", "a=b&access_token=good-token&c", good, 0, "^ok$"},
		{"an escaped token is unescaped", "POST", "access_token=good%2Dtoken", good, 0, "^ok$"},
		{"white space around the object is JSON",
			"POST", "access_token=good-token", " \r\n" + good + "\t", 0, "^ok$"},
		{"without a token it is 41001", "POST", "", good, 41001, "^access_token missing" + rid},
		{"an empty token is none", "POST", "access_token=", good, 41001, rid},
		{"an unknown token is 40001",
			"POST", "access_token=who", good, 40001,
			"^invalid credential, access_token is invalid or not latest.*" + rid},
		{"the token is checked before the method", "GET", "access_token=who", "", 40001, rid},
		{"GET is 43002", "GET", "access_token=good-token", "", 43002, "^require POST method" + rid},
		{"an empty body is 44002",
			"POST", "access_token=good-token", "", 44002, "^empty post data" + rid},
		{"half a body is 47001",
			"POST", "access_token=good-token", good[:20], 47001, "^data format error" + rid},
		{"JSON that is no object is 47001",
			"POST", "access_token=good-token", `["touser"]`, 47001, rid},
		{"something behind the object is 47001",
			"POST", "access_token=good-token", good + "x", 47001, rid},
		{"a body that is not UTF-8 is 47001",
			"POST", "access_token=good-token", message("oUser1", "") + "\xff", 47001, rid},
		{"a text that is not UTF-8 is 47001",
			"POST", "access_token=good-token", "{\"touser\":\"o\xff\",\"msgtype\":\"text\"}", 47001,
			rid},
		{"no touser is 41009", "POST", "access_token=good-token", `{"msgtype":"text"}`, 41009,
			"^missing openid" + rid},
		{"an empty touser is 40003",
			"POST", "access_token=good-token", `{"touser":"","msgtype":"text"}`, 40003,
			"^invalid openid" + rid},
		{"a touser that is no string is 40003",
			"POST", "access_token=good-token", `{"touser":5,"msgtype":"text"}`, 40003, rid},
		{"touser inside a text is not the recipient",
			"POST", "access_token=good-token", `{"msgtype":"text","text":{"touser":"o"}}`, 41009,
			rid},
		{"no msgtype is 40008", "POST", "access_token=good-token", `{"touser":"oUser1"}`, 40008,
			"^invalid message type" + rid},
		{"an unknown msgtype is 40008",
			"POST", "access_token=good-token", `{"touser":"oUser1","msgtype":"fax"}`, 40008, rid},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			b := start(t, Options{})
			r := b.must(tc.method, b.url+"/cgi-bin/message/custom/send?"+tc.query, tc.body)
			require.Equal(t, http.StatusOK, r.status)
			require.Equal(t, "application/json; encoding=utf-8", r.header.Get("Content-Type"))
			require.Equal(t, tc.code, r.code)
			require.Regexp(t, tc.msg, r.msg)
			rec := b.Received()
			require.Len(t, rec, 1)
			require.Equal(t, tc.code, rec[0].Errcode)
			require.Equal(t, tc.body, rec[0].Body)
			require.True(t, rec[0].Answered)
			require.Equal(t, tc.code == 0, rec[0].Delivered)
		})
	}
}

func TestEveryMessageTypeIsTaken(t *testing.T) {
	t.Parallel()
	b := start(t, Options{})
	for _, kind := range []string{"text", "image", "voice", "video", "music", "news", "wxcard",
		"mpnews", "mpnewsarticle", "msgmenu", "miniprogrampage", "link"} {
		r := b.must("POST", b.sendURL(),
			fmt.Sprintf(`{"touser":"oUser1","msgtype":%q,%q:{}}`, kind, kind))
		require.Zero(t, r.code, kind)
	}
}

func TestFrontEnd(t *testing.T) {
	t.Parallel()
	for _, path := range []string{"/cgi-bin/message/custom/send?access_token=good-token",
		"/cgi-bin/stable_token", "/customservice/kfaccount/add"} {
		t.Run("a chunked body is refused with 412 and nothing else on "+path, func(t *testing.T) {
			t.Parallel()
			b := start(t, Options{})
			req, err := http.NewRequestWithContext(t.Context(), "POST", b.url+path,
				io.NopCloser(strings.NewReader(message("oUser1", "hi"))))
			require.NoError(t, err)
			r, err := b.roundTrip(req)
			require.NoError(t, err)
			require.Equal(t, http.StatusPreconditionFailed, r.status)
			require.Empty(t, r.body)
			rec := b.Received()[0]
			require.False(t, rec.Answered)
			require.False(t, rec.Delivered)
			require.Equal(t, "http 412", rec.Fault)
		})
	}
	t.Run("a body beyond a mebibyte is refused with 413", func(t *testing.T) {
		t.Parallel()
		b := start(t, Options{})
		r, err := b.do("POST", b.sendURL(), strings.Repeat(" ", maxBody+1))
		require.NoError(t, err)
		require.Equal(t, http.StatusRequestEntityTooLarge, r.status)
	})
	t.Run("a body of a mebibyte is read", func(t *testing.T) {
		t.Parallel()
		b := start(t, Options{})
		good := message("oUser1", "hi")
		r := b.must("POST", b.sendURL(), good+strings.Repeat(" ", maxBody-len(good)))
		require.Equal(t, "ok", r.msg)
	})
	t.Run("an unknown call is 40066", func(t *testing.T) {
		t.Parallel()
		b := start(t, Options{})
		r := b.must("POST", b.url+"/cgi-bin/nothing?access_token=good-token", "{}")
		require.Equal(t, 40066, r.code)
		require.Equal(t, "/cgi-bin/nothing", b.Received()[0].Call)
	})
	t.Run("an unknown call can be scripted by its path", func(t *testing.T) {
		t.Parallel()
		b := start(t, Options{})
		b.Add(Rule{Call: "/cgi-bin/openapi/quota/get",
			Body: `{"errcode":0,"quota":{"daily_limit":5}}`})
		r := b.must("POST", b.url+"/cgi-bin/openapi/quota/get?access_token=good-token", "{}")
		require.JSONEq(t, `{"errcode":0,"quota":{"daily_limit":5}}`, r.body)
	})
	t.Run("a client that goes away inside its request leaves a count and no record",
		func(t *testing.T) {
			t.Parallel()
			b := start(t, Options{})
			request := b.rawSend("oUser1", "hi")
			conn := b.dial(request[:len(request)-5])
			require.NoError(t, conn.Close())
			require.Eventually(t, func() bool { return b.Stats().Aborted == 1 }, 10*time.Second,
				time.Millisecond)
			require.Empty(t, b.Received())
		})
}

func TestRecordsOfSends(t *testing.T) {
	t.Parallel()
	t.Run("a record has what was sent and what became of it", func(t *testing.T) {
		t.Parallel()
		b := start(t, Options{})
		before := time.Now()
		body := `{"touser":"oUser1","msgtype":"text","text":{"content":"\u003cb>"}}`
		b.must("POST", b.sendURL(), body)
		got := b.Received()[0]
		require.WithinRange(t, got.At, before.Add(-time.Millisecond), time.Now())
		got.At = time.Time{}
		require.Equal(t, Record{
			N: 1, Call: "send", Path: "/cgi-bin/message/custom/send", AppID: app, OpenID: "oUser1",
			MsgType: "text", Body: body,
			Hash: "6f508ccea4601b83", Escaped: true, Answered: true, HTTPStatus: 200,
			Delivered: true,
		}, got)
	})
	t.Run("an escaped touser is read as JSON says", func(t *testing.T) {
		t.Parallel()
		b := start(t, Options{})
		b.must("POST", b.sendURL(), `{"to\u0075ser":"oUser\u0031","msgtype":"text"}`)
		require.Equal(t, "oUser1", b.Received()[0].OpenID)
	})
	t.Run("without bodies the hash stays", func(t *testing.T) {
		t.Parallel()
		b := start(t, Options{DropBodies: true})
		b.send("oUser1", "hello")
		got := b.Received()[0]
		require.Empty(t, got.Body)
		require.Equal(t, hexHash(hashOf(message("oUser1", "hello"))), got.Hash)
		require.Equal(t, "oUser1", got.OpenID)
	})
	t.Run("fast counts and checks the token, and keeps nothing", func(t *testing.T) {
		t.Parallel()
		b := start(t, Options{Fast: true})
		require.Zero(t, b.must("POST", b.sendURL(), "anything").code)
		b.ExpireTokens()
		require.Equal(t, 40001, b.send("oUser1", "hello").code)
		require.Empty(t, b.Received())
		st := b.Stats()
		require.Equal(t, 2, st.Sends)
		require.Equal(t, 1, st.Delivered)
		require.Equal(t, map[int]int{0: 1, 40001: 1}, st.Calls["send"].Errcodes)
	})
}

func TestWait(t *testing.T) {
	t.Parallel()
	t.Run("sends that came before count", func(t *testing.T) {
		t.Parallel()
		b := start(t, Options{Keep: -1})
		b.send("oUser1", "1")
		b.send("oUser1", "2")
		require.NoError(t, b.Wait(t.Context(), 2))
	})
	t.Run("it returns with the send that makes the number full, though its answer is held back",
		func(t *testing.T) {
			t.Parallel()
			b := start(t, Options{})
			b.Add(Rule{Hang: true})
			_ = b.dial(b.rawSend("oUser1", "hi"))
			require.NoError(t, b.Wait(t.Context(), 1))
			require.Equal(t, 1, b.Stats().InFlight)
		})
	t.Run("it can wait for somebody", func(t *testing.T) {
		t.Parallel()
		b := start(t, Options{})
		b.send("oUser1", "1")
		done := make(chan error, 1)
		go func() { done <- b.WaitFor(t.Context(), Filter{OpenID: "oUser2", Delivered: true}, 1) }()
		b.send("oUser1", "2")
		b.send("oUser2", "3")
		require.NoError(t, <-done)
	})
	t.Run("the context ends it", func(t *testing.T) {
		t.Parallel()
		b := start(t, Options{})
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		require.ErrorIs(t, b.Wait(ctx, 1), context.Canceled)
	})
	t.Run("closing ends it", func(t *testing.T) {
		t.Parallel()
		b := start(t, Options{})
		done := make(chan error, 1)
		go func() { done <- b.Wait(t.Context(), 1) }()
		require.NoError(t, b.Close())
		require.ErrorIs(t, <-done, ErrClosed)
	})
}

func TestTheLogTellsNobodysBusiness(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	b := start(t, Options{TokenPrefix: "canary-token",
		Log: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))})
	b.token, _ = tokenIn(t, b.stableToken(app, "canary-secret", false))
	b.legacyToken(app, "canary-secret")
	b.must("POST", b.url+"/sandbox/rules",
		`{"call":"send","openid":"canary-openid","errcode":-1,"errmsg":"canary-errmsg"}`)
	b.send("canary-openid", "canary-text")
	_, err := b.do("PATCH", b.sendURL(), "canary-text")
	require.NoError(t, err)
	b.must("GET", b.url+"/sandbox/received?openid=canary-openid", "")
	require.NoError(t, b.Close())
	require.Contains(t, log.String(),
		`msg="sandbox call" call=send app=`+app+" errcode=-1 status=200")
	require.NotContains(t, log.String(), "canary")
	for r := range b.Records(Filter{}) {
		require.NotContains(t, fmt.Sprintf("%+v", r), "canary-secret")
		require.NotContains(t, fmt.Sprintf("%+v", r), "canary-token")
	}
}

func TestListen(t *testing.T) {
	t.Parallel()
	t.Run("an empty address is loopback", func(t *testing.T) {
		t.Parallel()
		sb := New(Options{})
		url, err := sb.Listen("")
		require.NoError(t, err)
		require.Regexp(t, `^http://127\.0\.0\.1:\d+$`, url)
		require.NoError(t, sb.Close())
	})
	t.Run("beyond loopback it warns, and the URL can be used", func(t *testing.T) {
		t.Parallel()
		var log bytes.Buffer
		b := start(t, Options{Log: slog.New(slog.NewTextHandler(&log, nil))})
		url, err := b.Listen("0.0.0.0:0")
		require.NoError(t, err)
		require.Contains(t, log.String(), "level=WARN")
		require.Equal(t, http.StatusOK, b.must("GET", url+"/", "").status)
	})
	t.Run("an address in use is an error", func(t *testing.T) {
		t.Parallel()
		b := start(t, Options{})
		_, err := New(Options{}).Listen(b.addr)
		require.ErrorContains(t, err, "sandbox: listen tcp")
	})
	t.Run("a closed sandbox does not listen", func(t *testing.T) {
		t.Parallel()
		sb := New(Options{})
		require.NoError(t, sb.Close())
		require.NoError(t, sb.Close())
		_, err := sb.Listen("127.0.0.1:0")
		require.ErrorIs(t, err, ErrClosed)
	})
	t.Run("a listener of the caller's is served until close", func(t *testing.T) {
		t.Parallel()
		sb := New(Options{})
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		served := make(chan error, 1)
		go func() { served <- sb.Serve(ln) }()
		conn, err := net.Dial("tcp", ln.Addr().String())
		require.NoError(t, err)
		_, err = io.WriteString(conn, "GET / HTTP/1.0\r\n\r\n")
		require.NoError(t, err)
		line, err := bufio.NewReader(conn).ReadString('\n')
		require.NoError(t, err)
		require.Equal(t, "HTTP/1.0 200 OK\r\n", line)
		require.NoError(t, conn.Close())
		require.NoError(t, sb.Close())
		require.NoError(t, <-served)
	})
	t.Run("a listener that its caller closes as well is no failure", func(t *testing.T) {
		t.Parallel()
		sb := New(Options{})
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		slow := &slowToNotice{Listener: ln, accepting: make(chan struct{}),
			told: make(chan struct{})}
		served := make(chan error, 1)
		go func() { served <- sb.Serve(slow) }()
		<-slow.accepting
		require.NoError(t, ln.Close())
		require.NoError(t, sb.Close())
		require.NoError(t, <-served)
	})
}

// slowToNotice is a listener whose Accept learns of its end from Close only.
type slowToNotice struct {
	net.Listener
	accepting, told chan struct{}
}

func (l *slowToNotice) Accept() (net.Conn, error) {
	close(l.accepting)
	<-l.told
	return nil, net.ErrClosed
}

func (l *slowToNotice) Close() error {
	defer close(l.told)
	return l.Listener.Close()
}
