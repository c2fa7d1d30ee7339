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

// reloader reloads the configuration of a running worker on SIGHUP and when the content of the file
// changes. The worker adds, changes and removes apps. An invalid configuration is refused, and the
// one before stays in force. A valid one that cannot be applied yet, because the broker is away or
// an app is still being released, is retried: nobody edits the file again for that.
type reloader struct {
	load    func() (*config.Config, error)
	apply   func(context.Context, *config.Config) error
	initial *config.Config // that the worker was started with
	log     *slog.Logger
	reloads *prometheus.CounterVec

	fileHash   []byte         // when it was last loaded
	pending    *config.Config // valid and not applied yet; nil for none
	retryPause time.Duration  // before pending is applied again; 0 before the first try
	retryAt    time.Time
}

// pollInterval is how often the file is read. Notifications of the system would miss a volume that
// is swapped below it, which is how Kubernetes changes a file.
const pollInterval = 2 * time.Second

// maxRetryPause is the longest pause before a configuration is applied again.
const maxRetryPause = time.Minute

func newReloader(
	initial *config.Config, log *slog.Logger, metrics prometheus.Registerer,
) *reloader {
	reloads := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "kefu_config_reloads_total",
		Help: "Changed configurations, by whether they were taken over.",
	}, []string{"result"})
	reloads.WithLabelValues("taken")
	reloads.WithLabelValues("refused")
	metrics.MustRegister(reloads)
	r := &reloader{initial: initial, log: log, reloads: reloads}
	r.fileHash = r.hashFile()
	return r
}

// run reloads until ctx ends.
func (r *reloader) run(ctx context.Context, hangups <-chan os.Signal) {
	t := time.NewTicker(pollInterval)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-hangups:
			r.fileHash = r.hashFile()
			r.reload(ctx, time.Now())
		case now := <-t.C:
			r.poll(ctx, now)
		}
	}
}

// poll reloads a file that has changed, or applies the pending configuration when its pause is
// over.
func (r *reloader) poll(ctx context.Context, now time.Time) {
	if hash := r.hashFile(); !bytes.Equal(hash, r.fileHash) {
		r.fileHash = hash
		r.reload(ctx, now)
		return
	}
	if r.pending != nil && !now.Before(r.retryAt) {
		r.applyPending(ctx, now)
	}
}

// hashFile returns a hash of the file's content; nil when the file cannot be read.
func (r *reloader) hashFile() []byte {
	text, err := os.ReadFile(r.initial.File())
	if err != nil {
		return nil
	}
	sum := sha256.Sum256(text)
	return sum[:]
}

// reload loads the configuration and applies it.
func (r *reloader) reload(ctx context.Context, now time.Time) {
	r.pending, r.retryPause = nil, 0
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
	if sections := restartSections(r.initial, cfg); len(sections) > 0 {
		r.log.Warn("some changes of the configuration take effect at the next start only",
			"sections", sections)
	}
	r.pending = cfg
	r.applyPending(ctx, now)
}

// applyPending applies the pending configuration. Only its first failure is logged and counted.
func (r *reloader) applyPending(ctx context.Context, now time.Time) {
	if err := r.apply(ctx, r.pending); err != nil {
		if r.retryPause == 0 {
			r.reloads.WithLabelValues("refused").Inc()
			r.log.Error("the changed configuration is not taken over yet, the one before stays "+
				"in force; it is tried again", "error", err)
		}
		r.retryPause = min(max(2*r.retryPause, pollInterval), maxRetryPause)
		r.retryAt = now.Add(r.retryPause)
		return
	}
	r.reloads.WithLabelValues("taken").Inc()
	r.log.Info("configuration taken over", "apps", len(r.pending.Apps))
	r.pending = nil
}

// restartSections returns the sections that differ and take effect at the next start only.
func restartSections(before, after *config.Config) (sections []string) {
	if before.NATS != after.NATS {
		sections = append(sections, "nats")
	}
	if before.WeChat != after.WeChat {
		sections = append(sections, "wechat")
	}
	if before.Worker != after.Worker {
		sections = append(sections, "worker")
	}
	return sections
}
