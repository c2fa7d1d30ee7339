package ledger

import (
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"github.com/kefuhq/kefu/internal/broker/brokertest"
)

func TestLookup(t *testing.T) {
	t.Parallel()
	conn := brokertest.New(t, "wx1")
	number := uint64(0)
	write := func(marks ...Mark) {
		number++
		m := nats.NewMsg("kefu.ledger.w1")
		b := newBatch(number, len(marks))
		for _, mark := range marks {
			require.True(t, b.add(mark))
		}
		m.Data = b.data
		_, err := conn.Outbox.PublishWait(t.Context(), m)
		require.NoError(t, err)
	}
	of := func(id string, kind Kind, generation uint16) Mark {
		return Mark{Key: KeyOf("wx1", id), Seq: 7, Body: 1, Kind: kind, Generation: generation,
			Attempt: 1, Again: generation > 1}
	}
	write(of("a", Start, 0), of("b", Start, 0))
	write(of("a", Dead, 1), of("c", Start, 0))
	write(of("c", Sent, 1))

	l := NewLookup(conn)
	require.NoError(t, l.Read(t.Context()), "nothing is wanted")
	now := time.Now()
	l.Want("wx1", "a", now)
	l.Want("wx1", "b", now.Add(-time.Hour))
	l.Want("wx1", "nobody", now)
	require.NoError(t, l.Read(t.Context()))
	kind := func(id string) Kind {
		e, _ := l.Get("wx1", id)
		return e.Kind
	}
	require.Equal(t, []Kind{Dead, Start, 0, 0},
		[]Kind{kind("a"), kind("b"), kind("c"), kind("nobody")})

	write(of("a", Start, 2))
	require.Equal(t, Dead, kind("a"))
	require.NoError(t, l.Read(t.Context()))
	require.Equal(t, Start, kind("a"), "what is new")
	e, ok := l.Get("wx1", "a")
	require.True(t, ok)
	require.EqualValues(t, 2, e.Generation)

	l.Want("wx1", "c", now)
	require.NoError(t, l.Read(t.Context()))
	require.Equal(t, []Kind{Start, Start, Sent}, []Kind{kind("a"), kind("b"), kind("c")})

	late := NewLookup(conn)
	late.Want("wx1", "a", now.Add(time.Hour))
	require.NoError(t, late.Read(t.Context()))
	_, ok = late.Get("wx1", "a")
	require.False(t, ok, "marks from before it was published are another's")
}
