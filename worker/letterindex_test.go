package worker

import (
	"encoding/json"
	"testing"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/deadletter"
	"github.com/kefuhq/kefu/internal/pool"
	"github.com/kefuhq/kefu/internal/wire"
	"github.com/kefuhq/kefu/schema"
)

// indexed is where the index says that letters lie.
func (b *bed) indexed() (seqs []uint64) {
	b.t.Helper()
	for _, e := range kept[struct{ Seq uint64 }](b, wire.StreamDeadIndex) {
		seqs = append(seqs, e.Seq)
	}
	return seqs
}

func TestEveryLetterIsIndexedBeforeAnybodyIsToldOfIt(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	b.api.answer = func(string, int) error { return apiError(40003) }
	index, err := b.conn.JS.Stream(t.Context(), wire.StreamDeadIndex)
	b.NoError(err)
	b.NoError(b.conn.JS.DeleteStream(t.Context(), wire.StreamDeadIndex))
	stop := b.start()
	b.publish(live+"user1", "one", "hello", "user1")
	b.await(func() bool { return b.worker.troubles.countRefused(wire.StreamDeadIndex, 0) == 1 })
	b.Contains(b.worker.Troubles()[0], "dead letters cannot be indexed")
	b.Len(kept[schema.Letter](b, schema.StreamDead), 1)
	b.Empty(kept[schema.Receipt](b, schema.StreamReceipt))
	b.EqualValues(1, b.queued())

	_, err = b.conn.JS.CreateStream(t.Context(), index.CachedInfo().Config)
	b.NoError(err)
	b.Equal(schema.ReasonRecipient, b.receiptOf("one").Reason)
	b.Equal([]uint64{1}, b.indexed())
	b.Empty(b.worker.Troubles())
	b.NoError(stop())
	b.Len(kept[schema.Letter](b, schema.StreamDead), 1)
	b.Equal(1, b.posts("hello"))
}

func TestALetterWhoseWorkerDiedBeforeItsEntryIsIndexed(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	queued := b.publish(live+"user1", "one", "hello", "somebody else")
	for _, l := range []schema.Letter{{ID: "zero"},
		{ID: "one", Generation: 1, Sequence: queued.Seq}} {
		l.AppID, l.Reason = appID, schema.ReasonInvalid
		m, err := deadletter.Message(&l)
		b.NoError(err)
		_, err = b.conn.Outbox.PublishWait(t.Context(), m)
		b.NoError(err)
	}
	stop := b.start()
	b.Equal(schema.ReasonInvalid, b.receiptOf("one").Reason)
	b.NoError(stop())
	b.Equal([]uint64{2}, b.indexed(), "where the letter lies that was stored first")
	b.Len(kept[schema.Letter](b, schema.StreamDead), 2)
}

func TestLettersCountAsIndexedOnceNoOldWorkerIsThere(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	mark := func() (from uint64) {
		entries, err := b.conn.ReadState(t.Context(), "letters.")
		b.NoError(err)
		for _, e := range entries {
			var c struct{ From uint64 }
			b.NoError(json.Unmarshal(e.Value, &c))
			from = c.From
		}
		return from
	}
	store := func(id string) {
		m, err := deadletter.Message(&schema.Letter{ID: id, AppID: appID,
			Reason: schema.ReasonPoison})
		b.NoError(err)
		_, err = b.conn.Outbox.PublishWait(t.Context(), m)
		b.NoError(err)
	}
	heartbeat, err := json.Marshal(pool.Worker{Name: "old", Lease: 1})
	b.NoError(err)
	const key = "pool.worker.old"
	put := func() error {
		return b.conn.SaveState(t.Context(), broker.PutState(key, heartbeat, 0))
	}
	remove := func() error { return b.conn.SaveState(t.Context(), broker.DeleteState(key)) }
	store("a")
	for _, step := range []struct {
		do   func() error
		want uint64
	}{
		{put, 0},
		{remove, 2},
		{func() error { store("b"); return nil }, 2},
		{put, 0},
		{remove, 3},
	} {
		b.NoError(step.do())
		b.NoError(coverLetters(t.Context(), b.conn))
		b.Equal(step.want, mark())
	}

	stop := b.start()
	b.publish(live+"user1", "one", "hello", "user1")
	b.Equal(schema.StateSent, b.receiptOf("one").State)
	b.NoError(coverLetters(t.Context(), b.conn))
	b.EqualValues(3, mark(), "a worker of this version writes entries")
	b.NoError(stop())
}
