package worker

import (
	"context"
	"time"
)

// stop finishes what is under way within the grace period, and gives the rest back.
// endWork ends what is still under way after that.
func (w *Worker) stop(d *dispatcher, endWork func()) error {
	w.changing.Lock() // a change that has begun is made first: it starts goroutines
	w.setStarted(false)
	w.changing.Unlock()
	w.log.Info("stopping: finishing what is under way", "grace", w.cfg.Grace)
	over := time.Now().Add(w.cfg.Grace)
	clean := w.drain(d)
	endWork()
	w.running.Wait()
	if err := w.drainLedger(max(time.Until(over), minLedgerDrain)); err != nil {
		w.log.Warn("the ledger has not learned all: attempts may be taken for unknown",
			"error", err)
		clean = false
	}
	w.counting.end()
	// Acknowledgements are not confirmed. A lost one costs a look into the ledger.
	_ = w.conn.NC.FlushTimeout(2 * time.Second)
	if !clean {
		return ErrUnclean
	}
	w.log.Info("worker stopped")
	return nil
}

// drain stops every app and waits until all they hold has ended or been given
// back, for the grace period at most.
func (w *Worker) drain(d *dispatcher) bool {
	w.pool.Retire() // who is told early is ready when a shard is free
	dispatcherIdle := d.stop()
	apps := w.current()
	idle := make([]<-chan struct{}, 0, len(apps)+1)
	for _, a := range apps {
		idle = append(idle, a.stop())
	}
	idle = append(idle, dispatcherIdle)
	grace := time.NewTimer(w.cfg.Grace)
	defer grace.Stop()
	for _, ch := range idle {
		select {
		case <-ch:
		case <-grace.C:
			left := 0
			for _, a := range apps {
				left += a.holding()
			}
			w.log.Warn("grace period over", "under_way", left)
			return false
		}
	}
	return true
}

// drainLedger waits until the ledger has every mark. It comes before the worker
// leaves the pool: a Start of one that is gone is of unknown outcome, though the
// mark that ends it is on its way.
func (w *Worker) drainLedger(most time.Duration) error {
	ctx, cancel := context.WithTimeout(context.Background(), most)
	defer cancel()
	return w.ledger.Drain(ctx)
}
