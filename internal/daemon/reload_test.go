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

// reloaderTest is a reloader, its file, its clock, and a worker that applies a configuration or
// fails.
type reloaderTest struct {
	*reloader
	*require.Assertions
	t       *testing.T
	file    string
	log     bytes.Buffer
	metrics *prometheus.Registry
	now     time.Time
	failure error    // of the worker; nil: it applies configurations
	tries   int      // how often the worker was asked
	applied []string // the first app of each configuration that was applied
}

func newReloaderTest(t *testing.T) *reloaderTest {
	t.Helper()
	r := &reloaderTest{
		Assertions: require.New(t), t: t, file: filepath.Join(t.TempDir(), "kefu.yaml"),
		now: time.Unix(1_800_000_000, 0), metrics: prometheus.NewRegistry(),
	}
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
		if r.failure == nil {
			r.applied = append(r.applied, cfg.Apps[0].AppID)
		}
		return r.failure
	}
	return r
}

func (r *reloaderTest) edit(text string) {
	r.t.Helper()
	r.NoError(os.WriteFile(r.file, []byte(text), 0o600))
}

// pollFor lets time pass in steps of the ticker.
func (r *reloaderTest) pollFor(d time.Duration) {
	for end := r.now.Add(d); r.now.Before(end); {
		r.now = r.now.Add(pollInterval)
		r.poll(r.t.Context(), r.now)
	}
}

// logged returns how often the log contains a text.
func (r *reloaderTest) logged(text string) int { return strings.Count(r.log.String(), text) }

// counts returns the metric, by result.
func (r *reloaderTest) counts() map[string]float64 {
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

func TestAConfigurationThatCannotBeAppliedIsRetried(t *testing.T) {
	t.Parallel()
	r := newReloaderTest(t)
	r.pollFor(10 * time.Second)
	r.Zero(r.tries, "nothing has changed")

	r.failure = errors.New("the broker is away")
	r.edit("apps: [{appid: wx2, secret_env: S}]")
	r.pollFor(10 * time.Minute)
	r.InDelta(14, r.tries, 3, "after 2, 4, 8, 16, 32 seconds, then each minute")
	r.Equal(1, r.logged("the broker is away"), r.log.String())
	r.Empty(r.applied)

	r.failure = nil
	r.pollFor(maxRetryPause)
	r.Equal([]string{"wx2"}, r.applied)
	r.pollFor(5 * time.Minute)
	r.Equal([]string{"wx2"}, r.applied, "once is enough")
	r.Equal(2, r.logged("\n"), r.log.String())
	r.Equal(1, r.logged("configuration taken over"))
	r.Equal(map[string]float64{"taken": 1, "refused": 1}, r.counts())
}

func TestAChangedFileReplacesThePendingConfiguration(t *testing.T) {
	t.Parallel()
	r := newReloaderTest(t)
	r.failure = errors.New("app wx1 is still being given up")
	r.edit("apps: [{appid: wx2, secret_env: S}]")
	r.pollFor(time.Minute)
	r.edit("apps: [{appid: wx3, secret_env: S}]")
	r.pollFor(pollInterval)
	r.Equal(2, r.logged("still being given up"), "each configuration has its line")
	r.failure = nil
	r.pollFor(pollInterval)
	r.Equal([]string{"wx3"}, r.applied, "and begins with the shortest pause")
}

func TestAnInvalidConfigurationIsNotRetried(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		"apps: [{appid: wx2, secret_env: S, nonsense: 1}]", "apps: []", "{",
	} {
		r := newReloaderTest(t)
		r.failure = errors.New("the broker is away")
		r.edit("apps: [{appid: wx2, secret_env: S}]")
		r.pollFor(pollInterval)
		tries := r.tries
		r.failure = nil
		r.edit(text)
		r.pollFor(time.Hour)
		r.Equal(tries, r.tries, text)
		r.Equal(1, r.logged("is not taken over, the one before stays in force"), r.log.String())

		r.edit("apps: [{appid: wx3, secret_env: S}]")
		r.pollFor(pollInterval)
		r.Equal([]string{"wx3"}, r.applied)
	}
}
