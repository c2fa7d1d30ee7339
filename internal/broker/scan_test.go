package broker_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/broker/brokertest"
	"github.com/kefuhq/kefu/schema"
)

// letters fills KEFU_DEAD: message i has the body i, and is of wx1 or wx2 in turn.
func letters(t testing.TB, conn *broker.Conn, n int) {
	t.Helper()
	acks := make(chan error, n)
	for i := 1; i <= n; i++ {
		conn.Outbox.Publish(&nats.Msg{
			Subject: fmt.Sprintf("kefu.dead.wx%d.rejected", 2-i%2),
			Header:  nats.Header{"N": {strconv.Itoa(i)}}, Data: []byte(strconv.Itoa(i)),
		}, func(_ broker.Ack, err error) { acks <- err })
	}
	for range n {
		require.NoError(t, brokertest.Await(t, acks, "an ack"))
	}
}

func bodies(all []broker.Stored) []string {
	out := make([]string, 0, len(all))
	for _, s := range all {
		out = append(out, string(s.Data))
	}
	return out
}

func TestScanReadsEverythingOverManyBatches(t *testing.T) {
	t.Parallel()
	conn := brokertest.New(t)
	const n = 2*broker.ScanBatch + 300
	letters(t, conn, n)
	all := stored(t, conn, schema.StreamDead, broker.ScanOptions{})
	require.Equal(t, numbers(1, n+1), bodies(all))
	for i, s := range all {
		require.EqualValues(t, i+1, s.Seq)
		require.WithinDuration(t, time.Now(), s.Time, time.Minute)
		require.Equal(t, strconv.Itoa(i+1), s.Header.Get("N"))
		require.Len(t, s.Header, 2, "what the publisher set, no envelope: %v", s.Header)
	}
	s, err := conn.JS.Stream(t.Context(), schema.StreamDead)
	require.NoError(t, err)
	require.Zero(t, s.CachedInfo().State.Consumers, "reading leaves no trace")
}

func TestScanOfExactlyOneBatch(t *testing.T) {
	t.Parallel()
	conn := brokertest.New(t)
	letters(t, conn, broker.ScanBatch)
	require.Len(t, stored(t, conn, schema.StreamDead, broker.ScanOptions{}), broker.ScanBatch)
}

func TestScanChooses(t *testing.T) {
	t.Parallel()
	conn := brokertest.New(t)
	letters(t, conn, 10)
	var middle time.Time
	for _, s := range stored(t, conn, schema.StreamDead, broker.ScanOptions{}) {
		if s.Seq == 6 {
			middle = s.Time
		}
	}
	for _, c := range []struct {
		name string
		o    broker.ScanOptions
		want []string
	}{
		{"by subject", broker.ScanOptions{Subject: "kefu.dead.wx1.rejected"},
			[]string{"1", "3", "5", "7", "9"}},
		{"by a subject with a wildcard",
			broker.ScanOptions{Subject: "kefu.dead.*.rejected"}, numbers(1, 11)},
		{"nothing has the subject", broker.ScanOptions{Subject: "kefu.dead.*.poison"}, nil},
		{"from a sequence", broker.ScanOptions{Seq: 8}, []string{"8", "9", "10"}},
		{"from a sequence by subject",
			broker.ScanOptions{Seq: 8, Subject: "kefu.dead.wx1.>"}, []string{"9"}},
		{"from beyond the end", broker.ScanOptions{Seq: 11}, nil},
		{"through a sequence", broker.ScanOptions{Seq: 3, Through: 5}, []string{"3", "4", "5"}},
		{"through a sequence by subject",
			broker.ScanOptions{Subject: "kefu.dead.wx1.*", Through: 4}, []string{"1", "3"}},
		{"through a sequence before the first", broker.ScanOptions{Seq: 3, Through: 2}, nil},
		{"from a time", broker.ScanOptions{Since: middle}, numbers(6, 11)},
		{"from just after a time", broker.ScanOptions{Since: middle.Add(1)}, numbers(7, 11)},
		{"from a time by subject",
			broker.ScanOptions{Since: middle, Subject: "kefu.dead.wx1.*"}, []string{"7", "9"}},
		{"from a time in the future", broker.ScanOptions{Since: time.Now().Add(time.Hour)}, nil},
		{"from a time before everything",
			broker.ScanOptions{Since: time.Now().Add(-time.Hour)}, numbers(1, 11)},
		{"from a time, whatever the sequence says",
			broker.ScanOptions{Since: middle, Seq: 9}, numbers(6, 11)},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			require.Equal(t, append([]string{}, c.want...),
				bodies(stored(t, conn, schema.StreamDead, c.o)))
		})
	}
}

func TestScanReadsNoBatchInVain(t *testing.T) {
	t.Parallel()
	conn := brokertest.New(t)
	letters(t, conn, broker.ScanBatch+100)
	asked, err := conn.NC.SubscribeSync("$JS.API.DIRECT.GET." + schema.StreamDead)
	require.NoError(t, err)
	o := broker.ScanOptions{Through: broker.ScanBatch}
	require.Len(t, stored(t, conn, schema.StreamDead, o), broker.ScanBatch)
	require.NoError(t, conn.NC.Flush())
	n, _, err := asked.Pending()
	require.NoError(t, err)
	require.Equal(t, 1, n)
}

func TestScanOfLargeMessagesHoldsFewOfThem(t *testing.T) {
	t.Parallel()
	conn := brokertest.New(t)
	const n = 150 // of 64 KiB: more than two batches
	for range n {
		_, err := conn.Outbox.PublishWait(t.Context(), &nats.Msg{Subject: "kefu.dead.wx1.rejected",
			Data: make([]byte, 64<<10)})
		require.NoError(t, err)
	}
	asked, err := conn.NC.SubscribeSync("$JS.API.DIRECT.GET." + schema.StreamDead)
	require.NoError(t, err)
	require.Len(t, stored(t, conn, schema.StreamDead, broker.ScanOptions{}), n)
	require.NoError(t, conn.NC.Flush())
	batches, _, err := asked.Pending()
	require.NoError(t, err)
	require.Equal(t, 3, batches)
}

func TestScanEndsWithItsContext(t *testing.T) {
	t.Parallel()
	conn := brokertest.New(t)
	letters(t, conn, 10)
	ctx, cancel := context.WithCancel(t.Context())
	n := 0
	require.ErrorIs(t, conn.Scan(ctx, schema.StreamDead, broker.ScanOptions{},
		func(broker.Stored) error {
			if n++; n == 3 {
				cancel()
			}
			return nil
		}), context.Canceled)
	require.Equal(t, 3, n)
}

func TestScanStepsOverGaps(t *testing.T) {
	t.Parallel()
	conn := brokertest.New(t)
	const n = 1500
	letters(t, conn, n)
	s, err := conn.JS.Stream(t.Context(), schema.StreamDead)
	require.NoError(t, err)
	var want []string
	for i := 1; i <= n; i++ {
		if i <= 3 || i > 10 && i <= 700 || i == 1000 || i == n {
			require.NoError(t, s.DeleteMsg(t.Context(), uint64(i)))
		} else {
			want = append(want, strconv.Itoa(i))
		}
	}
	require.Equal(t, want, bodies(stored(t, conn, schema.StreamDead, broker.ScanOptions{})))
	require.Equal(t, want, bodies(stored(t, conn, schema.StreamDead, broker.ScanOptions{Seq: 2})),
		"the first sequence need not be there")
	require.NoError(t, s.Purge(t.Context()))
	require.Empty(t, stored(t, conn, schema.StreamDead, broker.ScanOptions{}))
}

func TestScanReadsAWorkQueueWithoutDisturbingIt(t *testing.T) {
	t.Parallel()
	conn := brokertest.New(t, "wx1")
	p := newPulled(t, conn, 5)
	p.Request(2)
	p.take(2)
	require.Len(t, stored(t, conn, queue, broker.ScanOptions{}), 5)
	require.EqualValues(t, 3, p.info().NumPending)
}

func TestScanEndsAsItsFunctionSays(t *testing.T) {
	t.Parallel()
	conn := brokertest.New(t)
	letters(t, conn, 600)
	n := 0
	require.NoError(t,
		conn.Scan(t.Context(), schema.StreamDead, broker.ScanOptions{}, func(broker.Stored) error {
			n++
			if n == 520 {
				return fmt.Errorf("enough: %w", broker.ErrStopScan)
			}
			return nil
		}))
	require.Equal(t, 520, n)
	broken := errors.New("broken")
	require.ErrorIs(t, conn.Scan(t.Context(), schema.StreamDead, broker.ScanOptions{},
		func(broker.Stored) error { return broken }), broken)
}

func TestScanAndGetSayWhyTheyCannotRead(t *testing.T) {
	t.Parallel()
	b := brokertest.Start(t)
	conn := b.Connect()
	nothing := func(broker.Stored) error { return nil }
	require.ErrorIs(t, conn.Scan(t.Context(), "MISSING", broker.ScanOptions{}, nothing),
		broker.ErrNoStream)
	_, err := conn.Get(t.Context(), "MISSING", 1)
	require.ErrorIs(t, err, broker.ErrNoStream)
	_, err = conn.Get(t.Context(), schema.StreamDead, 7)
	require.ErrorIs(t, err, broker.ErrNoMessage)
	_, err = conn.Get(t.Context(), schema.StreamDead, 0)
	require.EqualError(t, err, "get KEFU_DEAD/0: broker answers 408 empty request")

	ended, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, conn.Scan(ended, schema.StreamDead, broker.ScanOptions{}, nothing),
		context.Canceled)

	b.Stop()
	require.Eventually(t, func() bool { return !conn.Connected() }, brokertest.Patience,
		time.Millisecond)
	require.ErrorIs(t, conn.Scan(t.Context(), schema.StreamDead, broker.ScanOptions{}, nothing),
		broker.ErrAway)
	_, err = conn.Get(t.Context(), schema.StreamDead, 1)
	require.ErrorIs(t, err, broker.ErrAway)
}

func TestHeadersOfAPublisherCannotPassForTheBrokers(t *testing.T) {
	t.Parallel()
	conn := brokertest.New(t, "wx1")
	hostile := nats.Header{"Status": {"404"}, "Description": {"Not Found"}, "Nats-Sequence": {"99"},
		"Nats-Subject": {"kefu.send.wx1.bulk.x"}, "Nats-Time-Stamp": {"never"}}
	_, err := conn.Outbox.PublishWait(t.Context(),
		&nats.Msg{Subject: "kefu.send.wx1.bulk.c", Header: hostile, Data: []byte("1")})
	require.NoError(t, err)
	_, err = put(t, conn, "kefu.send.wx1.bulk.c")
	require.NoError(t, err)
	all := stored(t, conn, queue, broker.ScanOptions{})
	require.Len(t, all, 2, "the scan must not end at the first")
	require.EqualValues(t, 1, all[0].Seq)
	require.Equal(t, "kefu.send.wx1.bulk.c", all[0].Subject)
	require.Equal(t, "404", all[0].Header.Get("Status"))
	require.Equal(t, []string{"99"}, all[0].Header["Nats-Sequence"],
		"what was published is shown as it was")
	one, err := conn.Get(t.Context(), queue, 1)
	require.NoError(t, err)
	require.Equal(t, all[0], one)
}

func TestWhatIsErasedIsNotInTheFilesEither(t *testing.T) {
	t.Parallel()
	b := brokertest.Start(t)
	conn := b.Connect()
	for _, text := range []string{"CANARY-deleted", "CANARY-erased", "CANARY-kept"} {
		_, err := conn.Outbox.PublishWait(t.Context(),
			&nats.Msg{Subject: "kefu.dead.wx1.rejected", Data: []byte(text)})
		require.NoError(t, err)
	}
	require.NoError(t, conn.Delete(t.Context(), schema.StreamDead, 1))
	require.NoError(t, conn.Erase(t.Context(), schema.StreamDead, 2))
	require.ErrorIs(t, conn.Erase(t.Context(), schema.StreamDead, 2), broker.ErrNoMessage)
	require.Equal(t, []string{"CANARY-kept"},
		bodies(stored(t, conn, schema.StreamDead, broker.ScanOptions{})))
	var files []byte
	dir := os.DirFS(b.Embedded().Dir)
	require.Eventually(t, func() bool { // the broker writes its files a moment later
		files = nil
		err := fs.WalkDir(dir, ".", func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			text, err := fs.ReadFile(dir, path)
			files = append(files, text...)
			return err
		})
		return err == nil && bytes.Contains(files, []byte("CANARY-kept")) &&
			!bytes.Contains(files, []byte("CANARY-erased"))
	}, brokertest.Patience, 10*time.Millisecond)
	require.Contains(t, string(files), "CANARY-deleted", "or there is no need to erase")
}

func TestScanReadsNoMoreThanIsAskedFor(t *testing.T) {
	t.Parallel()
	conn := brokertest.New(t)
	const n = 2*broker.ScanBatch + 300
	letters(t, conn, n)
	for _, most := range []int{1, 5, broker.ScanBatch, broker.ScanBatch + 7, n, n + 1} {
		all := stored(t, conn, schema.StreamDead, broker.ScanOptions{Most: most})
		require.Equal(t, numbers(1, min(most, n)+1), bodies(all))
	}
}
