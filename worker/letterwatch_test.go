package worker

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/kefuhq/kefu/internal/pool"
	"github.com/kefuhq/kefu/schema"
)

func TestLettersAreWarnedOfBeforeTheirAgeEndsThem(t *testing.T) {
	t.Parallel()
	const day = 24 * time.Hour
	b := newBed(t)
	var log bytes.Buffer
	reg := prometheus.NewRegistry()
	w, err := New(Config{Process: pool.Worker{Name: "w"}, Concurrency: 1,
		Log: slog.New(slog.NewTextHandler(&log, nil)), Metrics: reg}, b.conn)
	b.NoError(err)
	warned := func() int { return strings.Count(log.String(), "level=WARN") }
	series := func() map[string]float64 {
		families, err := reg.Gather()
		b.NoError(err)
		got := make(map[string]float64)
		for _, f := range families {
			if strings.HasPrefix(f.GetName(), "kefu_dead_") {
				got[f.GetName()] = f.GetMetric()[0].GetGauge().GetValue()
			}
		}
		return got
	}
	b.Empty(series(), "nothing is known yet")

	now := time.Now()
	w.letters.look(t.Context(), w.conn, w.log, now)
	b.Equal(map[string]float64{"kefu_dead_letters": 0, "kefu_dead_full_ratio": 0}, series())
	_, err = b.conn.JS.Publish(t.Context(), "kefu.dead."+appID+".rejected", []byte(`{}`))
	b.NoError(err)
	w.letters.look(t.Context(), w.conn, w.log, now.Add(26*day))
	b.Zero(warned())
	got := series()
	b.InDelta(1, got["kefu_dead_letters"], 0)
	b.Zero(got["kefu_dead_full_ratio"], "it has no maximum")
	b.InDelta((30 * day).Seconds(), got["kefu_dead_oldest_left_seconds"], 60)

	w.letters.look(t.Context(), w.conn, w.log, now.Add(28*day))
	b.Equal(1, warned())
	b.Contains(log.String(), "will be deleted for their age")
	w.letters.look(t.Context(), w.conn, w.log, now.Add(28*day+23*time.Hour))
	b.Equal(1, warned(), "once a day")
	w.letters.look(t.Context(), w.conn, w.log, now.Add(29*day))
	b.Equal(2, warned())

	away, cancel := context.WithCancel(t.Context())
	cancel()
	w.letters.look(away, w.conn, w.log, now)
	b.Len(series(), 3, "what was seen last is the best that is known")
	b.NoError(b.conn.JS.DeleteStream(t.Context(), schema.StreamDead))
	w.letters.look(t.Context(), w.conn, w.log, now)
	b.Empty(series(), "what is not known any more is not told")
}
