package publisher_test

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/broker/brokertest"
	"github.com/kefuhq/kefu/publisher"
	"github.com/kefuhq/kefu/schema"
)

// settleMany stores n receipts of intents that were sent, with the ids of crowd.
func settleMany(t testing.TB, js jetstream.JetStream, n int) {
	t.Helper()
	for _, id := range crowdIDs(n) {
		r := sent(id)
		data, err := json.Marshal(r)
		require.NoError(t, err)
		_, err = js.PublishAsync(schema.ReceiptSubject(r.AppID, r.State), data)
		require.NoError(t, err)
	}
	brokertest.Await(t, js.PublishAsyncComplete(), "the receipts to be stored")
}

// crowdWaits has a crowd publish and wait, each an intent with an id of crowd.
func crowdWaits(
	ctx context.Context, p *publisher.Publisher, n int,
	done func(i int, r schema.Receipt, err error),
) {
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() {
			r, err := publishAndWait(ctx, p, text(fmt.Sprintf("oUser%d", i), "hi"),
				publisher.WithID(fmt.Sprintf("id-%d", i)))
			done(i, r, err)
		})
	}
	all.Wait()
}

func TestReceiptsFromBeforeAreReadOnceForAllWhoWait(t *testing.T) {
	t.Parallel()
	b := brokertest.Start(t, app)
	js := b.Connect().JS
	const past, callers = 4000, 200
	settleMany(t, js, past)
	own := b.Connect()
	p := newPublisher(t, own.JS)
	before := own.NC.Stats().InMsgs
	crowdWaits(t.Context(), p, callers, func(i int, r schema.Receipt, err error) {
		if err != nil || r != sent(fmt.Sprintf("id-%d", i)) {
			t.Errorf("caller %d: %v, %v", i, r, err)
		}
	})
	read := own.NC.Stats().InMsgs - before
	// One gap is no fault: they are read again then. One reading for each caller is hundreds of
	// thousands.
	require.Less(t, read, uint64(4*past), "for all %d callers", callers)

	t.Run("and later callers are told from what is known", func(t *testing.T) {
		before := own.NC.Stats().InMsgs
		r, err := publishAndWait(t.Context(), p, text("oAlice", "hi"), publisher.WithID("id-3999"))
		require.NoError(t, err)
		require.Equal(t, sent("id-3999"), r)
		require.Less(t, own.NC.Stats().InMsgs-before, uint64(past/4))
	})
	require.Equal(t, 1, consumers(t, b.Connect()), "one consumer for all")
}

func TestAThousandWaitAtOnce(t *testing.T) {
	t.Parallel()
	b := brokertest.Start(t, app)
	conn := b.Connect()
	p := newPublisher(t, b.Connect().JS)
	const callers = 1000
	done := make(chan struct{})
	go func() {
		defer close(done)
		crowdWaits(t.Context(), p, callers, func(i int, r schema.Receipt, err error) {
			if err != nil || r != sent(fmt.Sprintf("id-%d", i)) {
				t.Errorf("caller %d: %v, %v", i, r, err)
			}
		})
	}()
	eventually(conn, callers)
	settleMany(t, conn.JS, callers)
	brokertest.Await(t, done, "all to be told")
	require.Equal(t, 1, consumers(t, conn))
	require.Zero(t, p.Waiting(app))
}

func TestAFeedThatNobodyUsesEnds(t *testing.T) {
	t.Parallel()
	conn := brokertest.New(t, app)
	p := newPublisher(t, conn.JS)
	p.Linger(time.Millisecond)
	one, two := watch(t, p), watch(t, p)
	require.Equal(t, 1, consumers(t, conn))
	one.Close()
	settle(t, conn.JS, sent("a"))
	_, err := two.Wait(t.Context(), "a")
	require.NoError(t, err)
	two.Close()
	require.Eventually(t, func() bool { return consumers(t, conn) == 0 }, brokertest.Patience,
		time.Millisecond)

	three := watch(t, p)
	settle(t, conn.JS, sent("b"))
	_, err = three.Wait(t.Context(), "b")
	require.NoError(t, err)
}

func TestAWaitThatIsCancelledLeavesNothing(t *testing.T) {
	t.Parallel()
	conn := brokertest.New(t, app)
	p := newPublisher(t, conn.JS)
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		eventually(conn, 20)
		cancel()
	}()
	crowdWaits(ctx, p, 20, func(i int, r schema.Receipt, err error) {
		if r.ID != fmt.Sprintf("id-%d", i) || err == nil {
			t.Errorf("caller %d: %v, %v", i, r, err)
		}
	})
	require.Zero(t, p.Waiting(app))
}

// An intent that died lives again when its id is published again.
func TestTheReceiptOfAnEarlierGenerationIsNotTheNewOnes(t *testing.T) {
	t.Parallel()
	conn := brokertest.New(t, app)
	p := newPublisher(t, conn.JS)
	a, err := p.Publish(t.Context(), app, text("oAlice", "hi"), publisher.WithID("a"))
	require.NoError(t, err)
	done := make(chan schema.Receipt, 1)
	go func() {
		r, err := p.Wait(t.Context(), a)
		if err != nil {
			t.Error(err)
		}
		done <- r
	}()
	first := schema.Receipt{
		ID: "a", AppID: app, Generation: 1, State: schema.StateDead, Reason: schema.ReasonExhausted,
		Lane:        schema.LaneLive,
		PublishedAt: time.Now().Add(-time.Hour).UTC(),
	}
	second := first
	second.Generation, second.PublishedAt = 2, time.Now().UTC()
	settle(t, conn.JS, first)
	settle(t, conn.JS, second)
	require.Equal(t, 2, brokertest.Await(t, done, "the receipt").Generation)
}

func TestReceiptsThatCannotBeReadAreToldToAllWhoWait(t *testing.T) {
	t.Parallel()
	// all has a crowd wait, breaks what it waits for, and returns their errors.
	all := func(
		t *testing.T, p *publisher.Publisher, conn *broker.Conn, spoil func(),
	) (errs []error) {
		t.Helper()
		const callers = 20
		go func() {
			eventually(conn, callers)
			spoil()
		}()
		var mu sync.Mutex
		crowdWaits(t.Context(), p, callers, func(i int, r schema.Receipt, err error) {
			mu.Lock()
			defer mu.Unlock()
			errs = append(errs, err)
			if r.ID != fmt.Sprintf("id-%d", i) {
				t.Errorf("caller %d is told of %q", i, r.ID)
			}
		})
		require.Len(t, errs, callers)
		return errs
	}
	t.Run("when their stream is gone", func(t *testing.T) {
		t.Parallel()
		conn := brokertest.New(t, app)
		for _, err := range all(t, newPublisher(t, conn.JS), conn, func() {
			if err := conn.JS.DeleteStream(context.Background(), schema.StreamReceipt); err != nil {
				t.Error(err)
			}
		}) {
			require.ErrorIs(t, err, publisher.ErrUnreadable)
			require.ErrorIs(t, err, jetstream.ErrStreamNotFound)
			require.ErrorContains(t, err, "receipts of app wx1 cannot be read: ")
		}
	})
	t.Run("when the broker is away for too long", func(t *testing.T) {
		t.Parallel()
		b := brokertest.Start(t, app)
		conn := b.Connect()
		p := newPublisher(t, conn.JS, publisher.WithTimeout(5*time.Second))
		w := watch(t, p)
		const callers = 20
		told := make(chan error, callers)
		for i := range callers {
			accepted, err := p.Publish(t.Context(), app, text("oAlice", "hi"),
				publisher.WithID(fmt.Sprintf("id-%d", i)))
			require.NoError(t, err)
			go func() {
				_, err := p.Wait(t.Context(), accepted)
				told <- err
			}()
		}
		require.Eventually(t, func() bool { return p.Waiting(app) == callers }, brokertest.Patience,
			time.Millisecond)
		b.Stop()
		for range callers {
			require.ErrorIs(t, brokertest.Await(t, told, "the wait to end"),
				publisher.ErrUnreadable)
		}
		b.Start()
		require.Eventually(t, func() bool { return !w.Failing() }, brokertest.Patience,
			time.Millisecond)
		settle(t, b.Connect().JS, sent("a"))
		_, err := w.Wait(t.Context(), "a")
		require.NoError(t, err, "it goes on when the broker is back")
	})
	t.Run("when only those from before cannot", func(t *testing.T) {
		t.Parallel()
		conn := brokertest.New(t, app)
		settle(t, conn.JS, sent("old"))
		s, err := conn.JS.Stream(t.Context(), schema.StreamReceipt)
		require.NoError(t, err)
		cfg := s.CachedInfo().Config
		cfg.MaxConsumers = 1 // the one for new receipts
		require.NoError(t, conn.JS.DeleteStream(t.Context(), schema.StreamReceipt))
		_, err = conn.JS.CreateStream(t.Context(), cfg)
		require.NoError(t, err)
		settle(t, conn.JS, sent("old"))
		_, err = publishAndWait(t.Context(), newPublisher(t, conn.JS), text("oAlice", "hi"),
			publisher.WithID("a"))
		require.ErrorIs(t, err, publisher.ErrUnreadable)
		require.ErrorIs(t, err, jetstream.ErrMaximumConsumersLimit)
	})
	t.Run("at the latest when time is over", func(t *testing.T) {
		t.Parallel()
		b := brokertest.Start(t, app)
		conn := b.Connect()
		w := watch(t, newPublisher(t, conn.JS))
		b.Stop()
		require.Eventually(t, func() bool { return !conn.NC.IsConnected() }, brokertest.Patience,
			time.Millisecond)
		ctx, cancel := context.WithCancel(t.Context())
		failing := make(chan error, 1)
		go func() {
			_, err := w.Wait(ctx, "a")
			failing <- err
		}()
		require.Eventually(t, w.Failing, brokertest.Patience, time.Millisecond)
		cancel()
		err := brokertest.Await(t, failing, "the wait to end")
		require.ErrorIs(t, err, publisher.ErrNoReceipt)
		require.ErrorIs(t, err, publisher.ErrUnreadable)
		require.ErrorIs(t, err, context.Canceled)
	})
}

func TestAMissingPermissionToReadReceiptsIsToldWithItsSubject(t *testing.T) {
	t.Parallel()
	const (
		create = "$JS.API.CONSUMER.CREATE.KEFU_RECEIPT.*.kefu.receipt.wx1.*"
		next   = "$JS.API.CONSUMER.MSG.NEXT.KEFU_RECEIPT.*"
	)
	user := func(name string, allow ...string) *server.User {
		return &server.User{Username: name, Password: name, Permissions: &server.Permissions{
			Publish:   &server.SubjectPermission{Allow: append(allow, "kefu.send.wx1.>")},
			Subscribe: &server.SubjectPermission{Allow: []string{"_INBOX_" + name + ".>"}},
		}}
	}
	as := protectedBroker(t, &server.Options{Users: []*server.User{
		{Username: "admin", Password: "admin"}, user("none"), user("half", create),
	}})
	for _, cfg := range broker.Streams(brokertest.Spec(app)) {
		_, err := as("admin").CreateStream(t.Context(), cfg)
		require.NoError(t, err)
	}
	for name, missing := range map[string]string{"none": create, "half": next} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := publishAndWait(t.Context(), newPublisher(t, as(name)), text("oAlice", "hi"))
			require.ErrorIs(t, err, publisher.ErrUnreadable)
			require.ErrorIs(t, err, publisher.ErrForbidden)
			require.ErrorContains(t, err, "this connection may not publish to "+missing)

			t.Run("also before anything is published", func(t *testing.T) {
				p := newPublisher(t, as(name))
				_, err := p.Wait(t.Context(), publisher.Accepted{AppID: app, ID: "none"})
				require.ErrorIs(t, err, publisher.ErrUnreadable)
				require.ErrorContains(t, err, missing)
			})
		})
	}
}

// readers are the names of the consumers that read receipts.
func readers(t *testing.T, s jetstream.Stream) []string {
	t.Helper()
	var names []string
	for name := range s.ConsumerNames(t.Context()).Name() {
		names = append(names, name)
	}
	return names
}

func TestInterruptionsBetweenWhichReceiptsCanBeReadAreNotTold(t *testing.T) {
	t.Parallel()
	conn := brokertest.New(t, app)
	const patience = time.Second
	w := watch(t, newPublisher(t, conn.JS, publisher.WithTimeout(patience)))
	told := make(chan error, 1)
	go func() {
		_, err := w.Wait(t.Context(), "a")
		told <- err
	}()
	s, err := conn.JS.Stream(t.Context(), schema.StreamReceipt)
	require.NoError(t, err)
	for began := time.Now(); time.Since(began) < 2*patience; {
		reader := readers(t, s)[0]
		require.NoError(t, s.DeleteConsumer(t.Context(), reader))
		require.Eventually(t, func() bool {
			now := readers(t, s)
			return len(now) == 1 && now[0] != reader && !w.Failing()
		}, brokertest.Patience, time.Millisecond)
	}
	settle(t, conn.JS, sent("a"))
	require.NoError(t, brokertest.Await(t, told, "the receipt"))
}

// The nodes of a cluster need not agree about the time: who leads after an interruption may stamp a
// receipt earlier than one that was read before.
func TestAReceiptThatIsStampedWithAnEarlierTimeIsRead(t *testing.T) {
	t.Parallel()
	type preparation = func(*testing.T, *broker.Conn, *publisher.Watcher)
	for name, before := range map[string]preparation{
		"than the last one": func(t *testing.T, conn *broker.Conn, w *publisher.Watcher) {
			t.Helper()
			settle(t, conn.JS, sent("a"))
			_, err := w.Wait(t.Context(), "a")
			require.NoError(t, err)
			w.Ahead(time.Hour)
		},
		"than the last one, which is not stored any more": func(
			t *testing.T, conn *broker.Conn, w *publisher.Watcher,
		) {
			t.Helper()
			settle(t, conn.JS, sent("a"))
			_, err := w.Wait(t.Context(), "a")
			require.NoError(t, err)
			s, err := conn.JS.Stream(t.Context(), schema.StreamReceipt)
			require.NoError(t, err)
			require.NoError(t, s.Purge(t.Context()))
			w.Ahead(30 * time.Second)
		},
		"than when the watcher was opened": func(
			_ *testing.T, _ *broker.Conn, w *publisher.Watcher,
		) {
			w.Ahead(30 * time.Second)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := brokertest.Start(t, app)
			direct, proxy := b.Connect(), brokertest.NewProxy(t, b)
			w := watch(t, newPublisher(t, proxy.Connect().JS))
			before(t, direct, w)
			proxy.Cut()
			require.Eventually(t, w.Failing, brokertest.Patience, time.Millisecond)
			settle(t, direct.JS, sent("b"))
			proxy.Mend()
			require.Equal(t, sent("b"),
				brokertest.Await(t, wait(t.Context(), w, "b"), "the receipt"))
		})
	}
}

// Sequences of a stream that was made anew begin at one again.
func TestAWatcherOutlivesTheStreamOfReceipts(t *testing.T) {
	t.Parallel()
	conn := brokertest.New(t, app)
	p := newPublisher(t, conn.JS)
	w := watch(t, p)
	settleMany(t, conn.JS, 100)
	_, err := w.Wait(t.Context(), "id-99")
	require.NoError(t, err)
	s, err := conn.JS.Stream(t.Context(), schema.StreamReceipt)
	require.NoError(t, err)
	require.NoError(t, conn.JS.DeleteStream(t.Context(), schema.StreamReceipt))
	_, err = conn.JS.CreateStream(t.Context(), s.CachedInfo().Config)
	require.NoError(t, err)
	settle(t, conn.JS, sent("anew"))
	require.Eventually(t, func() bool { // until then it says that the stream is gone
		r, err := w.Wait(t.Context(), "anew")
		return err == nil && r == sent("anew")
	}, brokertest.Patience, time.Millisecond)
	settle(t, conn.JS, sent("next"))
	r, err := w.Wait(t.Context(), "next")
	require.NoError(t, err)
	require.Equal(t, sent("next"), r)
}
