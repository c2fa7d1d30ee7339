package campaign

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kefuhq/kefu/internal/job"
)

func TestWhichRowsAreNotNeededAnyMore(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)
	ago := func(d time.Duration) time.Time { return now.Add(-d) }
	ended := func(at time.Time) *job.Job { return &job.Job{Order: job.Order{Ended: at}} }
	const week = 7 * day
	for _, row := range []struct {
		name string
		s    standing
		due  bool
	}{
		{"a campaign that is fed", standing{job: ended(time.Time{})}, false},
		{"one that ended a moment ago", standing{job: ended(now)}, false},
		{"one that ended within 7 days", standing{job: ended(ago(week - 1))}, false},
		{"one that ended 7 days ago", standing{job: ended(ago(week))}, true},
		{"one whose job is forgotten", standing{stored: ago(40 * day),
			record: Record{Ended: job.StateDone, FinishedAt: ago(31 * day)}}, true},
		{"one whose job is forgotten, lately", standing{stored: ago(40 * day),
			record: Record{Ended: job.StateDone, FinishedAt: ago(week - 1)}}, false},
		{"an upload under way", standing{stored: ago(time.Second), record: Record{Upload: "u"}},
			false},
		{"an upload that was killed lately", standing{stored: ago(day - 1),
			record: Record{Upload: "u"}}, false},
		{"an upload that was killed a day ago", standing{stored: ago(day),
			record: Record{Upload: "u"}}, true},
		{"an upload whose order was not stored", standing{stored: ago(day),
			record: Record{Upload: "u", OrderedAt: ago(day)}}, true},
		{"an upload that another one took the place of", standing{stored: ago(day)}, true},
		{"an upload of nobody knows what", standing{stored: ago(day - 1)}, false},
	} {
		require.Equal(t, row.due, row.s.due(now), row.name)
	}
}

func TestRowsAreRemovedWhenNobodyNeedsThemAnyMore(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	b.end(ends{sent: 2})
	ended := b.order(terms(), "o1", "o2")
	b.worker()
	b.until(ended, isEnded)
	t2, t3 := terms(), terms()
	t2.Campaign, t3.Campaign = "killed", "later"
	t3.SendAt = time.Now().Add(30 * day)
	b.uploaded(t2, "o1")
	later := b.order(t3, "o1")
	tidy := func(after time.Duration, left int, what string) {
		b.NoError(Tidy(t.Context(), b.conn, time.Now().Add(after)))
		b.Equal(left, b.stored(), what)
	}
	tidy(0, 3, "nothing is due")
	tidy(day+time.Minute, 2, "of the upload that was killed")
	tidy(7*day+time.Minute, 1, "of the campaign that has ended")
	tidy(365*day, 1, "what is still to be fed stays")
	_, err := readRows(t.Context(), b.conn, app, later, 1)
	b.NoError(err)
}
