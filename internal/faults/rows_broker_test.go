//go:build faults

package faults

import (
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/sandbox"
	"github.com/kefuhq/kefu/internal/stage"
	"github.com/kefuhq/kefu/internal/wire"
	"github.com/kefuhq/kefu/schema"
)

var brokerRows = []row{
	{
		id: "F20", fault: "the broker is restarted while intents are on their way",
		expected: "connects again by itself; each sent once", ends: "60 sent", posts: span{1, 1},
		run: func(s *scene) {
			b := ownBroker(s)
			s.API.Add(sandbox.Rule{Call: sandbox.CallSend,
				Delay: 300 * time.Millisecond, Times: 20})
			s.Start()
			s.sendMany(stage.App, "before", 20)
			s.NoError(s.API.Wait(s.T.Context(), 10))
			b.Restart()
			s.sendMany(stage.App, "after", 40)
			s.Drained()
		},
	},
	{
		id: "F21", fault: "no broker when the worker starts",
		expected: "stays, not ready, and begins when there is one", ends: "1 sent",
		posts: span{1, 1},
		run: func(s *scene) {
			b := ownBroker(s)
			b.Stop()
			p := s.Launch()
			s.notReady(p, "there is no broker yet")
			b.Start()
			p.Ready()
			s.Connect()
			s.send("one")
			s.Drained()
		},
	},
	{
		id: "F22", fault: "no way to the broker for 65 attempts to connect (nats.go gives up " +
			"after 60 unless told otherwise); in the full form for 10 minutes",
		expected: "never gives up; results are kept meanwhile", ends: "2 sent",
		posts: span{1, 1}, run: brokerAway,
	},
	{
		id: "F27", fault: "the worker is cut off from the broker during a call",
		expected: "the result is kept and acknowledged after the reconnect; no second POST",
		ends:     "1 sent", posts: span{1, 1},
		run: func(s *scene) {
			proxy := throughProxy(s, ownBroker(s))
			s.Start()
			sentMeanwhile(s, "one", proxy.Cut)
			proxy.Mend()
			s.Drained()
		},
	},
	{
		id: "F27", fault: "what the broker says gets lost, from within a call until the worker " +
			"notices by itself",
		expected: "connects anew; no second POST", ends: "1 sent", posts: span{1, 1},
		run: func(s *scene) {
			proxy := throughProxy(s, ownBroker(s))
			s.Start()
			sentMeanwhile(s, "one", proxy.Deafen)
			s.says("broker away")
			proxy.Mend()
			s.Drained()
		},
	},
	{
		id: "F29", fault: "every consumer is deleted under the worker, with calls under way",
		expected: "made anew; each sent once", ends: "1 dead exhausted, 40 sent", posts: span{1, 2},
		options: stage.Options{Defaults: []string{"retry: {attempts: 2, first: 1s, cap: 1s}"}},
		run: func(s *scene) {
			ownBroker(s)
			s.API.Add(sandbox.Rule{Call: sandbox.CallSend, OpenID: "busy", Errcode: -1})
			s.API.Add(sandbox.Rule{Call: sandbox.CallSend,
				Delay: 300 * time.Millisecond, Times: 20})
			s.Start()
			s.sendMany(stage.App, "before", 20)
			s.NoError(s.API.Wait(s.T.Context(), 10))
			for _, stream := range []string{schema.SendStream(stage.App), wire.StreamLater} {
				deleteConsumers(s, stream)
			}
			s.sendMany(stage.App, "after", 20)
			s.sendBulk("busy") // goes by KEFU_LATER, so by its consumer, too
			s.Drained()
		},
	},
	{
		id:       "F30",
		fault:    "the queue's stream is deleted under the worker; kefu setup makes it anew",
		expected: "not ready, says why, makes no queue by itself; then goes on", ends: "2 sent",
		posts: span{1, 1}, run: queueDeleted,
	},
	{
		id: "F31", fault: "a queue with limits set by hand; worker.provision: false",
		expected: "starts, and says what differs", ends: "1 sent", posts: span{1, 1},
		options: stage.Options{Worker: []string{"provision: false"}},
		run: func(s *scene) {
			provisioned(s)
			changeStream(s, schema.SendStream(stage.App), func(c *jetstream.StreamConfig) {
				c.MaxMsgs = 7
			})
			s.Start()
			s.says("max_msgs is 7, wanted 5000000")
			s.send("one")
			s.Drained()
		},
	},
	{
		id: "F31", fault: "a queue with limits set by hand; worker.provision: true",
		expected: "put right at the start", ends: "1 sent", posts: span{1, 1},
		run: func(s *scene) {
			provisioned(s)
			changeStream(s, schema.SendStream(stage.App), func(c *jetstream.StreamConfig) {
				c.MaxMsgs = 7
			})
			s.Start()
			s.EqualValues(5_000_000, streamConfig(s, schema.SendStream(stage.App)).MaxMsgs)
			s.send("one")
			s.Drained()
		},
	},
	{
		id: "F31", fault: "a stream in the queue's place that is no work queue",
		expected: "left alone, with a warning; sent once", ends: "1 sent", posts: span{1, 1},
		run: func(s *scene) {
			provisioned(s)
			cfg := streamConfig(s, schema.SendStream(stage.App))
			s.NoError(s.JS.DeleteStream(s.T.Context(), cfg.Name))
			cfg.Retention = jetstream.LimitsPolicy
			_, err := s.JS.CreateStream(s.T.Context(), cfg)
			s.NoError(err)
			s.Start()
			s.says("retention is Limits, wanted WorkQueue")
			s.send("one")
			s.until("its receipt is stored", func() bool {
				return s.Stored(schema.StreamReceipt) == 1
			})
		},
	},
	{
		id:       "F32",
		fault:    "AckWait 1 s and MaxAckPending 1 set by hand, and an answer that takes 3 s",
		expected: "each sent once; put right at the next start", ends: "3 sent", posts: span{1, 1},
		run: consumerChanged,
	},
	{
		id: "F33", fault: "the broker's disk is full",
		expected: "nothing is sent without the ledger, not ready, no hot loop; goes on when " +
			"there is room", ends: "10 sent", posts: span{1, 1}, run: diskFull,
		options: stage.Options{Defaults: []string{"queue: {bytes: 1MiB}"}},
	},
	{
		id: "F34", fault: "a publish into a full queue",
		expected: "the producer gets an error; the queue drains", ends: "4 sent", posts: span{1, 1},
		options: stage.Options{Defaults: []string{"queue: {messages: 3, bytes: 1MiB}"}},
		run: func(s *scene) {
			s.pause(s.Start(), stage.App)
			for i := range 3 {
				s.send(fmt.Sprint("user", i))
			}
			_, err := s.Offer(stage.Live+"late", text("late"), "Nats-Msg-Id", "late")
			s.ErrorContains(err, "maximum messages exceeded")
			s.kefu("app", "resume", stage.App)
			s.until("there is room again", func() bool { return s.Queued() < 3 })
			s.send("late")
			s.Drained()
		},
	},
	{
		id: "F34", fault: "a retry becomes due and its queue is full",
		expected: "put off again until there is room", ends: "4 sent", posts: span{1, 2},
		run: fullWhenDue,
		options: stage.Options{
			Defaults: []string{"queue: {messages: 3, bytes: 1MiB}",
				"retry: {attempts: 6, first: 3s, cap: 3s}"},
		},
	},
	{
		id: "F35", fault: "KEFU_DEAD is full",
		expected: "the originals stay, not ready, no hot loop; buried when there is room",
		ends:     "3 dead recipient", posts: span{1, 1},
		run: func(s *scene) {
			changeStreamLater := func(most int64) {
				changeStream(s, schema.StreamDead, func(c *jetstream.StreamConfig) {
					c.MaxMsgs = most
				})
			}
			lettersRefused(s, func() { s.addLetter("other"); changeStreamLater(1) },
				func() { changeStreamLater(-1) })
		},
	},
	{
		id: "F35", fault: "KEFU_DEAD is missing",
		expected: "the originals stay, not ready, no hot loop; buried when it is back",
		ends:     "3 dead recipient", posts: span{1, 1},
		run: func(s *scene) {
			lettersRefused(s, func() {
				s.NoError(s.JS.DeleteStream(s.T.Context(),
					schema.StreamDead))
			}, func() { s.kefu("setup") })
		},
	},
	{
		id: "F35", fault: "KEFU_LATER is missing when a retry must wait",
		expected: "the original stays, not ready; retried when it is back", ends: "1 sent",
		posts:   span{2, 2},
		options: stage.Options{Defaults: []string{"retry: {attempts: 6, first: 2s, cap: 2s}"}},
		run: withFirstAnswer(-1, func(s *scene) {
			p := s.Start()
			s.NoError(s.JS.DeleteStream(s.T.Context(), wire.StreamLater))
			s.sendBulk("one")
			s.notReady(p, "intents cannot be put off")
			s.EqualValues(1, s.Queued(), "the original stays")
			s.kefu("setup")
			s.Drained()
			p.Ready()
		}),
	},
	{
		id: "F36", fault: "a letter is stored and the broker's answer is lost",
		expected: "published again under the same id: one letter, one receipt",
		ends:     "1 dead recipient", posts: span{1, 1}, run: ackOfLetterLost,
	},
	{
		id: "F37", fault: "an id is published again, inside the duplicate window and after it",
		expected: "inside: the broker drops it; after: the ledger knows it", ends: "1 sent",
		posts:   span{1, 1},
		options: stage.Options{Defaults: []string{"duplicate_window: 5s"}},
		run: func(s *scene) {
			p := s.Start()
			s.send("one")
			s.True(s.Publish(stage.Live+"one", text("one"), "Nats-Msg-Id", "one").Duplicate,
				"the broker drops it")
			s.Drained()
			s.publishAfterWindow("one", text("one"))
			s.Drained()
			s.Equal("1", metric(s, p, fmt.Sprintf("kefu_repeats_total{app=%q}", stage.App)),
				"the ledger knew it")
		},
	},
	{
		id: "F38", fault: "an id is published again with another body, after the duplicate window",
		expected: "letter id-reuse, not sent", ends: "1 sent", posts: span{1, 1},
		options: stage.Options{Defaults: []string{"duplicate_window: 1s"}},
		run: func(s *scene) {
			s.Start()
			s.send("one")
			s.Drained()
			s.publishAfterWindow("one", strings.Replace(text("one"), "hello", "something else", 1))
			s.Drained()
			letters := s.Letters()
			s.Len(letters, 1)
			s.Equal(schema.ReasonIDReuse, letters[0].Reason)
			s.note("1 letter %s", letters[0].Reason)
		},
	},
	{
		id: "F39", fault: "packets of 64 KiB, 70 KB, 100 KB and 2 MB",
		expected: "sent; letter invalid; refused by the stream; refused by the client",
		ends:     "1 dead invalid, 1 sent", posts: span{0, 1},
		run: func(s *scene) {
			s.Start()
			s.accept("fits", stage.Live+"fits", padded("fits", schema.MaxPacket))
			s.accept("toolong", stage.Live+"toolong", padded("toolong", 70_000))
			_, err := s.Offer(stage.Live+"refused", padded("refused", 100_000))
			s.ErrorContains(err, "message size exceeds maximum allowed")
			_, err = s.Offer(stage.Live+"refused", padded("refused", 2_000_000))
			s.ErrorIs(err, nats.ErrMaxPayload)
			s.Drained()
		},
	},
	{
		id: "F40", fault: "an empty body, no headers at all, an unknown Kefu- header",
		expected: "letter invalid; sent under its default id; letter invalid",
		ends:     "2 dead invalid, 1 sent", posts: span{0, 1},
		run: func(s *scene) {
			s.Start()
			s.sendWithoutID("nobody", "")
			s.sendWithoutID("somebody", text("somebody"))
			s.send("typo", "Kefu-Expires", "tomorrow")
			s.Drained()
		},
	},
	{
		id: "F41", fault: "the worker's credentials are revoked, and restored later",
		expected: "not ready while refused, never gives up; each sent once", ends: "2 sent",
		posts: span{1, 1}, run: revoked,
	},
	{
		id: "F42", fault: "no permission for the ack subjects",
		expected: "not ready and says so; nothing is sent twice", ends: "3 sent", posts: span{1, 1},
		run: acksForbidden,
	},
	{
		id: "F45", fault: "KEFU_STATE is deleted under the worker",
		expected: "live shards stop when the lease runs out, not ready; bulk goes on; after kefu " +
			"setup all does, and a pause is heard",
		ends: "1 queued, 3 sent", posts: span{0, 1},
		run: func(s *scene) {
			ownBroker(s)
			p := s.Start()
			s.send("before")
			s.Drained()
			s.NoError(s.JS.DeleteKeyValue(s.T.Context(), wire.BucketState))
			s.notReady(p, "the worker's lease in KEFU_STATE cannot be renewed")
			s.send("live")
			s.sendBulk("bulk")
			s.until("bulk goes on", func() bool { return s.Posts()["bulk"] == 1 })
			s.kefu("setup")
			s.Drained()
			p.Ready()
			s.pause(p, stage.App)
			s.send("paused")
		},
	},
	{
		id: "F45", fault: "KEFU_LEDGER is deleted under the worker",
		expected: "nothing is sent without it, not ready; goes on after kefu setup", ends: "2 sent",
		posts: span{1, 1},
		run: func(s *scene) {
			ownBroker(s)
			p := s.Start()
			s.send("before")
			s.Drained()
			s.NoError(s.JS.DeleteStream(s.T.Context(), wire.StreamLedger))
			s.send("without")
			s.notReady(p, "the ledger cannot be written to")
			s.Zero(s.Posts()["without"])
			s.kefu("setup")
			s.Drained()
			p.Ready()
		},
	},
	{
		id: "F46", fault: "the worker stands still while it is being sent messages, and the " +
			"broker throws it out as a slow consumer",
		expected: "connects again; each sent once", ends: "320 sent", posts: span{1, 1},
		run: slowConsumer,
	},
	{
		id:       "F48",
		fault:    "an intent was handed out and given back 50 times; nobody hears any advisory",
		expected: "there is no limit whose advisory could be missed: sent", ends: "1 sent",
		posts: span{1, 1},
		run: func(s *scene) {
			provisioned(s)
			s.sendBulk("one")
			c, err := s.JS.CreateConsumer(s.T.Context(), schema.SendStream(stage.App),
				broker.BulkConsumer(stage.App, 10_000))
			s.NoError(err)
			for range 50 {
				m, err := c.Next(jetstream.FetchMaxWait(stage.Patience))
				s.NoError(err)
				s.NoError(m.Nak())
			}
			s.Start()
			s.Drained()
		},
	},
}

var brokerNotRun = []notRun{
	{"F23", "stream leader steps down", "needs three brokers: the storm cluster of three"},
	{"F24", "consumer leader steps down", "needs three brokers: cluster tests of internal/broker"},
	{"F25", "one of three brokers is killed", "the storm cluster of three"},
	{"F26", "no quorum", "the storm no quorum"},
	{"F28", "leader cut off from its peers", "the storm leader cut off"},
	{"F43", "lame duck, rolling upgrade", "the storm rolling upgrade"},
	{"F44", "power loss at the broker",
		"needs writes that are lost; kefu doctor is to warn of lazy sync"},
	{"F47", "the worker's clock is wrong by 10 minutes", "needs a faked clock"},
}
