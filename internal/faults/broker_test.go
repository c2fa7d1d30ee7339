//go:build faults

package faults

import (
	"fmt"
	"strings"
	"syscall"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/broker/brokertest"
	"github.com/kefuhq/kefu/internal/sandbox"
	"github.com/kefuhq/kefu/internal/stage"
	"github.com/kefuhq/kefu/internal/wire"
	"github.com/kefuhq/kefu/schema"
)

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
	o.Host, o.Port, o.NoSigs, o.NoLog, o.JetStream, o.StoreDir = "127.0.0.1", server.RANDOM_PORT,
		true, true, true, s.T.TempDir()
	b, err := server.NewServer(o)
	s.NoError(err)
	s.T.Cleanup(func() { b.Shutdown(); b.WaitForShutdown() })
	b.Start()
	s.True(b.ReadyForConnections(stage.Patience))
	return b
}

// sentMeanwhile sends an intent, does something while the API holds back its answer, and returns
// when the worker has the answer.
func sentMeanwhile(s *scene, id string, do func()) {
	s.T.Helper()
	s.API.Add(sandbox.Rule{Call: sandbox.CallSend, OpenID: id, Times: 1, Delay: 3 * time.Second})
	s.send(id)
	s.NoError(s.API.WaitFor(s.T.Context(), sandbox.Filter{OpenID: id}, 1))
	do()
	s.says(`"msg":"sent","app":"` + stage.App + `","id":"` + id + `"`)
}

func brokerAway(s *scene) {
	b := ownBroker(s)
	proxy := throughProxy(s, b)
	p := s.Start()
	sentMeanwhile(s, "one", proxy.Cut)
	since := time.Now()
	s.send("two") // by the test's own way: accepted while the worker is away
	s.notReady(p, "the broker is away")
	most := 3 * stage.Patience
	if *full {
		most = 20 * time.Minute
	}
	s.Eventually(func() bool {
		return proxy.Refused() >= 65 && (!*full || time.Since(since) > 10*time.Minute)
	}, most, 50*time.Millisecond, "it gave up")
	s.True(p.Running())
	proxy.Mend()
	s.Drained()
	p.Ready()
	s.note("away for %s", time.Since(since).Round(time.Second))
}

func queueDeleted(s *scene) {
	ownBroker(s)
	p := s.Start()
	s.sendWithoutID("before", text("before"))
	s.Drained()
	queue := schema.SendStream(stage.App)
	s.NoError(s.JS.DeleteStream(s.T.Context(), queue))
	s.notReady(p, "cannot be read")
	s.True(p.Running())
	_, err := s.JS.Stream(s.T.Context(), queue)
	s.ErrorIs(err, jetstream.ErrStreamNotFound, "a queue is not made by the way")
	s.kefu("setup")
	p.Ready()
	s.sendWithoutID("after", text("after")) // with the sequence that the first one had
	s.Drained()
}

func consumerChanged(s *scene) {
	queue := schema.SendStream(stage.App)
	ownBroker(s)
	s.API.Add(sandbox.Rule{Call: sandbox.CallSend, Times: 1, Delay: 3 * time.Second})
	s.Start()
	changeConsumer(s, queue, "bulk", func(c *jetstream.ConsumerConfig) {
		c.AckWait, c.MaxAckPending = time.Second, 1
	})
	s.sendMany(stage.App, "user", 3)
	s.Drained()
	s.NoError(s.Stop(syscall.SIGTERM))
	s.Start()
	s.until("the consumer is put right", func() bool {
		return consumerInfo(s, queue, "bulk").Config.AckWait == broker.AckWait
	})
}

func diskFull(s *scene) {
	const room = 16 << 20
	b := bigBroker(s, &server.Options{JetStreamMaxStore: room})
	s.UseBroker(b.ClientURL())
	p := s.Start()
	s.send("first")
	s.Drained()
	// Accepted while the worker stands still, so that nothing is begun before the disk is full.
	p.Freeze()
	for i := range 9 {
		s.send(fmt.Sprint("user", i))
	}
	_, err := s.JS.CreateStream(s.T.Context(),
		jetstream.StreamConfig{Name: "FILLER", Subjects: []string{"filler"}})
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
	p := s.Start()
	s.sendBulk("one")
	s.until("it waits for its retry", func() bool {
		return s.Queued() == 0 && s.Stored(wire.StreamLater) == 1
	})
	s.pause(p, stage.App)
	for i := range 3 {
		s.sendBulk(fmt.Sprint("user", i))
	}
	s.until("it was put off again", func() bool {
		st, err := s.JS.Stream(s.T.Context(), wire.StreamLater)
		if err != nil {
			return false
		}
		m, err := st.GetMsg(s.T.Context(), st.CachedInfo().State.LastSeq)
		return err == nil && m.Header.Get(wire.HeaderHop) != "" &&
			m.Header.Get(wire.HeaderHop) != "0"
	})
	s.kefu("app", "resume", stage.App)
	s.Drained()
}

// lettersRefused has three intents die while letters cannot be stored.
func lettersRefused(s *scene, bring, restore func()) {
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
	s.until("a hot loop would have shown", func() bool { return time.Since(since) > 3*time.Second })
	s.EqualValues(3, s.Queued(), "the originals stay")
	after, err := b.Embedded().Server.Varz(nil)
	s.NoError(err)
	// Everything that anybody says to the broker: this test asks it fifty times a second.
	s.Less(after.InMsgs-before.InMsgs, 500+int64(200*time.Since(since).Seconds()), "a hot loop")
	restore()
	s.Drained()
	p.Ready()
}

// addLetter has an intent that is no part of the scene die.
func (s *scene) addLetter(id string) {
	s.Publish(stage.Live+id, text(id), "Nats-Msg-Id", id)
	s.until("there is a letter", func() bool {
		return s.Stored(schema.StreamDead) == 1 && s.Queued() == 0
	})
}

// ackOfLetterLost has everything the broker says get lost while an intent ends.
func ackOfLetterLost(s *scene) {
	proxy := throughProxy(s, ownBroker(s))
	s.Start()
	s.API.Add(sandbox.Rule{Call: sandbox.CallSend, Errcode: 40003})
	proxy.DeafenAt("PUB kefu.dead.")
	s.send("one")
	s.until("the letter is stored", func() bool { return s.Stored(schema.StreamDead) == 1 })
	proxy.Cut()
	proxy.Mend()
	s.Drained()
	s.Len(s.Letters(), 1)
	s.Len(s.StoredReceipts()["one"], 1)
}

// publishAfterWindow publishes an id once more, after the broker has forgotten it.
func (s *scene) publishAfterWindow(id, packet string) {
	s.T.Helper()
	s.until("the duplicate window has passed", func() bool {
		ack, err := s.Offer(stage.Live+id, packet, "Nats-Msg-Id", id)
		return err == nil && !ack.Duplicate
	})
}

// padded returns a text of so many bytes, most of them in a field of the producer's own.
func padded(openID string, size int) string {
	head := strings.TrimSuffix(text(openID), "}") + `,"x":"`
	return head + strings.Repeat("x", size-len(head)-2) + `"}`
}

func revoked(s *scene) {
	users := func(password string) *server.Options {
		return &server.Options{Users: []*server.User{{Username: "test", Password: "test"},
			{Username: "worker", Password: password}}}
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
		return []*server.User{{Username: "test", Password: "test"},
			{Username: "worker", Password: "worker", Permissions: &server.Permissions{
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
	b := bigBroker(s, &server.Options{MaxPending: 2 << 20, WriteDeadline: 2 * time.Second})
	s.UseBroker(b.ClientURL())
	p := s.Start()
	// A lane that has something in hand asks for as much as it may have.
	s.API.Add(sandbox.Rule{Call: sandbox.CallSend, Times: 20, Delay: 3 * time.Second})
	for i := range 20 {
		s.sendBulk(fmt.Sprint("first", i))
	}
	s.NoError(s.API.Wait(s.T.Context(), 20))
	p.Freeze()
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
