package deadletter

import (
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/kefuhq/kefu/schema"
)

func TestWarnings(t *testing.T) {
	t.Parallel()
	const day = 24 * time.Hour
	now := time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		name  string
		level Level
		want  []string
	}{
		{"an empty box", Level{Keep: 30 * day, MaxLetters: 10, MaxBytes: 1000}, nil},
		{"letters of a month's first days",
			Level{Letters: 5, Oldest: now.Add(-26 * day), Keep: 30 * day}, nil},
		{"a letter with three days left",
			Level{Letters: 5, Oldest: now.Add(-27 * day), Keep: 30 * day},
			[]string{"the oldest letters will be deleted for their age, the first at " +
				"2026-12-01T12:00:00Z: kefu dead list --until 648h shows them"}},
		{"old letters that are kept for ever", Level{Letters: 5, Oldest: now.Add(-400 * day)}, nil},
		{"a box four fifths full by bytes",
			Level{Letters: 5, Oldest: now, Keep: 30 * day, Bytes: 800, MaxBytes: 1000},
			[]string{"KEFU_DEAD is full to 80 %: when it is full, what dies stays in its queue"}},
		{"a box four fifths full by letters",
			Level{Letters: 9, Oldest: now, Keep: 30 * day, MaxLetters: 10},
			[]string{"KEFU_DEAD is full to 90 %: when it is full, what dies stays in its queue"}},
		{"a box that is full of old letters",
			Level{Letters: 10, Oldest: now.Add(-29 * day), Keep: 30 * day, MaxLetters: 10,
				Bytes: 900, MaxBytes: 1000}, []string{
				"KEFU_DEAD is full to 100 %: when it is full, what dies stays in its queue",
				"the oldest letters will be deleted for their age, the first at " +
					"2026-11-29T12:00:00Z: kefu dead list --until 648h shows them"}},
		{"a box with room", Level{Letters: 7, Oldest: now, Keep: 30 * day, Bytes: 799,
			MaxBytes: 1000, MaxLetters: 10}, nil},
		{"a large box without a maximum",
			Level{Letters: 1e9, Oldest: now, Keep: 30 * day, Bytes: 1e12}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			require.Equal(t, c.want, c.level.Warnings(now))
		})
	}
}

func TestLevelIsTheBrokers(t *testing.T) {
	t.Parallel()
	b := newBed(t, 0)
	got, err := b.box.Level(t.Context())
	b.NoError(err)
	b.Equal(Level{Keep: 30 * 24 * time.Hour},
		Level{Keep: got.Keep, Letters: got.Letters, MaxLetters: got.MaxLetters,
			MaxBytes: got.MaxBytes})
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
