package deadletter

import (
	"fmt"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/wire"
	"github.com/kefuhq/kefu/schema"
)

// buryIndexed stores letters and their entries, as workers do.
func (b *bed) buryIndexed(letters ...*schema.Letter) {
	b.t.Helper()
	for _, l := range letters {
		msg, err := Message(l)
		b.NoError(err)
		ack, err := b.conn.Outbox.PublishWait(b.t.Context(), msg)
		b.NoError(err)
		_, err = b.conn.Outbox.PublishWait(b.t.Context(), IndexMessage(l, ack.Seq))
		b.NoError(err)
	}
}

// buryMany stores n letters and their entries.
func (b *bed) buryMany(prefix string, n int) {
	b.t.Helper()
	done := make(chan error, 2*n)
	for i := range n {
		l := letter(fmt.Sprint(prefix, i))
		msg, err := Message(l)
		b.NoError(err)
		b.conn.Outbox.Publish(msg, func(stored broker.Ack, err error) {
			done <- err
			b.conn.Outbox.Publish(IndexMessage(l, stored.Seq), func(_ broker.Ack, err error) {
				done <- err
			})
		})
	}
	for range cap(done) {
		b.NoError(<-done)
	}
}

// reads counts the requests to read letters that f makes.
func (b *bed) reads(f func()) int {
	b.t.Helper()
	sub, err := b.conn.NC.SubscribeSync("$JS.API.DIRECT.GET." + schema.StreamDead)
	b.NoError(err)
	b.NoError(b.conn.NC.Flush())
	f()
	b.NoError(b.conn.NC.Flush())
	n, _, err := sub.Pending()
	b.NoError(err)
	b.NoError(sub.Unsubscribe())
	return n
}

func generation(n int) func(*schema.Letter) {
	return func(l *schema.Letter) { l.Generation = n }
}

func otherAppsLetter(l *schema.Letter) { l.AppID, l.Subject = "wx2", "kefu.send.wx2.live."+openid }

func (b *bed) found(f Filter) (found []string) {
	b.t.Helper()
	last := uint64(0)
	b.NoError(b.box.List(b.t.Context(), f, func(i Item) error {
		b.Greater(i.Seq, last, "in the order of the box")
		last = i.Seq
		found = append(found,
			fmt.Sprint(i.Letter.AppID[:3], " ", i.Letter.ID, " ", i.Letter.Generation))
		return nil
	}))
	return found
}

func TestLettersAreFoundByIDWithoutReadingAll(t *testing.T) {
	t.Parallel()
	b := newBed(t, 10)
	b.bury(letter("old"), letter("both"))
	b.NoError(b.box.Cover(t.Context(), true))
	b.buryIndexed(letter("both", generation(2)), letter("both", otherAppsLetter), letter("gone"),
		letter("kept"))
	b.buryIndexed(letter("kept")) // the worker died after the entry, and another goes on
	b.publish("kefu.dead."+app+".expired", "by hand", nil)
	b.buryMany("x", 4*recent)
	b.bury(letter("kept", generation(2))) // its entry is on its way
	b.NoError(b.box.Delete(t.Context(), 5))

	for _, row := range []struct {
		name   string
		filter Filter
		want   []string
		reads  int // one for what lies before the index, one for the latest letters
	}{
		{"from before the index, and after",
			Filter{IDs: []string{"both"}}, []string{"wx0 both 1", "wx0 both 2", "wx2 both 1"}, 4},
		{"of one app",
			Filter{AppID: app, IDs: []string{"both"}}, []string{"wx0 both 1", "wx0 both 2"}, 3},
		{"of an app that has none", Filter{AppID: "wx3", IDs: []string{"both"}}, nil, 2},
		{"from before the index", Filter{IDs: []string{"old"}}, []string{"wx0 old 1"}, 2},
		{"deleted", Filter{IDs: []string{"gone"}}, nil, 3},
		{"not indexed yet", Filter{IDs: []string{"kept"}}, []string{"wx0 kept 1", "wx0 kept 2"}, 3},
		{"never there", Filter{IDs: []string{"no"}}, nil, 2},
		{"several", Filter{IDs: []string{"x9", "x1", "old"}},
			[]string{"wx0 old 1", "wx0 x1 1", "wx0 x9 1"}, 4},
		{"other conditions hold, too",
			Filter{IDs: []string{"both"}, Generation: 2}, []string{"wx0 both 2"}, 4},
		{"by a reason that none has",
			Filter{IDs: []string{"both"}, Reasons: []schema.Reason{schema.ReasonPoison}}, nil, 4},
	} {
		var got []string
		reads := b.reads(func() { got = b.found(row.filter) })
		b.Equal(row.want, got, row.name)
		b.Equal(row.reads, reads, row.name)
	}
	many := Filter{IDs: []string{"1", "2", "3", "4", "5", "6", "7", "8", "old"}}
	b.Equal([]string{"wx0 old 1"}, b.found(many))

	// A part of the box, as a replay goes through it.
	for _, row := range []struct {
		from, through uint64
		want          []int
	}{{0, 2, []int{1}}, {3, 3, []int{2}}, {3, 0, []int{2, 1}}, {0, 4,
		[]int{1, 2, 1}}, {5, 0, nil}} {
		var got []int
		b.NoError(b.box.Range(t.Context(), Filter{IDs: []string{"both"}}, row.from, row.through,
			func(i Item) error {
				got = append(got, i.Letter.Generation)
				return nil
			}))
		b.Equal(row.want, got, "%d to %d", row.from, row.through)
	}
	for _, most := range []int{1, 2, 3} { // before the index, in it, in the latest
		n := 0
		b.NoError(b.box.List(t.Context(), Filter{IDs: []string{"old", "x1", "kept"}, Generation: 0},
			func(Item) error {
				if n++; n == most {
					return broker.ErrStopScan
				}
				return nil
			}))
		b.Equal(most, n)
		n = 0
		b.ErrorIs(b.box.List(t.Context(), Filter{IDs: []string{"old", "x1", "kept"}},
			func(Item) error {
				if n++; n == most {
					return errEnough
				}
				return nil
			}), errEnough)
		b.Equal(most, n)
	}
}

func TestWithoutAnIndexAllLettersAreRead(t *testing.T) {
	t.Parallel()
	remake := func(b *bed, stream string) {
		s, err := b.conn.JS.Stream(b.t.Context(), stream)
		b.NoError(err)
		b.NoError(b.conn.JS.DeleteStream(b.t.Context(), stream))
		_, err = b.conn.JS.CreateStream(b.t.Context(), s.CachedInfo().Config)
		b.NoError(err)
	}
	for name, lose := range map[string]func(*bed){
		"there is none": func(b *bed) {
			b.NoError(b.conn.JS.DeleteStream(b.t.Context(), wire.StreamDeadIndex))
		},
		"it was made anew": func(b *bed) { remake(b, wire.StreamDeadIndex) },
		"a worker that writes none is back": func(b *bed) {
			b.NoError(b.box.Cover(b.t.Context(), false))
		},
		"the mark cannot be read": func(b *bed) {
			b.NoError(b.conn.SaveState(b.t.Context(), broker.PutState(indexedKey, []byte("?"), 0)))
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBed(t, 10)
			b.NoError(b.box.Cover(t.Context(), true))
			b.bury(letter("a"))
			b.buryMany("x", recent)
			b.Empty(b.found(Filter{IDs: []string{"a"}}), "the mark says that it would be indexed")
			lose(b)
			b.Equal([]string{"wx0 a 1"}, b.found(Filter{IDs: []string{"a"}}))
			if b.NoError(b.box.Cover(t.Context(), true)); name == "there is none" {
				return
			}
			b.buryMany("y", recent)
			b.Equal([]string{"wx0 a 1"}, b.found(Filter{IDs: []string{"a"}}),
				"it lies before what is indexed anew")
			b.Equal([]string{"wx0 y1 1"}, b.found(Filter{IDs: []string{"y1"}}))
		})
	}
	t.Run("the box was made anew", func(t *testing.T) {
		t.Parallel()
		b := newBed(t, 10)
		b.NoError(b.box.Cover(t.Context(), true))
		b.buryMany("x", 2*recent)
		remake(b, schema.StreamDead)
		b.bury(letter("a"))
		b.buryMany("y", recent)
		b.Equal([]string{"wx0 a 1"}, b.found(Filter{IDs: []string{"a"}}))
		b.Empty(b.found(Filter{IDs: []string{"x1"}}))
	})
}

func TestIndexMessage(t *testing.T) {
	t.Parallel()
	m := IndexMessage(letter("order-1"), 42)
	require.Equal(t, "kefu.deadindex.0ba", m.Subject)
	require.JSONEq(t, `{"id":"e22156d2698c143b","app":"`+app+`","seq":42}`, string(m.Data))
	require.NotEqual(t, m.Header, IndexMessage(letter("order-1"), 43).Header,
		"a box that was made anew counts from 1")
	require.Equal(t, nats.Header{schema.HeaderMsgID: {wire.LetterMsgID(app, "order-1", 1, 7) +
		" at 42"}}, m.Header)
}
