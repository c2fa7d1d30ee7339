package publisher_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/kefuhq/kefu/internal/broker/brokertest"
	"github.com/kefuhq/kefu/publisher"
	"github.com/kefuhq/kefu/schema"
)

// crowd is n intents to n people, with ids of their own.
func crowd(n int) []publisher.Intent {
	out := make([]publisher.Intent, n)
	for i := range out {
		out[i] = publisher.Intent{
			Packet:  text(fmt.Sprintf("oUser%d", i), "hi"),
			Options: []publisher.PublishOption{publisher.WithID(fmt.Sprintf("id-%d", i))},
		}
	}
	return out
}

// crowdIDs are the ids of crowd, in order.
func crowdIDs(n int) []string {
	out := make([]string, n)
	for i := range out {
		out[i] = fmt.Sprintf("id-%d", i)
	}
	return out
}

func noBatches(c *jetstream.StreamConfig) { c.AllowAtomicPublish = false }

func TestABatchOfTenThousandIsStoredOnceEachInOrder(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*jetstream.StreamConfig){
		"by a stream that takes batches":        func(*jetstream.StreamConfig) {},
		"by one that takes single intents only": noBatches,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			conn := brokertest.New(t)
			send(t, conn, change)
			p := newPublisher(t, conn.JS)
			const n = 10_000
			results, err := p.PublishBatch(t.Context(), app, crowd(n), publisher.WithBulk("sale"))
			require.NoError(t, err)
			require.Len(t, results, n)
			stored := queued(t, conn)
			require.Equal(t, crowdIDs(n), ids(stored))
			for i, r := range results {
				require.NoError(t, r.Err)
				require.Equal(t,
					publisher.Accepted{ID: fmt.Sprintf("id-%d", i), AppID: app,
						Stream: "KEFU_SEND_wx1", Seq: stored[i].Seq, At: r.At}, r.Accepted)
			}
			_, err = schema.ParseEnvelope(stored[n-1].Header)
			require.NoError(t, err,
				"what the batch leaves in the headers must not trouble a worker")
		})
	}
}

func TestABatchWithRepeats(t *testing.T) {
	t.Parallel()
	conn := brokertest.New(t, app)
	p := newPublisher(t, conn.JS)
	_, err := p.Publish(t.Context(), app, text("oUser7", "hi"), publisher.WithID("id-7"))
	require.NoError(t, err)

	intents := append(crowd(100), crowd(3)...) // one was published before, three come twice
	results, err := p.PublishBatch(t.Context(), app, intents)
	require.NoError(t, err)
	for i, r := range results {
		require.Equal(t, i == 7 || i >= 100, r.Duplicate, "result %d", i)
	}
	require.Equal(t, results[0].Seq, results[100].Seq)
	stored := ids(queued(t, conn))
	slices.Sort(stored)
	want := crowdIDs(100)
	slices.Sort(want)
	require.Equal(t, want, stored)
}

func TestABatchWithBadIntentsTakesTheOthers(t *testing.T) {
	t.Parallel()
	conn := brokertest.New(t, app)
	p := newPublisher(t, conn.JS)
	intents := crowd(100)
	intents[3].Packet = text("oUser3", "")
	intents[20].Packet = nil
	intents[30].Packet = raw("oUser30", "")
	intents[40].Packet = raw("oUser40", "hi")
	results, err := p.PublishBatch(t.Context(), app, intents)
	require.ErrorContains(t, err, "3 of 100 intents were not accepted")
	var field *schema.FieldError
	require.ErrorAs(t, err, &field)
	for i, r := range results {
		bad := i == 3 || i == 20 || i == 30
		require.Equal(t, bad, r.Err != nil, "result %d", i)
		require.Equal(t, fmt.Sprintf("id-%d", i), r.ID)
	}
	require.Len(t, queued(t, conn), 97)
}

func TestABatchOfNothing(t *testing.T) {
	t.Parallel()
	conn := brokertest.New(t, app)
	results, err := newPublisher(t, conn.JS).PublishBatch(t.Context(), app, nil)
	require.NoError(t, err)
	require.Empty(t, results)
}

func TestABatchForWhichThereIsNoRoomIsTakenAsFarAsItFits(t *testing.T) {
	t.Parallel()
	conn := brokertest.New(t)
	send(t, conn, func(c *jetstream.StreamConfig) { c.MaxMsgs = 30 })
	p := newPublisher(t, conn.JS)
	results, err := p.PublishBatch(t.Context(), app, crowd(2500))
	require.ErrorIs(t, err, publisher.ErrQueueFull)
	require.Equal(t, crowdIDs(30), ids(queued(t, conn)))
	for i, r := range results {
		if i < 30 {
			require.NoError(t, r.Err)
		} else {
			require.ErrorIs(t, r.Err, publisher.ErrQueueFull)
		}
	}
}

func TestABatchForAnUnknownApp(t *testing.T) {
	t.Parallel()
	conn := brokertest.New(t, app)
	began := time.Now()
	results, err := newPublisher(t, conn.JS).PublishBatch(t.Context(), "wxTypo", crowd(3000))
	require.ErrorIs(t, err, publisher.ErrUnknownApp)
	for _, r := range results {
		require.ErrorIs(t, r.Err, publisher.ErrUnknownApp)
	}
	require.Less(t, time.Since(began), 12*time.Second, "not once for each")
}

func TestABatchWhoseAnswersAreLostIsStoredOnce(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		when   string
		change func(*jetstream.StreamConfig)
		lost   int
		what   string
	}{
		// The first answer of all.
		{"the broker's agreement", func(*jetstream.StreamConfig) {}, 1, "\r\n"},
		{"the word that the batch is stored", func(*jetstream.StreamConfig) {}, 1, `"batch":`},
		{"a tenth of the answers to single intents", noBatches, 30, `"seq":`},
	} {
		t.Run(row.when, func(t *testing.T) {
			t.Parallel()
			b := brokertest.Bare(t)
			conn := b.Connect()
			send(t, conn, row.change)
			e := losing(row.lost, row.what)
			results, err := newPublisher(t, e.connect(t, b.URL())).PublishBatch(t.Context(), app,
				crowd(300))
			require.NoError(t, err)
			require.Equal(t, row.lost, e.count())
			stored := queued(t, conn)
			require.Len(t, stored, 300)
			bySeq := make(map[uint64]string)
			for i, id := range ids(stored) {
				bySeq[stored[i].Seq] = id
			}
			for _, r := range results {
				require.Equal(t, r.ID, bySeq[r.Seq])
			}
		})
	}
}

// A repeat of a lost one must not arrive behind the recipient's next.
func TestOrderOfARecipientOutlivesLostAnswersAndRefusals(t *testing.T) {
	t.Parallel()
	b := brokertest.Bare(t)
	conn := b.Connect()
	send(t, conn, noBatches)
	e := losing(5, `"seq":`)
	p := newPublisher(t, e.connect(t, b.URL()))
	intents := crowd(60)
	for i := range intents {
		intents[i].Packet = text(fmt.Sprintf("oUser%d", i%3), "hi")
	}
	_, err := p.PublishBatch(t.Context(), app, intents)
	require.NoError(t, err)
	require.Equal(t, 5, e.count())
	of := make(map[string][]string)
	for _, s := range queued(t, conn) {
		of[s.Subject] = append(of[s.Subject], s.Header.Get(schema.HeaderMsgID))
	}
	require.Len(t, of, 3)
	for _, got := range of {
		want := slices.Clone(got)
		slices.SortFunc(want, func(a, b string) int {
			var x, y int
			_, _ = fmt.Sscanf(a, "id-%d", &x)
			_, _ = fmt.Sscanf(b, "id-%d", &y)
			return x - y
		})
		require.Equal(t, want, got)
	}
}

func TestABatchThatRunsOutOfTimeHasAResultForEach(t *testing.T) {
	t.Parallel()
	b := brokertest.Start(t, app)
	conn := b.Connect()
	ctx, cancel := context.WithCancel(t.Context())
	e := &ear{lose: func(payload []byte) bool { // the second batch's word is the last that is heard
		if len(payload) > 2 && holds(conn) >= 2000 {
			cancel()
			return true
		}
		return false
	}}
	results, err := newPublisher(t, e.connect(t, b.URL())).PublishBatch(ctx, app, crowd(3500))
	require.Error(t, err)
	count := map[string]int{}
	for i, r := range results {
		switch {
		case r.Err == nil:
			count["accepted"]++
			require.Less(t, i, 1000)
		case errors.Is(r.Err, publisher.ErrOutcomeOpen):
			count["open"]++
		case errors.Is(r.Err, publisher.ErrNotQueued):
			count["not"]++
			require.GreaterOrEqual(t, i, 2000)
		}
		require.NotEmpty(t, r.ID)
	}
	require.Equal(t, map[string]int{"accepted": 1000, "open": 1000, "not": 1500}, count)

	results, err = newPublisher(t, conn.JS).PublishBatch(t.Context(), app, crowd(3500))
	require.NoError(t, err, "all of them again settles it")
	require.True(t, results[1500].Duplicate)
	require.Len(t, queued(t, conn), 3500)
}
