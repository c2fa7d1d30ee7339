package wechat

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// requireNoLeak asserts that no form of printing of value, and of every error below it, shows one
// of the secrets.
func requireNoLeak(t *testing.T, value any, secrets ...string) {
	t.Helper()
	var shown bytes.Buffer
	text := slog.New(slog.NewTextHandler(&shown, nil))
	lines := slog.New(slog.NewJSONHandler(&shown, nil))
	var show func(v any)
	show = func(v any) {
		verbs := []string{"%v", "%+v", "%#v"}
		if _, ok := v.(error); ok {
			// of anything live these would walk through all below it
			verbs = append(verbs, "%s", "%q", "%x")
		}
		for _, verb := range verbs {
			fmt.Fprintf(&shown, verb+"\n", v)
		}
		text.Error("x", "v", v, slog.Group("g", "v", v))
		lines.Error("x", "v", v, slog.Group("g", "v", v))
		switch e := v.(type) {
		case interface{ Unwrap() error }:
			if inner := e.Unwrap(); inner != nil {
				show(inner)
			}
		case interface{ Unwrap() []error }:
			for _, inner := range e.Unwrap() {
				show(inner)
			}
		}
		if e, ok := v.(*Error); ok {
			show(*e)
		}
	}
	show(value)
	for _, secret := range secrets {
		for _, form := range []string{secret, url.QueryEscape(secret), fmt.Sprintf("%x", secret)} {
			require.False(t, strings.Contains(shown.String(), form),
				"%q is shown by %v", form, value)
		}
	}
}

// TestLeaksNothing holds every call of the package against every failure there is, with a server
// that repeats whatever it was told wherever it can, and looks for the token, the AppSecret and the
// openid in all that comes out.
const (
	leakToken  = "TOKEN/canary+0123456789=="
	leakOpenID = "oOPENID-canary-1234"
)

func TestLeaksNothing(t *testing.T) {
	t.Parallel()
	calls := leakingCalls()
	for name, base := range leakFailures(t) {
		for method, row := range calls {
			t.Run(method+"/"+name, func(t *testing.T) {
				t.Parallel()
				timeout := longTimeout
				if name == "timeout" || name == "TLS stalls" || name == "body dries up" {
					timeout = shortTimeout
				}
				others, err := row.call(t.Context(), httpClient(t, timeout), base)
				require.Error(t, err)
				requireNoLeak(t, err, row.known...)
				for _, other := range others {
					requireNoLeak(t, other, row.known...)
				}
			})
		}
	}
}

// leakFailures starts servers that fail in every way and repeat secrets, and returns their base
// URLs by the name of the failure.
func leakFailures(t *testing.T) map[string]string {
	echo := strings.Join([]string{leakToken, url.QueryEscape(leakToken), appSecret, leakOpenID},
		" ")

	closed := newPeer(t, func(*session) {})
	require.NoError(t, closed.listener.Close())
	raw := func(text string, then func(s *session)) string {
		return newPeer(t, func(s *session) {
			s.read()
			s.say(text)
			then(s)
		}).url
	}
	quit, hold := func(*session) {}, func(s *session) { <-s.done }
	http1 := func(status, header, body string) string {
		return fmt.Sprintf("HTTP/1.1 %s\r\n%sContent-Length: %d\r\nConnection: close\r\n\r\n%s",
			status, header, len(body), body)
	}
	untrusted := httptest.NewUnstartedServer(http.NotFoundHandler())
	untrusted.Config.ErrorLog = discardLog
	untrusted.StartTLS()
	t.Cleanup(untrusted.Close)
	mute := newPeer(t, hold)

	failures := map[string]string{
		"refused":           closed.url,
		"no such host":      "http://no-such-host.invalid",
		"unusable base URL": "ht!tp://" + url.PathEscape(leakToken),
		"base URL in parts": "http://user:" + url.QueryEscape(leakToken) + "@127.0.0.1:1/%zz",
		"timeout":           mute.url,
		"TLS stalls":        strings.Replace(mute.url, "http:", "https:", 1),
		"TLS not trusted":   untrusted.URL,
		"TLS where none is": strings.Replace(raw("", quit), "http:", "https:", 1),
		"reset before": newPeer(t, func(s *session) {
			_, _ = s.in.Peek(1)
			s.reset()
		}).url,
		"reset after":        raw("", (*session).reset),
		"closed after":       raw("", quit),
		"not HTTP":           raw(echo+"\r\n\r\n", quit),
		"a strange status":   raw("HTTP/1.1 "+echo+"\r\n\r\n", quit),
		"a strange header":   raw("HTTP/1.1 200 OK\r\n"+echo+"\r\n\r\n", quit),
		"a strange length":   raw("HTTP/1.1 200 OK\r\nContent-Length: "+echo+"\r\n\r\n", quit),
		"a strange encoding": raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: "+echo+"\r\n\r\n", quit),
		"a strange chunk": raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"+echo+
			"\r\n", quit),
		"body dries up":  raw("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"+echo, hold),
		"body cut short": raw("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"+echo, quit),
		"redirect": raw(http1("302 Found",
			"Location: https://elsewhere.example/?access_token="+leakToken+"\r\n", echo), quit),
		"redirect to a secret": raw(http1("302 Found",
			"Location: https://"+leakOpenID+".example/\r\n", echo), quit),
		"redirect to nowhere": raw(http1("302 Found",
			"Location: http://%zz"+leakToken+"\r\n", echo), quit),
		"429":         raw(http1("429 Slow Down", "Retry-After: "+leakToken+"\r\n", echo), quit),
		"412":         raw(http1("412 "+leakToken, "", echo), quit),
		"500":         raw(http1("500 "+leakToken, "", echo), quit),
		"503":         raw(http1("503 "+leakToken, "", echo), quit),
		"empty":       raw(http1("200 OK", "", ""), quit),
		"text":        raw(http1("200 OK", "", echo), quit),
		"bad JSON":    raw(http1("200 OK", "", `{"errcode":"`+echo+`"`), quit),
		"bad errcode": raw(http1("200 OK", "", `{"errcode":"`+echo+`"}`), quit),
		"no errcode":  raw(http1("200 OK", "", `{"x":"`+echo+`"}`), quit),
	}
	for _, code := range []int{-1, 40001, 40003, 40164, 42001, 45009, 45011, 45015, 47001, 99999} {
		body := fmt.Sprintf(`{"errcode":%d,"errmsg":"%s rid: %s"}`, code, echo, leakToken)
		failures[fmt.Sprintf("errcode %d", code)] = raw(http1("200 OK", "", body), quit)
		failures[fmt.Sprintf("errcode %d by 500", code)] = raw(http1("500 Oops", "", body), quit)
	}
	return failures
}

// leakingCall is a call that must show nothing of what it knows.
type leakingCall struct {
	known []string // what the call has been told, and so can repeat
	call  func(ctx context.Context, hc *http.Client, base string) ([]any, error)
}

// leakingCalls returns the calls of tokens and of every method, by name.
func leakingCalls() map[string]leakingCall {
	calls := map[string]leakingCall{
		"stable token": {[]string{appSecret},
			func(ctx context.Context, hc *http.Client, base string) ([]any, error) {
				s := NewStableToken(hc, base, "wx1", func() (Secret, error) {
					return NewSecret(appSecret), nil
				})
				defer s.Close()
				err := s.Probe(ctx)
				return []any{s, s.State()}, err
			}},
		"token url": {[]string{leakToken, appSecret, leakOpenID},
			func(ctx context.Context, hc *http.Client, base string) ([]any, error) {
				s := NewURLToken(hc,
					base+"/?a="+url.QueryEscape(leakToken)+"&b="+appSecret+"&c="+leakOpenID)
				defer s.Close()
				err := s.Probe(ctx)
				return []any{s, s.State()}, err
			}},
	}
	for _, m := range methods {
		known := []string{leakToken}
		switch m.name {
		case "send", "typing", "cancel typing":
			known = append(known, leakOpenID)
		case "add", "update":
			known = append(known, testChange().Password.Reveal())
		}
		calls[m.name] = leakingCall{known,
			func(ctx context.Context, hc *http.Client, base string) ([]any, error) {
				c := NewClient(hc, base, fixedToken(leakToken))
				return []any{c}, m.call(ctx, c)
			}}
	}
	return calls
}

// TestNoErrcodeLeaks is the same for every errcode there is, by a server that is told in its path
// which one to say.
func TestNoErrcodeLeaks(t *testing.T) {
	t.Parallel()
	echo := strings.Join([]string{canary, appSecret, testOpenID,
		testChange().Password.Reveal()}, " ")
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		code, _, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
		_, _ = fmt.Fprintf(w, `{"errcode":%s,"errmsg":"%s rid: %s"}`, code, echo, canary)
	}))
	t.Cleanup(server.Close)
	hc := httpClient(t, longTimeout)
	codes := map[int]bool{99999: true}
	for _, row := range Codes() {
		codes[row.Code] = row.Code != 0
	}
	for code, fails := range codes {
		if !fails {
			continue
		}
		base := fmt.Sprintf("%s/%d", server.URL, code)
		for _, m := range methods {
			err := m.call(t.Context(), NewClient(hc, base, fixedToken(canary)))
			require.ErrorIs(t, err, &Error{Code: code, HasCode: true}, m.name)
			require.NotContains(t, err.Error(), canary, m.name)
			switch m.name {
			case "send", "typing", "cancel typing":
				require.NotContains(t, err.Error(), testOpenID, m.name)
			case "add", "update":
				require.NotContains(t, err.Error(), testChange().Password.Reveal(), m.name)
			}
		}
		s := NewStableToken(hc, base, "wx1", func() (Secret, error) {
			return NewSecret(appSecret), nil
		})
		err := s.Probe(t.Context())
		s.Close()
		require.ErrorIs(t, err, &Error{Call: CallToken, Code: code, HasCode: true})
		require.NotContains(t, err.Error(), appSecret)
	}
}

func TestTokenFileErrorsShowNoToken(t *testing.T) {
	t.Parallel()
	f := NewFileToken(filepath.Join(t.TempDir(), "token"))
	f.state.Store(&fileState{token: NewSecret(canary), checked: time.Now()})
	requireNoLeak(t, f, canary)
	token, err := f.Token(t.Context())
	require.NoError(t, err)
	f.Stale(token)
	token, err = f.Token(t.Context())
	require.NoError(t, err, "once more")
	f.Stale(token)
	_, err = f.Token(t.Context())
	require.ErrorContains(t, err, "is stale")
	requireNoLeak(t, err, canary)
	requireNoLeak(t, f, canary)
}

// TestAChainThatShowsASecretIsCutOff: what is left of it is its text without the secret, and its
// nature.
func TestAChainThatShowsASecretIsCutOff(t *testing.T) {
	t.Parallel()
	m := newMask(canary)
	for name, row := range map[string]struct {
		err  error
		want string
		is   error
	}{
		"a url.Error": {
			&url.Error{
				Op: "Post", URL: "http://x/?access_token=" + canary, Err: context.DeadlineExceeded,
			},
			"context deadline exceeded", context.DeadlineExceeded,
		},
		"a wrapped url.Error": {
			fmt.Errorf("oops: %w", &url.Error{Op: "Post", URL: canary, Err: io.EOF}), "EOF", io.EOF,
		},
		"one within another": {
			&url.Error{URL: canary, Err: &url.Error{URL: canary, Err: io.EOF}}, "EOF", io.EOF,
		},
		"a text": {
			fmt.Errorf("got %s: %w", canary, io.ErrUnexpectedEOF), "got [redacted]: unexpected EOF",
			io.ErrUnexpectedEOF,
		},
		"a text deep below": {
			fmt.Errorf("a: %w", errors.Join(errors.New("b"), errors.New(canary))),
			"a: b [redacted]", nil,
		},
		"a field and not a text": {hiddenField{canary}, "nothing to see", nil},
		"nothing of the kind":    {&tls.RecordHeaderError{Msg: "x"}, "tls: x", nil},
	} {
		got := m.err(row.err)
		require.EqualError(t, got, row.want, name)
		requireNoLeak(t, got, canary)
		if row.is != nil {
			require.ErrorIs(t, got, row.is, name)
		}
	}
	var kept *tls.RecordHeaderError
	require.ErrorAs(t, m.err(&tls.RecordHeaderError{Msg: "x"}), &kept)
}

type hiddenField struct{ field string }

func (hiddenField) Error() string { return "nothing to see" }
