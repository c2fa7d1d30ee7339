package forget_test

import (
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/campaign"
	"github.com/kefuhq/kefu/internal/campaign/campaigntest"
	"github.com/kefuhq/kefu/internal/cli"
	"github.com/kefuhq/kefu/internal/cli/clitest"
	"github.com/kefuhq/kefu/internal/forget"
	"github.com/kefuhq/kefu/internal/wire"
	"github.com/kefuhq/kefu/schema"
)

const line = "forget --openid " + clitest.Recipient

// bulk queues an intent of a campaign.
func bulk(o *clitest.Operation, id, openid string) {
	o.Publish(&nats.Msg{Subject: "kefu.send.wx1.bulk.double-11",
		Data: []byte(clitest.PacketFor(openid)), Header: nats.Header{schema.HeaderMsgID: {id}}})
}

// stored returns all that streams hold of the recipient in clear, as "STREAM subject".
func stored(o *clitest.Operation, openid string) (places []string) {
	streams := []string{schema.SendStream("wx1"), schema.SendStream("wx2"), wire.StreamLater,
		schema.StreamDead, wire.StreamDeadIndex, schema.StreamReceipt, wire.StreamLedger,
		wire.StreamAudit, wire.StreamJob, wire.StreamState, wire.StreamJobRecords}
	for _, stream := range streams {
		o.NoError(o.Conn.Scan(o.T.Context(), stream, broker.ScanOptions{},
			func(s broker.Stored) error {
				text := s.Subject + string(s.Data)
				for name, values := range s.Header {
					text += name + strings.Join(values, "")
				}
				if strings.Contains(text, openid) {
					places = append(places, stream+" "+s.Subject)
				}
				return nil
			}))
	}
	return places
}

func TestForgetRemovesAPersonAndNobodyElse(t *testing.T) {
	t.Parallel()
	o := clitest.NewOperation(t)
	const other = "oOTHEROTHEROTHEROTHEROTHERX0"
	o.Send("wx1", "live-1")
	bulk(o, "bulk-1", clitest.Recipient)
	bulk(o, "bulk-2", other)
	o.Wait("later-1", time.Now().Add(24*time.Hour))
	o.Bury(clitest.DeadLetter("dead-1"), clitest.DeadLetter("dead-2", func(l *schema.Letter) {
		l.OpenID, l.Subject = other, "kefu.send.wx1.live."+other
		l.Headers = nil
		wire.SetPacket(l, []byte(clitest.PacketFor(other)))
	}))
	for _, id := range []string{"dead-1", "dead-2", "for-" + clitest.Recipient} {
		o.Receipt(schema.Receipt{ID: id, AppID: "wx1", Generation: 1, State: schema.StateDead,
			Lane: schema.LaneLive, PublishedAt: time.Now(), SettledAt: time.Now()})
	}

	for words, says := range map[string]string{
		"forget":              "say who is to be forgotten: --openid",
		"forget --openid a.b": "--openid",
		line:                  "Forget oABC…Z0 for good? There is no terminal to ask on: add --yes",
	} {
		refused := o.Kefu(words)
		o.Equal(cli.ExitUsage, refused.Code, words)
		o.Contains(refused.Err, says)
	}
	declined := o.Kefu(line, clitest.Answering("n"))
	o.Equal(cli.ExitFailed, declined.Code)
	o.Contains(declined.Err, "Stored: 2 queued, 1 waiting, 1 dead letter, 2 receipts.")
	dry := o.Kefu(line + " --dry-run")
	o.Equal(clitest.Ended(cli.ExitDone,
		"Stored: 2 queued, 1 waiting, 1 dead letter, 2 receipts.\nNothing was changed.\n", ""), dry)
	o.Len(stored(o, clitest.Recipient), 5)
	o.Empty(o.Audited())

	got := o.Kefu(line, clitest.Answering("y"))
	o.Equal(cli.ExitDone, got.Code, got.Err)
	pool, err := o.Conn.Pseudonyms(t.Context())
	o.NoError(err)
	who := "#" + pool.Of(clitest.Recipient)
	o.Regexp(`(?m)^forgotten +oABC…Z0, in logs and audit `+who+`$`, got.Out)
	o.Regexp(`(?m)^removed +2 queued, 1 waiting, 1 dead letter, 2 receipts$`, got.Out)
	o.Regexp(`(?m)^not sent +in wx1 what was published before 20`, got.Out)
	o.Regexp(`(?m)^KEFU_LEDGER +20\d\d-\d\d-\d\d +hashes of their messages' ids$`, got.Out)
	o.Regexp(`(?m)^elsewhere +not known +logs`, got.Out)
	o.Empty(stored(o, clitest.Recipient))
	o.Len(stored(o, other), 2)
	o.Equal([]string{"forget openid=" + who + ": begins", "forget openid=" + who +
		": removed 2 queued, 1 waiting, 1 dead letter, 2 receipts"}, o.Audited())

	// What was queued has ended, as its producer sees and as the ledger remembers.
	for _, id := range []string{"live-1", "bulk-1", "later-1"} {
		o.Regexp(`(?m)^state +cancelled$`, o.Kefu("find "+id).Out)
	}
	again := o.Kefu(line + " --yes -o json")
	o.Equal(cli.ExitNothing, again.Code)
	o.Equal("kefu: nothing was stored of this person\n", again.Err)
	o.Contains(again.Out, `"person": "`+pool.Of(clitest.Recipient)+`"`)
	o.NotContains(again.Out, clitest.Recipient)
	o.Equal(cli.ExitNothing, o.Kefu(line+" --dry-run").Code)

	// They write to the account again, and are answered.
	o.Send("wx1", "live-2")
	o.Len(o.Queued("wx1"), 2)
}

func TestForgetSaysWhatIsLeft(t *testing.T) {
	t.Parallel()
	o := clitest.NewOperation(t)
	// A worker of an earlier version.
	o.NoError(o.Conn.SaveState(t.Context(), broker.PutState("pool.worker.old-1",
		[]byte(`{"name":"old-1"}`), 0)))
	o.Bury(clitest.DeadLetter("dead-1"))
	got := o.Kefu(line + " --yes")
	o.Equal(cli.ExitPartly, got.Code)
	o.Regexp(`(?m)^removed +1 dead letter$`, got.Out)
	o.Equal("kefu: 1 worker is of an earlier version, and may send this person what a campaign "+
		"publishes: run it again when all are of this one\n", got.Err)
}

func TestForgetInOneApp(t *testing.T) {
	t.Parallel()
	o := clitest.NewOperation(t)
	o.Send("wx1", "a")
	o.Send("wx2", "a")
	result := clitest.Decode[forget.Result](o, o.Kefu(line+" --app wx2 --yes -o json"))
	o.Equal(forget.Found{Queued: 1}, result.Removed)
	o.Len(result.Orders, 1)
	o.Equal("wx2", result.Orders[0].AppID)
	o.WithinDuration(time.Now().Add(30*24*time.Hour), result.Orders[0].Until, time.Hour)
	o.Len(o.Queued("wx1"), 1)
	o.Empty(o.Queued("wx2"))
}

func TestForgetTakesAPersonOutOfTheRowsOfACampaign(t *testing.T) {
	t.Parallel()
	o := clitest.NewOperation(t)
	terms := campaign.Terms{AppID: "wx1", Campaign: "double-11"}
	campaigntest.Order(t, o.Conn, terms, clitest.Recipient, "o2")
	dry := o.Kefu(line + " --dry-run")
	o.Equal(clitest.Ended(cli.ExitDone, "Stored: 1 row of a campaign.\n"+
		"Under way, and not sent to this person any more: double-11.\nNothing was changed.\n", ""),
		dry)
	got := o.Kefu(line + " --yes")
	o.Equal(cli.ExitDone, got.Code, got.Err)
	o.Regexp(`(?m)^removed +1 row of a campaign$`, got.Out)
	o.Regexp(`(?m)^not sent .*; of double-11 nothing$`, got.Out)
	o.Equal(cli.ExitNothing, o.Kefu(line+" --dry-run").Code)
	s, err := campaign.ReadStatus(t.Context(), o.Conn, "wx1", "double-11")
	o.NoError(err)
	o.Equal([]int{2, 2}, []int{s.Rows, s.Queued}, "the row is counted when its turn comes")
}
