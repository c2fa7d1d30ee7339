package broker_test

import (
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/broker/brokertest"
	"github.com/kefuhq/kefu/internal/wire"
	"github.com/kefuhq/kefu/schema"
)

// plan compares a broker with a spec.
func plan(t *testing.T, conn *broker.Conn, spec broker.Spec) *broker.Plan {
	t.Helper()
	p, err := broker.NewPlan(t.Context(), conn.JS, spec)
	require.NoError(t, err)
	return p
}

// sentences are changes as an operator reads them.
func sentences(changes []broker.Change) []string {
	out := make([]string, 0, len(changes))
	for _, c := range changes {
		out = append(out, c.String())
	}
	return out
}

func TestProvisioningCreatesEverythingOnce(t *testing.T) {
	t.Parallel()
	conn := brokertest.Bare(t).Connect()
	spec := brokertest.Spec("wx1", "wx2")
	first := plan(t, conn, spec)
	require.Equal(t, []string{
		"KEFU_LATER: create", "KEFU_DEAD: create", "KEFU_DEAD_INDEX: create",
		"KEFU_RECEIPT: create", "KEFU_LEDGER: create", "KEFU_AUDIT: create",
		"KEFU_JOB: create", "KEFU_CAMPAIGN: create", "KV_KEFU_STATE: create",
		"KV_KEFU_JOB: create", "KEFU_SEND_wx1: create", "KEFU_SEND_wx2: create",
	}, sentences(first.Changes))
	require.Equal(t, 12, first.Kinds(broker.Create))

	left, err := first.Apply(t.Context(), conn.JS, false)
	require.NoError(t, err)
	require.Empty(t, left)
	require.Empty(t, plan(t, conn, spec).Changes, "a second plan finds nothing to do")

	left, err = first.Apply(t.Context(), conn.JS, false)
	require.NoError(t, err, "another worker may have carried out the same plan")
	require.Empty(t, left)
}

func TestPlansOfExtremeButValidSpecsSettle(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		change func(*broker.Spec)
	}{
		{"a ledger that remembers for less than the usual duplicate window", func(s *broker.Spec) {
			s.LedgerKeep = time.Minute
		}},
		{"an app without limits", func(s *broker.Spec) {
			s.Apps[0].QueueMessages, s.Apps[0].QueueBytes = 0, 0
		}},
		{"an app with one live shard", func(s *broker.Spec) { s.Apps[0].LiveShards = 1 }},
		{"an app that leaves the duplicate window to the broker", func(s *broker.Spec) {
			s.Apps[0].DuplicateWindow = 0
		}},
		{"no replicas named", func(s *broker.Spec) { s.Replicas = 0 }},
		{"no apps", func(s *broker.Spec) { s.Apps = nil }},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			conn := brokertest.Bare(t).Connect()
			spec := brokertest.Spec("wx1")
			c.change(&spec)
			brokertest.Provision(t, conn, spec)
			require.Empty(t, plan(t, conn, spec).Changes)
		})
	}
}

func TestDriftIsReportedFieldByField(t *testing.T) {
	t.Parallel()
	send := queue
	for _, c := range []struct {
		name    string
		stream  string
		tamper  func(*jetstream.StreamConfig)
		change  func(*broker.Spec)
		queued  int // messages in the app's queue
		want    string
		refused bool // Apply leaves it, even when it may lose something
	}{
		{
			name: "a longer queue", stream: send, change: func(s *broker.Spec) {
				s.Apps[0].QueueMessages = 2_000_000
			},
			want: "KEFU_SEND_wx1: max_msgs is 1000000, wanted 2000000 (update)",
		},
		{
			name: "a shorter queue that still holds what is there", stream: send, queued: 3,
			change: func(s *broker.Spec) { s.Apps[0].QueueMessages = 3 },
			want:   "KEFU_SEND_wx1: max_msgs is 1000000, wanted 3 (update)",
		},
		{
			name: "a shorter queue than what is there", stream: send, queued: 3,
			change: func(s *broker.Spec) { s.Apps[0].QueueMessages = 2 },
			want:   "KEFU_SEND_wx1: max_msgs is 1000000, wanted 2 (lossy)",
		},
		{
			name: "fewer bytes than what is there", stream: send, queued: 3,
			change: func(s *broker.Spec) { s.Apps[0].QueueBytes = 100 },
			want:   "KEFU_SEND_wx1: max_bytes is 1073741824, wanted 100 (lossy)",
		},
		{
			name: "limits taken away", stream: send, change: func(s *broker.Spec) {
				s.Apps[0].QueueBytes = 0
			},
			want: "KEFU_SEND_wx1: max_bytes is 1073741824, wanted unlimited (update)",
		},
		{
			name: "another duplicate window", stream: send, change: func(s *broker.Spec) {
				s.Apps[0].DuplicateWindow = time.Hour
			},
			want: "KEFU_SEND_wx1: duplicates is 10m0s, wanted 1h0m0s (update)",
		},
		{
			name: "more shards for an empty queue, whose workers read the old ones", stream: send,
			change: func(s *broker.Spec) { s.Apps[0].LiveShards = 8 },
			want:   "KEFU_SEND_wx1: live_shards is 4, wanted 8 (refused)", refused: true,
		},
		{
			name: "more shards while something is queued", stream: send, queued: 1,
			change: func(s *broker.Spec) { s.Apps[0].LiveShards = 8 },
			want:   "KEFU_SEND_wx1: live_shards is 4, wanted 8 (refused)", refused: true,
		},
		{
			name: "no shards at all", stream: send,
			tamper: func(c *jetstream.StreamConfig) { c.SubjectTransform = nil },
			want:   "KEFU_SEND_wx1: live_shards is 0, wanted 4 (refused)", refused: true,
		},
		{
			name: "the right number of shards by another token", stream: send,
			tamper: func(c *jetstream.StreamConfig) {
				c.SubjectTransform.Destination = "kefu." +
					"{{wildcard(1)}}.wx1.live.{{partition(4,1)}}.{{wildcard(2)}}"
			},
			want: "KEFU_SEND_wx1: live_shards is kefu.*.wx1.live.* → " +
				"kefu.{{wildcard(1)}}.wx1.live.{{partition(4,1)}}.{{wildcard(2)}}, " +
				"wanted 4 (refused)",
			refused: true,
		},
		{
			name: "a subject that lets producers past the shards", stream: send,
			tamper: func(c *jetstream.StreamConfig) {
				c.Subjects = []string{"kefu.send.wx1.>", "kefu.again.wx1.>"}
			},
			want: "KEFU_SEND_wx1: subjects is kefu.again.wx1.> kefu.send.wx1.>, wanted " +
				"kefu.again.wx1.bulk.* kefu.again.wx1.live.* kefu.send.wx1.bulk.* " +
				"kefu.send.wx1.live.* (update)",
		},
		{
			name: "a queue that drops its oldest", stream: send,
			tamper: func(c *jetstream.StreamConfig) { c.Discard = jetstream.DiscardOld },
			want:   "KEFU_SEND_wx1: discard is DiscardOld, wanted DiscardNew (update)",
		},
		{
			name: "messages may be larger", stream: send,
			tamper: func(c *jetstream.StreamConfig) { c.MaxMsgSize = -1 },
			want:   "KEFU_SEND_wx1: max_msg_size is unlimited, wanted 81920 (update)",
		},
		{
			name: "a stream that answers no publish", stream: send,
			tamper: func(c *jetstream.StreamConfig) { c.NoAck = true },
			want:   "KEFU_SEND_wx1: no_ack is true, wanted false (update)",
		},
		{
			name: "a queue that cannot be purged, which is for good", stream: send,
			tamper: func(c *jetstream.StreamConfig) { c.DenyPurge = true },
			want:   "KEFU_SEND_wx1: deny_purge is true, wanted false (refused)", refused: true,
		},
		{
			name: "no direct reads", stream: schema.StreamDead,
			tamper: func(c *jetstream.StreamConfig) { c.AllowDirect = false },
			want:   "KEFU_DEAD: allow_direct is false, wanted true (update)",
		},
		{
			name: "a ledger that remembers longer", stream: wire.StreamLedger,
			change: func(s *broker.Spec) { s.LedgerKeep = 2 * time.Hour },
			want:   "KEFU_LEDGER: max_age is 1h0m0s, wanted 2h0m0s (update)",
		},
		{
			name: "an empty ledger that remembers for a shorter time", stream: wire.StreamLedger,
			change: func(s *broker.Spec) { s.LedgerKeep = time.Minute * 30 },
			want:   "KEFU_LEDGER: max_age is 1h0m0s, wanted 30m0s (update)",
		},
		{
			name: "a bucket without life times", stream: wire.StreamState,
			tamper: func(c *jetstream.StreamConfig) { c.SubjectDeleteMarkerTTL = 0 },
			want:   "KV_KEFU_STATE: subject_delete_marker_ttl is 0s, wanted 1m0s (update)",
		},
		{
			name: "a bucket with a history", stream: wire.StreamState,
			tamper: func(c *jetstream.StreamConfig) { c.MaxMsgsPerSubject = 5 },
			want:   "KV_KEFU_STATE: max_msgs_per_subject is 5, wanted 1 (update)",
		},
		{
			name: "a queue that can hold schedules", stream: schema.StreamReceipt,
			tamper: func(c *jetstream.StreamConfig) {
				c.AllowMsgSchedules, c.AllowMsgTTL, c.AllowRollup = true, true, true
			},
			want: "",
		},
		{
			name: "what an operator may choose is left alone", stream: send,
			tamper: func(c *jetstream.StreamConfig) {
				c.Description, c.Metadata, c.MaxConsumers = "ours",
					map[string]string{"team": "crm"}, 50
			},
			want: "",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			conn := brokertest.New(t, "wx1")
			for range c.queued {
				_, err := conn.Outbox.PublishWait(t.Context(),
					&nats.Msg{Subject: "kefu.send.wx1.bulk.c", Data: make([]byte, 100)})
				require.NoError(t, err)
			}
			spec := brokertest.Spec("wx1")
			if c.change != nil {
				c.change(&spec)
			}
			if c.tamper != nil {
				s, err := conn.JS.Stream(t.Context(), c.stream)
				require.NoError(t, err)
				cfg := s.CachedInfo().Config
				c.tamper(&cfg)
				if c.stream == wire.StreamState && cfg.SubjectDeleteMarkerTTL == 0 {
					cfg.AllowMsgTTL = true
				}
				_, err = conn.JS.UpdateStream(t.Context(), cfg)
				require.NoError(t, err)
			}
			p := plan(t, conn, spec)
			if c.want == "" {
				require.Empty(t, sentences(p.Changes))
				return
			}
			require.Equal(t, []string{c.want}, sentences(p.Changes))

			lossy := p.Kinds(broker.Lossy) > 0
			if lossy || c.refused {
				left, err := p.Apply(t.Context(), conn.JS, false)
				require.NoError(t, err)
				require.Equal(t, []string{c.want}, sentences(left),
					"nothing that loses messages is done unasked")
				require.Equal(t, []string{c.want}, sentences(plan(t, conn, spec).Changes))
			}
			left, err := p.Apply(t.Context(), conn.JS, lossy)
			require.NoError(t, err)
			if c.refused {
				require.Equal(t, []string{c.want}, sentences(left))
				return
			}
			require.Empty(t, left)
			require.Empty(t, sentences(plan(t, conn, spec).Changes),
				"applied, nothing is left to do")
		})
	}
}

func TestShardsAreFixedAndHoldNothingElseBack(t *testing.T) {
	t.Parallel()
	conn := brokertest.New(t, "wx1")
	spec := brokertest.Spec("wx1")
	spec.Apps[0].LiveShards, spec.Apps[0].QueueMessages = 8, 5
	left, err := plan(t, conn, spec).Apply(t.Context(), conn.JS, false)
	require.NoError(t, err)
	require.Equal(t, []string{"KEFU_SEND_wx1: live_shards is 4, wanted 8 (refused)"},
		sentences(left))
	require.Equal(t,
		"the shards of a queue that exists stay as they are; to change them, stop the workers, "+
			"delete the stream KEFU_SEND_wx1 once it is empty, and run kefu setup", left[0].Why)
	s, err := conn.JS.Stream(t.Context(), schema.SendStream("wx1"))
	require.NoError(t, err)
	require.EqualValues(t, 5, s.CachedInfo().Config.MaxMsgs)
	require.Equal(t, 4, broker.Shards(s.CachedInfo().Config))

	require.NoError(t, conn.JS.DeleteStream(t.Context(), schema.SendStream("wx1")))
	brokertest.Provision(t, conn, spec)
	s, err = conn.JS.Stream(t.Context(), schema.SendStream("wx1"))
	require.NoError(t, err)
	require.Equal(t, 8, broker.Shards(s.CachedInfo().Config), "as the sentence says")
}

func TestApplyKeepsWhatAnOperatorChose(t *testing.T) {
	t.Parallel()
	conn := brokertest.New(t, "wx1")
	s, err := conn.JS.Stream(t.Context(), schema.SendStream("wx1"))
	require.NoError(t, err)
	cfg := s.CachedInfo().Config
	cfg.Metadata = map[string]string{"team": "crm"}
	_, err = conn.JS.UpdateStream(t.Context(), cfg)
	require.NoError(t, err)

	spec := brokertest.Spec("wx1")
	spec.Apps[0].QueueMessages = 5
	brokertest.Provision(t, conn, spec)
	s, err = conn.JS.Stream(t.Context(), schema.SendStream("wx1"))
	require.NoError(t, err)
	require.EqualValues(t, 5, s.CachedInfo().Config.MaxMsgs)
	require.Equal(t, "crm", s.CachedInfo().Config.Metadata["team"])
}

func TestHowLargeTheBoxOfLettersMayBeIsTheOperators(t *testing.T) {
	t.Parallel()
	conn := brokertest.New(t, "wx1")
	s, err := conn.JS.Stream(t.Context(), schema.StreamDead)
	require.NoError(t, err)
	cfg := s.CachedInfo().Config
	cfg.MaxMsgs, cfg.MaxBytes, cfg.MaxAge = 1000, 1<<20, time.Hour
	_, err = conn.JS.UpdateStream(t.Context(), cfg)
	require.NoError(t, err)
	plan, err := broker.NewPlan(t.Context(), conn.JS, brokertest.Spec("wx1"))
	require.NoError(t, err)
	var changes []string
	for _, c := range plan.Changes {
		changes = append(changes, c.Stream+" "+c.Field)
	}
	require.Equal(t, []string{"KEFU_DEAD max_age"}, changes)
	brokertest.Provision(t, conn, brokertest.Spec("wx1"))
	s, err = conn.JS.Stream(t.Context(), schema.StreamDead)
	require.NoError(t, err)
	got := s.CachedInfo().Config
	require.EqualValues(t, 1000, got.MaxMsgs)
	require.EqualValues(t, 1<<20, got.MaxBytes)
	require.Equal(t, 30*24*time.Hour, got.MaxAge)
}

func TestOtherRetentionOrStorageIsRefused(t *testing.T) {
	t.Parallel()
	conn := brokertest.Bare(t).Connect()
	_, err := conn.JS.CreateStream(t.Context(), jetstream.StreamConfig{
		Name: schema.StreamDead, Subjects: []string{"kefu.dead.*.*"},
		Retention: jetstream.WorkQueuePolicy, Storage: jetstream.MemoryStorage,
		Discard: jetstream.DiscardNew, MaxAge: 30 * 24 * time.Hour, Duplicates: time.Hour,
		AllowDirect: true,
	})
	require.NoError(t, err)
	spec := brokertest.Spec()
	left, err := plan(t, conn, spec).Apply(t.Context(), conn.JS, true)
	require.NoError(t, err)
	want := []string{
		"KEFU_DEAD: retention is WorkQueue, wanted Limits (refused)",
		"KEFU_DEAD: storage is Memory, wanted File (refused)",
	}
	require.Equal(t, want, sentences(left))
	require.Equal(t, want, sentences(plan(t, conn, spec).Changes), "the others were created")
}

// connectTo starts a server with settings of the test's own.
func connectTo(t *testing.T, o *server.Options) *broker.Conn {
	t.Helper()
	o.Host, o.Port, o.NoSigs, o.NoLog, o.StoreDir = "127.0.0.1", server.RANDOM_PORT, true,
		true, t.TempDir()
	s, err := server.NewServer(o)
	require.NoError(t, err)
	s.Start()
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	require.True(t, s.ReadyForConnections(brokertest.Patience))
	conn, err := broker.Connect(t.Context(), broker.Options{URL: s.ClientURL()})
	require.NoError(t, err)
	t.Cleanup(conn.Close)
	return conn
}

func TestAServerWithoutJetStreamIsExplained(t *testing.T) {
	t.Parallel()
	conn := connectTo(t, &server.Options{})
	_, err := broker.NewPlan(t.Context(), conn.JS, brokertest.Spec())
	require.ErrorContains(t, err, "the broker runs without JetStream: start nats-server with -js")
}

func TestAServerWithoutRoomForAQueueIsExplained(t *testing.T) {
	t.Parallel()
	conn := connectTo(t, &server.Options{JetStream: true, JetStreamMaxStore: 1 << 30})
	spec := brokertest.Spec("wx1", "wx2")
	for i := range spec.Apps {
		spec.Apps[i].QueueBytes = 600 << 20
	}
	_, err := plan(t, conn, spec).Apply(t.Context(), conn.JS, false)
	require.ErrorIs(t, err, broker.ErrNoRoom)
	require.ErrorContains(t, err, "lower queue.bytes")
	require.ErrorContains(t, err, "KEFU_SEND_wx2")
}

func TestShardsAreReadFromTheStream(t *testing.T) {
	t.Parallel()
	require.Equal(t, 4, broker.Shards(broker.SendStream(brokertest.App("wx1"))))
	require.Zero(t, broker.Shards(jetstream.StreamConfig{}))
	require.Zero(t,
		broker.Shards(jetstream.StreamConfig{
			SubjectTransform: &jetstream.SubjectTransformConfig{Destination: "a.>"},
		}))
}
