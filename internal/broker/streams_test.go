package broker_test

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/broker/brokertest"
	"github.com/kefuhq/kefu/internal/wire"
	"github.com/kefuhq/kefu/schema"
)

// queue is the stream of the app that most tests use.
var queue = schema.SendStream("wx1")

// put publishes a message and returns what the broker said.
func put(t testing.TB, conn *broker.Conn, subject string, header ...string) (broker.Ack, error) {
	t.Helper()
	m := nats.NewMsg(subject)
	m.Data = []byte("body")
	for i := 0; i+1 < len(header); i += 2 {
		m.Header.Set(header[i], header[i+1])
	}
	return conn.Outbox.PublishWait(t.Context(), m)
}

// state is what a stream holds.
func state(t testing.TB, conn *broker.Conn, stream string) jetstream.StreamState {
	t.Helper()
	s, err := conn.JS.Stream(t.Context(), stream)
	require.NoError(t, err)
	return s.CachedInfo().State
}

// stored reads a whole stream.
func stored(t testing.TB, conn *broker.Conn, stream string, o broker.ScanOptions) []broker.Stored {
	t.Helper()
	var out []broker.Stored
	// A test of a cluster may read while its connection moves to another node.
	require.NoError(t, conn.Ask(t.Context(), func(ctx context.Context) error {
		out = nil
		return conn.Scan(ctx, stream, o, func(s broker.Stored) error {
			out = append(out, s)
			return nil
		})
	}))
	return out
}

func TestLiveIntentsFallIntoShards(t *testing.T) {
	t.Parallel()
	conn := brokertest.New(t, "wx1")
	shard := make(map[string]string)
	used := make(map[string]int)
	for i := range 200 {
		openid := fmt.Sprintf("o%03d", i)
		_, err := put(t, conn, "kefu.send.wx1.live."+openid)
		require.NoError(t, err)
		s, err := conn.Get(t.Context(), queue, uint64(i+1))
		require.NoError(t, err)
		token := strings.Split(s.Subject, ".")
		require.Len(t, token, 6, s.Subject)
		require.Equal(t, openid, token[5])
		shard[openid] = token[4]
		used[token[4]]++
	}
	require.Len(t, used, 4)
	for n, count := range used {
		require.Greater(t, count, 20, "shard %s has too little", n)
	}

	_, err := put(t, conn, "kefu.again.wx1.live.o007")
	require.NoError(t, err)
	s, err := conn.Get(t.Context(), queue, 201)
	require.NoError(t, err)
	require.Equal(t, "kefu.again.wx1.live."+shard["o007"]+".o007", s.Subject,
		"a retry falls into the recipient's own shard")
}

func TestWhatProducersMayNotPublishHasNoStream(t *testing.T) {
	t.Parallel()
	conn := brokertest.New(t, "wx1")
	for _, c := range []struct{ name, subject string }{
		{"a shard made by hand", "kefu.send.wx1.live.3.o1"},
		{"a shard made by hand on kefu.again", "kefu.again.wx1.live.3.o1"},
		{"an app nobody set up", "kefu.send.wx9.live.o1"},
		{"a lane that does not exist", "kefu.send.wx1.fast.o1"},
		{"a campaign with more tokens", "kefu.send.wx1.bulk.a.b"},
		{"no recipient", "kefu.send.wx1.live"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			// As a producer publishes: with a request, which is answered at once.
			_, err := conn.NC.Request(c.subject, []byte("{}"), brokertest.Patience)
			require.ErrorIs(t, err, nats.ErrNoResponders)
		})
	}
}

func TestTheLanesOfAnAppAreReadApart(t *testing.T) {
	t.Parallel()
	conn := brokertest.New(t, "wx1")
	for i := range 40 {
		_, err := put(t, conn, "kefu.send.wx1.live.o"+strconv.Itoa(i))
		require.NoError(t, err)
	}
	_, err := put(t, conn, "kefu.again.wx1.bulk.c1")
	require.NoError(t, err)
	total := uint64(0)
	for shard := range 4 {
		c, err := conn.JS.CreateConsumer(t.Context(), queue,
			broker.LiveConsumer("wx1", shard, 100))
		require.NoError(t, err)
		total += c.CachedInfo().NumPending
	}
	require.EqualValues(t, 40, total)
	c, err := conn.JS.CreateConsumer(t.Context(), queue, broker.BulkConsumer("wx1", 100))
	require.NoError(t, err)
	require.EqualValues(t, 1, c.CachedInfo().NumPending)
	_, err = conn.JS.CreateConsumer(t.Context(), wire.StreamLater, broker.DispatchConsumer())
	require.NoError(t, err)
}

func TestAFullQueueRefusesAtOnceAndKeepsWhatItHas(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		limits func(*broker.AppSpec)
	}{
		{"by messages", func(a *broker.AppSpec) { a.QueueMessages = 3 }},
		{"by bytes", func(a *broker.AppSpec) { a.QueueBytes = 400 }},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			conn := brokertest.Bare(t).Connect()
			spec := brokertest.Spec("wx1")
			c.limits(&spec.Apps[0])
			brokertest.Provision(t, conn, spec)
			begin := time.Now()
			var err error
			n := 0
			for ; n < 10 && err == nil; n++ {
				_, err = put(t, conn, "kefu.send.wx1.bulk.c", "Nats-Msg-Id", strconv.Itoa(n))
			}
			require.Error(t, err)
			require.True(t, broker.Full(err), "%v", err)
			require.Less(t, time.Since(begin), broker.Patience,
				"a full queue is no election to wait out")
			held := state(t, conn, queue)
			require.EqualValues(t, n-1, held.Msgs)
			require.EqualValues(t, 1, held.FirstSeq, "the oldest is still there")

			s, err := conn.JS.Stream(t.Context(), queue)
			require.NoError(t, err)
			require.NoError(t, s.DeleteMsg(t.Context(), 1))
			_, err = put(t, conn, "kefu.send.wx1.bulk.c", "Nats-Msg-Id", strconv.Itoa(n-1))
			require.NoError(t, err, "an id that was refused is not remembered")
		})
	}
}

func TestWhatIsNotAFullQueue(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		err  error
	}{
		{"no error", nil},
		{"a missing stream", broker.ErrNoStream},
		{"a message that is too large",
			&broker.APIError{Status: 503, Code: broker.CodeStoreFailed,
				Description: "message too large"}},
		{"a disk that failed", &broker.APIError{Status: 503, Code: broker.CodeStoreFailed,
			Description: "write error"}},
		{"another refusal", &broker.APIError{Status: 400, Code: broker.CodeWrongLastSeq,
			Description: "wrong last sequence: 1"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			require.False(t, broker.Full(c.err))
		})
	}
}

func TestAnIntentMayBeAsLargeAsAPacketAndItsHeadersButNoLarger(t *testing.T) {
	t.Parallel()
	conn := brokertest.New(t, "wx1")
	publish := func(size int) error {
		_, err := conn.Outbox.PublishWait(t.Context(), &nats.Msg{
			Subject: "kefu.send.wx1.bulk.c",
			Header:  nats.Header{"Kefu-Tried": {strings.Repeat("x", 8<<10)}},
			Data:    make([]byte, size),
		})
		return err
	}
	require.NoError(t, publish(schema.MaxPacket))
	err := publish(schema.MaxPacket + 16<<10)
	var refused *broker.APIError
	require.ErrorAs(t, err, &refused)
	require.Equal(t, broker.CodeTooLarge, refused.Code)
}

func TestARepeatedIdIsADuplicateWhateverItsBody(t *testing.T) {
	t.Parallel()
	conn := brokertest.New(t, "wx1")
	first, err := put(t, conn, "kefu.send.wx1.live.o1", "Nats-Msg-Id", "id-1")
	require.NoError(t, err)
	require.Equal(t, broker.Ack{Stream: queue, Seq: 1}, first)
	second, err := put(t, conn, "kefu.send.wx1.bulk.c9", "Nats-Msg-Id", "id-1")
	require.NoError(t, err)
	require.Equal(t, broker.Ack{Stream: queue, Seq: 1, Duplicate: true}, second)
}

func TestAScheduleFiresAtItsTimeToTheFractionOfASecond(t *testing.T) {
	t.Parallel()
	conn := brokertest.New(t, "wx1")
	due := time.Now().Add(700 * time.Millisecond)
	_, err := put(t, conn, "kefu.later.wait.wx1.a1",
		"Nats-Schedule", "@at "+due.UTC().Format(time.RFC3339Nano), "Nats-Schedule-Target",
		"kefu.later.due.wx1",
		"Kefu-Id", "id-1", "Nats-Msg-Id", "id-1·1·2·0")
	require.NoError(t, err)
	consumer, err := conn.JS.CreateConsumer(t.Context(), wire.StreamLater,
		broker.DispatchConsumer())
	require.NoError(t, err)
	m, err := consumer.Next(jetstream.FetchMaxWait(brokertest.Patience))
	require.NoError(t, err)
	late := time.Since(due)
	require.GreaterOrEqual(t, late, time.Duration(0), "never early")
	require.Less(t, late, brokertest.Patience)
	require.Equal(t, "kefu.later.due.wx1", m.Subject())
	require.Equal(t, "body", string(m.Data()))
	require.Equal(t, "id-1", m.Headers().Get("Kefu-Id"))
	require.Empty(t, m.Headers().Get("Nats-Msg-Id"),
		"this is why an intent carries its id in a header of its own")
	require.NoError(t, m.DoubleAck(t.Context()))
	require.Zero(t, state(t, conn, wire.StreamLater).Msgs, "nothing is left of it")
}

func TestTwoSchedulesOnOneSubjectReplaceEachOther(t *testing.T) {
	t.Parallel()
	conn := brokertest.New(t, "wx1")
	for _, id := range []string{"a", "b"} {
		_, err := put(t, conn, "kefu.later.wait.wx1.same", "Nats-Msg-Id", id,
			"Nats-Schedule", "@at "+
				time.Now().Add(time.Hour).UTC().Format(time.RFC3339Nano), "Nats-Schedule-Target",
			"kefu.later.due.wx1")
		require.NoError(t, err)
	}
	require.EqualValues(t, 1, state(t, conn, wire.StreamLater).Msgs, "hence one subject for each")
}

func TestTheAuditCannotBeEdited(t *testing.T) {
	t.Parallel()
	conn := brokertest.New(t)
	require.NoError(t, conn.Audit(t.Context(),
		broker.AuditEntry{Actor: "me@host", Verb: "pause", AppID: "wx1", Count: 1}))
	s, err := conn.JS.Stream(t.Context(), wire.StreamAudit)
	require.NoError(t, err)
	require.Error(t, s.DeleteMsg(t.Context(), 1))
	require.Error(t, s.Purge(t.Context()))
	require.Contains(t, string(stored(t, conn, wire.StreamAudit, broker.ScanOptions{})[0].Data),
		`"actor":"me@host","verb":"pause"`)
	require.Error(t, conn.Audit(t.Context(), broker.AuditEntry{Verb: "not a token"}))
}
