package campaign

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/broker/brokertest"
	"github.com/kefuhq/kefu/internal/wire"
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
	result, err := job(t, recipients(25)).Start(t.Context(),
		Options{Conn: conn, Queue: &outbox{conn: conn}, Batch: 10})
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
	require.Equal(t, []int{10, 10, 5, 0, 0}, doubt,
		"killed right after a writing, so many may have been published")
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
		}, 11, 9}, // up to the last of them
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
	since := time.Now().Add(-2 * keep).UTC()
	killed(t, conn,
		func(r *Record) { r.Next, r.Published, r.InDoubt, r.DoubtSince = 20, 20, 10, since })

	start := func(ctx context.Context, o Options) (Result, error) {
		o.Conn, o.Queue, o.Batch, o.Remembered = conn, q, 5, keep
		return job(t, recipients(40)).Start(ctx, o)
	}
	_, err := start(t.Context(), Options{})
	require.ErrorIs(t, err, ErrMayDouble)
	require.Zero(t, q.n)

	// Whoever agrees, and interrupts it before anything was published, has changed nothing.
	stopped, cancel := context.WithCancel(t.Context())
	_, err = start(stopped,
		Options{AllowDoubles: true, Progress: func(int, int, string) { cancel() }})
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

// late is the wall clock, and ahead of it as far as a test has put it.
type late struct{ ahead time.Duration }

func (l *late) now() time.Time { return time.Now().Add(l.ahead) }

const window = 10 * time.Minute // as queues have it, without a ledger

func TestAWaitThatIsTooLongForRepeatsEnds(t *testing.T) {
	t.Parallel()
	for what, c := range map[string]struct {
		waits time.Duration // in vain, before it ends
		stops bool          // by the user
		later time.Duration // until the next run
		doubt bool          // whether that asks
	}{
		"by itself, and is run again at once":                      {waits: window, doubt: true},
		"by Ctrl-C, and is run again while repeats are recognised": {waits: 4 * time.Minute, stops: true, later: 5 * time.Minute},
		"by Ctrl-C, and is run again later":                        {waits: 4 * time.Minute, stops: true, later: 6 * time.Minute, doubt: true},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			conn := brokertest.New(t, app)
			clock := &late{}
			q := &outbox{conn: conn, before: func(int) error { return ErrAway }}
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			start := func(ctx context.Context, o Options) (Result, error) {
				o.Conn, o.Queue, o.Remembered = conn, q, window
				return job(t, recipients(10)).start(ctx, o, clock.now)
			}
			result, err := start(ctx, Options{Progress: func(_, _ int, waiting string) {
				if waiting == "" {
					return
				}
				clock.ahead = c.waits
				if c.stops {
					cancel()
				}
			}})
			require.Equal(t, 10, q.n, "it is not published again")
			require.Equal(t, 10, result.InDoubt)
			if c.stops {
				require.ErrorIs(t, err, context.Canceled)
			} else {
				require.ErrorIs(t, err, ErrMayDouble)
			}

			q.before = nil
			clock.ahead += c.later
			_, err = start(t.Context(), Options{})
			if !c.doubt {
				require.NoError(t, err)
				return
			}
			require.ErrorIs(t, err, ErrMayDouble, "it asks before it goes on")
			require.Equal(t, 10, q.n)
			_, err = start(t.Context(), Options{AllowDoubles: true})
			require.NoError(t, err)
		})
	}
}

func TestWhatAKilledRunMayHavePublishedIsNotPublishedTooLate(t *testing.T) {
	t.Parallel()
	full := func(from int) func(int) error {
		return func(n int) error {
			if n >= from {
				return ErrQueueFull
			}
			return nil
		}
	}
	for what, c := range map[string]struct {
		answer  func(n int) error // before repeats are no longer recognised
		allowed bool
		next    int
		doubt   int
		err     error
	}{
		"the queue is full":                      {answer: full(1), next: 20, doubt: 7, err: ErrMayDouble},
		"it has taken some":                      {answer: full(5), next: 24, doubt: 3, err: ErrMayDouble},
		"it has taken all that were in doubt":    {answer: full(8), next: 40},
		"the broker is away":                     {answer: func(int) error { return ErrAway }, next: 20, doubt: 20, err: ErrMayDouble},
		"the queue is full, and the user agreed": {answer: full(1), allowed: true, next: 40},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			conn := brokertest.New(t, app)
			q := &outbox{conn: conn, before: c.answer}
			killed(t, conn, func(r *Record) {
				r.Next, r.Published, r.InDoubt, r.DoubtSince = 20, 20, 7,
					time.Now().Add(time.Minute-window)
			})
			clock := &late{}
			result, err := job(t, recipients(40)).start(t.Context(), Options{
				Conn: conn, Queue: q, Remembered: window, AllowDoubles: c.allowed,
				Progress: func(_, _ int, waiting string) {
					if waiting != "" {
						clock.ahead, q.before = 2*time.Minute, nil
					}
				},
			}, clock.now)
			require.ErrorIs(t, err, c.err)
			require.Equal(t, []int{c.next, c.doubt}, []int{result.Next, result.InDoubt})
		})
	}
}

func TestAFullQueueMayBeWaitedForLongerThanRepeatsAreRecognised(t *testing.T) {
	t.Parallel()
	conn := brokertest.New(t, app)
	clock := &late{}
	waits := 0
	q := &outbox{conn: conn, before: func(int) error { return ErrQueueFull }}
	result, err := job(t, recipients(10)).start(t.Context(),
		Options{Conn: conn, Queue: q, Remembered: window, Progress: func(_, _ int, waiting string) {
			if waiting == "" {
				return
			}
			clock.ahead += window
			waits++
			q.before = nil
			if waits == 1 {
				// In doubt from now on, not from the beginning.
				q.before = func(int) error { return ErrAway }
			}
			if waits == 2 {
				clock.ahead -= window
			}
		}}, clock.now)
	require.NoError(t, err)
	require.Equal(t, []int{2, 10}, []int{waits, result.Published})
}

func TestAFullQueueSaysNothingOfAnEarlierTry(t *testing.T) {
	t.Parallel()
	conn := brokertest.New(t, app)
	q := &outbox{conn: conn, before: func(int) error { return ErrAway }}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	result, err := job(t, recipients(10)).Start(ctx,
		Options{Conn: conn, Queue: q, Progress: func(_, _ int, waiting string) {
			switch waiting {
			case "the broker is away":
				q.before = func(int) error { return ErrQueueFull }
			case "the queue is full":
				cancel()
			}
		}})
	require.ErrorIs(t, err, context.Canceled)
	require.Equal(t, []int{20, 10}, []int{q.n, result.InDoubt})
}

func TestWhoeverAgreesToSomeTwiceDoesNotAgreeToOthers(t *testing.T) {
	t.Parallel()
	conn := brokertest.New(t, app)
	clock := &late{}
	q := &outbox{conn: conn, before: func(n int) error {
		if n > 7 {
			return ErrAway
		}
		return nil
	}}
	killed(t, conn,
		func(r *Record) { r.Next, r.InDoubt, r.DoubtSince = 20, 7, time.Now().Add(-2*window) })
	result, err := job(t, recipients(40)).start(t.Context(), Options{
		Conn: conn, Queue: q, Remembered: window, AllowDoubles: true,
		Progress: func(_, _ int, waiting string) {
			if waiting != "" {
				clock.ahead = window
			}
		},
	}, clock.now)
	require.ErrorIs(t, err, ErrMayDouble)
	require.Equal(t, []int{27, 13}, []int{result.Next, result.InDoubt})
}

func TestThePublisherRepeatsNothingThatIsNotRecognised(t *testing.T) {
	t.Parallel()
	conn := brokertest.New(t, app)
	q := &silent{}
	_, err := job(t, recipients(10)).Start(t.Context(),
		Options{Conn: conn, Queue: q, Remembered: 100 * time.Millisecond})
	require.ErrorIs(t, err, ErrMayDouble)
	require.LessOrEqual(t, q.calls, 1)
}

// silent is a queue from which nothing is heard.
type silent struct{ calls int }

func (q *silent) PublishBulk(
	ctx context.Context, _ string, _ Terms, _ []Intent,
) ([]Accepted, error) {
	q.calls++
	<-ctx.Done()
	return nil, fmt.Errorf("%w: %w", ErrAway, context.Cause(ctx))
}

func TestARecordOfAnEarlierVersionIsInDoubt(t *testing.T) {
	t.Parallel()
	updated := time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)
	for what, c := range map[string]struct {
		stored string
		doubt  int
		since  time.Time
	}{
		"a batch of it": {`{"rows":2000,"next":1000,"updated_at":"2026-11-24T12:00:00Z"}`, 500, updated},
		"what is left":  {`{"rows":2000,"next":1900,"updated_at":"2026-11-24T12:00:00Z"}`, 100, updated},
		"not when it has finished": {`{"rows":20,"next":20,"updated_at":"2026-11-24T12:00:00Z",` +
			`"finished_at":"2026-11-24T12:00:00Z"}`, 0, time.Time{}},
		"not when the record says nothing": {`{"rows":2000,"next":1000,"updated_at":"2026-11-24T12:00:00Z","in_doubt":0}`, 0, time.Time{}},
		"so many as the record says": {
			`{"rows":2000,"next":1000,"in_doubt":7,"doubt_since":"2026-11-24T12:00:00Z",` +
				`"updated_at":"2026-11-24T13:00:00Z"}`, 7, updated,
		},
	} {
		var r Record
		require.NoError(t, r.decode([]byte(c.stored)), what)
		require.Equal(t, c.doubt, r.InDoubt, what)
		require.True(t, c.since.Equal(r.DoubtSince), what)
	}
}

func TestACampaignOfAnEarlierVersionAsksWhenItIsOld(t *testing.T) {
	t.Parallel()
	conn := brokertest.New(t, app)
	q := &outbox{conn: conn}
	killed(t, conn, func(r *Record) { r.Next, r.Published = 20, 20 })
	raw, err := readStored(t.Context(), conn, app, "double-11")
	require.NoError(t, err)
	var fields map[string]any
	require.NoError(t, json.Unmarshal(raw.Value, &fields))
	delete(fields, "in_doubt")
	delete(fields, "doubt_since")
	body, err := json.Marshal(fields)
	require.NoError(t, err)
	m := broker.PutJob(recordKey(app, "double-11"), body, 0)
	_, err = conn.Outbox.PublishWait(t.Context(), m)
	require.NoError(t, err)

	clock := &late{ahead: window}
	start := func() error {
		_, err := job(t, recipients(40)).start(t.Context(),
			Options{Conn: conn, Queue: q, Remembered: window}, clock.now)
		return err
	}
	require.ErrorIs(t, start(), ErrMayDouble)
	require.Zero(t, q.n)
	clock.ahead = 0
	require.NoError(t, start())
}

// killed leaves the record of a run with 40 recipients that was killed.
func killed(t *testing.T, conn *broker.Conn, change func(*Record)) {
	t.Helper()
	r := run{job: job(t, recipients(40)), options: Options{Conn: conn}, batch: 10, now: time.Now}
	summary, err := r.job.Check(t.Context())
	require.NoError(t, err)
	require.NoError(t, r.open(t.Context(), summary))
	change(&r.record)
	require.NoError(t, r.save(t.Context()))
}

func TestACheckpointThatIsNotStoredIsTold(t *testing.T) {
	t.Parallel()
	conn := brokertest.New(t, app)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	result, err := job(t, recipients(40)).Start(ctx, Options{Conn: conn, Queue: &outbox{conn: conn},
		Batch: 10, Progress: func(done, _ int, _ string) {
			if done == 20 {
				require.NoError(t, conn.JS.DeleteStream(t.Context(), wire.StreamJobRecords))
				cancel()
			}
		}})
	require.ErrorIs(t, err, context.Canceled)
	require.ErrorIs(t, err, ErrCheckpoint)
	require.Equal(t, 20, result.Next)
}
