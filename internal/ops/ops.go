// Package ops serves the probes and the metrics of a worker.
//
//	/livez    200 as long as the process can answer. It depends on neither the
//	          broker nor WeChat: else an outage of theirs would restart every worker.
//	/readyz   200 when the worker works, else 503 with a reason on each line
//	/metrics  for Prometheus
//
// It listens on an address of its own and serves no personal data.
package ops

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Handler returns the handler of probes and metrics. troubles returns sentences that say why the
// worker is not ready; none means ready.
func Handler(troubles func() []string, metrics prometheus.Gatherer) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) {
		text(w, http.StatusOK, "ok\n")
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		reasons := troubles()
		if len(reasons) == 0 {
			text(w, http.StatusOK, "ready\n")
			return
		}
		body := "not ready:\n"
		for _, r := range reasons {
			body += "- " + r + "\n"
		}
		text(w, http.StatusServiceUnavailable, body)
	})
	mux.Handle("GET /metrics", promhttp.HandlerFor(metrics, promhttp.HandlerOpts{}))
	return mux
}

// text answers with plain text that is not cached.
func text(w http.ResponseWriter, status int, body string) {
	h := w.Header()
	h.Set("Content-Type", "text/plain; charset=utf-8")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, body) // the client has disconnected
}

// Server serves a handler on an address.
type Server struct {
	URL  string
	http *http.Server
	done chan struct{}
}

// Listen serves h at addr until Close. addr is host:port; port 0 picks a free one.
func Listen(addr string, h http.Handler) (*Server, error) {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("probes and metrics: %w", err)
	}
	s := &Server{
		URL: "http://" + l.Addr().String(),
		http: &http.Server{
			Handler: h, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second,
			WriteTimeout: 30 * time.Second,
		},
		done: make(chan struct{}),
	}
	go func() {
		defer close(s.done)
		// Serve ends with Close; any other error shows as a failed probe.
		_ = s.http.Serve(l)
	}()
	return s, nil
}

// Close stops serving. Requests that are being answered have a second to end.
func (s *Server) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	err := s.http.Shutdown(ctx)
	if errors.Is(err, context.DeadlineExceeded) {
		err = s.http.Close()
	}
	<-s.done
	return err
}
