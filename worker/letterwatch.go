package worker

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/deadletter"
	"github.com/kefuhq/kefu/internal/pool"
)

const (
	// lettersEvery is how often the box is looked at: it fills in days.
	lettersEvery = time.Minute
	// lettersTimeout is for one look.
	lettersTimeout = 5 * time.Second

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
func (l *letters) watch(ctx context.Context, conn *broker.Conn, log *slog.Logger) {
	t := time.NewTicker(lettersEvery)
	defer t.Stop()
	for {
		l.look(ctx, conn, log, time.Now())
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
	}
}

func (l *letters) look(ctx context.Context, conn *broker.Conn, log *slog.Logger, now time.Time) {
	ctx, cancel := context.WithTimeout(ctx, lettersTimeout)
	defer cancel()
	if err := coverLetters(ctx, conn); err != nil {
		log.Debug("index of dead letters", "error", err) // a look-up by id is slower without it
	}
	level, err := deadletter.Open(conn).Level(ctx)
	if err != nil {
		log.Debug("dead letters", "error", err) // who has a letter to store says it aloud
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
		log.Warn(warning, "letters", level.Letters)
	}
}

// coverLetters says in KEFU_STATE from which letter on all are indexed, unless
// a worker is there of a version that writes no index.
func coverLetters(ctx context.Context, conn *broker.Conn) error {
	workers, err := pool.Workers(ctx, conn)
	if err != nil {
		return err
	}
	old := slices.ContainsFunc(workers, func(p pool.Worker) bool { return !p.Indexes })
	return deadletter.Open(conn).Cover(ctx, !old)
}

// last is what was seen at the last look; false when nothing could be.
func (l *letters) last() (deadletter.Level, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.level, l.known
}
