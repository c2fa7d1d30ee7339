package console_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kefuhq/kefu/internal/broker/brokertest"
	"github.com/kefuhq/kefu/internal/config"
	"github.com/kefuhq/kefu/internal/console"
	"github.com/kefuhq/kefu/internal/pulse"
	"github.com/kefuhq/kefu/schema"
)

// BenchmarkPages shows pages of 300 apps that have sent in each minute of the last hour:
//
//	go test ./internal/console -run '^$' -bench Pages -benchtime 20x
func BenchmarkPages(b *testing.B) {
	ids := make([]string, 300)
	cfg := &config.Config{}
	for i := range ids {
		ids[i] = fmt.Sprintf("wx%016d", i+1)
		cfg.Apps = append(cfg.Apps, config.App{AppID: ids[i], Name: fmt.Sprintf("门店 %d", i+1)})
	}
	conn := brokertest.New(b, ids...)
	hours, now := pulse.NewRecorder(), time.Now()
	for _, id := range ids {
		for i := range 600 {
			at := now.Add(-time.Duration(i/10) * time.Minute)
			hours.App(id).Ended(at, schema.LaneLive, schema.StateSent, time.Second)
		}
	}
	over, cancel := context.WithCancel(b.Context())
	cancel()
	hours.Keep(over, conn, "worker", slog.New(slog.DiscardHandler)) // writes once as it ends
	c, err := console.New(conn, console.Options{Config: func() *config.Config { return cfg },
		Trusted: true, Actor: "tester@here", Listen: "127.0.0.1:0",
		Log: slog.New(slog.DiscardHandler)})
	require.NoError(b, err)
	defer c.Close()
	server := httptest.NewServer(c.Handler())
	defer server.Close()
	for _, path := range []string{"/", "/?all=1", "/app/" + ids[7], "/workers", "/campaigns", "/dead"} {
		b.Run(path[1:], func(b *testing.B) {
			for b.Loop() {
				resp, err := http.Get(server.URL + path)
				require.NoError(b, err)
				_, err = io.Copy(io.Discard, resp.Body)
				require.NoError(b, err)
				require.NoError(b, resp.Body.Close())
				require.Equal(b, http.StatusOK, resp.StatusCode)
			}
		})
	}
}
