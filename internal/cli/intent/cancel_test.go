package intent_test

import (
	"testing"
	"time"

	"github.com/kefuhq/kefu/internal/cli"
	"github.com/kefuhq/kefu/internal/cli/clitest"
	"github.com/kefuhq/kefu/internal/cli/intent"
	"github.com/kefuhq/kefu/internal/ledger"
	"github.com/kefuhq/kefu/internal/withdrawal"
	"github.com/kefuhq/kefu/schema"
	"github.com/nats-io/nats.go"
)

func TestCancelWhatIsQueued(t *testing.T) {
	t.Parallel()
	o := clitest.NewOperation(t)
	unknown := o.Kefu("cancel order-1")
	o.Equal(cli.ExitNothing, unknown.Code)
	o.Empty(o.Audited())

	o.Send("wx1", "order-1")
	got := o.Kefu("cancel order-1")
	o.Equal(clitest.Ended(cli.ExitDone,
		"\"order-1\" is withdrawn. It was queued and will not be sent\n", ""), got)
	order, ok, err := withdrawal.Read(t.Context(), o.Conn, "wx1", "order-1")
	o.NoError(err)
	o.True(ok)
	o.Equal(1, order.Generation)
	o.NotEmpty(order.By)
	o.Equal([]string{"cancel id=order-1: was queued"}, o.Audited())
	o.Regexp(`(?m)^withdrawn +by .*: it will not be sent$`, o.Kefu("find order-1").Out)

	again := o.Kefu("cancel order-1")
	o.Equal(cli.ExitDone, again.Code)
	o.Contains(again.Out, "was withdrawn already, by ")
	o.Len(o.Audited(), 1)
}

func TestAnIntentOfACancelledCampaignIsWithdrawn(t *testing.T) {
	t.Parallel()
	o := clitest.NewOperation(t)
	_, err := o.Conn.Outbox.PublishWait(t.Context(), &nats.Msg{
		Subject: schema.BulkSubject("wx1", "double-11").String(), Data: []byte("{}"),
		Header: nats.Header{schema.HeaderMsgID: {"row-1"}},
	})
	o.NoError(err)
	_, _, err = withdrawal.CancelCampaign(t.Context(), o.Conn, "wx1", "double-11", "ann", time.Hour)
	o.NoError(err)
	o.Regexp(`(?m)^withdrawn +by ann: it will not be sent$`, o.Kefu("find row-1").Out)
	o.Contains(o.Kefu("cancel row-1").Out, "was withdrawn already, by ann")
}

func TestCancelWhatWaitsAndWhatIsUnderWay(t *testing.T) {
	t.Parallel()
	o := clitest.NewOperation(t)
	o.Wait("later-1", time.Now().Add(time.Hour))
	o.Contains(o.Kefu("cancel later-1").Out, `"later-1" is withdrawn. It was waiting until 20`)

	o.Send("wx1", "now-1")
	o.Story("now-1", "worker-a", ledger.Mark{Kind: ledger.Start, Seq: 1, Attempt: 1})
	answer := clitest.Decode[intent.Cancelled](o, o.Kefu("cancel now-1 -o json"))
	o.Equal(intent.Cancelled{ID: "now-1", AppID: "wx1", Generation: 1, Was: schema.StateInFlight},
		answer)
}

func TestCancelTheNextLifeOfAnID(t *testing.T) {
	t.Parallel()
	o := clitest.NewOperation(t)
	o.Story("order-1", "worker-a", ledger.Mark{Kind: ledger.Start, Seq: 100, Attempt: 1},
		ledger.Mark{Kind: ledger.Dead, Seq: 100, Generation: 1, Attempt: 1})
	dead := o.Kefu("cancel order-1")
	o.Equal(cli.ExitFailed, dead.Code)
	o.Contains(dead.Err, `"order-1" is dead already: it is not sent unless somebody replays it`)

	for range 101 {
		o.Send("wx1", "")
	}
	o.Send("wx1", "order-1")
	o.Equal(2, clitest.Decode[intent.Cancelled](o, o.Kefu("cancel order-1 -o json")).Generation)
}

func TestCancelTooLate(t *testing.T) {
	t.Parallel()
	o := clitest.NewOperation(t)
	end := func(id string, kind ledger.Kind) {
		o.Story(id, "worker-a", ledger.Mark{Kind: ledger.Start, Seq: 1, Attempt: 1},
			ledger.Mark{Kind: kind, Seq: 1, Generation: 1, Attempt: 1})
	}
	end("sent-1", ledger.Sent)
	end("cancelled-1", ledger.Cancelled)
	o.Bury(clitest.DeadLetter("dead-1"))
	for id, says := range map[string]string{
		"sent-1": `"sent-1" was sent already`, "cancelled-1": `"cancelled-1" was cancelled already`,
		"dead-1": `"dead-1" is dead already (exhausted): it is not sent unless somebody replays it`,
	} {
		o.Equal(clitest.Ended(cli.ExitFailed, "", "kefu: "+says+"\n"), o.Kefu("cancel "+id))
	}
}

func TestCancelAnIDOfTwoApps(t *testing.T) {
	t.Parallel()
	o := clitest.NewOperation(t)
	o.Send("wx1", "order-1")
	o.Send("wx2", "order-1")
	got := o.Kefu("cancel order-1")
	o.Equal(cli.ExitUsage, got.Code)
	o.Contains(got.Err, `several apps have an intent "order-1": name one with --app`)
	o.Equal("wx2", clitest.Decode[intent.Cancelled](o,
		o.Kefu("cancel order-1 --app wx2 -o json")).AppID)
}
