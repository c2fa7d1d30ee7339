package wechat

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// api is a fake of WeChat: it answers each call by a function and remembers which tokens came.
type api struct {
	*httptest.Server
	mu     sync.Mutex
	tokens []string // of the sends, in order
}

func newAPI(t *testing.T, answer func(token string) string) *api {
	t.Helper()
	a := &api{}
	a.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		token := r.URL.Query().Get("access_token")
		a.mu.Lock()
		a.tokens = append(a.tokens, token)
		a.mu.Unlock()
		_, _ = io.WriteString(w, answer(token))
	}))
	t.Cleanup(a.Close)
	return a
}

func (a *api) seen() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return append([]string(nil), a.tokens...)
}

// succession hands out its tokens one after the other, a new one after each Stale of the current.
type succession struct {
	tokens []string
	stale  []string
}

func (s *succession) Token(context.Context) (Secret, error) {
	if len(s.tokens) == 0 {
		return Secret{}, &Error{Call: CallToken, Fault: FaultConfig, Code: 40164, HasCode: true}
	}
	return NewSecret(s.tokens[0]), nil
}

func (s *succession) Stale(failed Secret) {
	s.stale = append(s.stale, failed.Reveal())
	if len(s.tokens) > 0 && s.tokens[0] == failed.Reveal() {
		s.tokens = s.tokens[1:]
	}
}

func TestAStaleTokenIsReplacedWithinTheSend(t *testing.T) {
	t.Parallel()
	accept := func(good, refusal string) func(string) string {
		return func(token string) string {
			if token == good {
				return plainOK
			}
			return refusal
		}
	}
	once := func(refusal string) func(string) string {
		var calls atomic.Int64
		return func(string) string {
			if calls.Add(1) == 1 {
				return refusal
			}
			return plainOK
		}
	}
	stale := `{"errcode":40001,"errmsg":"invalid credential rid: 1-2-3"}`
	for name, row := range map[string]struct {
		tokens []string
		answer func(string) string
		want   *Error
		seen   []string // the tokens that the server saw
		stale  []string // the tokens that were called stale
	}{
		"a good token is used once": {
			[]string{"new"}, accept("new", stale), nil, []string{"new"}, nil,
		},
		"40001 fetches a new one": {
			[]string{"old", "new"}, accept("new", stale), nil, []string{"old", "new"},
			[]string{"old"},
		},
		"40014 too": {
			[]string{"old", "new"}, accept("new", `{"errcode":40014}`), nil, []string{"old", "new"},
			[]string{"old"},
		},
		"41001 too": {
			[]string{"old", "new"}, accept("new", `{"errcode":41001}`), nil, []string{"old", "new"},
			[]string{"old"},
		},
		"42001 too": {
			[]string{"old", "new"}, accept("new", `{"errcode":42001}`), nil, []string{"old", "new"},
			[]string{"old"},
		},
		"the same token is tried again": {
			[]string{"old", "old", "old"}, accept("new", stale),
			&Error{Call: CallSend, Fault: FaultToken, Code: 40001}, []string{"old", "old"},
			[]string{"old", "old"},
		},
		"and may be good then": {
			[]string{"old", "old"}, once(stale), nil, []string{"old", "old"}, []string{"old"},
		},
		"then only another one is tried": {
			[]string{"old", "old", "new"}, accept("new", stale), nil, []string{"old", "old", "new"},
			[]string{"old", "old"},
		},
		"which is the last": {
			[]string{"old", "old", "b", "c"}, accept("c", stale),
			&Error{Call: CallSend, Fault: FaultToken, Code: 40001}, []string{"old", "old", "b"},
			[]string{"old", "old"},
		},
		"or the source says what is up": {
			[]string{"old", "old"}, accept("new", stale),
			&Error{Call: CallToken, Fault: FaultConfig, Code: 40164}, []string{"old", "old"},
			[]string{"old", "old"},
		},
		"a second refusal is final": {
			[]string{"a", "b", "c"}, accept("c", stale),
			&Error{Call: CallSend, Fault: FaultToken, Code: 40001}, []string{"a", "b"},
			[]string{"a"},
		},
		"no new token to be had": {
			[]string{"old"}, accept("new", stale),
			&Error{Call: CallToken, Fault: FaultConfig, Code: 40164}, []string{"old"},
			[]string{"old"},
		},
		"no token from the start": {
			nil, accept("new", stale), &Error{Call: CallToken, Fault: FaultConfig, Code: 40164},
			nil, nil,
		},
		"another code leaves the token": {
			[]string{"old", "new"}, accept("new", `{"errcode":45015}`),
			&Error{Call: CallSend, Fault: FaultRecipient, Code: 45015}, []string{"old"}, nil,
		},
		"the second answer counts": {
			[]string{"old", "new"},
			func(token string) string {
				return map[string]string{"old": stale, "new": `{"errcode":45009}`}[token]
			},
			&Error{Call: CallSend, Fault: FaultDayQuota, Code: 45009}, []string{"old", "new"},
			[]string{"old"},
		},
		"the second answer may be no use": {
			[]string{"old", "new"},
			func(token string) string { return map[string]string{"old": stale, "new": ""}[token] },
			&Error{Call: CallSend, Fault: FaultUnknown}, []string{"old", "new"}, []string{"old"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server, source := newAPI(t, row.answer), &succession{tokens: row.tokens}
			c := NewClient(httpClient(t, longTimeout), server.URL, source)
			err := c.Send(t.Context(), packet)
			require.Equal(t, row.seen, server.seen())
			require.Equal(t, row.stale, source.stale)
			if row.want == nil {
				require.NoError(t, err)
				return
			}
			var e *Error
			require.ErrorAs(t, err, &e)
			require.Equal(t, row.want.Fault, e.Fault)
			require.Equal(t, row.want.Call, e.Call)
			require.Equal(t, row.want.Code, e.Code)
			require.Equal(t, row.want.Call == CallToken, e.NotSent())
		})
	}
}

func TestAForeignTokenSourcesErrorIsClassed(t *testing.T) {
	t.Parallel()
	broken := errors.New("vault sealed")
	source := tokenSource{token: func(context.Context) (Secret, error) { return Secret{}, broken }}
	client := NewClient(httpClient(t, longTimeout), "http://127.0.0.1:1", source)
	for _, err := range []error{client.Send(t.Context(), packet), client.Probe(t.Context())} {
		var e *Error
		require.ErrorAs(t, err, &e)
		require.Equal(t, FaultUpstream, e.Fault)
		require.Equal(t, CallToken, e.Call)
		require.True(t, e.NotSent())
		require.ErrorIs(t, err, broken)
		require.EqualError(t, err, "token: upstream: vault sealed")
	}
	require.NoError(t, NewClient(nil, "http://127.0.0.1:1", fixedToken("t")).Probe(t.Context()))
}

func TestABadBaseURLIsConfig(t *testing.T) {
	t.Parallel()
	for _, base := range []string{"", "api.weixin.qq.com", "ftp://x", "http://",
		"http://%zz", "://"} {
		e := send(t.Context(), t, httpClient(t, longTimeout), base)
		require.Equal(t, FaultConfig, e.Fault, base)
		require.True(t, e.NotSent())

		source := NewStableToken(httpClient(t, longTimeout), base, "wx1", func() (Secret, error) {
			return NewSecret("s"), nil
		})
		_, err := source.Token(t.Context())
		require.ErrorIs(t, err, errBaseURL, base)
		source.Close()
	}
}

func TestThePersonIsNotNamed(t *testing.T) {
	t.Parallel()
	server := newAPI(t, func(string) string {
		return `{"errcode":40003,"errmsg":"invalid openid oOPENID-canary-1234 rid: 1"}`
	})
	e := send(t.Context(), t, httpClient(t, longTimeout), server.URL)
	require.Equal(t, "invalid openid [redacted] rid: 1", e.Msg)
}

func TestErrorsSayWhatHappened(t *testing.T) {
	t.Parallel()
	for want, e := range map[string]*Error{
		"send: recipient: errcode 45015 (window_closed): late rid: 1": {
			Call: CallSend, Fault: FaultRecipient, HTTPStatus: 200, Code: 45015, HasCode: true,
			Msg: "late rid: 1", RID: "1",
		},
		"token: config: errcode 40001 (appsecret_wrong)": {
			Call: CallToken, Fault: FaultConfig, HTTPStatus: 200, Code: 40001, HasCode: true,
		},
		"send: unlisted: errcode 99999 (unlisted): x": {
			Call: CallSend, Fault: FaultUnlisted, HTTPStatus: 200, Code: 99999, HasCode: true,
			Msg: "x",
		},
		"send: minute_quota: http 429: retry after 5s": {
			Call: CallSend, Fault: FaultMinuteQuota, HTTPStatus: 429, RetryAfter: 5 * time.Second,
		},
		"send: unknown: http 502": {Call: CallSend, Fault: FaultUnknown, HTTPStatus: 502},
		"send: unknown: the answer is empty": {
			Call: CallSend, Fault: FaultUnknown, HTTPStatus: 200, Err: errEmptyReply,
		},
		"send: upstream: context canceled": {
			Call: CallSend, Fault: FaultUpstream, Err: context.Canceled,
		},
		"typing: busy: errcode -1 (busy): system error": {
			Call: CallTyping, Fault: FaultBusy, Code: -1, HasCode: true, Msg: "system error",
		},
	} {
		require.EqualError(t, e, want)
	}
}

func TestErrorsMatchByCode(t *testing.T) {
	t.Parallel()
	err := error(&Error{Call: CallSend, Fault: FaultRecipient, Code: 45015, HasCode: true})
	require.ErrorIs(t, err, &Error{Code: 45015, HasCode: true})
	require.ErrorIs(t, err, &Error{Call: CallSend, Code: 45015, HasCode: true})
	require.NotErrorIs(t, err, &Error{Call: CallToken, Code: 45015, HasCode: true})
	require.NotErrorIs(t, err, &Error{Code: 45047, HasCode: true})
	require.NotErrorIs(t, &Error{Call: CallSend, Fault: FaultUnknown}, &Error{})
	require.False(t, (&Error{}).Timeout())
}

func TestSendIsSafeForManyAtOnce(t *testing.T) {
	t.Parallel()
	server := newAPI(t, func(token string) string {
		if token == "old" {
			return `{"errcode":42001}`
		}
		return plainOK
	})
	var mu sync.Mutex
	current := "old"
	source := tokenSource{
		token: func(context.Context) (Secret, error) {
			mu.Lock()
			defer mu.Unlock()
			return NewSecret(current), nil
		},
		stale: func(failed Secret) {
			mu.Lock()
			defer mu.Unlock()
			if failed.Reveal() == "old" {
				current = "new"
			}
		},
	}
	client := NewClient(httpClient(t, longTimeout), server.URL, source)
	errs := make(chan error, 64)
	for range cap(errs) {
		go func() { errs <- client.Send(t.Context(), packet) }()
	}
	for range cap(errs) {
		require.NoError(t, <-errs)
	}
}

func TestAMessageIsLookedAtOnceMoreWhenTheTokenIsAtHand(t *testing.T) {
	t.Parallel()
	server := newAPI(t, func(token string) string {
		if token == "old" {
			return `{"errcode":42001,"errmsg":"access_token expired"}`
		}
		return plainOK
	})
	late := errors.New("too late")
	for name, row := range map[string]struct {
		looks int // after so many it may go no more
		sent  []string
	}{
		"before the first try":            {0, nil},
		"before the one with a new token": {1, []string{"old"}},
		"and may go":                      {2, []string{"old", "new"}},
	} {
		t.Run(name, func(t *testing.T) {
			before := len(server.seen())
			looked := 0
			tokens := &succession{tokens: []string{"old", "new"}}
			client := NewClient(httpClient(t, longTimeout), server.URL, tokens)
			err := client.Deliver(t.Context(), Message{Packet: packet, Before: func() error {
				if looked++; looked > row.looks {
					return late
				}
				return nil
			}})
			if row.looks < 2 {
				require.Equal(t, late, err)
			} else {
				require.NoError(t, err)
			}
			require.Equal(t, row.sent, append([]string(nil), server.seen()[before:]...))
		})
	}
}

func TestTheTraceGoesWithTheMessage(t *testing.T) {
	t.Parallel()
	const trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
	for way, client := range transports {
		t.Run(way, func(t *testing.T) {
			t.Parallel()
			got := make(chan []string, 2)
			server := httptest.NewServer(http.HandlerFunc(
				func(w http.ResponseWriter, r *http.Request) {
					got <- r.Header.Values("traceparent")
					_, _ = io.WriteString(w, plainOK)
				}))
			t.Cleanup(server.Close)
			c := NewClient(client(t, longTimeout), server.URL, fixedToken("t"))
			require.NoError(t, c.Deliver(t.Context(), Message{Packet: packet, Traceparent: trace}))
			require.Equal(t, []string{trace}, <-got)
			require.NoError(t, c.Send(t.Context(), packet))
			require.Empty(t, <-got, "and not with the next")
		})
	}
}
