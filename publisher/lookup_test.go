package publisher_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/broker/brokertest"
	"github.com/kefuhq/kefu/publisher"
	"github.com/kefuhq/kefu/schema"
)

// allowConsumers has the stream of receipts take so many consumers and no more.
func allowConsumers(t *testing.T, conn *broker.Conn, n int) {
	t.Helper()
	s, err := conn.JS.Stream(t.Context(), schema.StreamReceipt)
	require.NoError(t, err)
	cfg := s.CachedInfo().Config
	cfg.MaxConsumers = n
	require.NoError(t, conn.JS.DeleteStream(t.Context(), schema.StreamReceipt))
	_, err = conn.JS.CreateStream(t.Context(), cfg)
	require.NoError(t, err)
}

func TestReceiptsWhosePlaceIsKnownAreReadWithFewConsumers(t *testing.T) {
	t.Parallel()
	conn := brokertest.New(t, app)
	// One is for new receipts. Twice as many: one that is slow to go is no harm.
	allowConsumers(t, conn, 2*(1+publisher.MaxReaders))
	const past, callers = 4000, 500
	settleMany(t, conn.JS, past)
	p := newPublisher(t, conn.JS)
	_, err := publishAndWait(t.Context(), p, text("oAlice", "hi"), publisher.WithID("id-0"))
	require.NoError(t, err)
	for _, tt := range []struct {
		name string
		nth  int
	}{
		{"when they are stored side by side", 1},
		{"when they are stored far apart", past / callers},
	} {
		t.Run(tt.name, func(t *testing.T) {
			done := make(chan error, callers)
			for i := range callers {
				go func() {
					id := fmt.Sprintf("id-%d", i*tt.nth)
					r, err := p.Wait(t.Context(),
						publisher.Accepted{ID: id, AppID: app, Duplicate: true})
					if err == nil && r != sent(id) {
						err = fmt.Errorf("%s is told of %s", id, r.ID)
					}
					done <- err
				}()
			}
			for range callers {
				require.NoError(t, brokertest.Await(t, done, "the receipt"))
			}
		})
	}
	require.Equal(t, 1, consumers(t, conn), "the one for new receipts")
}

func TestAReceiptWhosePlaceIsKnownIsReadAfterAnInterruption(t *testing.T) {
	t.Parallel()
	b := brokertest.Start(t, app)
	direct, proxy := b.Connect(), brokertest.NewProxy(t, b)
	p := newPublisher(t, proxy.Connect().JS)
	w := watch(t, p)
	w.Remember(1)
	settle(t, direct.JS, sent("a"))
	settle(t, direct.JS, sent("b"))
	_, err := w.Wait(t.Context(), "b") // so both have been seen
	require.NoError(t, err)

	proxy.DeafenAt("CONSUMER.CREATE")
	asked := wait(t.Context(), w, "a")
	require.Eventually(t, func() bool { return consumers(t, direct) == 2 }, brokertest.Patience,
		time.Millisecond)
	proxy.Cut()
	proxy.Mend()
	require.Equal(t, sent("a"), brokertest.Await(t, asked, "the receipt"))
}

func TestAReceiptWhosePlaceIsKnownAndThatCannotBeReadIsToldOf(t *testing.T) {
	t.Parallel()
	conn := brokertest.New(t, app)
	allowConsumers(t, conn, 1)
	w := watch(t, newPublisher(t, conn.JS))
	w.Remember(1)
	settle(t, conn.JS, sent("a"))
	settle(t, conn.JS, sent("b"))
	_, err := w.Wait(t.Context(), "b") // so both have been seen
	require.NoError(t, err)
	_, err = w.Wait(t.Context(), "a")
	require.ErrorIs(t, err, publisher.ErrUnreadable)
	require.ErrorIs(t, err, jetstream.ErrMaximumConsumersLimit)
}
