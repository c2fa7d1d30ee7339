package console_test

import (
	"io"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/kefuhq/kefu/internal/cli/clitest"
	"github.com/kefuhq/kefu/internal/config"
	"github.com/kefuhq/kefu/internal/console"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const token = "0123456789abcdef0123456789abcdef"

// desk is an operator's browser and the console that it looks at, over a real broker.
type desk struct {
	*clitest.Operation
	URL    string
	client *http.Client
}

func newDesk(t *testing.T, change ...func(*console.Options)) *desk {
	t.Helper()
	o := clitest.NewOperation(t)
	cfg := &config.Config{Apps: []config.App{{AppID: "wx1", Name: "旗舰店"}}}
	cfg.Worker.Ledger.Keep = 72 * time.Hour
	options := console.Options{
		Config: func() *config.Config { return cfg }, Actor: "tester@here", Trusted: true,
		Listen: "127.0.0.1:0", Log: slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelError})),
	}
	for _, f := range change {
		f(&options)
	}
	c, err := console.New(o.Conn, options)
	o.NoError(err)
	server := httptest.NewServer(c.Handler())
	jar, err := cookiejar.New(nil)
	o.NoError(err)
	client := &http.Client{Jar: jar, Transport: &http.Transport{},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	t.Cleanup(func() {
		client.CloseIdleConnections()
		c.Close()
		server.Close()
	})
	return &desk{o, server.URL, client}
}

func withToken(o *console.Options) {
	o.Trusted = false
	o.Token = func() (string, error) { return token, nil }
}

func readOnly(o *console.Options) { o.Trusted = false }

// ask makes a request and returns status, body and headers.
func (d *desk) ask(method, path string, form url.Values, headers ...string) (int, string, http.Header) {
	d.T.Helper()
	q, err := http.NewRequestWithContext(d.T.Context(), method, d.URL+path,
		strings.NewReader(form.Encode()))
	d.NoError(err)
	if form != nil {
		q.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for i := 0; i < len(headers); i += 2 {
		q.Header.Set(headers[i], headers[i+1])
	}
	resp, err := d.client.Do(q)
	d.NoError(err)
	defer func() { d.NoError(resp.Body.Close()) }()
	body, err := io.ReadAll(resp.Body)
	d.NoError(err)
	return resp.StatusCode, string(body), resp.Header
}

// get returns a page that is shown.
func (d *desk) get(path string, headers ...string) string {
	d.T.Helper()
	status, body, _ := d.ask(http.MethodGet, path, nil, headers...)
	d.Equal(http.StatusOK, status, body)
	return body
}

// pathOf returns a path that a pattern matches.
func pathOf(pattern string) (method, path string) {
	method, path, _ = strings.Cut(pattern, " ")
	path = strings.ReplaceAll(path, "{$}", "")
	for {
		begin, end := strings.Index(path, "{"), strings.Index(path, "}")
		if begin < 0 {
			return method, path
		}
		path = path[:begin] + "x" + path[end+1:]
	}
}

func TestNobodySeesOrDoesAnythingWithoutSigningIn(t *testing.T) {
	t.Parallel()
	d := newDesk(t, withToken)
	for _, route := range console.Routes() {
		if route.Anybody {
			continue
		}
		method, path := pathOf(route.Pattern)
		for name, headers := range map[string][]string{
			"no login": nil, "a made-up session": {"Cookie", "kefu_console=ABCDEFGHIJKLMNOP"},
		} {
			status, body, h := d.ask(method, path, url.Values{"sure": {"yes"}}, headers...)
			if status == http.StatusSeeOther {
				d.Contains(h.Get("Location"), "/login?to=", "%s: %s", route.Pattern, name)
			} else {
				d.Equal(http.StatusUnauthorized, status, "%s: %s", route.Pattern, name)
			}
			d.NotContains(body, "wx1", "%s: %s", route.Pattern, name)
		}
	}
	for _, path := range []string{"/", "/nothing/of/the/kind", "/assets/../audit"} {
		status, _, h := d.ask(http.MethodGet, path, nil)
		d.Contains([]int{http.StatusSeeOther, http.StatusMovedPermanently,
			http.StatusTemporaryRedirect}, status, path)
		d.NotContains(h.Get("Location"), "//", path)
	}
}

func TestAWrongTokenOpensNothing(t *testing.T) {
	t.Parallel()
	d := newDesk(t, withToken)
	for _, route := range console.Routes()[:3] {
		if route.Anybody {
			continue
		}
		method, path := pathOf(route.Pattern)
		status, _, _ := d.ask(method, path, nil, "Authorization", "Bearer "+token[1:])
		d.Equal(http.StatusUnauthorized, status, route.Pattern)
	}
	status, body, _ := d.ask(http.MethodPost, "/login",
		url.Values{"name": {"li"}, "token": {"wrong"}, "to": {"/audit"}})
	d.Equal(http.StatusUnauthorized, status)
	d.Contains(body, "This is not the token.")
}

func TestWhoGuessesHasToWait(t *testing.T) {
	t.Parallel()
	d := newDesk(t, withToken)
	guess := url.Values{"name": {"li"}, "token": {"wrong"}}
	var last int
	for range 6 {
		last, _, _ = d.ask(http.MethodPost, "/login", guess)
	}
	d.Equal(http.StatusTooManyRequests, last)
	right := url.Values{"name": {"li"}, "token": {token}}
	status, _, _ := d.ask(http.MethodPost, "/login", right)
	d.Equal(http.StatusTooManyRequests, status, "or the guess that is right would be told so")
	status, _, _ = d.ask(http.MethodGet, "/audit", nil, "Authorization", "Bearer "+token)
	d.Equal(http.StatusUnauthorized, status)
}

func TestWhatAnotherSiteAsksForIsRefused(t *testing.T) {
	t.Parallel()
	d := newDesk(t) // anybody may act: only the guard stands between
	for _, route := range console.Routes() {
		method, path := pathOf(route.Pattern)
		if method != http.MethodPost {
			continue
		}
		for _, headers := range [][]string{
			{"Sec-Fetch-Site", "cross-site"}, {"Sec-Fetch-Site", "same-site"},
			{"Origin", "https://evil.example"}, {"Origin", "null"},
		} {
			status, _, _ := d.ask(method, path, url.Values{"sure": {"yes"}}, headers...)
			d.Equal(http.StatusForbidden, status, "%s: %s", route.Pattern, headers)
		}
	}
	for _, route := range console.Routes() {
		_, path := pathOf(route.Pattern)
		q, err := http.NewRequestWithContext(t.Context(), http.MethodGet, d.URL+path, nil)
		d.NoError(err)
		q.Host = "kefu.evil.example"
		resp, err := d.client.Do(q)
		d.NoError(err)
		d.NoError(resp.Body.Close())
		d.Equal(http.StatusMisdirectedRequest, resp.StatusCode, "%s by another name", path)
	}
}

func TestAWrongMethodChangesNothing(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	for _, route := range console.Routes() {
		_, path := pathOf(route.Pattern)
		for _, method := range []string{http.MethodPut, http.MethodDelete, http.MethodPatch, "PURGE"} {
			status, _, _ := d.ask(method, path, nil)
			d.GreaterOrEqual(status, 400, "%s %s", method, path)
			d.Less(status, 500, "%s %s", method, path)
		}
	}
}

func TestWithoutATokenTheConsoleOnlyShows(t *testing.T) {
	t.Parallel()
	d := newDesk(t, readOnly)
	d.get("/audit")
	for _, route := range console.Routes() {
		if !route.Acting {
			continue
		}
		method, path := pathOf(route.Pattern)
		status, body, _ := d.ask(method, path, url.Values{"sure": {"yes"}})
		d.Equal(http.StatusForbidden, status, route.Pattern)
		d.Contains(body, "console.token_file", route.Pattern)
	}
}

func TestEveryAnswerKeepsOthersOut(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	paths := []string{"/assets/style.css", "/nothing"}
	for _, route := range console.Routes() {
		if method, path := pathOf(route.Pattern); method == http.MethodGet && path != "/live" {
			paths = append(paths, path)
		}
	}
	for _, path := range paths {
		_, _, h := d.ask(http.MethodGet, path, nil)
		d.Contains(h.Get("Content-Security-Policy"), "script-src 'self';", path)
		d.NotContains(h.Get("Content-Security-Policy"), "unsafe", path)
		d.Equal("DENY", h.Get("X-Frame-Options"), path)
		d.Equal("nosniff", h.Get("X-Content-Type-Options"), path)
		d.Equal("no-store", h.Get("Cache-Control"), path)
		d.Equal("same-origin", h.Get("Referrer-Policy"), path)
	}
}

func TestSigningInAndOut(t *testing.T) {
	t.Parallel()
	d := newDesk(t, withToken)
	status, _, h := d.ask(http.MethodPost, "/login",
		url.Values{"name": {"李雷"}, "token": {token}, "to": {"/find?q=a"}})
	d.Equal(http.StatusSeeOther, status)
	d.Equal("/find?did=signed-in&q=a", h.Get("Location"))
	cookie := h.Get("Set-Cookie")
	for _, part := range []string{"HttpOnly", "SameSite=Strict", "Path=/"} {
		d.Contains(cookie, part)
	}
	d.NotContains(cookie, token)

	d.Send("wx1", "late-1")
	d.Contains(d.get("/find?q=late-1"), "Withdraw it…")
	form := url.Values{"app": {"wx1"}, "id": {"late-1"}}
	status, body, _ := d.ask(http.MethodPost, "/find/withdraw", form)
	d.Equal(http.StatusOK, status)
	d.Contains(body, "Shall this message not be sent any more?")
	d.Empty(d.Audited(), "it has only asked")
	form.Set("sure", "yes")
	status, _, _ = d.ask(http.MethodPost, "/find/withdraw", form)
	d.Equal(http.StatusSeeOther, status)
	d.Contains(d.get("/audit"), "李雷 (console)")
	d.Contains(d.get("/find?q=late-1"), "Withdrawn by 李雷 (console)")

	status, _, _ = d.ask(http.MethodPost, "/logout", nil)
	d.Equal(http.StatusSeeOther, status)
	status, _, _ = d.ask(http.MethodGet, "/audit", nil)
	d.Equal(http.StatusSeeOther, status)
}

func TestAnotherTokenEndsTheSessions(t *testing.T) {
	t.Parallel()
	now := token
	d := newDesk(t, func(o *console.Options) {
		withToken(o)
		o.Token = func() (string, error) { return now, nil }
	})
	d.ask(http.MethodPost, "/login", url.Values{"name": {"li"}, "token": {token}})
	d.get("/audit")
	now = "another token, of which nobody has heard"
	status, _, _ := d.ask(http.MethodGet, "/audit", nil)
	d.Equal(http.StatusSeeOther, status)
}

func TestAPersonIsFoundAndMasked(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	d.Send("wx1", "queued-1")
	d.Bury(clitest.DeadLetter("gone-1", clitest.DiedOf("recipient", 45015, "response out of time limit")))
	body := d.get("/find?q="+clitest.Recipient, "Accept-Language", "zh-CN")
	d.Contains(body, "发给 "+clitest.Masked+" 的消息")
	d.Contains(body, "queued-1")
	d.Contains(body, "无法送达该用户")
	body = d.get("/find?q=gone-1")
	d.Contains(body, "45015")
	d.NotContains(body, clitest.Recipient)
	require.Contains(t, d.get("/find?q=never-heard-of"), "Nothing is known of it.")
}
