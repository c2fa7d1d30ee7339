package sandbox

import (
	"bufio"
	"bytes"
	"io"
	"log/slog"
	"net"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestListen(t *testing.T) {
	t.Parallel()
	t.Run("an empty address is loopback", func(t *testing.T) {
		t.Parallel()
		sb := New(Options{})
		url, err := sb.Listen("")
		require.NoError(t, err)
		require.Regexp(t, `^http://127\.0\.0\.1:\d+$`, url)
		require.NoError(t, sb.Close())
	})
	t.Run("beyond loopback it warns, and the URL can be used", func(t *testing.T) {
		t.Parallel()
		var log bytes.Buffer
		b := start(t, Options{Log: slog.New(slog.NewTextHandler(&log, nil))})
		url, err := b.Listen("0.0.0.0:0")
		require.NoError(t, err)
		require.Contains(t, log.String(), "level=WARN")
		require.Equal(t, http.StatusOK, b.must("GET", url+"/", "").status)
	})
	t.Run("an address in use is an error", func(t *testing.T) {
		t.Parallel()
		b := start(t, Options{})
		_, err := New(Options{}).Listen(b.addr)
		require.ErrorContains(t, err, "sandbox: listen tcp")
	})
	t.Run("a closed sandbox does not listen", func(t *testing.T) {
		t.Parallel()
		sb := New(Options{})
		require.NoError(t, sb.Close())
		require.NoError(t, sb.Close())
		_, err := sb.Listen("127.0.0.1:0")
		require.ErrorIs(t, err, ErrClosed)
	})
	t.Run("a listener of the caller's is served until close", func(t *testing.T) {
		t.Parallel()
		sb := New(Options{})
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		served := make(chan error, 1)
		go func() { served <- sb.Serve(ln) }()
		conn, err := net.Dial("tcp", ln.Addr().String())
		require.NoError(t, err)
		_, err = io.WriteString(conn, "GET / HTTP/1.0\r\nHost: localhost\r\n\r\n")
		require.NoError(t, err)
		line, err := bufio.NewReader(conn).ReadString('\n')
		require.NoError(t, err)
		require.Equal(t, "HTTP/1.0 200 OK\r\n", line)
		require.NoError(t, conn.Close())
		require.NoError(t, sb.Close())
		require.NoError(t, <-served)
	})
	t.Run("a listener that its caller closes as well is no failure", func(t *testing.T) {
		t.Parallel()
		sb := New(Options{})
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		slow := &slowToNotice{Listener: ln, accepting: make(chan struct{}),
			told: make(chan struct{})}
		served := make(chan error, 1)
		go func() { served <- sb.Serve(slow) }()
		<-slow.accepting
		require.NoError(t, ln.Close())
		require.NoError(t, sb.Close())
		require.NoError(t, <-served)
	})
}

// slowToNotice is a listener whose Accept learns of its end from Close only.
type slowToNotice struct {
	net.Listener
	accepting, told chan struct{}
}

func (l *slowToNotice) Accept() (net.Conn, error) {
	close(l.accepting)
	<-l.told
	return nil, net.ErrClosed
}

func (l *slowToNotice) Close() error {
	defer close(l.told)
	return l.Listener.Close()
}
