package dead_test

import (
	"context"
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/broker/brokertest"
	"github.com/kefuhq/kefu/internal/cli"
	"github.com/kefuhq/kefu/internal/cli/clitest"
	"github.com/kefuhq/kefu/internal/cli/dead"
	"github.com/kefuhq/kefu/internal/deadletter"
	"github.com/kefuhq/kefu/schema"
)

func TestDeadDiscardAsksAndTakesLettersOut(t *testing.T) {
	t.Parallel()
	o := clitest.NewOperation(t)
	o.Bury(clitest.DeadLetter("a"), clitest.DeadLetter("b"),
		clitest.DeadLetter("c", clitest.DiedOf(schema.ReasonRecipient, 45015, "closed")),
		clitest.DeadLetter("d", clitest.OfApp("wx2")))

	for line, says := range map[string]string{
		"dead discard":                   "which letters? Name ids or flags that choose them, or --all",
		"dead discard --all --lane live": "--all and something that chooses: which one is meant?",
		"dead discard a --limit -1":      "--limit cannot be below 0",
		"dead discard a":                 "Discard 1 letter of 1 app for good? There is no terminal",
	} {
		refused := o.Kefu(line)
		o.Equal(cli.ExitUsage, refused.Code, line)
		o.Contains(refused.Err, says)
	}
	none := o.Kefu("dead discard nobody --yes")
	o.Equal(clitest.Ended(cli.ExitNothing, "",
		"kefu: no dead letter has the id \"nobody\": kefu find tells what became of it\n"), none)

	dry := o.Kefu("dead discard --all --dry-run")
	o.Equal(cli.ExitDone, dry.Code, dry.Err)
	o.Regexp(`(?m)^LETTERS +APP +REASON$`, dry.Out)
	o.Regexp(`(?m)^ +2 +wx1 +exhausted$`, dry.Out)
	o.Regexp(`4 letters, died 2026-11-20 .*\.\nNothing was changed\.\n$`, dry.Out)
	plan := clitest.Decode[deadletter.DiscardPlan](o,
		o.Kefu("dead discard --app wx1 --dry-run -o json"))
	o.Equal(3, plan.Total)

	declined := o.Kefu("dead discard --all", clitest.Answering("n"))
	o.Equal(cli.ExitFailed, declined.Code)
	o.Contains(declined.Err, "Discard 4 letters of 2 apps for good? [y/N] ")
	o.Equal(4, o.Boxed())
	o.Empty(o.Audited())

	agreed := o.Kefu("dead discard --app wx1 --openid "+clitest.Recipient+" --limit 2",
		clitest.Answering("y"))
	o.Equal(cli.ExitDone, agreed.Code, agreed.Err)
	o.Regexp(`^discarded +2 letters in `, agreed.Out)
	o.Equal(2, o.Boxed())
	rest := clitest.Decode[map[string]any](o, o.Kefu("dead discard --all --yes -o json"))
	o.EqualValues(2, rest["discarded"])
	o.EqualValues(0, rest["left"])
	o.Contains(rest, "took_seconds")
	o.Zero(o.Boxed())
	pool, err := o.Conn.Pseudonyms(t.Context())
	o.NoError(err)
	of := "discard app=wx1 openid=#" + pool.Of(clitest.Recipient)
	o.Equal([]string{
		of + ": begins, 2 at most", of + ": discarded 2, left 0",
		"discard: begins", "discard: discarded 2, left 0",
	}, o.Audited())
}

func TestDeadDiscardLeavesWhatAReplayHasInHand(t *testing.T) {
	t.Parallel()
	o := clitest.NewOperation(t)
	o.Bury(clitest.DeadLetter("a"), clitest.DeadLetter("b"))
	o.Publish(broker.PutJob("replay.r", []byte(`{"letters":[{"seq":1}]}`), 0))

	o.Contains(o.Kefu("dead discard --all --dry-run").Out,
		"1 more will be left: a replay has 1 letter in hand")
	all := o.Kefu("dead discard a --yes")
	o.Equal(cli.ExitFailed, all.Code)
	o.Contains(all.Err, "nothing can be discarded: a replay has 1 letter in hand")
	partly := o.Kefu("dead discard --all --yes -o json")
	o.Equal(cli.ExitPartly, partly.Code)
	o.Equal("kefu: 1 letter was left in the box\n", partly.Err)
	o.Contains(partly.Out, `"notes"`)
	o.Equal(1, o.Boxed())
}

func TestDeadDiscardStopsWhenItIsInterrupted(t *testing.T) {
	t.Parallel()
	o := clitest.NewOperation(t)
	for i := range 2000 {
		m, err := deadletter.Message(clitest.DeadLetter(fmt.Sprint("order-", i)))
		o.NoError(err)
		o.Conn.Outbox.Publish(m, nil)
	}
	o.Eventually(func() bool { return o.Conn.Outbox.Pending() == 0 },
		brokertest.Patience, time.Millisecond)
	ctx, interrupt := context.WithCancel(t.Context())
	defer interrupt()
	sub, err := o.Conn.NC.Subscribe("$JS.API.STREAM.MSG.DELETE."+schema.StreamDead,
		func(*nats.Msg) { interrupt() })
	o.NoError(err)
	defer func() { _ = sub.Unsubscribe() }()
	o.NoError(o.Conn.NC.Flush())
	got := o.Kefu("dead discard --all --yes -o json", func(c *clitest.Try) { c.Ctx = ctx })
	o.Equal(cli.ExitPartly, got.Code, got.Err)
	o.Equal("kefu: interrupted: the rest is still in the box; run it again to go on\n", got.Err)
	var result dead.DiscardResult
	o.NoError(json.Unmarshal([]byte(got.Out), &result))
	o.Positive(result.Discarded)
	o.Equal(2000-result.Discarded, o.Boxed())
	o.Contains(o.Audited()[1], "; interrupted")
}
