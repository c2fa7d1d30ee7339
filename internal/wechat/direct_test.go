package wechat

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// pipes is a server inside a synctest bubble, where there are no sockets: every connection is a
// pipe, every request is answered with reply.
type pipes struct {
	conns  atomic.Int64 // made so far
	closed atomic.Int64 // of those, closed by the client
	reply  string
	read   func() // runs before the client reads
	had    func() // runs after it
}

type pipeEnd struct {
	net.Conn
	p *pipes
}

func (e *pipeEnd) Read(b []byte) (int, error) {
	if e.p.read != nil {
		e.p.read()
	}
	n, err := e.Conn.Read(b)
	if e.p.had != nil {
		e.p.had()
	}
	return n, err
}

func (e *pipeEnd) Close() error {
	e.p.closed.Add(1)
	return e.Conn.Close()
}

func (p *pipes) connect(context.Context, string, string) (net.Conn, error) {
	p.conns.Add(1)
	near, far := net.Pipe()
	go func() {
		in := bufio.NewReader(far)
		for {
			req, err := http.ReadRequest(in)
			if err != nil {
				return
			}
			_, _ = io.Copy(io.Discard, req.Body)
			_, _ = io.WriteString(far, p.reply)
		}
	}()
	return &pipeEnd{near, p}, nil
}

const okResponse = "HTTP/1.1 200 OK\r\nContent-Length: 27\r\n\r\n" + plainOK

func (p *pipes) client(t *testing.T, idle int) (*Client, *direct) {
	t.Helper()
	hc, err := NewHTTPClient(HTTPOptions{Timeout: time.Second, IdlePerHost: idle})
	require.NoError(t, err)
	setDial(hc, p.connect)
	return NewClient(hc, "http://x", fixedToken(canary)), hc.Transport.(*directTransport).direct
}

func TestIdleConnectionsAreKeptForAMinute(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := &pipes{reply: okResponse}
		client, _ := p.client(t, 8)
		burst := make(chan error, 5)
		for range cap(burst) {
			go func() { burst <- client.Send(t.Context(), packet) }()
		}
		for range cap(burst) {
			require.NoError(t, <-burst)
		}
		made := p.conns.Load()
		for range 10 { // the pause is longer than an exchange may last, whose deadline is then past
			advance(50 * time.Second)
			require.NoError(t, client.Send(t.Context(), packet))
			require.Equal(t, made, p.conns.Load(), "the connection used last is used again")
		}
		require.Equal(t, made-1, p.closed.Load(), "the others of the burst are closed")
		advance(2 * time.Minute)
		require.Equal(t, made, p.closed.Load(),
			"and the last one too, though nobody asked for anything")

		require.NoError(t, client.Send(t.Context(), packet))
		require.Equal(t, made+1, p.conns.Load())
		advance(2 * time.Minute)
		require.Equal(t, p.conns.Load(), p.closed.Load())
	})
}

func TestNoMoreConnectionsAreKeptThanAskedFor(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := &pipes{reply: okResponse}
		hold := make(chan struct{})
		p.read = func() { <-hold } // so that all are under way at once
		client, direct := p.client(t, 3)
		burst := make(chan error, 10)
		for range cap(burst) {
			go func() { burst <- client.Send(context.Background(), packet) }()
		}
		synctest.Wait()
		close(hold)
		for range cap(burst) {
			require.NoError(t, <-burst)
		}
		require.EqualValues(t, 10, p.conns.Load())
		require.EqualValues(t, 7, p.closed.Load())
		direct.closeIdle()
		require.EqualValues(t, 10, p.closed.Load())
		advance(2 * time.Minute)
	})
}

// A context that ends together with its exchange sets a deadline on the connection at some later
// moment: the connection must not be used again, or the next message is struck by it.
func TestAContextThatEndsWithItsExchangeCostsTheConnection(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := &pipes{reply: okResponse}
		client, direct := p.client(t, 8)
		defer direct.closeIdle()
		ctx, cancel := context.WithCancel(t.Context())
		p.had = cancel
		require.NoError(t, client.Send(ctx, packet))
		p.had = nil
		synctest.Wait()
		require.NoError(t, client.Send(t.Context(), packet))
		require.EqualValues(t, 2, p.conns.Load())
	})
}

func TestConnectionsThatCannotBeTrustedAreNotUsedAgain(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		reply string
		kept  bool
	}{
		"a plain answer": {okResponse, true},
		"chunks": {
			"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1b\r\n" + plainOK +
				"\r\n0\r\n\r\n",
			true,
		},
		"an interim answer before it": {
			"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + okResponse, true,
		},
		"an errcode": {
			"HTTP/1.1 200 OK\r\nContent-Length: 17\r\n\r\n{\"errcode\":45015}", true,
		},
		"an error without a body": {"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n", true},
		"an answer that says close": {
			"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 27\r\n\r\n" + plainOK, false,
		},
		"HTTP/1.0": {
			"HTTP/1.0 200 OK\r\nContent-Length: 27\r\n\r\n" + plainOK, false,
		},
		"more than was announced": {okResponse + "x", false},
		"two answers":             {okResponse + okResponse, false},
		"another protocol": {
			"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n", false,
		},
		"interim answers only": {
			strings.Repeat("HTTP/1.1 103 Early Hints\r\n\r\n", 5) + okResponse, false,
		},
		"a head too large": {
			"HTTP/1.1 200 OK\r\nX: " + string(make([]byte, maxReplyHeader)) + "\r\n\r\n", false,
		},
	} {
		synctest.Test(t, func(t *testing.T) {
			p := &pipes{reply: row.reply}
			client, direct := p.client(t, 8)
			first, second := client.Send(t.Context(), packet), client.Send(t.Context(), packet)
			if first == nil {
				require.NoError(t, second, name)
			} else {
				require.EqualError(t, second, first.Error(), name)
			}
			require.Equal(t, row.kept, p.conns.Load() == 1, name)
			direct.closeIdle()
			require.Equal(t, p.conns.Load(), p.closed.Load(), name)
			advance(2 * time.Minute)
		})
	}
}

func TestReadAllAsksForNotAByteMoreThanItMay(t *testing.T) {
	t.Parallel()
	for _, size := range []int{0, 1, usualReplySize, maxReply, maxReply + 1} {
		broken := io.MultiReader(strings.NewReader(strings.Repeat("x", size)),
			iotest.ErrReader(io.ErrUnexpectedEOF))
		got, err := readAll(iotest.DataErrReader(broken), make([]byte, 0, usualReplySize))
		if size > maxReply { // what comes next is not looked at
			require.NoError(t, err)
			require.Len(t, got, size)
		} else {
			require.ErrorIs(t, err, io.ErrUnexpectedEOF)
		}
		got, err = readAll(strings.NewReader(strings.Repeat("x", size)), nil)
		require.NoError(t, err)
		require.Len(t, got, size)
	}
}

func TestAConnectionOutlivesTheDeadlineOfItsExchange(t *testing.T) {
	t.Parallel()
	p := newPeer(t, func(s *session) {
		for s.read() != nil {
			s.ok()
		}
	})
	hc := httpClient(t, longTimeout)
	client := NewClient(hc, p.url, fixedToken(canary))
	for range 3 {
		require.NoError(t, client.Send(t.Context(), packet))
		for _, h := range hc.Transport.(*directTransport).direct.hosts {
			for _, c := range h.conns { // as if the time of the exchange were over
				c.deadline = time.Unix(1, 0)
				require.NoError(t, c.SetDeadline(c.deadline))
			}
		}
	}
	require.EqualValues(t, 1, p.conns.Load())
}

func TestBytesNobodyAskedForCostTheConnection(t *testing.T) {
	t.Parallel()
	p := newPeer(t, func(s *session) {
		for s.read() != nil {
			s.ok()
			// as some servers say before they close an idle connection
			s.say("HTTP/1.1 408 Request Timeout\r\n\r\n")
		}
	})
	hc := httpClient(t, longTimeout)
	conns := make(chan net.Conn, 1)
	setDial(hc, func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := new(net.Dialer).DialContext(ctx, network, addr)
		conns <- conn
		return conn, err
	})
	client := NewClient(hc, p.url, fixedToken(canary))
	for range 5 {
		require.NoError(t, client.Send(t.Context(), packet))
		awaitEnd(t, <-conns)
	}
	require.EqualValues(t, 5, p.posts.Load())
}
