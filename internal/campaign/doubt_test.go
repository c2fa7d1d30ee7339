package campaign

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kefuhq/kefu/internal/broker/brokertest"
)

func TestMayDouble(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)
	const keep = 72 * time.Hour
	for what, c := range map[string]struct {
		record     Record
		remembered time.Duration
		want       int
	}{
		"a run that died an hour ago":             {Record{InDoubt: 500, DoubtSince: now.Add(-time.Hour)}, keep, 0},
		"one that died before what is remembered": {Record{InDoubt: 500, DoubtSince: now.Add(-keep)}, keep, 500},
		"one that was stopped in good order":      {Record{DoubtSince: now.Add(-2 * keep)}, keep, 0},
		"one that finished":                       {Record{InDoubt: 500, DoubtSince: now.Add(-keep), FinishedAt: now}, keep, 0},
		"without a ledger":                        {Record{InDoubt: 7, DoubtSince: now.Add(-11 * time.Minute)}, 10 * time.Minute, 7},
		"nobody asks":                             {Record{InDoubt: 500, DoubtSince: now.Add(-2 * keep)}, 0, 0},
	} {
		require.Equal(t, c.want, c.record.MayDouble(now, c.remembered), what)
	}
}

func TestWhatIsInDoubtIsOnRecord(t *testing.T) {
	t.Parallel()
	conn := brokertest.New(t, app)
	writings := recorded(t, conn)
	began := time.Now()
	result, err := job(t, recipients(25)).Start(t.Context(), Options{Conn: conn, Queue: &outbox{conn: conn}, Batch: 10})
	require.NoError(t, err)
	require.Zero(t, result.InDoubt)
	var next, doubt []int
	for _, w := range writings() {
		next, doubt = append(next, w.Next), append(doubt, w.InDoubt)
		if w.InDoubt > 0 {
			require.False(t, w.DoubtSince.Before(began.Add(-time.Second)))
		}
	}
	require.Equal(t, []int{0, 10, 20, 25, 25}, next)
	require.Equal(t, []int{10, 10, 5, 0, 0}, doubt, "killed right after a writing, so many may have been published")
}

func TestARunThatStopsSaysWhatIsInDoubt(t *testing.T) {
	t.Parallel()
	errDown := errors.New("down")
	for what, c := range map[string]struct {
		answer func(n int) error // to the nth intent
		next   int
		doubt  int
	}{
		"all of a batch were refused": {func(n int) error {
			if n > 10 {
				return errDown
			}
			return nil
		}, 10, 10},
		"what the full queue has not taken is not there": {func(n int) error {
			if n > 13 {
				return ErrQueueFull
			}
			return nil
		}, 13, 0},
		"those behind the first that was not taken are there": {func(n int) error {
			if n == 12 {
				return ErrQueueFull
			}
			return nil
		}, 11, 8},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			conn := brokertest.New(t, app)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			result, err := job(t, recipients(40)).Start(ctx, Options{
				Conn: conn, Queue: &outbox{conn: conn, before: c.answer}, Batch: 10,
				Progress: func(_, _ int, waiting string) {
					if waiting != "" {
						cancel()
					}
				},
			})
			require.Error(t, err)
			require.Equal(t, []int{c.next, c.doubt}, []int{result.Next, result.InDoubt})
		})
	}
}

func TestNobodyIsSentToTwiceWithoutBeingAskedFor(t *testing.T) {
	t.Parallel()
	conn := brokertest.New(t, app)
	q := &outbox{conn: conn}
	const keep = time.Hour
	// A run died with 20 of 40 on record, longer ago than published ids are remembered.
	r := run{job: job(t, recipients(40)), options: Options{Conn: conn, Queue: q}, batch: 10}
	summary, err := r.job.Check(t.Context())
	require.NoError(t, err)
	require.NoError(t, r.open(t.Context(), summary))
	since := time.Now().Add(-2 * keep).UTC()
	r.record.Next, r.record.Published, r.record.InDoubt, r.record.DoubtSince = 20, 20, 10, since
	require.NoError(t, r.save(t.Context()))

	start := func(ctx context.Context, o Options) (Result, error) {
		o.Conn, o.Queue, o.Batch, o.Remembered = conn, q, 5, keep
		return job(t, recipients(40)).Start(ctx, o)
	}
	_, err = start(t.Context(), Options{})
	require.ErrorIs(t, err, ErrMayDouble)
	require.Zero(t, q.n)

	// Whoever agrees, and interrupts it before anything was published, has changed nothing.
	stopped, cancel := context.WithCancel(t.Context())
	_, err = start(stopped, Options{AllowDoubles: true, Progress: func(int, int, string) { cancel() }})
	require.ErrorIs(t, err, context.Canceled)
	require.Zero(t, q.n)
	kept, _, err := ReadRecord(t.Context(), conn, app, "double-11")
	require.NoError(t, err)
	require.Equal(t, 10, kept.InDoubt)
	require.True(t, kept.DoubtSince.Equal(since))
	_, err = start(t.Context(), Options{})
	require.ErrorIs(t, err, ErrMayDouble)

	result, err := start(t.Context(), Options{AllowDoubles: true})
	require.NoError(t, err)
	require.Equal(t, []int{40, 40, 0}, []int{result.Next, result.Published, result.InDoubt})
}

func TestAWaitThatIsTooLongForRepeatsEnds(t *testing.T) {
	t.Parallel()
	conn := brokertest.New(t, app)
	q := &outbox{conn: conn, before: func(int) error { return ErrAway }}
	o := Options{Conn: conn, Queue: q, Remembered: time.Nanosecond}
	result, err := job(t, recipients(10)).Start(t.Context(), o)
	require.ErrorIs(t, err, ErrMayDouble)
	require.Equal(t, 10, result.InDoubt)
	_, err = job(t, recipients(10)).Start(t.Context(), o)
	require.ErrorIs(t, err, ErrMayDouble, "it asks before it goes on")

	q.before = nil
	o.AllowDoubles = true
	_, err = job(t, recipients(10)).Start(t.Context(), o)
	require.NoError(t, err)
}

func TestACheckpointThatIsNotStoredIsTold(t *testing.T) {
	t.Parallel()
	conn := brokertest.New(t, app)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	result, err := job(t, recipients(40)).Start(ctx, Options{Conn: conn, Queue: &outbox{conn: conn}, Batch: 10, Progress: func(done, _ int, _ string) {
		if done == 20 {
			require.NoError(t, conn.JS.DeleteStream(t.Context(), jobStream))
			cancel()
		}
	}})
	require.ErrorIs(t, err, context.Canceled)
	require.ErrorIs(t, err, ErrCheckpoint)
	require.Equal(t, 20, result.Next)
}
