package wechat

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

var packet = []byte(`{"touser":"oOPENID-canary-1234","msgtype":"text",` +
	`"text":{"content":"你好 <a href=\"https://x\">&</a>"}}`)

func send(ctx context.Context, t *testing.T, hc *http.Client, base string) *Error {
	t.Helper()
	err := NewClient(hc, base, fixedToken(canary)).Send(ctx, packet)
	if err == nil {
		return nil
	}
	var e *Error
	require.ErrorAs(t, err, &e)
	require.Equal(t, CallSend, e.Call)
	return e
}

// TestBrokenSends is the table of what a broken exchange means, on real sockets. posts is how often
// the other side read the message: never more than once.
func TestBrokenSends(t *testing.T) {
	t.Parallel()
	hold := func(s *session) { <-s.done }
	for name, row := range map[string]struct {
		serve   func(s *session)
		fault   Fault
		posts   int64
		timeout bool
	}{
		"reset after the first bytes arrived": {func(s *session) {
			_, _ = s.in.Peek(1)
			s.reset()
		}, FaultUnknown, 0, false},
		"reset after the request was read": {func(s *session) {
			s.read()
			s.reset()
		}, FaultUnknown, 1, false},
		"closed after the request was read": {
			func(s *session) { s.read() },
			FaultUnknown, 1, false,
		},
		"no answer at all": {func(s *session) {
			s.read()
			hold(s)
		}, FaultUnknown, 1, true},
		"half a status line": {func(s *session) {
			s.read()
			s.say("HTTP/1.1 20")
		}, FaultUnknown, 1, false},
		"headers, then nothing": {func(s *session) {
			s.read()
			s.say("HTTP/1.1 200 OK\r\nContent-Length: 27\r\n\r\n")
			hold(s)
		}, FaultUnknown, 1, true},
		"a body that dries up": {func(s *session) {
			s.read()
			s.say("HTTP/1.1 200 OK\r\nContent-Length: 27\r\n\r\n{\"errcode\":0")
			hold(s)
		}, FaultUnknown, 1, true},
		"a body cut short": {func(s *session) {
			s.read()
			s.say("HTTP/1.1 200 OK\r\nContent-Length: 27\r\n\r\n{\"errcode\":0")
		}, FaultUnknown, 1, false},
		"a chunked body cut short": {func(s *session) {
			s.read()
			s.say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1b\r\n" + plainOK + "\r\n")
		}, FaultUnknown, 1, false},
		"an empty 200": {func(s *session) {
			s.read()
			s.say("HTTP/1.1 200 OK\r\n" +
				"Content-Type: text/html; charset=gbk\r\nContent-Length: 0\r\n\r\n")
		}, FaultUnknown, 1, false},
		"no HTTP": {func(s *session) {
			s.read()
			s.say("SSH-2.0-OpenSSH_9.9\r\n")
		}, FaultUnknown, 1, false},
		"an answer before the request is read": {func(s *session) {
			_, _ = s.in.Peek(1)
			s.say("HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
			hold(s)
		}, FaultUnknown, 0, false},
		"headers without end": {func(s *session) {
			s.read()
			s.say("HTTP/1.1 200 OK\r\n")
			for err := error(nil); err == nil; {
				_, err = fmt.Fprintf(s.Conn, "X-Filler: %s\r\n", strings.Repeat("x", 1024))
			}
		}, FaultUnknown, 1, false},
	} {
		for way, client := range transports {
			t.Run(name+" by "+way, func(t *testing.T) {
				t.Parallel()
				p := newPeer(t, row.serve)
				timeout := longTimeout
				if row.timeout {
					timeout = mediumTimeout
				}
				e := send(t.Context(), t, client(t, timeout), p.url)
				require.NotNil(t, e)
				require.Equal(t, row.fault, e.Fault, e.Error())
				require.False(t, e.NotSent())
				require.Equal(t, row.timeout, e.Timeout(), e.Error())
				require.Equal(t, row.posts, p.posts.Load())
			})
		}
	}
}

func TestABodyWithoutEndIsCutOff(t *testing.T) {
	t.Parallel()
	for name, header := range map[string]string{
		"10 GB":                 "Content-Length: 10737418240\r\n",
		"chunks without end":    "Transfer-Encoding: chunked\r\n",
		"until the end":         "Connection: close\r\n",
		"gzip, never asked for": "Content-Encoding: gzip\r\nContent-Length: 10737418240\r\n",
	} {
		for way, client := range transports {
			t.Run(name+" by "+way, func(t *testing.T) {
				t.Parallel()
				var written atomic.Int64
				p := newPeer(t, func(s *session) {
					if s.read().Header.Get("Accept-Encoding") != "" {
						s.t.Error("compression was asked for")
					}
					s.say("HTTP/1.1 200 OK\r\n" + header + "\r\n")
					block := strings.Repeat("1000\r\n"+strings.Repeat("x", 0x1000)+"\r\n", 16)
					for err, n := error(nil), 0; err == nil; written.Add(int64(n)) {
						n, err = io.WriteString(s.Conn, block)
					}
				})
				e := send(t.Context(), t, client(t, longTimeout), p.url)
				require.Equal(t, FaultUnknown, e.Fault)
				require.ErrorIs(t, e, errTooLong)
				require.EqualValues(t, 1, p.posts.Load())
				require.Less(t, written.Load(), int64(64<<20),
					"more than the buffers of the sockets hold")
			})
		}
	}
}

func TestNotSent(t *testing.T) {
	t.Parallel()
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	closed := newPeer(t, func(*session) {})
	require.NoError(t, closed.listener.Close())
	mute := newPeer(t, func(s *session) { <-s.done })

	for name, row := range map[string]struct {
		ctx     context.Context
		base    string
		timeout time.Duration
		is      error
	}{
		"refused":               {t.Context(), closed.url, longTimeout, syscall.ECONNREFUSED},
		"no such host":          {t.Context(), "http://no-such-host.invalid", longTimeout, nil},
		"the context had ended": {ended, mute.url, longTimeout, context.Canceled},
		"the TLS handshake stalls": {
			t.Context(), strings.Replace(mute.url, "http:", "https:", 1), shortTimeout,
			context.DeadlineExceeded,
		},
		"a server that speaks no TLS": {
			t.Context(),
			strings.Replace(newPeer(t, func(s *session) {
				s.say("HTTP/1.1 400 Bad Request\r\n\r\n")
			}).url, "http:", "https:", 1),
			longTimeout, nil,
		},
	} {
		for way, client := range transports {
			t.Run(name+" by "+way, func(t *testing.T) {
				t.Parallel()
				e := send(row.ctx, t, client(t, row.timeout), row.base)
				require.NotNil(t, e)
				require.Equal(t, FaultUpstream, e.Fault, e.Error())
				require.True(t, e.NotSent())
				if row.is != nil {
					require.ErrorIs(t, e, row.is)
				}
			})
		}
	}
	t.Cleanup(func() { require.Zero(t, closed.posts.Load()+mute.posts.Load()) })
}

func TestTimeoutWhileConnectingIsNotSent(t *testing.T) {
	t.Parallel()
	for way, client := range transports {
		hc := client(t, shortTimeout)
		setDial(hc, func(ctx context.Context, _, _ string) (net.Conn, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		})
		e := send(t.Context(), t, hc, "http://192.0.2.1")
		require.Equal(t, FaultUpstream, e.Fault, way)
		require.True(t, e.Timeout(), way)
	}
}

func TestTheCallersEndIsSeenAndTheFaultToldApart(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	p := newPeer(t, func(s *session) {
		s.read()
		cancel() // shutdown, while the message is under way
		<-s.done
	})
	e := send(ctx, t, httpClient(t, longTimeout), p.url)
	require.Equal(t, FaultUnknown, e.Fault)
	require.ErrorIs(t, e, context.Canceled)
	require.False(t, e.Timeout())
	require.EqualValues(t, 1, p.posts.Load())
}

// awaitEnd returns when the end of a connection has reached this side.
func awaitEnd(t *testing.T, conn net.Conn) {
	t.Helper()
	require.Eventually(t, func() bool { return !alive(conn) }, longTimeout, time.Millisecond)
}

func TestAnIdleConnectionClosedByThePeerCostsNothing(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(s *session){
		"closed": func(s *session) { _ = s.Close() },
		"reset":  (*session).reset,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPeer(t, func(s *session) {
				s.read()
				s.ok()
				end(s)
			})
			hc := httpClient(t, longTimeout)
			conns := make(chan net.Conn, 1)
			setDial(hc, func(ctx context.Context, network, addr string) (net.Conn, error) {
				conn, err := new(net.Dialer).DialContext(ctx, network, addr)
				if err == nil {
					conns <- conn
				}
				return conn, err
			})
			client := NewClient(hc, p.url, fixedToken(canary))
			for i := range 50 {
				require.NoError(t, client.Send(t.Context(), packet))
				require.EqualValues(t, i+1, p.posts.Load(), "each message arrives exactly once")
				// A send that is written before the end has arrived is unknown, and rightly so.
				awaitEnd(t, <-conns)
			}
		})
	}
}

// flaky is a connection whose write number fail, from 1, fails after some bytes.
type flaky struct {
	net.Conn
	fail, after int
}

func (f *flaky) Write(p []byte) (int, error) {
	if f.fail--; f.fail != 0 {
		return f.Conn.Write(p)
	}
	n := 0
	if f.after > 0 {
		n, _ = f.Conn.Write(p[:f.after])
	}
	return n, &net.OpError{Op: "write", Net: "tcp", Err: syscall.EPIPE}
}

func TestTheCountOfBytesDecides(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		fail, after int // of each connection
		sends       int
		fault       Fault // of the last send
		posts       int64
		conns       int64
	}{
		"a fresh connection that fails before the first byte": {1, 0, 1, FaultUpstream, 0, 1},
		"a fresh connection that fails after one byte":        {1, 1, 1, FaultUnknown, 0, 1},
		"a used connection that fails before the first byte":  {2, 0, 2, FaultNone, 2, 2},
		"a used connection that fails after one byte":         {2, 1, 2, FaultUnknown, 1, 1},
		"a used connection that fails within the last message": {
			2, len(packet), 2, FaultUnknown, 1, 1,
		},
	} {
		for way, client := range transports {
			t.Run(name+" by "+way, func(t *testing.T) {
				t.Parallel()
				p := newPeer(t, func(s *session) {
					for s.read() != nil {
						s.ok()
					}
				})
				hc := client(t, longTimeout)
				var conns atomic.Int64
				setDial(hc, func(ctx context.Context, network, addr string) (net.Conn, error) {
					conns.Add(1)
					conn, err := new(net.Dialer).DialContext(ctx, network, addr)
					return &countedConn{Conn: &flaky{conn, row.fail, row.after}}, err
				})
				var last *Error
				for range row.sends {
					require.Nil(t, last)
					last = send(t.Context(), t, hc, p.url)
				}
				if row.fault == FaultNone {
					require.Nil(t, last)
				} else {
					require.Equal(t, row.fault, last.Fault, last.Error())
					require.Equal(t, row.fault == FaultUpstream, last.NotSent())
					require.ErrorIs(t, last, syscall.EPIPE)
				}
				require.Equal(t, row.posts, p.posts.Load())
				require.Equal(t, row.conns, conns.Load())
			})
		}
	}
}

func TestDeadConnectionsAreReplacedAFewTimesOnly(t *testing.T) {
	t.Parallel()
	tries := 0
	conn, other := net.Pipe()
	defer func() { _, _ = conn.Close(), other.Close() }()
	w := wire{traced: true, timeout: longTimeout,
		rt: roundTrip(func(r *http.Request) (*http.Response, error) {
			tries++
			gotConn(r, &countedConn{Conn: conn}, true)
			return nil, errors.New("closed")
		})}
	_, left, err := w.exchange(t.Context(),
		newRequest(http.MethodPost, &url.URL{Scheme: "http", Host: "x"}), &Message{Packet: packet})
	require.EqualError(t, err, "closed")
	require.False(t, left)
	require.Equal(t, maxStale, tries)
}

func TestAForeignTransportIsNotTrusted(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		err   error
		fault Fault
	}{
		"a dial error is plain": {
			&net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}, FaultUpstream,
		},
		"anything else may have been sent": {errors.New("broken"), FaultUnknown},
		"so may what it wraps with its URL": {
			&url.Error{
				Op: "Post", URL: "http://x?access_token=" + canary, Err: errors.New("broken"),
			},
			FaultUnknown,
		},
	} {
		hc := &http.Client{Transport: roundTrip(func(*http.Request) (*http.Response, error) {
			return nil, row.err
		})}
		e := send(t.Context(), t, hc, "http://x")
		require.Equal(t, row.fault, e.Fault, name)
		require.NotContains(t, e.Error(), canary)
	}
	// A *http.Transport with somebody else's connections: whatever happens after one was had may
	// have been sent.
	p := newPeer(t, func(s *session) {
		_, _ = s.in.Peek(1)
		s.reset()
	})
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	require.Equal(t, FaultUnknown,
		send(t.Context(), t, &http.Client{Transport: transport}, p.url).Fault)
}

func TestRedirectsAreNotFollowed(t *testing.T) {
	t.Parallel()
	var followed atomic.Int64
	target := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		followed.Add(1)
	}))
	t.Cleanup(target.Close)
	host := strings.TrimPrefix(target.URL, "http://")
	for _, status := range []int{300, 301, 302, 303, 304, 307, 308} {
		for location, want := range map[string]string{
			target.URL + "/x?access_token=" + canary: host,
			"/elsewhere":                             "the same host",
			"":                                       "the same host",
			"http://%zz?access_token=" + canary:      "an unreadable address",
			"http://" + canary + ".example/":         "[redacted].example",
		} {
			var posts atomic.Int64
			server := httptest.NewServer(http.HandlerFunc(
				func(w http.ResponseWriter, _ *http.Request) {
					posts.Add(1)
					w.Header().Set("Location", location)
					w.WriteHeader(status)
				}))
			e := send(t.Context(), t, httpClient(t, longTimeout), server.URL)
			server.Close()
			require.Equal(t, FaultConfig, e.Fault)
			require.Equal(t, status, e.HTTPStatus)
			require.EqualError(t, e.Err, "redirect to "+want+" refused")
			require.EqualValues(t, 1, posts.Load())
			require.False(t, e.NotSent())
		}
	}
	require.Zero(t, followed.Load())

	// The client itself does not follow either, for whoever else is handed it.
	server := httptest.NewServer(http.RedirectHandler(target.URL, http.StatusTemporaryRedirect))
	t.Cleanup(server.Close)
	resp, err := httpClient(t, longTimeout).Get(server.URL)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	require.Equal(t, http.StatusTemporaryRedirect, resp.StatusCode)
	require.Zero(t, followed.Load())
}
