package sandbox

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"time"
)

// Listen serves on a TCP address in the background and returns the base URL, such as
// "http://127.0.0.1:41237". Port 0 picks a free one; an empty address is "127.0.0.1:0". The sandbox
// answers everybody who reaches it and shows what was sent: bind loopback. Another address is not
// refused, because a container needs it, but logged as a warning; for a wildcard the URL names
// 127.0.0.1.
func (s *Sandbox) Listen(addr string) (string, error) {
	if addr == "" {
		addr = "127.0.0.1:0"
	}
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		return "", fmt.Errorf("sandbox: %w", err)
	}
	if err := s.startServing(); err != nil {
		return "", errors.Join(err, ln.Close())
	}
	host := ln.Addr().String()
	if a, ok := ln.Addr().(*net.TCPAddr); ok && !a.IP.IsLoopback() {
		s.log.Warn("sandbox listens beyond loopback: whoever reaches it reads what was sent",
			"addr", host)
		if a.IP.IsUnspecified() {
			host = net.JoinHostPort("127.0.0.1", strconv.Itoa(a.Port))
		}
	}
	go func() {
		defer s.serving.Done()
		if err := s.accept(ln); err != nil {
			s.log.Error("sandbox stopped accepting", "err", err)
		}
	}()
	return "http://" + host, nil
}

// Serve accepts on a listener of the caller's, for instance a TLS one, until [Sandbox.Close], and
// then returns nil. It closes ln.
func (s *Sandbox) Serve(ln net.Listener) error {
	if err := s.startServing(); err != nil {
		return errors.Join(err, ln.Close())
	}
	defer s.serving.Done()
	return s.accept(ln)
}

func (s *Sandbox) accept(ln net.Listener) error {
	if err := s.server.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("sandbox: %w", err)
	}
	return nil
}

// startServing counts one accept loop. Under the lock, so that Close never waits on a group that
// still grows.
func (s *Sandbox) startServing() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return ErrClosed
	}
	s.serving.Add(1)
	return nil
}

// Close stops at once: listeners and connections are closed, hanging and delayed answers are given
// up, waiting callers get [ErrClosed]. It returns when every goroutine of the sandbox has ended.
// What was received can still be read. Closing twice is fine.
func (s *Sandbox) Close() error {
	s.mu.Lock()
	first := !s.closed
	s.closed = true
	for conn := range s.hijacked {
		_ = conn.Close()
	}
	s.mu.Unlock()

	var err error
	if first {
		close(s.closing)
		if err = s.server.Close(); errors.Is(err, net.ErrClosed) {
			err = nil // a caller closed the listener it gave to Serve
		}
	}
	if first && s.pages != nil {
		s.pages.Close()
	}
	s.serving.Wait() // first: only an accept loop adds connections
	s.conns.Wait()
	if err != nil {
		return fmt.Errorf("sandbox: %w", err)
	}
	return nil
}

func (s *Sandbox) newServer() *http.Server {
	return &http.Server{
		Handler:           s,
		ReadHeaderTimeout: 30 * time.Second,
		ErrorLog:          slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
		ConnState: func(_ net.Conn, state http.ConnState) {
			switch state {
			case http.StateNew:
				s.conns.Add(1)
			case http.StateClosed, http.StateHijacked:
				s.conns.Done()
			case http.StateActive, http.StateIdle:
			}
		},
	}
}
