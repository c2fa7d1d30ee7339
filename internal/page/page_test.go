package page

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func newTestSite(t *testing.T, main string) *Site {
	t.Helper()
	s, err := newSite(Files{
		Templates: fstest.MapFS{"one.html": {Data: []byte(`{{define "main"}}` + main + `{{end}}`)}},
		Texts:     fstest.MapFS{"one.zh.json": {Data: []byte(`{"%d letters": "%d 封死信"}`)}},
	})
	require.NoError(t, err)
	return s
}

func TestAPageIsInTheLanguageOfItsReader(t *testing.T) {
	t.Parallel()
	site := newTestSite(t, `<p>{{.T "%d letters" 3}}</p>`)
	for name, c := range map[string]struct{ cookie, accepted, expected string }{
		"nothing is said":                   {"", "", "3 letters"},
		"the browser asks for Chinese":      {"", "zh-CN,zh;q=0.9,en;q=0.8", "3 封死信"},
		"the browser asks for Taiwan's":     {"", "zh-TW", "3 封死信"},
		"somebody chose otherwise":          {"en", "zh-CN", "3 letters"},
		"the browser asks for neither":      {"", "fr", "3 letters"},
		"the cookie names no language":      {"xx", "zh", "3 封死信"},
		"English comes before Chinese":      {"", "en-GB,zh;q=0.5", "3 letters"},
		"the browser sends something wrong": {"", ";;;=", "3 letters"},
	} {
		r := httptest.NewRequest(http.MethodGet, "/one", nil)
		r.Header.Set("Accept-Language", c.accepted)
		if c.cookie != "" {
			r.AddCookie(&http.Cookie{Name: languageCookie, Value: c.cookie})
		}
		w := httptest.NewRecorder()
		site.Render(w, r, http.StatusOK, "one", Frame{Title: "One"})
		require.Contains(t, w.Body.String(), c.expected, name)
	}
}

func TestAPageThatDidNotChangeIsNotSentAgain(t *testing.T) {
	t.Parallel()
	site := newTestSite(t, `<p>{{.Body}}</p>`)
	ask := func(tag string, body any) *httptest.ResponseRecorder {
		r := httptest.NewRequest(http.MethodGet, "/one", nil)
		r.Header.Set("If-None-Match", tag)
		w := httptest.NewRecorder()
		site.Render(w, r, http.StatusOK, "one", Frame{Body: body})
		return w
	}
	first := ask("", "a")
	tag := first.Header().Get("ETag")
	require.Equal(t, http.StatusNotModified, ask(tag, "a").Code)
	require.Equal(t, http.StatusOK, ask(tag, "b").Code)
}

func TestWhatIsShownIsInert(t *testing.T) {
	t.Parallel()
	site := newTestSite(t, `<a href="{{.Body}}" title="{{.Body}}">{{.Body}}</a>`)
	w := httptest.NewRecorder()
	site.Render(w, httptest.NewRequest(http.MethodGet, "/one", nil), http.StatusOK, "one",
		Frame{Body: `javascript:alert(1)"><script>alert(2)</script>`})
	require.NotContains(t, w.Body.String(), "<script>alert")
	require.NotContains(t, w.Body.String(), `href="javascript:`)
}

func TestATemplateThatFailsShowsNoData(t *testing.T) {
	t.Parallel()
	site := newTestSite(t, `secret {{.Body.Missing}}`)
	w := httptest.NewRecorder()
	site.Render(w, httptest.NewRequest(http.MethodGet, "/one", nil), http.StatusOK, "one",
		Frame{Body: struct{ A string }{"openid"}})
	require.Equal(t, http.StatusInternalServerError, w.Code)
	require.NotContains(t, w.Body.String(), "secret")
}

func TestWhoMayAsk(t *testing.T) {
	t.Parallel()
	ok := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("ok")) })
	type ask struct{ method, host, origin, site string }
	here := Guard{Loopback: true}
	proxied := Guard{Origin: "https://kefu.example.com", OriginKey: "console.origin"}
	for name, c := range map[string]struct {
		guard    Guard
		ask      ask
		expected int
	}{
		"a page of this machine":         {here, ask{"GET", "localhost:8090", "", ""}, 200},
		"by its number":                  {here, ask{"GET", "127.0.0.1:8090", "", ""}, 200},
		"by its number of version 6":     {here, ask{"GET", "[::1]:8090", "", ""}, 200},
		"a foreign name that leads here": {here, ask{"GET", "evil.example:8090", "", ""}, 421},
		"a name that begins alike":       {here, ask{"GET", "localhost.evil.example", "", ""}, 421},
		"a form of this site": {here,
			ask{"POST", "localhost:8090", "http://localhost:8090", "same-origin"}, 200},
		"a form of another site": {here,
			ask{"POST", "localhost:8090", "http://evil.example", "cross-site"}, 403},
		"a form of another port, which an old browser sends": {here,
			ask{"POST", "localhost:8090", "http://localhost:1", ""}, 403},
		"a program":                    {here, ask{"POST", "localhost:8090", "", ""}, 200},
		"a form, through the proxy":    {proxied, ask{"POST", "10.0.0.1", "https://kefu.example.com", ""}, 200},
		"another's, through the proxy": {proxied, ask{"POST", "10.0.0.1", "https://evil.example", ""}, 403},
	} {
		h, err := c.guard.Wrap(ok)
		require.NoError(t, err)
		r := httptest.NewRequest(c.ask.method, "/", nil)
		r.Host = c.ask.host
		for header, value := range map[string]string{
			"Origin": c.ask.origin, "Sec-Fetch-Site": c.ask.site,
		} {
			if value != "" {
				r.Header.Set(header, value)
			}
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		require.Equal(t, c.expected, w.Code, name)
		require.Contains(t, w.Header().Get("Content-Security-Policy"), "default-src 'none'", name)
		require.Equal(t, "no-store", w.Header().Get("Cache-Control"), name)
	}
}

func TestAFormLeadsBackToThisSiteOnly(t *testing.T) {
	t.Parallel()
	for to, expected := range map[string]string{
		"/dead?reason=unknown": "/dead?reason=unknown", "": "/", "//evil.example": "/",
		"https://evil.example": "/", `/\evil.example`: "/", "javascript:alert(1)": "/",
		"dead": "/", "/a\r\nX: y": "/",
	} {
		require.Equal(t, expected, Back(to), to)
	}
}

func TestPagesAreToldOfChanges(t *testing.T) {
	t.Parallel()
	r := require.New(t)
	hub := NewHub()
	server := httptest.NewServer(hub)
	defer server.Close()
	client := &http.Client{Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	listen := func(topic string) io.ReadCloser {
		q, err := http.NewRequestWithContext(ctx, http.MethodGet, server.URL+"?topic="+topic, nil)
		r.NoError(err)
		resp, err := client.Do(q)
		r.NoError(err)
		r.Equal("text/event-stream", resp.Header.Get("Content-Type"))
		return resp.Body
	}
	told := func(body io.Reader) string {
		buffer := make([]byte, 256)
		for text := ""; ; {
			n, err := body.Read(buffer)
			text += string(buffer[:n])
			if strings.Contains(text, "event: change") || err != nil {
				return text
			}
		}
	}
	one, all := listen("one"), listen("")
	defer func() { _, _ = one.Close(), all.Close() }()
	r.Equal(2, hub.Pages())
	hub.Changed("one")
	r.Contains(told(one), "event: change")
	r.Contains(told(all), "event: change")
	hub.Changed("other")
	r.Contains(told(all), "event: change")
	hub.Close()
	rest, err := io.ReadAll(one)
	r.NoError(err)
	r.NotContains(string(rest), "event: change", "of another topic")
}

func TestWhatIsVendoredIsWhatItSays(t *testing.T) {
	t.Parallel()
	script, err := own.ReadFile("assets/idiomorph.js")
	require.NoError(t, err)
	about, err := own.ReadFile("assets/VENDORED.md")
	require.NoError(t, err)
	sum := sha256.Sum256(script)
	require.Contains(t, string(about), hex.EncodeToString(sum[:]))
}

func TestNumbersForPeople(t *testing.T) {
	t.Parallel()
	for n, expected := range map[int]string{0: "0", 999: "999", 1000: "1,000", -41200: "-41,200",
		1234567: "1,234,567"} {
		require.Equal(t, expected, Num(n))
	}
	for share, expected := range map[float64]string{0: "0 %", 0.001: "<1 %", 0.5: "50 %",
		0.999: ">99 %", 1: "100 %", 1.2: "120 %"} {
		require.Equal(t, expected, Percent(share))
	}
	for rate, expected := range map[float64]string{0: "0", 0.01: "<0.1", 1.25: "1.2", 1234: "1,234"} {
		require.Equal(t, expected, Rate(rate))
	}
	p := Printer{}
	for d, expected := range map[time.Duration]string{
		350 * time.Millisecond: "350 ms", 1500 * time.Millisecond: "1.5 s", 95 * time.Second: "95 s",
		4 * time.Minute: "4 min", 200 * time.Minute: "3 h 20 min", 72 * time.Hour: "3 days",
	} {
		require.Equal(t, expected, p.Took(d))
	}
	require.Equal(t, "a\ufffdb\ufffd<", Clean("a\u202eb\x00<"))
}
