//go:build faults

package faults

import (
	"fmt"
	"strings"
	"syscall"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/broker/brokertest"
	"github.com/kefuhq/kefu/internal/sandbox"
	"github.com/kefuhq/kefu/internal/stage"
	"github.com/kefuhq/kefu/schema"
)

var brokerRows = []row{
	{
		id: "F20", fault: "the broker is restarted while intents are on their way",
		expected: "connects again by itself; each sent once", ends: "60 sent", posts: span{1, 1},
		run: func(s *scene) {
			b := ownBroker(s)
			s.API.Add(sandbox.Rule{Call: sandbox.CallSend, Delay: 300 * time.Millisecond, Times: 20})
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
		expected: "stays, not ready, and begins when there is one", ends: "1 sent", posts: span{1, 1},
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
		id: "F22", fault: "no way to the broker for 65 attempts to connect (nats.go gives up after 60 unless told otherwise); in the full form for 10 minutes",
		expected: "never gives up; results are kept meanwhile", ends: "2 sent", posts: span{1, 1}, run: away,
	},
	{
		id: "F27", fault: "the worker is cut off from the broker during a call",
		expected: "the result is kept and acknowledged after the reconnect; no second POST", ends: "1 sent", posts: span{1, 1},
		run: func(s *scene) {
			proxy := throughProxy(s, ownBroker(s))
			s.Start()
			sentMeanwhile(s, "one", proxy.Cut)
			proxy.Mend()
			s.Drained()
		},
	},
	{
		id: "F27", fault: "what the broker says gets lost, from within a call until the worker notices by itself",
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
			s.API.Add(sandbox.Rule{Call: sandbox.CallSend, Delay: 300 * time.Millisecond, Times: 20})
			s.Start()
			s.sendMany(stage.App, "before", 20)
			s.NoError(s.API.Wait(s.T.Context(), 10))
			for _, stream := range []string{schema.SendStream(stage.App), schema.StreamLater} {
				deleteConsumers(s, stream)
			}
			s.sendMany(stage.App, "after", 20)
			s.sendBulk("busy") // goes by KEFU_LATER, so by its consumer, too
			s.Drained()
		},
	},
	{
		id: "F30", fault: "the queue's stream is deleted under the worker; kefu setup makes it anew",
		expected: "not ready, says why, makes no queue by itself; then goes on", ends: "2 sent", posts: span{1, 1}, run: queueDeleted,
	},
	{
		id: "F31", fault: "a queue with limits set by hand; worker.provision: false",
		expected: "starts, and says what differs", ends: "1 sent", posts: span{1, 1}, options: stage.Options{Worker: []string{"provision: false"}},
		run: func(s *scene) {
			provisioned(s)
			changeStream(s, schema.SendStream(stage.App), func(c *jetstream.StreamConfig) { c.MaxMsgs = 7 })
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
			changeStream(s, schema.SendStream(stage.App), func(c *jetstream.StreamConfig) { c.MaxMsgs = 7 })
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
			ended := s.Receipts()
			s.send("one")
			ended(1)
		},
	},
	{
		id: "F32", fault: "AckWait 1 s and MaxAckPending 1 set by hand, and an answer that takes 3 s",
		expected: "each sent once; put right at the next start", ends: "3 sent", posts: span{1, 1}, run: consumerChanged,
	},
	{
		id: "F33", fault: "the broker's disk is full",
		expected: "nothing is sent without the ledger, not ready, no hot loop; goes on when there is room", ends: "10 sent", posts: span{1, 1}, run: diskFull,
		options: stage.Options{Defaults: []string{"queue: {bytes: 1MiB}"}},
	},
	{
		id: "F34", fault: "a publish into a full queue",
		expected: "the producer gets an error; the queue drains", ends: "4 sent", posts: span{1, 1},
		options: stage.Options{Defaults: []string{"queue: {messages: 3, bytes: 1MiB}"}},
		run: func(s *scene) {
			rule := s.API.Add(sandbox.Rule{Call: sandbox.CallSend, Delay: 2 * time.Second})
			s.Start()
			for i := range 3 {
				s.send(fmt.Sprint("user", i))
			}
			_, err := s.Offer(stage.Live+"late", text("late"), "Nats-Msg-Id", "late")
			s.ErrorContains(err, "maximum messages exceeded")
			s.API.Remove(rule)
			s.until("there is room again", func() bool { return s.Queued() < 3 })
			s.send("late")
			s.Drained()
		},
	},
	{
		id: "F34", fault: "a retry becomes due and its queue is full",
		expected: "put off again until there is room", ends: "4 sent", posts: span{1, 2}, run: fullWhenDue,
		options: stage.Options{Defaults: []string{"queue: {messages: 3, bytes: 1MiB}", "retry: {attempts: 6, first: 3s, cap: 3s}"}},
	},
	{
		id: "F35", fault: "KEFU_DEAD is full",
		expected: "the originals stay, not ready, no hot loop; buried when there is room", ends: "3 dead recipient", posts: span{1, 1},
		run: func(s *scene) {
			changeStreamLater := func(most int64) {
				changeStream(s, schema.StreamDead, func(c *jetstream.StreamConfig) { c.MaxMsgs = most })
			}
			lettersRefused(s, func() { s.letterOf("other"); changeStreamLater(1) }, func() { changeStreamLater(-1) })
		},
	},
	{
		id: "F35", fault: "KEFU_DEAD is missing",
		expected: "the originals stay, not ready, no hot loop; buried when it is back", ends: "3 dead recipient", posts: span{1, 1},
		run: func(s *scene) {
			lettersRefused(s, func() { s.NoError(s.JS.DeleteStream(s.T.Context(), schema.StreamDead)) }, func() { s.kefu("setup") })
		},
	},
	{
		id: "F35", fault: "KEFU_LATER is missing when a retry must wait",
		expected: "the original stays, not ready; retried when it is back", ends: "1 sent", posts: span{2, 2},
		options: stage.Options{Defaults: []string{"retry: {attempts: 6, first: 2s, cap: 2s}"}},
		run: once(-1, func(s *scene) {
			p := s.Start()
			s.NoError(s.JS.DeleteStream(s.T.Context(), schema.StreamLater))
			s.sendBulk("one")
			s.notReady(p, "intents cannot be put off")
			s.EqualValues(1, s.Queued(), "the original stays")
			s.kefu("setup")
			s.Drained()
			p.Ready()
		}),
	},
	{
		id: "F36", fault: "a letter and a receipt are stored and the broker's answer is lost",
		expected: "published again under the same ids: one letter, one receipt", ends: "1 dead recipient", posts: span{1, 1}, run: answerLost,
	},
	{
		id: "F37", fault: "an id is published again, inside the duplicate window and after it",
		expected: "inside: the broker drops it; after: the ledger knows it", ends: "1 sent", posts: span{1, 1},
		options: stage.Options{Defaults: []string{"duplicate_window: 5s"}},
		run: func(s *scene) {
			p := s.Start()
			s.send("one")
			s.Drained()
			s.True(s.Publish(stage.Live+"one", text("one"), "Nats-Msg-Id", "one").Duplicate, "the broker drops it")
			s.afterWindow("one", text("one"))
			s.Drained()
			s.Equal("1", metric(s, p, fmt.Sprintf("kefu_repeats_total{app=%q}", stage.App)), "the ledger knew it")
		},
	},
	{
		id: "F38", fault: "an id is published again with another body, after the duplicate window",
		expected: "letter id-reuse, not sent", ends: "1 sent", posts: span{1, 1}, options: stage.Options{Defaults: []string{"duplicate_window: 1s"}},
		run: func(s *scene) {
			s.Start()
			s.send("one")
			s.Drained()
			s.afterWindow("one", strings.Replace(text("one"), "hello", "something else", 1))
			s.Drained()
			letters := s.Letters()
			s.Len(letters, 1)
			s.Equal(schema.IDReuse, letters[0].Reason)
			s.note("1 letter %s", letters[0].Reason)
		},
	},
	{
		id: "F39", fault: "packets of 64 KiB, 70 KB, 100 KB and 2 MB",
		expected: "sent; letter invalid; refused by the stream; refused by the client", ends: "1 dead invalid, 1 sent", posts: span{0, 1},
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
		expected: "letter invalid; sent under its default id; letter invalid", ends: "2 dead invalid, 1 sent", posts: span{0, 1},
		run: func(s *scene) {
			s.Start()
			s.nameless("nobody", "")
			s.nameless("somebody", text("somebody"))
			s.send("typo", "Kefu-Expires", "tomorrow")
			s.Drained()
		},
	},
	{
		id: "F41", fault: "the worker's credentials are revoked, and restored later",
		expected: "not ready while refused, never gives up; each sent once", ends: "2 sent", posts: span{1, 1}, run: revoked,
	},
	{
		id: "F42", fault: "no permission for the ack subjects",
		expected: "not ready and says so; nothing is sent twice", ends: "3 sent", posts: span{1, 1}, run: acksForbidden,
	},
	{
		id: "F45", fault: "KEFU_STATE is deleted under the worker",
		expected: "sends on by what it knows; an operator's pause works again after kefu setup", ends: "1 queued, 2 sent", posts: span{0, 1},
		run: func(s *scene) {
			ownBroker(s)
			p := s.Start()
			s.send("before")
			s.Drained()
			s.NoError(s.JS.DeleteKeyValue(s.T.Context(), schema.BucketState))
			s.send("without")
			s.Drained()
			s.kefu("setup")
			s.kefu("app", "pause", stage.App, "--reason", "test")
			s.until("the worker knows", func() bool {
				return metric(s, p, fmt.Sprintf(`kefu_app_held{app=%q,kind="operator"}`, stage.App)) == "1"
			})
			s.send("paused")
		},
	},
	{
		id: "F45", fault: "KEFU_LEDGER is deleted under the worker",
		expected: "nothing is sent without it, not ready; goes on after kefu setup", ends: "2 sent", posts: span{1, 1},
		run: func(s *scene) {
			ownBroker(s)
			p := s.Start()
			s.send("before")
			s.Drained()
			s.NoError(s.JS.DeleteStream(s.T.Context(), schema.StreamLedger))
			s.send("without")
			s.notReady(p, "the ledger cannot be written to")
			s.Zero(s.Posts()["without"])
			s.kefu("setup")
			s.Drained()
			p.Ready()
		},
	},
	{
		id: "F46", fault: "the worker stands still while it is being sent messages, and the broker throws it out as a slow consumer",
		expected: "connects again; each sent once", ends: "300 sent", posts: span{1, 1}, run: slowConsumer,
	},
	{
		id: "F48", fault: "an intent was handed out and given back 50 times; nobody hears any advisory",
		expected: "there is no limit whose advisory could be missed: sent", ends: "1 sent", posts: span{1, 1},
		run: func(s *scene) {
			provisioned(s)
			s.sendBulk("one")
			c, err := s.JS.CreateConsumer(s.T.Context(), schema.SendStream(stage.App), broker.BulkConsumer(stage.App, 10_000))
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
	{"F23", "stream leader steps down", "needs three brokers: internal/broker, cluster tests"},
	{"F24", "consumer leader steps down", "likewise"},
	{"F25", "one of three brokers is killed", "likewise"},
	{"F26", "no quorum", "needs three brokers"},
	{"F28", "leader cut off from its peers", "needs three brokers"},
	{"F43", "lame duck, rolling upgrade", "needs three brokers"},
	{"F44", "power loss at the broker", "needs writes that are lost; kefu doctor is to warn of lazy sync"},
	{"F47", "the worker's clock is wrong by 10 minutes", "needs a faked clock"},
}

// ownBroker starts a broker that the row can do things to.
func ownBroker(s *scene) *brokertest.Broker {
	s.T.Helper()
	b := brokertest.Bare(s.T)
	s.UseBroker(b.URL())
	s.ConnectTo(b.URL())
	return b
}

// provisioned is ownBroker with the objects of the stage's configuration.
func provisioned(s *scene) {
	s.T.Helper()
	ownBroker(s)
	s.kefu("setup")
}

// throughProxy has workers reach a broker by a way that can be cut.
func throughProxy(s *scene, b *brokertest.Broker) *brokertest.Proxy {
	s.T.Helper()
	p := brokertest.NewProxy(s.T, b)
	s.UseBroker(p.URL())
	return p
}

// bigBroker starts a broker with settings of the row's own.
func bigBroker(s *scene, o *server.Options) *server.Server {
	s.T.Helper()
	o.Host, o.Port, o.NoSigs, o.NoLog, o.JetStream, o.StoreDir = "127.0.0.1", server.RANDOM_PORT, true, true, true, s.T.TempDir()
	b, err := server.NewServer(o)
	s.NoError(err)
	s.T.Cleanup(func() { b.Shutdown(); b.WaitForShutdown() })
	b.Start()
	s.True(b.ReadyForConnections(stage.Patience))
	return b
}

// sentMeanwhile sends an intent, does something while the API holds back its
// answer, and returns when the worker has the answer.
func sentMeanwhile(s *scene, id string, do func()) {
	s.T.Helper()
	s.API.Add(sandbox.Rule{Call: sandbox.CallSend, OpenID: id, Times: 1, Delay: 3 * time.Second})
	s.send(id)
	s.NoError(s.API.WaitFor(s.T.Context(), sandbox.Filter{OpenID: id}, 1))
	do()
	s.says(`"msg":"sent","app":"` + stage.App + `","id":"` + id + `"`)
}

func away(s *scene) {
	b := ownBroker(s)
	proxy := throughProxy(s, b)
	p := s.Start()
	sentMeanwhile(s, "one", proxy.Cut)
	since := time.Now()
	s.send("two") // by the test's own way: accepted while the worker is away
	s.notReady(p, "the broker is away")
	s.Eventually(func() bool {
		return proxy.Refused() >= 65 && (!*full || time.Since(since) > 10*time.Minute)
	}, 20*time.Minute, 50*time.Millisecond, "it gave up after %d attempts", proxy.Refused())
	s.True(p.Running())
	proxy.Mend()
	s.Drained()
	p.Ready()
	s.note("away for %s", time.Since(since).Round(time.Second))
}

func queueDeleted(s *scene) {
	ownBroker(s)
	p := s.Start()
	s.nameless("before", text("before"))
	s.Drained()
	queue := schema.SendStream(stage.App)
	s.NoError(s.JS.DeleteStream(s.T.Context(), queue))
	s.notReady(p, "cannot be read")
	s.True(p.Running())
	_, err := s.JS.Stream(s.T.Context(), queue)
	s.ErrorIs(err, jetstream.ErrStreamNotFound, "a queue is not made by the way")
	s.kefu("setup")
	p.Ready()
	s.nameless("after", text("after")) // with the sequence that the first one had
	s.Drained()
}

func consumerChanged(s *scene) {
	queue := schema.SendStream(stage.App)
	ownBroker(s)
	s.API.Add(sandbox.Rule{Call: sandbox.CallSend, Times: 1, Delay: 3 * time.Second})
	s.Start()
	changeConsumer(s, queue, "bulk", func(c *jetstream.ConsumerConfig) { c.AckWait, c.MaxAckPending = time.Second, 1 })
	s.sendMany(stage.App, "user", 3)
	s.Drained()
	s.NoError(s.Stop(syscall.SIGTERM))
	s.Start()
	s.until("the consumer is put right", func() bool { return consumerInfo(s, queue, "bulk").Config.AckWait == broker.AckWait })
}

func diskFull(s *scene) {
	const room = 16 << 20
	b := bigBroker(s, &server.Options{JetStreamMaxStore: room})
	s.UseBroker(b.ClientURL())
	p := s.Start()
	s.send("first")
	s.Drained()
	// Accepted while the worker stands still, so that nothing is begun before
	// the disk is full.
	p.Signal(syscall.SIGSTOP)
	for i := range 9 {
		s.send(fmt.Sprint("user", i))
	}
	_, err := s.JS.CreateStream(s.T.Context(), jetstream.StreamConfig{Name: "FILLER", Subjects: []string{"filler"}})
	s.NoError(err)
	for _, size := range []int{512 << 10, 16 << 10, 512, 1} {
		for err = nil; err == nil; {
			_, err = s.JS.Publish(s.T.Context(), "filler", make([]byte, size))
		}
	}
	p.Signal(syscall.SIGCONT)
	s.notReady(p, "the ledger cannot be written to")
	s.Equal(map[string]int{"first": 1}, s.Posts(), "nothing is sent that could not be remembered")
	s.EqualValues(9, s.Queued())
	s.note("%s", err)
	s.NoError(s.JS.DeleteStream(s.T.Context(), "FILLER"))
	s.Drained()
	p.Ready()
}

func fullWhenDue(s *scene) {
	s.API.Add(sandbox.Rule{Call: sandbox.CallSend, OpenID: "one", Times: 1, Errcode: -1})
	s.Start()
	s.sendBulk("one")
	s.until("it waits for its retry", func() bool { return s.Queued() == 0 && s.Stored(schema.StreamLater) == 1 })
	s.kefu("app", "pause", stage.App, "--reason", "test")
	for i := range 3 {
		s.sendBulk(fmt.Sprint("user", i))
	}
	s.until("it was put off again", func() bool {
		st, err := s.JS.Stream(s.T.Context(), schema.StreamLater)
		if err != nil {
			return false
		}
		m, err := st.GetMsg(s.T.Context(), st.CachedInfo().State.LastSeq)
		return err == nil && m.Header.Get(schema.HeaderHop) != "" && m.Header.Get(schema.HeaderHop) != "0"
	})
	s.kefu("app", "resume", stage.App)
	s.Drained()
}

// lettersRefused has three intents die while letters cannot be stored.
func lettersRefused(s *scene, bring, mend func()) {
	b := ownBroker(s)
	p := s.Start()
	s.API.Add(sandbox.Rule{Call: sandbox.CallSend, Errcode: 40003})
	bring()
	before, err := b.Embedded().Server.Varz(nil)
	s.NoError(err)
	since := time.Now()
	for i := range 3 {
		s.send(fmt.Sprint("user", i))
	}
	s.notReady(p, "dead letters cannot be stored")
	s.EqualValues(3, s.Queued(), "the originals stay")
	after, err := b.Embedded().Server.Varz(nil)
	s.NoError(err)
	// Everything that anybody says to the broker: this test asks it fifty times a second.
	s.Less(after.InMsgs-before.InMsgs, 500+int64(200*time.Since(since).Seconds()), "a hot loop")
	mend()
	s.Drained()
	p.Ready()
}

// letterOf has an intent that is no part of the scene die.
func (s *scene) letterOf(id string) {
	s.Publish(stage.Live+id, text(id), "Nats-Msg-Id", id)
	s.until("there is a letter", func() bool { return s.Stored(schema.StreamDead) == 1 && s.Queued() == 0 })
}

// answerLost has everything the broker says get lost while an intent ends.
func answerLost(s *scene) {
	proxy := throughProxy(s, ownBroker(s))
	s.Start()
	s.API.Add(sandbox.Rule{Call: sandbox.CallSend, Errcode: 40003, Delay: 3 * time.Second})
	s.send("one")
	s.NoError(s.API.Wait(s.T.Context(), 1))
	proxy.Deafen()
	s.until("the letter is stored", func() bool { return s.Stored(schema.StreamDead) == 1 })
	proxy.Cut()
	proxy.Mend()
	s.Drained()
	s.Len(s.Letters(), 1)
	s.Len(s.StoredReceipts()["one"], 1)
}

// afterWindow publishes an id once more, after the broker has forgotten it.
func (s *scene) afterWindow(id, packet string) {
	s.T.Helper()
	s.until("the duplicate window has passed", func() bool {
		ack, err := s.Offer(stage.Live+id, packet, "Nats-Msg-Id", id)
		return err == nil && !ack.Duplicate
	})
}

// padded is a text of so many bytes, most of them in a field of the producer's own.
func padded(openID string, size int) string {
	head := strings.TrimSuffix(text(openID), "}") + `,"x":"`
	return head + strings.Repeat("x", size-len(head)-2) + `"}`
}

func revoked(s *scene) {
	users := func(password string) *server.Options {
		return &server.Options{Users: []*server.User{{Username: "test", Password: "test"}, {Username: "worker", Password: password}}}
	}
	o := users("first")
	b := bigBroker(s, o)
	s.ConnectTo(withUser(b, "test", "test"))
	s.UseBroker(withUser(b, "worker", "first"))
	p := s.Start()
	s.send("before")
	s.Drained()
	reload := func(password string) {
		changed := o.Clone()
		changed.Users = users(password).Users
		s.NoError(b.ReloadOptions(changed))
	}
	reload("another")
	s.notReady(p, "the broker is away")
	s.send("meanwhile")
	s.EqualValues(1, s.Queued())
	reload("first")
	p.Ready()
	s.Drained()
	s.False(strings.Contains(s.Output.String(), "worker:first"), "the password stands in the log")
}

func withUser(b *server.Server, name, password string) string {
	return strings.Replace(b.ClientURL(), "nats://", "nats://"+name+":"+password+"@", 1)
}

func acksForbidden(s *scene) {
	users := func(deny ...string) []*server.User {
		return []*server.User{{Username: "test", Password: "test"}, {Username: "worker", Password: "worker", Permissions: &server.Permissions{
			Publish: &server.SubjectPermission{Allow: []string{">"}, Deny: deny},
		}}}
	}
	o := &server.Options{Users: users("$JS.ACK.>")}
	b := bigBroker(s, o)
	s.ConnectTo(withUser(b, "test", "test"))
	s.UseBroker(withUser(b, "worker", "worker"))
	p := s.Start()
	for i := range 3 {
		s.send(fmt.Sprint("user", i))
	}
	s.notReady(p, "no permission for publish to $JS.ACK")
	redelivered(s)
	s.EqualValues(3, s.Queued(), "no acknowledgement got through")
	changed := o.Clone()
	changed.Users = users("nothing")
	s.NoError(b.ReloadOptions(changed))
	s.Drained()
	p.Ready()
}

// redelivered waits until the broker has handed out something a second time.
func redelivered(s *scene) {
	s.T.Helper()
	s.until("it is handed out again", func() bool {
		n := 0
		st, err := s.JS.Stream(s.T.Context(), schema.SendStream(stage.App))
		if err != nil {
			return false
		}
		for info := range st.ListConsumers(s.T.Context()).Info() {
			n += info.NumRedelivered
		}
		return n > 0
	})
}

func slowConsumer(s *scene) {
	b := bigBroker(s, &server.Options{MaxPending: 8 << 20, WriteDeadline: 2 * time.Second})
	s.UseBroker(b.ClientURL())
	p := s.Start()
	p.Signal(syscall.SIGSTOP)
	for i := range 300 {
		id := fmt.Sprint("user", i)
		s.accept(id, stage.Bulk+"campaign", padded(id, 60_000))
	}
	s.until("it is thrown out", func() bool { return b.NumSlowConsumers() > 0 })
	p.Signal(syscall.SIGCONT)
	s.Drained()
	s.note("slow consumers: %d", b.NumSlowConsumers())
}

func deleteConsumers(s *scene, stream string) {
	s.T.Helper()
	st, err := s.JS.Stream(s.T.Context(), stream)
	s.NoError(err)
	names := st.ConsumerNames(s.T.Context())
	n := 0
	for name := range names.Name() {
		s.NoError(s.JS.DeleteConsumer(s.T.Context(), stream, name))
		n++
	}
	s.NoError(names.Err())
	s.NotZero(n)
}

func streamConfig(s *scene, name string) jetstream.StreamConfig {
	s.T.Helper()
	st, err := s.JS.Stream(s.T.Context(), name)
	s.NoError(err)
	return st.CachedInfo().Config
}

func changeStream(s *scene, name string, change func(*jetstream.StreamConfig)) {
	s.T.Helper()
	cfg := streamConfig(s, name)
	change(&cfg)
	_, err := s.JS.UpdateStream(s.T.Context(), cfg)
	s.NoError(err)
}

func consumerInfo(s *scene, stream, name string) *jetstream.ConsumerInfo {
	s.T.Helper()
	c, err := s.JS.Consumer(s.T.Context(), stream, name)
	s.NoError(err)
	return c.CachedInfo()
}

func changeConsumer(s *scene, stream, name string, change func(*jetstream.ConsumerConfig)) {
	s.T.Helper()
	var cfg jetstream.ConsumerConfig
	s.until("the worker has its consumers", func() bool {
		c, err := s.JS.Consumer(s.T.Context(), stream, name)
		if err != nil {
			return false
		}
		cfg = c.CachedInfo().Config
		return true
	})
	change(&cfg)
	_, err := s.JS.UpdateConsumer(s.T.Context(), stream, cfg)
	s.NoError(err)
}
