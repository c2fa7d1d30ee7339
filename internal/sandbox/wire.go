package sandbox

import (
	"bytes"
	"net"
	"net/http"
	"strings"
)

// This file is what net/http would never send: it goes past it, on a connection taken over.

// raw writes the rule's bytes, all at once or dripping.
func (s *Sandbox) raw(w http.ResponseWriter, r *http.Request, o *outcome, t *callInFlight) {
	step := len(o.body)
	if o.rule.Drip > 0 {
		step = 1
	}
	s.hijack(w, func(conn net.Conn) {
		for at := 0; at < len(o.body); at += step {
			end := at + step
			if at > 0 && !s.pause(r.Context(), o.rule.Drip) {
				return
			}
			if end >= len(o.body) {
				s.journal.done(t)
			}
			if _, err := conn.Write(o.body[at:min(end, len(o.body))]); err != nil {
				return
			}
		}
	})
}

// endlessHeader ends when the client has had enough.
func (s *Sandbox) endlessHeader(w http.ResponseWriter) {
	s.hijack(w, func(conn net.Conn) {
		lines := []byte("HTTP/1.1 200 OK\r\n")
		header := "X-Padding: " + strings.Repeat("x", 50) + "\r\n"
		more := bytes.Repeat([]byte(header), 64)
		for {
			if _, err := conn.Write(lines); err != nil {
				return
			}
			lines = more
		}
	})
}

// hijack takes the connection over and closes it in the end. [Sandbox.Close] closes it too, which
// ends a write that nobody reads, and waits.
func (s *Sandbox) hijack(w http.ResponseWriter, write func(net.Conn)) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler) // HTTP/2: net/http resets the stream, the nearest thing
	}
	defer func() { _ = conn.Close() }()
	if !s.trackConn(conn) {
		return
	}
	defer s.releaseConn(conn)
	write(conn)
}

func (s *Sandbox) trackConn(conn net.Conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	s.hijacked[conn] = struct{}{}
	s.conns.Add(1)
	return true
}

func (s *Sandbox) releaseConn(conn net.Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.hijacked, conn)
	s.conns.Done()
}
