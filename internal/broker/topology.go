package broker

import (
	"cmp"
	"fmt"
	"regexp"
	"strconv"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/kefuhq/kefu/internal/wire"
	"github.com/kefuhq/kefu/schema"
)

// Spec is what the JetStream objects depend on.
type Spec struct {
	Replicas   int           // 1 or 3, for every object
	LedgerKeep time.Duration // how long the ledger remembers an intent
	Apps       []AppSpec
}

// AppSpec is the part of one app's settings that its stream depends on.
type AppSpec struct {
	AppID           string
	LiveShards      int           // 1..64; fixed once there is a queue
	DuplicateWindow time.Duration // how long the broker itself drops a repeated id
	QueueMessages   int64         // beyond this a publish is refused
	QueueBytes      int64         // likewise
}

// Numbers that fit together (see the package comment of worker): an API call
// may take 10 s, what is under way is renewed every 4 s, so a message whose
// worker died is handed out again 12 s after its last sign of life.
const (
	AckWait  = 12 * time.Second
	AckRenew = 4 * time.Second
)

// maxSendMsg leaves room for headers (a retry carries what was tried before)
// over the 64 KiB that a packet may have.
const maxSendMsg = schema.MaxPacket + 16<<10

// window is for how long a stream recognises repeats of the outbox, where
// nothing needs longer: each id costs memory.
const window = 2 * time.Minute

// Streams returns every stream that spec asks for, shared ones first.
func Streams(spec Spec) []jetstream.StreamConfig {
	out := []jetstream.StreamConfig{
		laterStream(), deadStream(), deadIndexStream(), receiptStream(),
		ledgerStream(spec.LedgerKeep), auditStream(), jobStream(), campaignStream(),
		bucketStream(wire.BucketState, 1), bucketStream(wire.BucketJob, 1),
	}
	for _, app := range spec.Apps {
		out = append(out, SendStream(app))
	}
	for i := range out {
		out[i].Storage = jetstream.FileStorage
		out[i].Replicas = max(spec.Replicas, 1)
		out[i].AllowDirect = true // Scan and find read by sequence without a consumer
	}
	return out
}

// SendStream is the queue of one app: its own limits, purge and failure domain.
func SendStream(app AppSpec) jetstream.StreamConfig {
	return jetstream.StreamConfig{
		Name:        schema.SendStream(app.AppID),
		Description: "send-intents of one app, waiting for a worker",
		Subjects:    wire.SendSubjects(app.AppID),
		// A recipient always falls into the same shard, and a shard is read by
		// one worker at a time: that is what order rests on.
		SubjectTransform: shardTransform(app.AppID, app.LiveShards),
		Retention:        jetstream.WorkQueuePolicy,
		// A full queue refuses what is published; discard-old would drop the oldest
		// without a word.
		Discard:    jetstream.DiscardNew,
		MaxMsgs:    app.QueueMessages,
		MaxBytes:   app.QueueBytes,
		MaxMsgSize: maxSendMsg,
		Duplicates: cmp.Or(app.DuplicateWindow, window), // the broker's own choice as well
		// Campaigns publish in batches: one fsync for a thousand intents.
		AllowAtomicPublish: true,
	}
}

// shardTransform puts the shard in front of the openid.
func shardTransform(appID string, shards int) *jetstream.SubjectTransformConfig {
	return &jetstream.SubjectTransformConfig{
		Source: wire.LaneFilter(appID, schema.LaneLive, wire.AnyToken),
		Destination: fmt.Sprintf("kefu.{{wildcard(1)}}.%s.live.{{partition(%d,2)}}.{{wildcard(2)}}",
			appID, shards),
	}
}

func laterStream() jetstream.StreamConfig {
	return jetstream.StreamConfig{
		Name:        wire.StreamLater,
		Description: "intents that wait for their time or their retry",
		Subjects:    []string{"kefu.later.wait.*.*", "kefu.later.due.*"},
		Retention:   jetstream.WorkQueuePolicy,
		// Schedules cannot be combined with discard-new, and any limit with
		// discard-old would be silent loss: so no limits here, and the worker
		// checks a share per app before it adds.
		Discard:           jetstream.DiscardOld,
		AllowMsgSchedules: true,
		AllowMsgTTL:       true, // schedules need it
		AllowRollup:       true, // likewise: the server replaces a schedule by its result
		Duplicates:        10 * time.Minute,
		MaxMsgSize:        -1,
	}
}

// deadAge is how long a dead letter is kept.
const deadAge = 30 * 24 * time.Hour

func deadStream() jetstream.StreamConfig {
	return jetstream.StreamConfig{
		Name:        schema.StreamDead,
		Description: "dead letters: what will not be sent, and why",
		Subjects:    []string{"kefu.dead.*.*"},
		// A letter stays when it is read; a work queue would destroy the evidence at the
		// first reading.
		Retention: jetstream.LimitsPolicy,
		Discard:   jetstream.DiscardNew,
		MaxAge:    deadAge,
		// A crash between letter and ack publishes the letter again after
		// AckWait; minutes would do, an hour outlives a long broker outage.
		Duplicates: time.Hour,
	}
}

func deadIndexStream() jetstream.StreamConfig {
	return jetstream.StreamConfig{
		Name:        wire.StreamDeadIndex,
		Description: "where in KEFU_DEAD the letters of an id lie (package deadletter)",
		Subjects:    []string{"kefu.deadindex.*"},
		Retention:   jetstream.LimitsPolicy,
		Discard:     jetstream.DiscardOld,
		MaxAge:      deadAge, // an entry is stored after its letter, so it stays longer
		Duplicates:  window,  // an entry that is stored twice does no harm
	}
}

func receiptStream() jetstream.StreamConfig {
	return jetstream.StreamConfig{
		Name:        schema.StreamReceipt,
		Description: "what became of each intent",
		Subjects:    []string{"kefu.receipt.*.*"},
		Retention:   jetstream.LimitsPolicy,
		Discard:     jetstream.DiscardOld,
		MaxAge:      3 * 24 * time.Hour,
		// A repeat comes within AckWait, and at a thousand receipts a second each minute
		// of ids costs memory.
		Duplicates: window,
	}
}

func ledgerStream(keep time.Duration) jetstream.StreamConfig {
	return jetstream.StreamConfig{
		Name:        wire.StreamLedger,
		Description: "what was started and settled, as a log: the guard against double sends",
		Subjects:    []string{"kefu.ledger.*"},
		Retention:   jetstream.LimitsPolicy,
		Discard:     jetstream.DiscardOld,
		MaxAge:      keep,
		// A batch of marks is repeated until its acknowledgement comes. The server allows
		// no window that is longer than the age.
		Duplicates: min(window, keep),
	}
}

func auditStream() jetstream.StreamConfig {
	return jetstream.StreamConfig{
		Name:        wire.StreamAudit,
		Description: "every operator action",
		Subjects:    []string{"kefu.audit.*"},
		Retention:   jetstream.LimitsPolicy,
		Discard:     jetstream.DiscardOld,
		MaxAge:      365 * 24 * time.Hour,
		DenyDelete:  true, // an audit that can be edited is none
		DenyPurge:   true,
		Duplicates:  window,
	}
}

func jobStream() jetstream.StreamConfig {
	return jetstream.StreamConfig{
		Name:        wire.StreamJob,
		Description: "replays and campaigns for the pool to carry out",
		Subjects:    []string{"kefu.job.>"},
		Retention:   jetstream.WorkQueuePolicy,
		Discard:     jetstream.DiscardNew,
		Duplicates:  10 * time.Minute,
	}
}

func campaignStream() jetstream.StreamConfig {
	return jetstream.StreamConfig{
		Name:        wire.StreamCampaign,
		Description: "the rows of campaigns' files, in chunks (package campaign)",
		Subjects:    []string{wire.ChunkFilter(wire.AnyToken, wire.AnyToken, wire.AnyToken)},
		// What is still to be fed must never be lost to age or size: an upload is purged
		// as a whole, some days after its campaign has ended.
		Retention: jetstream.LimitsPolicy,
		Discard:   jetstream.DiscardNew,
		// A chunk that is written once more, without a person, takes the place of the former.
		MaxMsgsPerSubject: 1,
		Duplicates:        window,
	}
}

// RateStream holds the rate budget of each app: one message, replaced up to
// twenty times a second. It is not among Streams: one replica in memory does not
// outlive its broker, so the workers make it, as they make the consumers.
func RateStream(replicas int) jetstream.StreamConfig {
	return jetstream.StreamConfig{
		Name:        wire.StreamRate,
		Description: "how far each app's rate is used up",
		Subjects:    []string{"kefu.rate.*"},
		// After a restart every rate begins at now: nothing of it is worth a write to disk.
		Storage:   jetstream.MemoryStorage,
		Retention: jetstream.LimitsPolicy,
		Discard:   jetstream.DiscardOld,
		// Only the last counts, and not for long: an app that has been idle for a
		// minute leaves nothing behind.
		MaxMsgsPerSubject: 1,
		MaxAge:            time.Minute,
		// As many as the rest: the loss of one node must not stop every app.
		Replicas:    max(replicas, 1),
		AllowDirect: true,        // Last reads it
		Duplicates:  time.Second, // no message of it has an id
	}
}

// bucketStream is the stream in which a key-value bucket is kept, as nats.go would make it.
func bucketStream(name string, history int64) jetstream.StreamConfig {
	return jetstream.StreamConfig{
		Name:              "KV_" + name,
		Description:       "key-value bucket " + name,
		Subjects:          []string{"$KV." + name + ".>"},
		Retention:         jetstream.LimitsPolicy,
		Discard:           jetstream.DiscardNew,
		MaxMsgsPerSubject: history,
		AllowRollup:       true,
		DenyDelete:        true,
		Duplicates:        window,
		// Heartbeats and cancel marks carry a life time of their own; watchers
		// are told of each end by a marker.
		AllowMsgTTL:            true,
		SubjectDeleteMarkerTTL: time.Minute,
	}
}

// BulkConsumer reads the bulk lane of an app; every worker pulls from it.
func BulkConsumer(appID string, maxAckPending int) jetstream.ConsumerConfig {
	return laneConsumer("bulk", wire.LaneFilter(appID, schema.LaneBulk, wire.AnyToken),
		maxAckPending)
}

// LiveConsumer reads one live shard of an app.
func LiveConsumer(appID string, shard, maxAckPending int) jetstream.ConsumerConfig {
	n := strconv.Itoa(shard)
	return laneConsumer("live-"+n, wire.LaneFilter(appID, schema.LaneLive, n, wire.AnyToken),
		maxAckPending)
}

func laneConsumer(name, filter string, maxAckPending int) jetstream.ConsumerConfig {
	return jetstream.ConsumerConfig{
		Durable:       name,
		FilterSubject: filter,
		AckPolicy:     jetstream.AckExplicitPolicy,
		AckWait:       AckWait,
		// Past a limit of the server's a message stays stored and invisible. The
		// end is decided by the worker, with a dead letter.
		MaxDeliver:    -1,
		MaxAckPending: maxAckPending,
		// The queue and the ledger are the truth; a consumer's state file is
		// rewritten ten times a second and costs six times the throughput.
		MemoryStorage: true,
	}
}

// DispatchConsumer reads what has become due in KEFU_LATER.
func DispatchConsumer() jetstream.ConsumerConfig {
	return jetstream.ConsumerConfig{
		Durable:       "dispatch",
		FilterSubject: "kefu.later.due.*",
		AckPolicy:     jetstream.AckExplicitPolicy,
		AckWait:       30 * time.Second,
		MaxDeliver:    -1,
		MaxAckPending: 2048,
		MemoryStorage: true,
	}
}

var partitions = regexp.MustCompile(`\{\{partition\((\d+),`)

// Shards reads from a send stream how many live shards it really has: what is
// queued keeps its shard, so the stream decides, not the configuration.
func Shards(cfg jetstream.StreamConfig) int {
	if cfg.SubjectTransform == nil {
		return 0
	}
	m := partitions.FindStringSubmatch(cfg.SubjectTransform.Destination)
	if m == nil {
		return 0
	}
	n, _ := strconv.Atoi(m[1])
	return n
}
