package worker

import (
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kefuhq/kefu/internal/broker/brokertest"
	"github.com/kefuhq/kefu/internal/wire"
	"github.com/kefuhq/kefu/schema"
)

// TestAWorkerThatWasTakenForDead comes back with an answer while another has
// begun to send the same intent.
func TestAWorkerThatWasTakenForDead(t *testing.T) {
	t.Parallel()
	for name, answer := range map[string]error{ // to the one that comes back
		"was told that it is sent: its receipt says that it was sent twice": nil,
		"was refused: the end is the other's to tell":                       apiError(45015),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBed(t)
			late, other := make(chan struct{}), make(chan struct{})
			b.api.answer = func(_ string, n int) error {
				if n == 1 {
					<-late
					return answer
				}
				<-other
				return nil
			}
			p := b.proxy()
			w, stop, _ := b.handAt("one", p.URL())
			b.await(func() bool { return w.reads() == 4 })
			b.publish(live+"u1", "m0", "u1 0", "u1")
			b.await(func() bool { return b.posts("u1 0") == 1 })
			p.Cut()
			_, stopOther, _ := b.hand("two")
			b.await(func() bool { return b.posts("u1 0") == 2 }, "the other sends it")
			close(late)
			p.Mend()
			b.await(func() bool { return w.current()[0].holding() == 0 }, "it is done with it")
			close(other)
			b.await(func() bool { return b.queued() == 0 })
			b.NoError(stop())
			b.NoError(stopOther())

			ends := kept[schema.Receipt](b, schema.StreamReceipt)
			require.Len(t, ends, 1)
			require.Equal(t, schema.StateSent, ends[0].State)
			require.True(t, ends[0].PossibleDuplicate)
			letters, err := b.conn.Count(t.Context(), schema.StreamDead, "kefu.dead.>")
			b.NoError(err)
			require.Zero(t, letters)
		})
	}
}

// TestAWorkerThatWasCutOff comes back when another has sent what it had begun to
// send.
func TestAWorkerThatWasCutOff(t *testing.T) {
	t.Parallel()
	const readBack, token = "before it had read back that it has begun",
		"while it waited for a token"
	for _, c := range []struct{ lane, when string }{
		{bulk, readBack},
		{bulk, token},
		{live, token},
	} {
		t.Run(strings.TrimPrefix(c.lane, "kefu.send."+appID+".")+" "+c.when, func(t *testing.T) {
			t.Parallel()
			b := newBed(t)
			waits, goOn := make(chan struct{}), make(chan struct{})
			var calls atomic.Int32
			b.api.token = func() error {
				if c.when == token && calls.Add(1) == 1 {
					close(waits)
					<-goOn
				}
				return nil
			}
			p := b.proxy()
			w, stop, _ := b.handAt("one", p.URL())
			b.await(func() bool { return w.reads() == 4 })
			if c.when == readBack {
				p.DeafenAt(wire.LedgerSubject(w.cfg.Process.Name))
			}
			b.publish(c.lane+"u1", "m0", "u1 0", "u1")
			if c.when == token {
				brokertest.Await(t, waits, "it waits for a token")
			}
			b.await(func() bool {
				n, err := b.conn.Count(t.Context(), wire.StreamLedger, "kefu.ledger.>")
				return err == nil && n > 0
			}, "its start is stored")
			p.Cut()
			other, stopOther, _ := b.hand("two")
			b.await(func() bool {
				return b.posts("u1 0") == 1 && other.current()[0].holding() == 0
			}, "the other sends it")
			p.Mend()
			b.NoError(stopOther())
			b.await(func() bool { return w.reads() == 4 }, "it has all shards again")
			close(goOn)
			b.await(func() bool { return w.current()[0].holding() == 0 }, "it is done with it")
			b.NoError(stop())
			b.Equal(1, b.posts("u1 0"))
			ends := kept[schema.Receipt](b, schema.StreamReceipt)
			require.Len(t, ends, 1)
			require.Equal(t, schema.StateSent, ends[0].State)
		})
	}
}

func TestAShardMovesOnWhileALetterCannotBeStored(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	b.api.answer = func(text string, _ int) error {
		if strings.HasPrefix(text, "bad") {
			return apiError(40003)
		}
		return nil
	}
	one, stop, _ := b.handAt("one", b.embedded.URL())
	b.await(func() bool { return one.reads() == 4 })
	s, err := b.conn.JS.Stream(t.Context(), schema.StreamDead)
	b.NoError(err)
	b.NoError(b.conn.JS.DeleteStream(t.Context(), schema.StreamDead))
	const n = 40
	publish := func(kind string) {
		for i := range n {
			to := fmt.Sprint(kind, i)
			b.publish(live+to, to, kind+" 0", to)
		}
	}
	publish("bad")
	b.await(func() bool { return b.posts("bad 0") == n })
	two, stopTwo, _ := b.hand("two")
	b.await(func() bool { return one.reads() == 2 && two.reads() == 2 }, "half of the shards move")
	publish("good")
	for range n {
		b.Equal(schema.StateSent, b.receipt().State)
	}
	_, err = b.conn.JS.CreateStream(t.Context(), s.CachedInfo().Config)
	b.NoError(err)
	buried := make(map[string]bool)
	for range n {
		r := b.receipt()
		b.Equal(schema.ReasonRecipient, r.Reason)
		buried[r.ID] = true
	}
	b.Len(buried, n)
	b.Equal(n, b.posts("bad 0"), "none was sent again")
	b.NoError(stop())
	b.NoError(stopTwo())
}
