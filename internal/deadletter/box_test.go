package deadletter

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/wire"
	"github.com/kefuhq/kefu/schema"
)

func TestMessage(t *testing.T) {
	t.Parallel()
	l := letter("order-1", of(schema.ReasonExpired))
	l.Detail = "<late>"
	msg, err := Message(l)
	require.NoError(t, err)
	require.Equal(t, "kefu.dead."+app+".expired", msg.Subject)
	require.Equal(t, wire.LetterMsgID(app, "order-1", 1, 7), msg.Header.Get("Nats-Msg-Id"))
	require.Contains(t, string(msg.Data), `"detail":"<late>"`)
	item := itemOf(broker.Stored{Data: msg.Data, Seq: 3, Time: noon})
	require.Equal(t, Item{Letter: *l, Seq: 3, Stored: noon, raw: msg.Data}, item)

	_, err = Message(letter("order-1", of("no reason")))
	require.ErrorContains(t, err, "no reason")
	_, err = Message(letter(""))
	require.ErrorContains(t, err, "id")
}

func BenchmarkMessage(b *testing.B) {
	l := letter("order-1", of(schema.ReasonRejected), code(40007))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Message(l); err != nil {
			b.Fatal(err)
		}
	}
}

func TestBoxListsGetsAndDeletes(t *testing.T) {
	t.Parallel()
	b := newBed(t, 1000)
	b.bury(letter("a"), letter("b", of(schema.ReasonExpired)),
		letter("b", of(schema.ReasonExhausted), func(l *schema.Letter) { l.Generation = 2 }))
	b.bury(letter("a")) // the worker died between letter and acknowledgement
	b.publish("kefu.dead."+app+".expired", "by hand", nil)

	b.Equal([]string{"a", "b", "b", ""}, b.ids(Filter{}))
	b.Equal([]string{"b", ""}, b.ids(Filter{Reasons: []schema.Reason{schema.ReasonExpired}}))
	b.Equal([]string{"a"}, b.ids(Filter{IDs: []string{"a"}}))
	b.Empty(b.ids(Filter{AppID: "wx2"}))

	items, err := b.box.Get(t.Context(), app, "b")
	b.NoError(err)
	b.Len(items, 2)
	b.Equal([]int{1, 2}, []int{items[0].Letter.Generation, items[1].Letter.Generation})
	b.Equal(uint64(2), items[0].Seq)

	stranger := 0
	b.NoError(b.box.List(t.Context(), Filter{}, func(i Item) error {
		if i.Broken {
			stranger++
			b.Equal(app, i.Letter.AppID)
			b.Equal(schema.ReasonExpired, i.Letter.Reason)
			b.Equal("by hand", string(i.Letter.Packet()))
		}
		return nil
	}))
	b.Equal(1, stranger)

	b.NoError(b.box.Delete(t.Context(), 2))
	b.NoError(b.box.Delete(t.Context(), 2), "gone already")
	b.Equal([]string{"a", "b", ""}, b.ids(Filter{}))
	b.NoError(b.box.Delete(t.Context(), 1))
	b.NoError(b.box.Delete(t.Context(), 1), "gone, and before the first that is there")
}

func TestListSinceReadsFromThere(t *testing.T) {
	t.Parallel()
	b := newBed(t, 10)
	now := time.Now().UTC()
	b.bury(letter("old", func(l *schema.Letter) { l.DiedAt = now.Add(-time.Hour) }),
		letter("new", func(l *schema.Letter) { l.DiedAt = now }))
	b.Equal([]string{"new"}, b.ids(Filter{Since: now.Add(-time.Minute)}))
	b.Equal([]string{"old"}, b.ids(Filter{Until: now.Add(-time.Minute)}))
}

func TestListEndsEarly(t *testing.T) {
	t.Parallel()
	b := newBed(t, 10)
	b.bury(letter("a"), letter("b"), letter("c"))
	n := 0
	b.NoError(b.box.List(t.Context(), Filter{}, func(Item) error {
		if n++; n == 2 {
			return broker.ErrStopScan
		}
		return nil
	}))
	b.Equal(2, n)
	b.ErrorIs(b.box.List(t.Context(), Filter{}, func(Item) error { return errEnough }), errEnough)
}

func TestAuditEntryIsStored(t *testing.T) {
	t.Parallel()
	b := newBed(t, 10)
	b.NoError(b.conn.Audit(t.Context(), broker.AuditEntry{Actor: "ann", Verb: "pause", AppID: app}))
	entries := b.audited()
	b.Len(entries, 1)
	b.Equal("ann", entries[0].Actor)
	b.WithinDuration(time.Now(), entries[0].Time, time.Minute)
	b.Error(b.conn.Audit(t.Context(), broker.AuditEntry{Verb: "no verb"}))
}
