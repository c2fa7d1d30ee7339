package sandbox

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestRawAnswers(t *testing.T) {
	t.Parallel()
	const lying = "HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{\"errcode\":0}"
	for _, tc := range []struct {
		name string
		rule Rule
		want string
	}{
		{"stands on the wire as it is",
			Rule{Raw: "SSH-2.0-OpenSSH_9.9\r\n"}, "SSH-2.0-OpenSSH_9.9\r\n"},
		{"may lie about its length", Rule{Raw: lying}, lying},
		{"may drip", Rule{Raw: lying, Drip: time.Microsecond}, lying},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			b := start(t, Options{})
			b.Add(tc.rule)
			conn := b.dial(b.rawSend("o1", "hi"))
			got, err := io.ReadAll(conn)
			require.NoError(t, err)
			require.Equal(t, tc.want, string(got))
			rec := b.Received()[0]
			require.False(t, rec.Answered || rec.Delivered)
			require.Zero(t, rec.HTTPStatus)
			require.Contains(t, []string{"raw", "drip"}, rec.Fault)
			require.Zero(t, b.Stats().InFlight)
		})
	}
	t.Run("may hide a delivery", func(t *testing.T) {
		t.Parallel()
		b := start(t, Options{})
		b.Add(Rule{Raw: "junk", Delivered: true})
		_, err := b.do("POST", b.sendURL(), message("o1", "hi"))
		require.ErrorContains(t, err, "malformed HTTP")
		require.True(t, b.Received()[0].Delivered)
	})
	t.Run("is ended by closing", func(t *testing.T) {
		t.Parallel()
		b := start(t, Options{})
		b.Add(Rule{Raw: "HTTP/1.1", Drip: time.Hour})
		conn := b.dial(b.rawSend("o1", "hi"))
		first := make([]byte, 1)
		_, err := io.ReadFull(conn, first)
		require.NoError(t, err)
		require.NoError(t, b.Close())
	})
	t.Run("resets an HTTP/2 stream", func(t *testing.T) {
		t.Parallel()
		b := start(t, Options{})
		require.PanicsWithValue(t, http.ErrAbortHandler, func() { b.hijack(discardWriter{}, nil) })
	})
}

func TestEndlessHeaders(t *testing.T) {
	t.Parallel()
	t.Run("end when the client has had enough", func(t *testing.T) {
		t.Parallel()
		b := start(t, Options{})
		b.Add(Rule{EndlessHeader: true})
		_, err := b.do("POST", b.sendURL(), message("o1", "hi"))
		require.ErrorContains(t, errors.Unwrap(err), "server response headers exceeded")
		require.Equal(t, "endless header", b.Received()[0].Fault)
		require.Eventually(t, func() bool { return b.Stats().InFlight == 0 }, 30*time.Second,
			time.Millisecond)
	})
	t.Run("end when the sandbox is closed, though nobody reads", func(t *testing.T) {
		t.Parallel()
		b := start(t, Options{})
		b.Add(Rule{EndlessHeader: true})
		conn := b.dial(b.rawSend("o1", "hi"))
		head := make([]byte, 100)
		_, err := io.ReadFull(conn, head)
		require.NoError(t, err)
		require.True(t, strings.HasPrefix(string(head), "HTTP/1.1 200 OK\r\nX-Padding: "))
		require.NoError(t, b.Close())
	})
}
