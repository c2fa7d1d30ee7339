package daemon

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"github.com/kefuhq/kefu/internal/config"
)

// reloading is a reloader whose worker takes over a configuration, or cannot.
type reloading struct {
	*reloader
	*require.Assertions
	t       *testing.T
	file    string
	log     bytes.Buffer
	metrics *prometheus.Registry
	now     time.Time
	why     error    // why the worker cannot; nil: it can
	tries   int      // of the worker
	applied []string // the first app of each configuration that was taken over
}

func newReloading(t *testing.T) *reloading {
	t.Helper()
	r := &reloading{Assertions: require.New(t), t: t, file: filepath.Join(t.TempDir(), "kefu.yaml"),
		now: time.Unix(1_800_000_000, 0), metrics: prometheus.NewRegistry()}
	load := func() (*config.Config, error) {
		cfg, _, err := config.Load(config.Source{Environ: []string{"S=x"},
			Search: []string{r.file}})
		return cfg, err
	}
	r.edit("apps: [{appid: wx1, secret_env: S}]")
	cfg, err := load()
	r.NoError(err)
	r.reloader = newReloader(cfg, slog.New(slog.NewTextHandler(&r.log, nil)), r.metrics)
	r.load, r.apply = load, func(_ context.Context, cfg *config.Config) error {
		r.tries++
		if r.why == nil {
			r.applied = append(r.applied, cfg.Apps[0].AppID)
		}
		return r.why
	}
	return r
}

func (r *reloading) edit(text string) {
	r.t.Helper()
	r.NoError(os.WriteFile(r.file, []byte(text), 0o600))
}

// lookFor has so much time go by, in the steps of the ticker.
func (r *reloading) lookFor(d time.Duration) {
	for end := r.now.Add(d); r.now.Before(end); {
		r.now = r.now.Add(lookEvery)
		r.look(r.t.Context(), r.now)
	}
}

// said are the lines of the log that hold a text.
func (r *reloading) said(text string) int { return strings.Count(r.log.String(), text) }

// counted is the metric, by result.
func (r *reloading) counted() map[string]float64 {
	r.t.Helper()
	families, err := r.metrics.Gather()
	r.NoError(err)
	r.Len(families, 1)
	counts := make(map[string]float64)
	for _, m := range families[0].GetMetric() {
		counts[m.GetLabel()[0].GetValue()] = m.GetCounter().GetValue()
	}
	return counts
}

func TestAConfigurationThatCannotBeTakenOverYetIsTriedAgain(t *testing.T) {
	t.Parallel()
	r := newReloading(t)
	r.lookFor(10 * time.Second)
	r.Zero(r.tries, "nothing has changed")

	r.why = errors.New("the broker is away")
	r.edit("apps: [{appid: wx2, secret_env: S}]")
	r.lookFor(10 * time.Minute)
	r.InDelta(14, r.tries, 3, "after 2, 4, 8, 16, 32 seconds, then each minute")
	r.Equal(1, r.said("the broker is away"), r.log.String())
	r.Empty(r.applied)

	r.why = nil
	r.lookFor(mostPause)
	r.Equal([]string{"wx2"}, r.applied)
	r.lookFor(5 * time.Minute)
	r.Equal([]string{"wx2"}, r.applied, "once is enough")
	r.Equal(2, r.said("\n"), r.log.String())
	r.Equal(1, r.said("configuration taken over"))
	r.Equal(map[string]float64{"taken": 1, "refused": 1}, r.counted())
}

func TestAChangedFileEndsTheTriesOfTheOneBefore(t *testing.T) {
	t.Parallel()
	r := newReloading(t)
	r.why = errors.New("app wx1 is still being given up")
	r.edit("apps: [{appid: wx2, secret_env: S}]")
	r.lookFor(time.Minute)
	r.edit("apps: [{appid: wx3, secret_env: S}]")
	r.lookFor(lookEvery)
	r.Equal(2, r.said("still being given up"), "each configuration has its line")
	r.why = nil
	r.lookFor(lookEvery)
	r.Equal([]string{"wx3"}, r.applied, "and begins with the shortest pause")
}

func TestAConfigurationWithAMistakeIsNotTriedAgain(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"apps: [{appid: wx2, secret_env: S, nonsense: 1}]", "apps: []", "{"} {
		r := newReloading(t)
		r.why = errors.New("the broker is away")
		r.edit("apps: [{appid: wx2, secret_env: S}]")
		r.lookFor(lookEvery)
		tries := r.tries
		r.why = nil
		r.edit(text)
		r.lookFor(time.Hour)
		r.Equal(tries, r.tries, text)
		r.Equal(1, r.said("is not taken over, the one before stays in force"), r.log.String())

		r.edit("apps: [{appid: wx3, secret_env: S}]")
		r.lookFor(lookEvery)
		r.Equal([]string{"wx3"}, r.applied)
	}
}
