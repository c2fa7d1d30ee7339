package worker

import (
	"testing"
	"time"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/wire"
	"github.com/kefuhq/kefu/internal/withdrawal"
	"github.com/kefuhq/kefu/schema"
)

// forget orders that a person is forgotten.
func (b *bed) forget(openID string, campaigns ...string) {
	b.t.Helper()
	p, err := b.conn.Pseudonyms(b.t.Context())
	b.NoError(err)
	b.pseudonyms = p
	_, err = withdrawal.Forget(b.t.Context(), b.conn, p, appID, openID,
		withdrawal.Forgetting{By: "me", Campaigns: campaigns}, time.Hour)
	b.NoError(err)
}

func TestAPersonWhoIsForgottenIsSentNothingOfBefore(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	b.publish(live+"u1", "live-1", "live", "u1")
	b.publish(bulk+"c1", "bulk-1", "bulk", "u1")
	b.publish(bulk+"c1", "bulk-2", "for another", "u2")
	b.forget("u1", "c1")
	b.publish(bulk+"c1", "bulk-3", "the rest of the campaign", "u1")
	b.publish(bulk+"c2", "bulk-4", "a campaign of later", "u1")
	b.publish(live+"u1", "live-2", "an answer", "u1")
	// A replay that had the letter in hand, or an export that is brought back.
	old := wire.Envelope{Envelope: schema.Envelope{ID: "dead-1"}, Generation: 2, Attempt: 1,
		PublishedAt: time.Now().Add(-time.Hour)}
	var header []string
	for name, values := range old.Header() {
		header = append(header, name, values[0])
	}
	b.publish("kefu.again."+appID+".live.u1", "dead-1·2", "replayed", "u1", header...)
	stop := b.start()

	ends := make(map[string]schema.State)
	for range 7 {
		r := b.receipt()
		ends[r.ID] = r.State
	}
	b.Equal(map[string]schema.State{
		"live-1": schema.StateCancelled, "bulk-1": schema.StateCancelled,
		"bulk-2": schema.StateSent, "bulk-3": schema.StateCancelled, "bulk-4": schema.StateSent,
		"live-2": schema.StateSent, "dead-1": schema.StateCancelled,
	}, ends)
	for _, text := range []string{"live", "bulk", "the rest of the campaign", "replayed"} {
		b.Zero(b.posts(text), text)
	}
	b.NoError(stop())
	b.Zero(b.queued())
	b.NoError(b.conn.Scan(t.Context(), schema.StreamReceipt, broker.ScanOptions{},
		func(s broker.Stored) error {
			b.NotContains(string(s.Data), `"u1"`)
			return nil
		}))
}

func TestWhoIsForgottenDuringACallIsNotTriedAgain(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	p, err := b.conn.Pseudonyms(t.Context())
	b.NoError(err)
	b.pseudonyms = p
	called, heard := make(chan struct{}, 1), make(chan struct{})
	b.api.answer = func(string, int) error {
		called <- struct{}{}
		<-heard
		return apiError(-1)
	}
	stop := b.start()
	b.publish(live+"u1", "live-1", "hello", "u1")
	<-called
	b.forget("u1")
	b.await(func() bool {
		return b.worker.withdrawals.Forgotten(appID, "", time.Now().Add(-time.Minute),
			func() string { return "u1" })
	})
	close(heard)
	r := b.receiptOf("live-1")
	b.Equal(schema.StateCancelled, r.State)
	b.Equal(1, r.Attempts)
	b.Equal(1, b.posts("hello"))
	b.NoError(stop())
}
