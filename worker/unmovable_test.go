package worker

import (
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"github.com/kefuhq/kefu/internal/ledger"
	"github.com/kefuhq/kefu/internal/wire"
	"github.com/kefuhq/kefu/schema"
)

// TestNothingThatBecomesDueIsDropped puts into KEFU_LATER what this version
// cannot make sense of.
func TestNothingThatBecomesDueIsDropped(t *testing.T) {
	t.Parallel()
	const again, send = "kefu.again." + appID + ".bulk.c1", "kefu.send." + appID + ".bulk.c1"
	for _, row := range []struct {
		name    string
		header  map[string]string
		id      string // "": one that kefu makes
		subject string // of the letter
		keeps   map[string][]string
		spent   int
	}{
		{
			"a header of a later version",
			map[string]string{wire.HeaderTarget: again, "Kefu-Priority": "1"},
			"a", send,
			map[string][]string{"Kefu-Priority": {"1"}, "Nats-Msg-Id": {"a"}, "X-Order": {"7"}}, 1,
		},
		{
			"a queue of a later version",
			map[string]string{wire.HeaderTarget: "kefu.again." + appID + ".urgent.u"},
			"a", "kefu.again." + appID + ".urgent.u",
			map[string][]string{"Nats-Msg-Id": {"a"}, "X-Order": {"7"}}, 1,
		},
		{
			"a queue that it must not go to", map[string]string{wire.HeaderTarget: send},
			"a", send, map[string][]string{"Nats-Msg-Id": {"a"}, "X-Order": {"7"}}, 1,
		},
		{
			"no queue", map[string]string{},
			"a", wire.LaterDueSubject(appID),
			map[string][]string{"Nats-Msg-Id": {"a"}, "X-Order": {"7"}}, 1,
		},
		{
			"no id", map[string]string{wire.HeaderTarget: again, wire.HeaderID: ""},
			"", again, map[string][]string{"X-Order": {"7"}}, 1,
		},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			b := newBed(t)
			stop := b.start()
			m := nats.NewMsg(wire.LaterDueSubject(appID))
			m.Data = packet("x", "u")
			m.Header = nats.Header{wire.HeaderID: {"a"}, wire.HeaderGeneration: {"1"},
				wire.HeaderAttempt: {"2"}, "X-Order": {"7"}}
			for name, value := range row.header {
				if m.Header.Set(name, value); value == "" {
					m.Header.Del(name)
				}
			}
			_, err := b.conn.Outbox.PublishWait(t.Context(), m)
			b.NoError(err)
			r := b.receipt()
			b.Equal(schema.ReasonInvalid, r.Reason)
			b.Equal(row.spent, r.Attempts)
			b.await(func() bool {
				n, err := b.conn.Count(t.Context(), wire.StreamLater, "kefu.later.>")
				return err == nil && n == 0 && b.queued() == 0
			})
			b.NoError(stop())
			b.Zero(b.posts("x"))
			letters := kept[schema.Letter](b, schema.StreamDead)
			b.Len(letters, 1)
			b.Equal([]uint64{1}, b.indexed())
			l := letters[0]
			b.Equal(r.ID, l.ID)
			b.Equal(schema.ReasonInvalid, l.Reason)
			b.Equal(m.Data, l.Packet())
			b.Equal(row.keeps, l.Header())
			b.Equal(row.subject, l.Subject)
			b.Equal(appID, l.AppID)
			if row.id != "" {
				b.Equal(row.id, l.ID)
				events, err := ledger.History(t.Context(), b.conn, ledger.KeyOf(appID, row.id))
				b.NoError(err)
				b.Equal(ledger.Dead.String(), events[len(events)-1].Mark.Kind.String(),
					"the id may be used again")
			}
		})
	}
}

func TestWhatBecomesDueIsMovedWithHeadersOfALaterVersion(t *testing.T) {
	t.Parallel()
	b := require.New(t)
	m := nats.NewMsg(wire.LaterDueSubject(appID))
	m.Header = nats.Header{
		wire.HeaderTarget: {"kefu.again." + appID + ".bulk.c1"}, wire.HeaderHop: {"3"},
		"Nats-Scheduler": {"x"},
		wire.HeaderID:    {"a"}, wire.HeaderGeneration: {"1"}, wire.HeaderAttempt: {"2"},
		"Kefu-Priority": {"1"}, "X-Order": {"7"},
	}
	d, err := readLater(m)
	b.NoError(err)
	b.Equal(3, d.hop)
	out := moved(d.to.String(), "id", d.header, m.Data)
	b.Equal(nats.Header{
		wire.HeaderID: {"a"}, wire.HeaderGeneration: {"1"}, wire.HeaderAttempt: {"2"},
		"Kefu-Priority": {"1"}, "X-Order": {"7"},
		"Nats-Msg-Id": {"id"},
	}, out.Header)
	b.NotContains(d.header, "Nats-Msg-Id", "the message may be put back with the same headers")
}
