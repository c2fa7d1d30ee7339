package intent_test

import (
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/kefuhq/kefu/internal/cli"
	"github.com/kefuhq/kefu/internal/cli/clitest"
	"github.com/kefuhq/kefu/internal/intent"
	"github.com/kefuhq/kefu/internal/ledger"
	"github.com/kefuhq/kefu/internal/wire"
	"github.com/kefuhq/kefu/schema"
)

func TestFindInTheQueue(t *testing.T) {
	t.Parallel()
	o := clitest.NewOperation(t)
	unknown := o.Kefu("find order-1")
	o.Equal(clitest.Ended(cli.ExitNothing, "",
		"kefu: nothing is known of \"order-1\": it was never accepted, or all traces of it have expired\n"), unknown)
	o.Equal("[]\n", o.Kefu("find order-1 -o json").Out)

	o.Send("wx1", "order-1")
	ack := o.Send("wx2", "")
	got := o.Kefu("find order-1")
	o.Equal(cli.ExitDone, got.Code, got.Err)
	o.Regexp(`(?m)^state +queued$`, got.Out)
	o.Regexp(`(?m)^stored +KEFU_SEND_wx1, sequence 1$`, got.Out)
	o.Regexp(`(?m)^WHEN +WHAT +WORKER$`, got.Out)
	o.NotContains(got.Out, clitest.Recipient)

	stream, err := o.Conn.JS.Stream(t.Context(), schema.SendStream("wx2"))
	o.NoError(err)
	id := wire.DefaultID(stream.CachedInfo().Created, ack.Seq)
	found := clitest.Decode[[]intent.Whereabouts](o, o.Kefu("find -o json "+id))
	o.Len(found, 1)
	o.Equal("wx2", found[0].AppID)
	o.Equal(schema.StateQueued, found[0].State)
	o.Equal(cli.ExitNothing, o.Kefu("find "+wire.DefaultID(stream.CachedInfo().Created, 99)).Code)
	o.Equal(cli.ExitNothing, o.Kefu("find order-1 --app wx2").Code)
	o.Equal(cli.ExitUsage, o.Kefu("find order-1 --app wx3").Code)
	o.Equal(cli.ExitUsage, o.Kefu("find").Code)
	o.Equal(cli.ExitUsage, o.Kefu("find order-1 --openid x").Code)
	o.Equal(cli.ExitUsage, o.Kefu("find --openid a.b").Code)
}

func TestFindWhatWasSent(t *testing.T) {
	t.Parallel()
	o := clitest.NewOperation(t)
	published := time.Now().UTC()
	o.Story("order-1", "worker-a", ledger.Mark{Kind: ledger.Start, Seq: 1, Attempt: 1},
		ledger.Mark{Kind: ledger.Sent, Seq: 1, Generation: 1, Attempt: 1})
	now := time.Now().UTC()
	o.Receipt(schema.Receipt{ID: "order-1", AppID: "wx1", Generation: 1, State: schema.StateSent,
		Lane: schema.LaneLive, Source: "shop", Attempts: 1, PublishedAt: published, SettledAt: now})
	o.Receipt(schema.Receipt{ID: "order-1", AppID: "wx2", Generation: 1, State: schema.StateDead,
		Reason: schema.ReasonExpired, Lane: schema.LaneLive, PublishedAt: now, SettledAt: now})

	found := clitest.Decode[[]intent.Whereabouts](o, o.Kefu("find order-1 -o json"))
	o.Len(found, 2, "an id may be known to two apps")
	o.Equal(schema.StateSent, found[0].State)
	o.Equal("shop", found[0].Source)
	o.Equal([]string{"published", "attempt 1 began", "sent"}, whats(found[0]))
	o.Equal(schema.StateDead, found[1].State)
	o.Equal(schema.ReasonExpired, found[1].Reason)
}

func whats(w intent.Whereabouts) (out []string) {
	for _, e := range w.Events {
		out = append(out, e.What)
	}
	return out
}

func TestFindAnAbandonedAttempt(t *testing.T) {
	t.Parallel()
	o := clitest.NewOperation(t)
	o.Send("wx1", "order-1")
	o.Story("order-1", "worker-a", ledger.Mark{Kind: ledger.Start, Seq: 1, Attempt: 1})
	got := o.Kefu("find order-1")
	o.Regexp(`(?m)^state +in_flight$`, got.Out)
	o.Regexp(`(?m)^why +its worker is gone`, got.Out)
	o.Regexp(`(?m)^worker +worker-a$`, got.Out)
}

func TestFindWhatDied(t *testing.T) {
	t.Parallel()
	o := clitest.NewOperation(t)
	o.Bury(clitest.DeadLetter("order-1",
		clitest.DiedOf(schema.ReasonRecipient, 45015, "response out of time limit")))
	got := o.Kefu("find order-1")
	for _, line := range []string{
		`(?m)^state +dead, recipient$`, `(?m)^answer +45015 response out of time limit$`,
		`(?m)^rid +rid-1$`,
		`attempt 1 ended: recipient: 45015 response out of time limit +worker-1`,
		`dead, recipient: the API was busy six times`,
	} {
		o.Regexp(line, got.Out)
	}
}

func TestFindWhatWaits(t *testing.T) {
	t.Parallel()
	o := clitest.NewOperation(t)
	until := time.Now().Add(time.Hour).Round(time.Millisecond).UTC()
	o.Wait("order-1", until)
	found := clitest.Decode[[]intent.Whereabouts](o, o.Kefu("find order-1 -o json"))
	o.Equal(schema.StateWaiting, found[0].State)
	o.True(until.Equal(found[0].Until))
	o.Equal(1, found[0].Attempts)
}

func TestFindAPerson(t *testing.T) {
	t.Parallel()
	o := clitest.NewOperation(t)
	none := o.Kefu("find --openid " + clitest.Recipient)
	o.Equal(cli.ExitNothing, none.Code)
	o.Equal("kefu: nothing is queued, waiting or dead of this person, and no campaign sent them anything\n", none.Err)

	o.Send("wx1", "live-1")
	m := nats.NewMsg("kefu.send.wx2.bulk.c1")
	m.Data = []byte(clitest.PacketFor(clitest.Recipient))
	m.Header.Set(schema.HeaderMsgID, "bulk-1")
	o.Publish(m)
	other := nats.NewMsg("kefu.send.wx2.bulk.c1")
	other.Data = []byte(clitest.PacketFor("oSomebodyElse"))
	o.Publish(other)
	o.Wait("later-1", time.Now().Add(time.Hour))
	o.Bury(clitest.DeadLetter("dead-1"))

	rows := clitest.Decode[[]intent.Pending](o, o.Kefu("find -o json --openid "+clitest.Recipient))
	states := map[string]schema.State{}
	for _, r := range rows {
		states[r.ID] = r.State
	}
	o.Equal(map[string]schema.State{"live-1": schema.StateQueued, "bulk-1": schema.StateQueued,
		"later-1": schema.StateWaiting, "dead-1": schema.StateDead}, states)
	o.NotContains(o.Kefu("find --openid "+clitest.Recipient).Out, clitest.Recipient)
}
