package deadletter

import (
	"context"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/kefuhq/kefu/schema"
)

// Level is how full the box is.
type Level struct {
	Letters, MaxLetters uint64 // no maximum: 0
	Bytes, MaxBytes     uint64 // no maximum: 0
	Oldest              time.Time
	Keep                time.Duration // how long a letter is kept; for ever: 0
}

// Level asks the broker.
func (b *Box) Level(ctx context.Context) (Level, error) {
	var s jetstream.Stream
	err := b.conn.Ask(ctx, func(ctx context.Context) (err error) {
		s, err = b.conn.JS.Stream(ctx, schema.StreamDead)
		return err
	})
	if err != nil {
		return Level{}, fmt.Errorf("stream %s: %w", schema.StreamDead, err)
	}
	info := s.CachedInfo()
	return Level{
		Letters: info.State.Msgs, MaxLetters: maximum(info.Config.MaxMsgs), Bytes: info.State.Bytes, MaxBytes: maximum(info.Config.MaxBytes),
		Oldest: info.State.FirstTime, Keep: info.Config.MaxAge,
	}, nil
}

// maximum is a limit as the broker tells it, where anything below 1 is none.
func maximum(limit int64) uint64 { return uint64(max(limit, 0)) } //nolint:gosec // not negative

// Ends is when the broker deletes the oldest letter for its age; zero when no
// letter is there or they are kept for ever.
func (l Level) Ends() time.Time {
	if l.Letters == 0 || l.Keep <= 0 {
		return time.Time{}
	}
	return l.Oldest.Add(l.Keep)
}

// Warning says what is about to go wrong with the box, in one sentence; empty
// while nothing is. A tenth of their time is left to letters (three days of
// thirty), a fifth of its size to the box.
func (l Level) Warning(now time.Time) string {
	full := func(n, most uint64) bool { return most > 0 && float64(n) >= 0.8*float64(most) }
	switch ends := l.Ends(); {
	case full(l.Bytes, l.MaxBytes):
		return fmt.Sprintf("%s holds %d of at most %d bytes: when it is full, what dies stays in its queue", schema.StreamDead, l.Bytes, l.MaxBytes)
	case full(l.Letters, l.MaxLetters):
		return fmt.Sprintf("%s holds %d of at most %d letters: when it is full, what dies stays in its queue", schema.StreamDead, l.Letters, l.MaxLetters)
	case !ends.IsZero() && ends.Sub(now) <= l.Keep/10:
		return fmt.Sprintf("letters of %s are about to be deleted for their age, the first of them at %s: see to those with kefu dead list",
			l.Oldest.UTC().Format(time.DateOnly), ends.UTC().Format(time.RFC3339))
	}
	return ""
}
