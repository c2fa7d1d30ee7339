package sandbox

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"

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
