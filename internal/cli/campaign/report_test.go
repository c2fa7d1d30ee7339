package campaign_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/kefuhq/kefu/internal/campaign"
	"github.com/kefuhq/kefu/internal/campaign/campaigntest"
	"github.com/kefuhq/kefu/internal/cli"
	cmd "github.com/kefuhq/kefu/internal/cli/campaign"
	"github.com/kefuhq/kefu/internal/cli/clitest"
	"github.com/kefuhq/kefu/schema"
)

const reportHead = "line,openid,state,reason,errcode,errmsg,attempts,possible_duplicate," +
	"settled_at,id\n"

// reported is an operation with a campaign of two recipients, of which one was sent to.
func reported(t *testing.T) (o *clitest.Operation, lines string) {
	t.Helper()
	o = clitest.NewOperation(t)
	terms := campaign.Terms{AppID: "wx1", Campaign: "double-11"}
	campaigntest.Order(t, o.Conn, terms, clitest.Recipient, "o2")
	pseudonyms, err := o.Conn.Pseudonyms(t.Context())
	o.NoError(err)
	id := func(openID string) string { return campaign.ID(pseudonyms, "wx1", "double-11", openID) }
	at := time.Now().UTC().Truncate(time.Second)
	o.Receipt(schema.Receipt{ID: id(clitest.Recipient), AppID: "wx1", Generation: 1,
		State: schema.StateSent, Lane: schema.LaneBulk, Campaign: "double-11", Attempts: 1,
		PublishedAt: at, SettledAt: at})
	return o, reportHead + "2," + clitest.Recipient + ",sent,,,,1,," + at.Format(time.RFC3339) +
		"," + id(clitest.Recipient) + "\n3,o2,queued,,,,,,," + id("o2") + "\n"
}

func TestReportWritesAFileThatNobodyElseMayRead(t *testing.T) {
	t.Parallel()
	o, lines := reported(t)
	out := filepath.Join(t.TempDir(), "double-11.csv")
	got := o.Kefu("campaign report --app wx1 double-11 --out " + out)
	o.Equal(clitest.Ended(cli.ExitDone, "2 recipients written to "+out+"\n", ""), got)
	text, err := os.ReadFile(out)
	o.NoError(err)
	o.Equal(lines, string(text))
	info, err := os.Stat(out)
	o.NoError(err)
	o.Equal(os.FileMode(0o600), info.Mode())
	o.Equal([]int{2}, o.Revealed())

	again := o.Kefu("campaign report --app wx1 double-11 -o json --out " + out)
	o.Equal(cli.ExitUsage, again.Code)
	o.Contains(again.Err, "exists. Overwrite it?")
	line := "campaign report --app wx1 double-11 -o json --yes --out " + out
	done := clitest.Decode[cmd.Reported](o, o.Kefu(line))
	o.Equal(campaign.Reported{Rows: 2}, done.Reported)
	o.Equal(out, done.File)
}

func TestReportGoesIntoAPipeAndNotToATerminal(t *testing.T) {
	t.Parallel()
	o, lines := reported(t)
	got := o.Kefu("campaign report --app wx1 double-11")
	o.Equal(clitest.Ended(cli.ExitDone, lines, "2 recipients reported\n"), got)
	for line, says := range map[string]string{
		"campaign report --app wx1 double-11 -o json":                    "it is CSV: -o is about the summary",
		"campaign report --app wx1 double-11 --out /no/such/folder/file": "there is no folder",
		"campaign report a.b --app wx1":                                  "NAME",
	} {
		refused := o.Kefu(line)
		o.Equal(cli.ExitUsage, refused.Code, line)
		o.Contains(refused.Err, says)
	}
	refused := o.Kefu("campaign report --app wx1 double-11", clitest.Answering(""))
	o.Equal(cli.ExitUsage, refused.Code)
	o.Contains(refused.Err, "it names recipients, and is not for a terminal")
	o.Equal([]int{2}, o.Revealed(), "of the one that was written")
	o.Equal(cli.ExitNothing, o.Kefu("campaign report other --app wx1").Code)
}

func TestReportOfACampaignWithoutAFileSaysSo(t *testing.T) {
	t.Parallel()
	o := clitest.NewOperation(t)
	o.Receipt(schema.Receipt{ID: "a", AppID: "wx1", Generation: 1, State: schema.StateSent,
		Lane: schema.LaneBulk, Campaign: "double-11", SettledAt: time.Now()})
	got := o.Kefu("campaign report --app wx1 double-11")
	o.Equal(cli.ExitDone, got.Code, got.Err)
	o.Contains(got.Err, "the rows of its file are not stored")
	o.Equal(2, strings.Count(got.Out, "\n"))
	o.Contains(got.Out, "\n,,sent,")
}
