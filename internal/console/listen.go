package console

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/config"
	"github.com/kefuhq/kefu/internal/wiring"
)

// Server is a console that is served on an address.
type Server struct {
	URL     string
	console *Console
	http    *http.Server
	done    chan struct{}
}

// Bind takes the address of a console: first of all, so that one in use is said at once. Port 0
// picks a free one.
func Bind(addr string) (net.Listener, error) {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("console: %w", err)
	}
	return l, nil
}

// Serve serves a console on a listener until Close, which closes the listener too. o.Listen is
// taken from it.
func Serve(l net.Listener, conn *broker.Conn, o Options) (*Server, error) {
	o.Listen = l.Addr().String()
	c, err := New(conn, o)
	if err != nil {
		return nil, errors.Join(err, l.Close())
	}
	s := &Server{
		URL: "http://" + o.Listen, console: c, done: make(chan struct{}),
		http: &http.Server{
			Handler: c.Handler(), ReadHeaderTimeout: 5 * time.Second,
			ReadTimeout: 10 * time.Second, WriteTimeout: patience + 10*time.Second,
			IdleTimeout: time.Minute, MaxHeaderBytes: 32 << 10,
		},
	}
	go func() {
		defer close(s.done)
		// Serve ends with Close; any other error shows as a page that is not there.
		_ = s.http.Serve(l)
	}()
	return s, nil
}

// Close stops serving. Pages that are being read from the broker are given up.
func (s *Server) Close() error {
	s.console.hub.Close() // else the streams of open pages would be cut off in the middle
	err := s.http.Close()
	<-s.done
	s.console.Close()
	return err
}

// Configured returns how a configuration sets up a console.
func Configured(cfg *config.Config, actor string, log *slog.Logger) Options {
	o := Options{
		Config: func() *config.Config { return cfg }, Actor: actor, Origin: cfg.Console.Origin,
		Secret: wiring.ConfiguredSecret, Log: log,
	}
	if cfg.Console.TokenFile != "" {
		o.Token = cfg.Console.ReadToken
	}
	return o
}

// Beside serves the console beside a worker until ctx ends, over a connection of its own: what
// people look at must not wait behind what is sent, nor the other way round. The address was bound
// before.
func Beside(
	ctx context.Context, l net.Listener, options broker.Options, o Options,
) error {
	options.Name = "kefu console"
	conn, err := broker.Connect(ctx, options)
	if err != nil {
		_ = l.Close() // nothing came in yet
		if ctx.Err() != nil {
			return nil
		}
		return err
	}
	defer conn.Close()
	server, err := Serve(l, conn, o)
	if err != nil {
		return err
	}
	o.Log.Info("console", "url", server.URL)
	<-ctx.Done()
	return server.Close()
}
