package campaign

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kefuhq/kefu/internal/broker/brokertest"
	"github.com/kefuhq/kefu/internal/wire"
	"github.com/kefuhq/kefu/schema"
)

func job(t *testing.T, file string) Job {
	t.Helper()
	return Job{AppID: app, Campaign: "double-11", Source: text(CSV, file),
		Template: template(t, hello)}
}

func TestACampaignIsPublishedOnceAndFinished(t *testing.T) {
	t.Parallel()
	conn := brokertest.New(t, app)
	q := &outbox{conn: conn}
	sendAt := time.Now().Add(time.Hour).Truncate(time.Second)
	var seen []int
	result, err := job(t, recipients(250)+"o00007,again\n").Start(t.Context(), Options{
		Conn: conn, Queue: q, By: "me@here", Source: "crm", SendAt: sendAt, ExpiresIn: time.Hour,
		Batch: 100,
		Progress: func(done, total int, waiting string) {
			require.Equal(t, 251, total)
			require.Empty(t, waiting)
			seen = append(seen, done)
		},
	})
	require.NoError(t, err)
	require.Equal(t, []int{0, 100, 200, 251}, seen)
	require.Equal(t, []int{251, 251, 250, 0, 1},
		[]int{result.Rows, result.Next, result.Published, result.Duplicates, result.Repeated})
	require.True(t, result.Finished())
	require.Len(t, stored(t, conn), 250)

	first, err := conn.Get(t.Context(), schema.SendStream(app), 1)
	require.NoError(t, err)
	require.Equal(t, "kefu.send."+app+".bulk.double-11", first.Subject)
	require.JSONEq(t, `{"touser":"o00000","msgtype":"text","text":{"content":"小0，您好"}}`,
		string(first.Data))
	env, err := wire.ParseEnvelope(first.Header, false)
	require.NoError(t, err)
	require.Equal(t, keyed(t, conn, "o00000"), env.ID)
	require.Equal(t, "crm", env.Source)
	require.True(t, env.SendAt.Equal(sendAt))
	require.True(t, env.ExpiresAt.Equal(sendAt.Add(time.Hour)), "counted from the time to send")

	record, _, err := ReadRecord(t.Context(), conn, app, "double-11")
	require.NoError(t, err)
	require.Equal(t, "me@here", record.By)
	require.True(t, record.FinishedAt.Equal(result.FinishedAt))

	again, err := job(t, recipients(250)+"o00007,again\n").Start(t.Context(),
		Options{Conn: conn, Queue: q})
	require.NoError(t, err)
	require.True(t, again.AlreadyFinished)
	require.Equal(t, 250, q.n, "nothing was published again")
}

func TestInterruptedAnywhereEveryRecipientIsThereOnce(t *testing.T) {
	t.Parallel()
	conn := brokertest.New(t, app)
	const people = 400
	file := recipients(people)
	random := rand.New(rand.NewPCG(1, 2))
	interruptions, errDown := 0, errors.New("the process is gone")
	q := &outbox{conn: conn}
	for {
		ctx, cancel := context.WithCancel(t.Context())
		at := q.n + random.IntN(90) // never more than two batches further
		kind := random.IntN(3)
		q.before = func(n int) error {
			switch {
			case n < at:
			case kind == 0:
				cancel() // Ctrl-C while it publishes
			case kind == 1:
				return errDown // a fault in the midst of a batch
			case n%3 == 0:
				return errDown // and one that lets some of the later ones through
			}
			return nil
		}
		o := Options{Conn: conn, Queue: q, Batch: 1 + random.IntN(50)}
		before, _, err := ReadRecord(t.Context(), conn, app, "double-11")
		require.True(t, err == nil || errors.Is(err, ErrUnknown))
		result, err := job(t, file).Start(ctx, o)
		cancel()
		require.GreaterOrEqual(t, result.Next, before.Next)
		queued := stored(t, conn)
		for i := range result.Next {
			require.Equal(t, 1, queued[fmt.Sprintf("o%05d", i)],
				"everything before the checkpoint is stored")
		}
		kept, _, rerr := ReadRecord(t.Context(), conn, app, "double-11")
		require.NoError(t, rerr)
		require.Equal(t, result.Next, kept.Next, "the checkpoint is on record")
		if err == nil {
			require.Equal(t, people, result.Published+result.Duplicates)
			break
		}
		require.True(t, errors.Is(err, context.Canceled) || errors.Is(err, errDown), "%v", err)
		interruptions++
	}
	require.Greater(t, interruptions, 5)
	queued := stored(t, conn)
	require.Len(t, queued, people)
	for _, n := range queued {
		require.Equal(t, 1, n)
	}
}

func TestARunThatDiedWithoutAWordIsContinued(t *testing.T) {
	t.Parallel()
	conn := brokertest.New(t, app)
	q := &outbox{conn: conn}
	j := job(t, recipients(100))
	summary, err := j.Check(t.Context())
	require.NoError(t, err)
	// It published 30 and had 20 on record.
	r := run{job: j, options: Options{Conn: conn, Queue: q}, batch: 10, now: time.Now}
	require.NoError(t, r.open(t.Context(), summary))
	r.record.Next, r.record.Published = 20, 20
	require.NoError(t, r.save(t.Context()))
	var b batch
	err = j.walk(t.Context(), strings.NewReader(recipients(100)), func(row row) error {
		if row.number < 30 {
			b.add(row, r.id(row.openID))
		}
		return nil
	})
	require.NoError(t, err)
	_, err = q.PublishBulk(t.Context(), app, r.terms, b.intents)
	require.NoError(t, err)

	result, err := j.Start(t.Context(), Options{Conn: conn, Queue: q, Batch: 7})
	require.NoError(t, err)
	require.True(t, result.Resumed)
	require.Equal(t, []int{90, 10}, []int{result.Published, result.Duplicates})
	require.Len(t, stored(t, conn), 100)

	require.ErrorIs(t, r.save(t.Context()), ErrTakenOver, "the dead one, were it alive, would stop")
}

func TestAFullQueueIsWaitedFor(t *testing.T) {
	t.Parallel()
	b := brokertest.Bare(t)
	conn := b.Connect()
	spec := brokertest.Spec(app)
	spec.Apps[0].QueueMessages = 25
	brokertest.Provision(t, conn, spec)
	stream, err := conn.JS.Stream(t.Context(), schema.SendStream(app))
	require.NoError(t, err)
	waited, taken := 0, 0
	result, err := job(t, recipients(60)).Start(t.Context(),
		Options{Conn: conn, Queue: &outbox{conn: conn}, Batch: 20,
			Progress: func(done, _ int, waiting string) {
				if waiting != "" {
					require.Equal(t, "the queue is full", waiting)
					waited++
					taken += len(stored(t, conn))
					require.NoError(t, stream.Purge(t.Context())) // the workers catch up
				}
			}})
	require.NoError(t, err)
	require.Equal(t, 2, waited)
	require.Equal(t, 60, taken+len(stored(t, conn)))
	require.Equal(t, []int{60, 0}, []int{result.Published, result.Duplicates})
}

func TestABrokerThatIsAwayIsWaitedFor(t *testing.T) {
	t.Parallel()
	conn := brokertest.New(t, app)
	away := 0
	q := &outbox{conn: conn, before: func(n int) error {
		if n > 5 && n < 20 {
			return fmt.Errorf("%w: no answer", ErrAway)
		}
		return nil
	}}
	_, err := job(t, recipients(10)).Start(t.Context(),
		Options{Conn: conn, Queue: q, Progress: func(_, _ int, waiting string) {
			if waiting == "the broker is away" {
				away++
			}
		}})
	require.NoError(t, err)
	require.Positive(t, away)
	require.Len(t, stored(t, conn), 10)
}

func TestAnInterruptWhileTheQueueIsFullStopsAtOnce(t *testing.T) {
	t.Parallel()
	conn := brokertest.New(t, app)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	q := &outbox{conn: conn, before: func(n int) error {
		if n > 3 {
			return ErrQueueFull
		}
		return nil
	}}
	result, err := job(t, recipients(10)).Start(ctx,
		Options{Conn: conn, Queue: q, Progress: func(_, _ int, waiting string) {
			if waiting != "" {
				cancel()
			}
		}})
	require.ErrorIs(t, err, context.Canceled)
	require.Equal(t, []int{3, 3}, []int{result.Next, result.Published})
}

func TestAnInterruptBetweenPublishAndCheckpointKeepsTheCheckpoint(t *testing.T) {
	t.Parallel()
	conn := brokertest.New(t, app)
	q := &outbox{conn: conn}
	for done := 10; done < 100; done += 10 {
		ctx, cancel := context.WithCancel(t.Context())
		result, err := job(t, recipients(100)).Start(ctx,
			Options{Conn: conn, Queue: q, Batch: 10, Progress: func(at, _ int, _ string) {
				if at == done {
					cancel()
				}
			}})
		cancel()
		require.ErrorIs(t, err, context.Canceled)
		require.NotErrorIs(t, err, ErrTakenOver)
		kept, _, err := ReadRecord(t.Context(), conn, app, "double-11")
		require.NoError(t, err)
		require.Equal(t, []int{done, done, done}, []int{result.Next, kept.Next, kept.Published})
	}
}

func TestWhatIsNotTheSameCampaignIsRefused(t *testing.T) {
	t.Parallel()
	conn := brokertest.New(t, app)
	q := &outbox{conn: conn, before: func(n int) error {
		if n > 5 {
			return errors.New("down")
		}
		return nil
	}}
	_, err := job(t, recipients(10)).Start(t.Context(),
		Options{Conn: conn, Queue: q, Source: "crm", ExpiresIn: time.Hour})
	require.EqualError(t, err, "down")
	q.before = nil
	start := func(j Job, o Options) error {
		o.Conn, o.Queue = conn, q
		_, err := j.Start(t.Context(), o)
		return err
	}
	require.ErrorIs(t, start(job(t, recipients(11)), Options{}), ErrOtherFile)
	other := job(t, recipients(10))
	other.Template = template(t, strings.ReplaceAll(hello, "您", "你"))
	for what, o := range map[string]Options{
		"source": {Source: "erp"}, "send-at": {SendAt: time.Now()},
		"expires-in": {ExpiresIn: time.Minute},
	} {
		require.ErrorIs(t, start(job(t, recipients(10)), o), ErrOtherTerms, what)
	}
	require.ErrorIs(t, start(other, Options{}), ErrOtherTerms)
	require.Len(t, stored(t, conn), 5, "nothing was published by these")
	require.NoError(t, start(job(t, recipients(10)), Options{Source: "crm", ExpiresIn: time.Hour}))
	require.Len(t, stored(t, conn), 10)
}

func TestWhatCannotBePublishedIsRefused(t *testing.T) {
	t.Parallel()
	conn := brokertest.New(t, app)
	q := &outbox{conn: conn}
	start := func(j Job, o Options) (Result, error) {
		o.Conn, o.Queue = conn, q
		return j.Start(t.Context(), o)
	}
	bad := job(t, recipients(3)+"o 4,a\n")
	_, err := start(bad, Options{})
	require.ErrorIs(t, err, ErrInvalidRows)
	_, err = start(job(t, "openid,name\n"), Options{})
	require.EqualError(t, err, "the file has nobody to send to")
	summary, err := bad.Check(t.Context())
	require.NoError(t, err)
	_, err = start(job(t, recipients(3)), Options{Summary: &summary, SkipInvalid: true})
	require.ErrorIs(t, err, ErrChanged)
	require.Empty(t, stored(t, conn))
	_, _, err = ReadRecord(t.Context(), conn, app, "double-11")
	require.ErrorIs(t, err, ErrUnknown, "nothing was begun")

	result, err := start(bad, Options{Summary: &summary, SkipInvalid: true})
	require.NoError(t, err)
	require.Equal(t, []int{4, 3, 1}, []int{result.Next, result.Published, result.Invalid})
}

func TestAfterTheDeadlineNothingIsContinued(t *testing.T) {
	t.Parallel()
	conn := brokertest.New(t, app)
	q := &outbox{conn: conn, before: func(int) error { return errors.New("down") }}
	_, err := job(t, recipients(3)).Start(t.Context(),
		Options{Conn: conn, Queue: q, ExpiresIn: time.Nanosecond})
	require.EqualError(t, err, "down")
	q.before = nil
	_, err = job(t, recipients(3)).Start(t.Context(), Options{Conn: conn, Queue: q})
	require.ErrorIs(t, err, ErrTooLate)
	require.Empty(t, stored(t, conn))
}

func TestStatusCountsTheLatestOutcomeOfEach(t *testing.T) {
	t.Parallel()
	conn := brokertest.New(t, app)
	_, err := ReadStatus(t.Context(), conn, app, "double-11")
	require.ErrorIs(t, err, ErrUnknown)
	_, err = job(t, recipients(10)).Start(t.Context(),
		Options{Conn: conn, Queue: &outbox{conn: conn}})
	require.NoError(t, err)
	receipt := func(n, generation int, state schema.State, reason schema.Reason, twice bool) {
		id := keyed(t, conn, fmt.Sprintf("o%05d", n))
		publishReceipt(t, conn, schema.Receipt{ID: id, AppID: app, Generation: generation,
			State: state, Lane: schema.LaneBulk,
			Campaign: "double-11", Reason: reason, PossibleDuplicate: twice})
	}
	receipt(0, 1, schema.StateSent, "", false)
	receipt(1, 1, schema.StateSent, "", true)
	receipt(2, 1, schema.StateDead, schema.ReasonRecipient, false)
	receipt(3, 1, schema.StateDead, schema.ReasonExhausted, false)
	receipt(3, 2, schema.StateSent, "", false) // replayed
	receipt(4, 1, schema.StateCancelled, "", false)
	publishReceipt(t, conn, schema.Receipt{ID: "x", AppID: app, Generation: 1,
		State: schema.StateSent, Lane: schema.LaneBulk, Campaign: "other"})
	publishReceipt(t, conn, schema.Receipt{ID: "y", AppID: app, Generation: 1,
		State: schema.StateSent, Lane: schema.LaneLive})

	s, err := ReadStatus(t.Context(), conn, app, "double-11")
	require.NoError(t, err)
	require.Equal(t, []int{10, 3, 1, 1, 5},
		[]int{s.Queued, s.Sent, s.Cancelled, s.PossibleDuplicates, s.Open()})
	require.Equal(t, map[schema.Reason]int{schema.ReasonRecipient: 1}, s.Dead)
	require.True(t, s.Finished())
}
