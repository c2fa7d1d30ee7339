package wechat

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// peer is a TCP server whose every connection is served by a function, so that a test can break it
// at any byte. It is the oracle of these tests: it counts the POSTs whose body it has read to the
// end.
type peer struct {
	t        *testing.T
	listener net.Listener
	url      string
	posts    atomic.Int64
	conns    atomic.Int64
	done     chan struct{} // closed when the test ends: what holds a reply waits for it
	wg       sync.WaitGroup
}

// session is one connection to a peer.
type session struct {
	*peer
	net.Conn
	in *bufio.Reader
	n  int // which connection, from 1
}

func newPeer(t *testing.T, serve func(s *session)) *peer {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	p := &peer{t: t, listener: l, url: "http://" + l.Addr().String(), done: make(chan struct{})}
	p.wg.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			s := &session{peer: p, Conn: conn, in: bufio.NewReader(conn), n: int(p.conns.Add(1))}
			p.wg.Go(func() {
				<-p.done
				_ = conn.Close()
			})
			p.wg.Go(func() {
				defer func() { _ = conn.Close() }()
				serve(s)
			})
		}
	})
	t.Cleanup(func() {
		close(p.done)
		_ = l.Close()
		p.wg.Wait()
	})
	return p
}

// read reads one request to its end and counts it; nil when the connection has ended.
func (s *session) read() *http.Request {
	req, err := http.ReadRequest(s.in)
	if err != nil {
		return nil
	}
	if _, err := io.Copy(io.Discard, req.Body); err != nil {
		return nil
	}
	s.posts.Add(1)
	return req
}

// say writes text as it is.
func (s *session) say(text string) { _, _ = io.WriteString(s.Conn, text) }

// ok answers a request so that the connection can be used again.
func (s *session) ok() {
	s.say("HTTP/1.1 200 OK\r\nContent-Length: 27\r\n\r\n" + plainOK)
}

// reset ends the connection with a TCP reset.
func (s *session) reset() {
	_ = s.Conn.(*net.TCPConn).SetLinger(0)
	_ = s.Close()
}

// httpClient returns a client as NewHTTPClient makes it, whose idle connections end with the test.
func httpClient(t *testing.T, timeout time.Duration) *http.Client {
	t.Helper()
	hc, err := NewHTTPClient(HTTPOptions{Timeout: timeout, IdlePerHost: 8})
	require.NoError(t, err)
	t.Cleanup(hc.CloseIdleConnections)
	return hc
}

// transports are the two ways in which exchanges are made: over connections of our own, and, as
// through a proxy, by net/http.
var transports = map[string]func(t *testing.T, timeout time.Duration) *http.Client{
	"our own connections": httpClient,
	"net/http": func(t *testing.T, timeout time.Duration) *http.Client {
		hc := httpClient(t, timeout)
		hc.Transport = hc.Transport.(*directTransport).Transport
		t.Cleanup(hc.CloseIdleConnections)
		return hc
	},
}

// setDial has a client of either way make its plain connections by connect.
func setDial(hc *http.Client, connect dial) {
	if s, ok := hc.Transport.(*directTransport); ok {
		s.direct.plain = connect
	} else {
		hc.Transport.(*http.Transport).DialContext = connect
	}
}

// shortTimeout is meant to pass. mediumTimeout is meant to pass too, but not before the request is
// written. longTimeout is never meant to pass.
const (
	shortTimeout  = 50 * time.Millisecond
	mediumTimeout = time.Second
	longTimeout   = 60 * time.Second
)
