package deadletter

import (
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/kefuhq/kefu/schema"
)

func TestWarning(t *testing.T) {
	t.Parallel()
	const day = 24 * time.Hour
	now := time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		name  string
		level Level
		want  string
	}{
		{"an empty box", Level{Keep: 30 * day, MaxLetters: 10, MaxBytes: 1000}, ""},
		{"letters of a month's first days", Level{Letters: 5, Oldest: now.Add(-26 * day), Keep: 30 * day}, ""},
		{"a letter with three days left", Level{Letters: 5, Oldest: now.Add(-27 * day), Keep: 30 * day},
			"letters of 2026-11-01 are about to be deleted for their age, the first of them at 2026-12-01T12:00:00Z: see to those with kefu dead list"},
		{"old letters that are kept for ever", Level{Letters: 5, Oldest: now.Add(-400 * day)}, ""},
		{"a box four fifths full by bytes", Level{Letters: 5, Oldest: now, Keep: 30 * day, Bytes: 800, MaxBytes: 1000},
			"KEFU_DEAD holds 800 of at most 1000 bytes: when it is full, what dies stays in its queue"},
		{"a box four fifths full by letters", Level{Letters: 8, Oldest: now, Keep: 30 * day, MaxLetters: 10},
			"KEFU_DEAD holds 8 of at most 10 letters: when it is full, what dies stays in its queue"},
		{"a box with room", Level{Letters: 7, Oldest: now, Keep: 30 * day, Bytes: 799, MaxBytes: 1000, MaxLetters: 10}, ""},
		{"a large box without a maximum", Level{Letters: 1e9, Oldest: now, Keep: 30 * day, Bytes: 1e12}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			require.Equal(t, c.want, c.level.Warning(now))
		})
	}
}

func TestLevelIsTheBrokers(t *testing.T) {
	t.Parallel()
	b := newBed(t, 0)
	got, err := b.box.Level(t.Context())
	b.NoError(err)
	b.Equal(Level{Keep: 30 * 24 * time.Hour}, Level{Keep: got.Keep, Letters: got.Letters, MaxLetters: got.MaxLetters, MaxBytes: got.MaxBytes})
	b.Zero(got.Ends())
	before := time.Now()
	b.bury(letter("one"), letter("two"))
	got, err = b.box.Level(t.Context())
	b.NoError(err)
	b.EqualValues(2, got.Letters)
	b.NotZero(got.Bytes)
	b.WithinDuration(before.Add(30*24*time.Hour), got.Ends(), time.Minute)
	b.NoError(b.conn.JS.DeleteStream(t.Context(), schema.StreamDead))
	_, err = b.box.Level(t.Context())
	b.ErrorIs(err, jetstream.ErrStreamNotFound)
}
