package main

import (
	"testing"
	"time"

	"github.com/kefuhq/kefu/internal/ledger"
	"github.com/kefuhq/kefu/schema"
)

func TestCancelWhatIsQueued(t *testing.T) {
	t.Parallel()
	o := newOperation(t)
	unknown := o.kefu("cancel order-1")
	o.Equal(exitNothing, unknown.code)
	o.Empty(o.audited())

	o.send("wx1", "order-1")
	got := o.kefu("cancel order-1")
	o.Equal(result{exitDone, "\"order-1\" is withdrawn. It was queued and will not be sent\n", ""}, got)
	order, ok, err := ledger.Withdrawn(t.Context(), o.conn, "wx1", "order-1")
	o.NoError(err)
	o.True(ok)
	o.Equal(1, order.Generation)
	o.NotEmpty(order.By)
	o.Equal([]string{"cancel id=order-1: was queued"}, o.audited())
	o.Regexp(`(?m)^withdrawn +by .*: it will not be sent$`, o.kefu("find order-1").out)

	again := o.kefu("cancel order-1")
	o.Equal(exitDone, again.code)
	o.Contains(again.out, "was withdrawn already, by ")
	o.Len(o.audited(), 1)
}

func TestCancelWhatWaitsAndWhatIsUnderWay(t *testing.T) {
	t.Parallel()
	o := newOperation(t)
	o.wait("later-1", time.Now().Add(time.Hour))
	o.Contains(o.kefu("cancel later-1").out, `"later-1" is withdrawn. It was waiting until 20`)

	o.send("wx1", "now-1")
	o.story("now-1", "worker-a", ledger.Mark{Kind: ledger.Start, Seq: 1, Attempt: 1})
	answer := decode[cancelled](o, o.kefu("cancel now-1 -o json"))
	o.Equal(cancelled{ID: "now-1", AppID: "wx1", Generation: 1, Was: schema.StateInFlight}, answer)
}

func TestCancelTheNextLifeOfAnID(t *testing.T) {
	t.Parallel()
	o := newOperation(t)
	o.story("order-1", "worker-a", ledger.Mark{Kind: ledger.Start, Seq: 100, Attempt: 1}, ledger.Mark{Kind: ledger.Dead, Seq: 100, Generation: 1, Attempt: 1})
	dead := o.kefu("cancel order-1")
	o.Equal(exitFailed, dead.code)
	o.Contains(dead.err, `"order-1" is dead already: it is not sent unless somebody replays it`)

	for range 101 {
		o.send("wx1", "")
	}
	o.send("wx1", "order-1")
	o.Equal(2, decode[cancelled](o, o.kefu("cancel order-1 -o json")).Generation)
}

func TestCancelTooLate(t *testing.T) {
	t.Parallel()
	o := newOperation(t)
	end := func(id string, kind ledger.Kind) {
		o.story(id, "worker-a", ledger.Mark{Kind: ledger.Start, Seq: 1, Attempt: 1}, ledger.Mark{Kind: kind, Seq: 1, Generation: 1, Attempt: 1})
	}
	end("sent-1", ledger.Sent)
	end("cancelled-1", ledger.Cancelled)
	o.bury(deadLetter("dead-1"))
	for id, says := range map[string]string{
		"sent-1": `"sent-1" was sent already`, "cancelled-1": `"cancelled-1" was cancelled already`,
		"dead-1": `"dead-1" is dead already (exhausted): it is not sent unless somebody replays it`,
	} {
		o.Equal(result{exitFailed, "", "kefu: " + says + "\n"}, o.kefu("cancel "+id))
	}
}

func TestCancelAnIDOfTwoApps(t *testing.T) {
	t.Parallel()
	o := newOperation(t)
	o.send("wx1", "order-1")
	o.send("wx2", "order-1")
	got := o.kefu("cancel order-1")
	o.Equal(exitUsage, got.code)
	o.Contains(got.err, `several apps have an intent "order-1": name one with --app`)
	o.Equal("wx2", decode[cancelled](o, o.kefu("cancel order-1 --app wx2 -o json")).AppID)
}
