package deadletter

import (
	"context"
	"fmt"
	"math"
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
		Letters: info.State.Msgs, MaxLetters: maximum(info.Config.MaxMsgs), Bytes: info.State.Bytes,
		MaxBytes: maximum(info.Config.MaxBytes),
		Oldest:   info.State.FirstTime, Keep: info.Config.MaxAge,
	}, nil
}

// maximum is a limit as the broker tells it, where anything below 1 is none.
func maximum(limit int64) uint64 { return uint64(max(limit, 0)) }

// Ends is when the broker deletes the oldest letter for its age; zero when no
// letter is there or they are kept for ever.
func (l Level) Ends() time.Time {
	if l.Letters == 0 || l.Keep <= 0 {
		return time.Time{}
	}
	return l.Oldest.Add(l.Keep)
}

// Full is how full the box is, 0 to 1; 0 while it has no maximum. When it is
// full, what dies stays in its queue.
func (l Level) Full() float64 {
	full := 0.0
	if l.MaxLetters > 0 {
		full = float64(l.Letters) / float64(l.MaxLetters)
	}
	if l.MaxBytes > 0 {
		full = max(full, float64(l.Bytes)/float64(l.MaxBytes))
	}
	return full
}

// Warnings says in sentences what is about to go wrong with the box. A fifth of
// its size is left then, and to letters a tenth of their time: three days of
// thirty.
func (l Level) Warnings(now time.Time) (out []string) {
	if full := l.Full(); full >= 0.8 {
		out = append(out, fmt.Sprintf("%s is full to %.0f %%: when it is full, what dies "+
			"stays in its queue", schema.StreamDead, math.Floor(100*full)))
	}
	if ends := l.Ends(); !ends.IsZero() && ends.Sub(now) <= l.Keep/10 {
		old := (l.Keep - l.Keep/10).Round(time.Hour)
		out = append(out, fmt.Sprintf("the oldest letters will be deleted for their age, the "+
			"first at %s: kefu dead list --until %dh shows them",
			ends.UTC().Format(time.RFC3339), int(old.Hours())))
	}
	return out
}
