package campaign

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/broker/brokertest"
)

// wide is a CSV file of n people whose rows are so long that it has several pieces.
func wide(prefix string, n int) string {
	var b strings.Builder
	b.WriteString("openid,name,note\n")
	note := strings.Repeat("x", 16<<10)
	for i := range n {
		fmt.Fprintf(&b, "%s%05d,小%d,%s\n", prefix, i, i, note)
	}
	return b.String()
}

func TestWhatIsSentIsWhatWasChecked(t *testing.T) {
	t.Parallel()
	const people = 250 // 4 MiB
	right := wide("o", people)
	for what, c := range map[string]struct {
		change   func(path string) error
		finishes bool
	}{
		"rewritten in place": {change: func(path string) error {
			return os.WriteFile(path, []byte(wide("w", people)), 0o600)
		}},
		"cut": {change: func(path string) error {
			return os.Truncate(path, int64(len(right)-(20<<10)))
		}},
		"cut within a row": {change: func(path string) error {
			return os.Truncate(path, int64(len(right)-1))
		}},
		"longer": {change: func(path string) error {
			f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
			if err == nil {
				_, err = f.WriteString("w00000,x,y\n")
				_ = f.Close()
			}
			return err
		}},
		"replaced by another file": {finishes: true, change: func(path string) error {
			if err := os.WriteFile(path+".new", []byte(wide("w", people)), 0o600); err != nil {
				return err
			}
			return os.Rename(path+".new", path)
		}},
		"deleted": {finishes: true, change: os.Remove},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			conn := brokertest.New(t, app)
			path := filepath.Join(t.TempDir(), "people.csv")
			require.NoError(t, os.WriteFile(path, []byte(right), 0o600))
			start := func(progress func(done, total int, waiting string)) (Result, error) {
				source, err := File(path)
				require.NoError(t, err)
				defer func() { require.NoError(t, source.Close()) }()
				j := Job{AppID: app, Campaign: "double-11", Source: source,
					Template: template(t, hello)}
				summary, err := j.Check(t.Context())
				require.NoError(t, err)
				return j.Start(t.Context(), Options{Conn: conn, Queue: &outbox{conn: conn},
					Summary: &summary, Batch: 50, Progress: progress})
			}
			changed := false
			result, err := start(func(done, _ int, _ string) {
				if done > 0 && !changed {
					changed = true
					require.NoError(t, c.change(path))
				}
			})
			require.True(t, changed)
			for openID := range stored(t, conn) {
				require.True(t, strings.HasPrefix(openID, "o"), "%s was never checked", openID)
			}
			require.Len(t, stored(t, conn), result.Next,
				"the checkpoint speaks of the checked file")
			if c.finishes {
				require.NoError(t, err)
				require.Equal(t, people, result.Published)
				return
			}
			require.ErrorIs(t, err, ErrChanged)
			require.Less(t, result.Next, people)

			require.NoError(t, os.WriteFile(path, []byte(right), 0o600))
			result, err = start(nil)
			require.NoError(t, err)
			require.True(t, result.Finished())
			require.Len(t, stored(t, conn), people, "the right file goes on where its rows end")
		})
	}
}

func TestAChangeBetweenCheckAndStartPublishesNothing(t *testing.T) {
	t.Parallel()
	conn := brokertest.New(t, app)
	path := filepath.Join(t.TempDir(), "people.csv")
	require.NoError(t, os.WriteFile(path, []byte(wide("o", 200)), 0o600))
	source, err := File(path)
	require.NoError(t, err)
	defer func() { require.NoError(t, source.Close()) }()
	j := Job{AppID: app, Campaign: "double-11", Source: source, Template: template(t, hello)}
	summary, err := j.Check(t.Context())
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(path, []byte(wide("o", 199)+"w00000,x,y\n"), 0o600))
	_, err = j.Start(t.Context(),
		Options{Conn: conn, Queue: &outbox{conn: conn}, Summary: &summary})
	require.ErrorIs(t, err, ErrChanged)
	require.Empty(t, stored(t, conn))
	_, _, err = ReadRecord(t.Context(), conn, app, "double-11")
	require.ErrorIs(t, err, ErrUnknown, "nothing was begun")
}

func TestVerifiedReading(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(3, 4))
	for _, size := range []int{0, 1, pieceSize - 1, pieceSize, pieceSize + 1, 2 * pieceSize,
		2*pieceSize + 17} {
		content := make([]byte, size)
		for i := range content {
			content[i] = byte(random.Uint32())
		}
		var f fingerprint
		_, err := io.Copy(&f, iotest.OneByteReader(bytes.NewReader(content[:min(size, 100)])))
		require.NoError(t, err)
		_, err = f.Write(content[min(size, 100):])
		require.NoError(t, err)
		seal := f.seal()

		got, err := io.ReadAll(seal.reader(t.Context(),
			iotest.HalfReader(bytes.NewReader(content))))
		require.NoError(t, err, size)
		require.True(t, bytes.Equal(content, got), size)

		wrong := map[string][]byte{"longer": append(bytes.Clone(content), 'x')}
		if size > 0 {
			wrong["shorter"] = content[:size-1]
			at := random.IntN(size)
			wrong["other"] = bytes.Clone(content)
			wrong["other"][at]++
		}
		for what, other := range wrong {
			got, err := io.ReadAll(seal.reader(t.Context(), bytes.NewReader(other)))
			require.ErrorIs(t, err, ErrChanged, "%s, %d bytes", what, size)
			require.True(t, bytes.HasPrefix(content, got),
				"%s, %d bytes: nothing of another file is handed out", what, size)
		}
	}
}

func TestVerifiedReadingEndsWithItsContext(t *testing.T) {
	t.Parallel()
	var f fingerprint
	_, _ = f.Write(make([]byte, 2*pieceSize))
	seal := f.seal()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := io.ReadAll(seal.reader(ctx, bytes.NewReader(make([]byte, 2*pieceSize))))
	require.ErrorIs(t, err, context.Canceled)
	_, err = io.ReadAll(seal.reader(t.Context(), iotest.ErrReader(io.ErrClosedPipe)))
	require.ErrorIs(t, err, io.ErrClosedPipe, "what cannot be read is no change")
}

// recorded watches every writing of a campaign's record, in order.
func recorded(t *testing.T, conn *broker.Conn) func() []Record {
	t.Helper()
	sub, err := conn.NC.SubscribeSync(broker.PutJob(recordKey(app, "double-11"), nil, 0).Subject)
	require.NoError(t, err)
	return func() []Record {
		require.NoError(t, conn.NC.Flush())
		var all []Record
		for {
			n, _, err := sub.Pending()
			require.NoError(t, err)
			if n == 0 {
				return all
			}
			m, err := sub.NextMsg(nats.DefaultTimeout)
			require.NoError(t, err)
			all = append(all, decodeRecord(t, m.Data))
		}
	}
}

func TestTheCheckpointNeverGoesBack(t *testing.T) {
	t.Parallel()
	conn := brokertest.New(t, app)
	q := &outbox{conn: conn}
	file := recipients(40) + "o00001,again\n" // the last row is nobody's
	// A run that is interrupted behind its last row has everything but the word that it finished.
	r := run{job: job(t, file), options: Options{Conn: conn, Queue: q}, batch: 10, now: time.Now}
	summary, err := r.job.Check(t.Context())
	require.NoError(t, err)
	require.NoError(t, r.open(t.Context(), summary))
	r.record.Next, r.record.Published = 41, 40
	require.NoError(t, r.save(t.Context()))

	writings := recorded(t, conn)
	result, err := job(t, file).Start(t.Context(), Options{Conn: conn, Queue: q, Batch: 10})
	require.NoError(t, err)
	require.True(t, result.Finished())
	require.Zero(t, q.n, "nothing was left to publish")
	for _, w := range writings() {
		require.Equal(t, 41, w.Next,
			"killed right after this writing, the next run would publish from there")
	}
}
