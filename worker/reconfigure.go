package worker

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/kefuhq/kefu/schema"
)

// ErrNotRunning is the answer to a change that comes before Run is ready or
// after it was told to stop.
var ErrNotRunning = errors.New("the worker is not running")

// Reconfigure has the running worker take care of these apps from now on: new
// ones are taken up, those that are there go on under the settings given, and
// those that are missing are given up. What an app that was given up has queued
// stays there, unread. An error, such as a queue that does not exist, changes
// nothing. One call at a time.
func (w *Worker) Reconfigure(ctx context.Context, apps []App) error {
	w.changing.Lock()
	defer w.changing.Unlock()
	w.mu.Lock()
	before, started := slices.Clone(w.apps), w.started
	w.mu.Unlock()
	if !started {
		return ErrNotRunning
	}
	var added []*app
	for _, cfg := range apps {
		if a := findApp(before, cfg.ID); a != nil {
			if a.isStopping() {
				return fmt.Errorf("app %s is still being given up: try again in a moment", cfg.ID)
			}
			continue
		}
		w.metrics.initialise(cfg.ID)
		a, err := w.newApp(ctx, cfg)
		if err != nil {
			return err
		}
		added = append(added, a)
	}
	var removed []*app
	for _, a := range before {
		i := slices.IndexFunc(apps, func(cfg App) bool { return cfg.ID == a.cfg().ID })
		if a.isStopping() {
			continue
		}
		if i < 0 {
			removed = append(removed, a)
			continue
		}
		a.adopt(apps[i])
		a.reschedule()
	}
	w.addApps(added...)
	for _, a := range added {
		a.start()
		w.log.Info("app taken up", "app", a.cfg().ID)
	}
	for _, a := range removed {
		w.running.Go(func() { w.giveUp(a) })
		a.stop()
	}
	w.claims.serve()
	return nil
}

// giveUp waits until nothing of an app is in hand any more, and forgets it.
func (w *Worker) giveUp(a *app) {
	w.log.Warn("app given up: it is not configured any more, what is queued stays there unread",
		"app", a.cfg().ID, "queue", schema.SendStream(a.cfg().ID))
	// Its shards are given back to the pool one after the other.
	t := time.NewTicker(50 * time.Millisecond)
	defer t.Stop()
	for !a.drained() {
		select {
		case <-t.C:
		case <-w.work.Done():
			return
		}
	}
	w.mu.Lock()
	w.apps = slices.DeleteFunc(slices.Clone(w.apps), func(other *app) bool { return other == a })
	w.mu.Unlock()
}
