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

func TestPlan(t *testing.T) {
	t.Parallel()
	b := newBed(t, 10)
	other := func(l *schema.Letter) { l.AppID, l.Subject = "wx2", "kefu.send.wx2.live."+openid }
	b.bury(
		letter("ok-1"), letter("ok-2", of(schema.ReasonUnknown), func(l *schema.Letter) {
			l.PossibleDuplicate = true
		}),
		letter("refused-1", of(schema.ReasonRecipient), code(45015)),
		letter("refused-2", of(schema.ReasonRecipient), code(45015)),
		letter("late", published(noon.Add(-100*time.Hour))), letter("stranger", other),
	)
	o := Options{Rate: 2, Apps: map[string]App{app: {ExpireAfter: 48 * time.Hour}}}
	p, err := b.box.Plan(t.Context(), Filter{}, o, noon)
	b.NoError(err)
	b.Equal(6, p.Total)
	b.Equal(4, p.Replayable)
	b.Equal(map[Fate]int{WillBeSent: 2, SameAgain: 2, WillExpire: 1, CannotBe: 1}, p.Fates)
	b.Equal(map[schema.Reason]int{schema.ReasonExhausted: 3, schema.ReasonUnknown: 1,
		schema.ReasonRecipient: 2}, p.Reasons)
	b.Equal(map[string]int{app: 5, "wx2": 1}, p.Apps)
	b.Equal(1, p.PossibleDuplicates)
	b.Equal(2*time.Second, p.Takes)
	b.Equal(uint64(6), p.Through)
	b.Equal([]string{"refused-1", "refused-2"}, p.Notes[0].IDs)
	b.Equal(2, p.Notes[0].Count)
	b.Len(p.Notes, 3)

	o.Limit = 1
	p, err = b.box.Plan(t.Context(), Filter{}, o, noon)
	b.NoError(err)
	b.Equal(1, p.Replayable)
	b.Len(b.ids(Filter{}), 6, "a plan changes nothing")
	b.Empty(b.queued())
}

func TestPlanWithoutBox(t *testing.T) {
	t.Parallel()
	b := newBed(t, 10)
	b.NoError(b.conn.JS.DeleteStream(t.Context(), schema.StreamDead))
	_, err := b.box.Plan(t.Context(), Filter{}, Options{}, noon)
	b.ErrorContains(err, "kefu setup")
}

func TestNotesAreBounded(t *testing.T) {
	t.Parallel()
	var n notes
	for i := range 1000 {
		n.add(CannotBe, "reason "+time.Duration(i).String(), "id")
	}
	n.add(CannotBe, "reason 1ns", "id")
	list := n.sorted()
	require.LessOrEqual(t, len(list), mostNotes+len(Fates()))
	require.Equal(t, "for other reasons", list[0].Text)
	require.Equal(t, 950, list[0].Count)
	require.Len(t, list[0].IDs, mostIDs)
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
