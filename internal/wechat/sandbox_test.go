package wechat

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/kefuhq/kefu/internal/sandbox"
)

// TestNoCallIsEverRepeated breaks every call of the package at every place, on real sockets: the
// other side has seen it once, and what is said of it is true.
func TestNoCallIsEverRepeated(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		rule   sandbox.Rule
		fault  Fault
		giveUp bool // when it has been read
	}{
		"reset when the body was not read": {
			sandbox.Rule{Reset: sandbox.ResetUnread}, FaultUnknown, false,
		},
		"reset when it was not processed": {
			sandbox.Rule{Reset: sandbox.ResetBefore}, FaultUnknown, false,
		},
		"reset when it was processed": {
			sandbox.Rule{Reset: sandbox.ResetAfter}, FaultUnknown, false,
		},
		"no answer": {sandbox.Rule{Hang: true}, FaultUnknown, true},
		"no answer, though processed": {
			sandbox.Rule{Hang: true, Delivered: true}, FaultUnknown, true,
		},
		"an answer cut short": {sandbox.Rule{Truncate: 7}, FaultUnknown, false},
		"an answer that comes byte by byte": {
			sandbox.Rule{Drip: 20 * time.Millisecond}, FaultUnknown, true,
		},
		"an empty answer": {sandbox.Rule{HTTPStatus: http.StatusOK}, FaultUnknown, false},
		"HTML": {
			sandbox.Rule{HTTPStatus: http.StatusOK, Body: "<html>", ContentType: "text/html"},
			FaultUnknown, false,
		},
		"a bad gateway, though processed": {
			sandbox.Rule{HTTPStatus: http.StatusBadGateway, Delivered: true}, FaultUnknown, false,
		},
		"a gzip bomb":           {sandbox.Rule{GzipBomb: 200 << 20}, FaultUnknown, false},
		"an answer without end": {sandbox.Rule{PadBody: 10 << 20}, FaultUnknown, false},
		"a head without end":    {sandbox.Rule{PadHeader: 1 << 20}, FaultUnknown, false},
		"busy": {
			sandbox.Rule{HTTPStatus: http.StatusServiceUnavailable}, FaultBusy, false,
		},
		"too many": {
			sandbox.Rule{HTTPStatus: http.StatusTooManyRequests, RetryAfter: "5"}, FaultMinuteQuota,
			false,
		},
		"a redirect": {
			sandbox.Rule{Redirect: "http://127.0.0.1:1/?access_token=" + canary}, FaultConfig,
			false,
		},
		"a redirect that keeps the method": {
			sandbox.Rule{
				Redirect: "/cgi-bin/message/custom/send", HTTPStatus: http.StatusPermanentRedirect,
			},
			FaultConfig, false,
		},
		"errcode -1": {sandbox.Rule{Errcode: -1}, FaultBusy, false},
	} {
		for _, m := range methods {
			t.Run(m.name+": "+name, func(t *testing.T) {
				t.Parallel()
				sb, c := startSandbox(t, sandbox.Options{})
				sb.Add(row.rule)
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				if row.giveUp {
					go func() {
						_ = sb.WaitFor(ctx, sandbox.Filter{}, 1)
						cancel()
					}()
				}
				err := m.call(ctx, c)
				var e *Error
				require.ErrorAs(t, err, &e)
				require.Equal(t, row.fault, e.Fault, err)
				require.False(t, e.NotSent() && row.fault != FaultConfig)
				require.Equal(t, row.giveUp, errors.Is(err, context.Canceled))
				require.Equal(t, 1, sb.Count(sandbox.Filter{}), "it was seen once")
			})
		}
	}
}

func TestNoCallIsSentToNobody(t *testing.T) {
	t.Parallel()
	closed := newPeer(t, func(*session) {})
	require.NoError(t, closed.listener.Close())
	mute := newPeer(t, func(s *session) { <-s.done })
	for name, row := range map[string]struct {
		base    string
		timeout time.Duration
	}{
		"refused":                  {closed.url, longTimeout},
		"no such host":             {"http://no-such-host.invalid", longTimeout},
		"the TLS handshake stalls": {strings.Replace(mute.url, "http:", "https:", 1), shortTimeout},
	} {
		for _, m := range methods {
			err := m.call(t.Context(),
				NewClient(httpClient(t, row.timeout), row.base, fixedToken(canary)))
			var e *Error
			require.ErrorAs(t, err, &e, "%s: %s", m.name, name)
			require.Equal(t, FaultUpstream, e.Fault, "%s: %s", m.name, name)
			require.True(t, e.NotSent(), "%s: %s", m.name, name)
		}
	}
}

// process is one worker of a pool: its own connections, its own token source.
type process struct {
	tokens *StableToken
	client *Client
}

func newProcess(t *testing.T, url string) *process {
	t.Helper()
	hc := httpClient(t, longTimeout)
	tokens := NewStableToken(hc, url, testApp, func() (Secret, error) {
		return NewSecret(appSecret), nil
	})
	t.Cleanup(tokens.Close)
	return &process{tokens, NewClient(hc, url, tokens)}
}

func TestAPoolThatStartsTogetherAsksForFewTokens(t *testing.T) {
	t.Parallel()
	const processes, senders = 20, 16
	sb := sandbox.New(sandbox.Options{Apps: map[string]string{testApp: appSecret}})
	url, err := sb.Listen("127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, sb.Close()) })
	pool := make([]*process, processes)
	for i := range pool {
		pool[i] = newProcess(t, url)
	}
	sends := 0
	all := func(times int) {
		t.Helper()
		var wg sync.WaitGroup
		errs := make(chan error, processes*senders)
		for i, p := range pool {
			for j := range senders {
				wg.Go(func() {
					for k := range times {
						body := fmt.Sprintf(`{"touser":"o%d-%d","msgtype":"text",`+
							`"text":{"content":"%d"}}`, i, j, k)
						if err := p.client.Send(context.Background(), []byte(body)); err != nil {
							errs <- err
							return
						}
					}
				})
			}
		}
		wg.Wait()
		close(errs)
		require.NoError(t, <-errs)
		sends += processes * senders * times
	}
	tokenCalls := func() int { return sb.Count(sandbox.Filter{Call: sandbox.CallToken}) }

	all(2)
	require.LessOrEqual(t, tokenCalls(), processes, "at most one each")
	first := tokenCalls()

	// Every token ends. However many senders notice at once, a process asks once.
	sb.ExpireTokens(testApp)
	all(2)
	require.LessOrEqual(t, tokenCalls()-first, processes)
	require.Equal(t, sends, sb.Count(sandbox.Filter{Call: sandbox.CallSend, Delivered: true}),
		"and no message came twice or not at all")
}

// A pool whose endpoint keeps handing out a dead token gets a new one by force, once, and everybody
// has it.
func TestAPoolForcesOneRefresh(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	token, forced, left := "dead", 0, 1
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		mu.Lock()
		defer mu.Unlock()
		switch {
		case r.URL.Path != "/cgi-bin/stable_token" && r.URL.Query().Get("access_token") == "dead":
			_, _ = io.WriteString(w, `{"errcode":40001,"errmsg":"invalid credential"}`)
		case r.URL.Path != "/cgi-bin/stable_token":
			_, _ = io.WriteString(w, plainOK)
		default:
			if strings.Contains(string(body), `"force_refresh":true`) {
				token, forced = "new", forced+1
			}
			_, _ = fmt.Fprintf(w, `{"access_token":%q,"expires_in":7200}`, token)
		}
	}))
	t.Cleanup(server.Close)
	takes := ration(func() (bool, error) {
		mu.Lock()
		defer mu.Unlock()
		left--
		return left >= 0, nil
	})
	var wg sync.WaitGroup
	for range 8 {
		p := newProcess(t, server.URL)
		p.tokens.Rationed(takes)
		for range 4 {
			wg.Go(func() {
				require.EventuallyWithT(t, func(t *assert.CollectT) {
					require.NoError(t, p.client.Send(context.Background(), packet))
				}, longTimeout, 10*time.Millisecond)
			})
		}
	}
	wg.Wait()
	require.Equal(t, 1, forced)
}

// Not in parallel with others: it measures what the whole process allocates.
func TestAnAnswerOf10GBCosts64KiB(t *testing.T) {
	block := []byte(strings.Repeat("x", 64<<10))
	for way, client := range transports {
		for _, m := range methods {
			p := newPeer(t, func(s *session) {
				s.read()
				s.say("HTTP/1.1 200 OK\r\nContent-Length: 10737418240\r\n\r\n")
				for err := error(nil); err == nil; {
					_, err = s.Write(block)
				}
			})
			c := NewClient(client(t, longTimeout), p.url, fixedToken(canary))
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			err := m.call(t.Context(), c)
			runtime.ReadMemStats(&after)
			require.ErrorIs(t, err, errTooLong, "%s by %s", m.name, way)
			require.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(2<<20),
				"%s by %s", m.name, way)
		}
	}
}
