package worker

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/kefuhq/kefu/internal/deadletter"
)

const (
	// lettersEvery is how often the box is looked at: it fills in days.
	lettersEvery = time.Minute
	// lettersAgain is between two warnings: what holds for days is told daily.
	lettersAgain = 24 * time.Hour
)

// letters watches the box of dead letters, so that none is lost to its age, and
// nothing waits for room there, before somebody was told.
type letters struct {
	mu    sync.Mutex
	level deadletter.Level
	known bool

	warned time.Time // when last; the watching goroutine's
}

// watch looks every now and then until ctx ends.
func (l *letters) watch(ctx context.Context, w *Worker) {
	t := time.NewTicker(lettersEvery)
	defer t.Stop()
	for {
		l.look(ctx, w, time.Now())
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
	}
}

func (l *letters) look(ctx context.Context, w *Worker, now time.Time) {
	ctx, cancel := context.WithTimeout(ctx, bindTimeout)
	defer cancel()
	level, err := deadletter.Open(w.conn).Level(ctx)
	if err != nil {
		w.log.Debug("dead letters", "error", err) // who has a letter to store says it aloud
		if !errors.Is(err, jetstream.ErrStreamNotFound) {
			return // what was seen last is the best that is known
		}
	}
	l.mu.Lock()
	l.level, l.known = level, err == nil
	l.mu.Unlock()
	warnings := level.Warnings(now)
	if len(warnings) == 0 || now.Sub(l.warned) < lettersAgain {
		return
	}
	l.warned = now
	for _, warning := range warnings {
		w.log.Warn(warning, "letters", level.Letters)
	}
}

// last is what was seen at the last look; false when nothing could be.
func (l *letters) last() (deadletter.Level, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.level, l.known
}
