package daemon

import (
	"bytes"
	"context"
	"crypto/sha256"
	"log/slog"
	"os"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/kefuhq/kefu/internal/config"
)

// reloader has a worker follow its configuration while it runs: on SIGHUP, and when the file has
// other content than before. Apps come, change and go; whatever is wrong with a new configuration,
// the old one stays in force. One that is right and cannot be taken over just now, because the
// broker is away or an app that it names is still being given up, is tried again: nobody edits the
// file a second time for that.
type reloader struct {
	load  func() (*config.Config, error)
	apply func(context.Context, *config.Config) error
	inUse *config.Config
	log   *slog.Logger

	seen    []byte         // hash of the file
	pending *config.Config // could not be taken over; nil for none
	pause   time.Duration  // the last one before pending is tried again; 0 before the first
	due     time.Time      // when it is tried again
	reloads *prometheus.CounterVec
}

// lookEvery is how often the file is looked at. Notifications of the system would miss a volume
// that is swapped below it, which is how Kubernetes changes a file.
const lookEvery = 2 * time.Second

// mostPause is the longest pause before a configuration is tried again.
const mostPause = time.Minute

func newReloader(inUse *config.Config, log *slog.Logger, metrics prometheus.Registerer) *reloader {
	r := &reloader{inUse: inUse, log: log, reloads: prometheus.NewCounterVec(prometheus.CounterOpts{
		Namespace: "kefu", Name: "config_reloads_total",
		Help: "Changed configurations, by whether they were taken over.",
	}, []string{"result"})}
	r.reloads.WithLabelValues("taken")
	r.reloads.WithLabelValues("refused")
	metrics.MustRegister(r.reloads)
	r.seen = r.content()
	return r
}

// run follows until ctx ends.
func (r *reloader) run(ctx context.Context, hup <-chan os.Signal) {
	t := time.NewTicker(lookEvery)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-hup:
			r.seen = r.content()
			r.reload(ctx, time.Now())
		case now := <-t.C:
			r.look(ctx, now)
		}
	}
}

// look takes over a file that changed, or tries once more what could not be taken over.
func (r *reloader) look(ctx context.Context, now time.Time) {
	if content := r.content(); !bytes.Equal(content, r.seen) {
		r.seen = content
		r.reload(ctx, now)
		return
	}
	if r.pending != nil && !now.Before(r.due) {
		r.takeOver(ctx, now)
	}
}

// content is a hash of the file; nil when there is none, or none just now.
func (r *reloader) content() []byte {
	text, err := os.ReadFile(r.inUse.File())
	if err != nil {
		return nil
	}
	sum := sha256.Sum256(text)
	return sum[:]
}

func (r *reloader) reload(ctx context.Context, now time.Time) {
	r.pending, r.pause = nil, 0
	cfg, err := r.load()
	if err == nil {
		err = cfg.RequireApps()
	}
	if err != nil {
		r.reloads.WithLabelValues("refused").Inc()
		r.log.Error("the changed configuration is not taken over, the one before stays in force",
			"error", err)
		return
	}
	if sections := needRestart(r.inUse, cfg); len(sections) > 0 {
		r.log.Warn("some changes of the configuration take effect at the next start only",
			"sections", sections)
	}
	r.pending = cfg
	r.takeOver(ctx, now)
}

// takeOver tries the pending configuration. Only the first failure is told.
func (r *reloader) takeOver(ctx context.Context, now time.Time) {
	if err := r.apply(ctx, r.pending); err != nil {
		if r.pause == 0 {
			r.reloads.WithLabelValues("refused").Inc()
			r.log.Error("the changed configuration is not taken over yet, the one before stays in force; it is tried again", "error", err)
		}
		r.pause = min(max(2*r.pause, lookEvery), mostPause)
		r.due = now.Add(r.pause)
		return
	}
	r.reloads.WithLabelValues("taken").Inc()
	r.log.Info("configuration taken over", "apps", len(r.pending.Apps))
	r.pending = nil
}

// needRestart names the sections that differ and are not taken over while the worker runs.
func needRestart(before, after *config.Config) (sections []string) {
	for name, differs := range map[string]bool{
		"nats": before.NATS != after.NATS, "wechat": before.WeChat != after.WeChat,
		"worker": before.Worker != after.Worker,
	} {
		if differs {
			sections = append(sections, name)
		}
	}
	return sections
}
