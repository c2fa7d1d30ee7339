package worker

import (
	"context"
	"time"

	"github.com/cenkalti/backoff/v4"

	"github.com/kefuhq/kefu/internal/job"
)

// carryOutJobs carries out the jobs of the pool that fall to this worker until ctx ends. Nothing
// that sends waits for it.
func (w *Worker) carryOutJobs(ctx context.Context) {
	if w.cfg.Works == nil {
		return
	}
	runner := job.NewRunner(w.conn, w.name, w.pool, w.cfg.Works(w.book), w.log)
	wait := backoff.NewExponentialBackOff(
		backoff.WithInitialInterval(time.Second), backoff.WithMaxInterval(30*time.Second),
		backoff.WithMaxElapsedTime(0))
	// The error is that of ctx: nothing else ends it.
	_ = backoff.RetryNotify(func() error { return runner.Run(ctx) }, backoff.WithContext(wait, ctx),
		func(err error, _ time.Duration) {
			w.log.Warn("jobs such as replays cannot be carried out just now", "error", err)
		})
}
