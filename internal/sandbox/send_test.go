package sandbox

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

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
