package campaign_test

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/kefuhq/kefu/internal/campaign"
	"github.com/kefuhq/kefu/internal/cli"
	"github.com/kefuhq/kefu/internal/cli/clitest"
	"github.com/kefuhq/kefu/internal/wire"
	"github.com/kefuhq/kefu/publisher"
	"github.com/kefuhq/kefu/schema"
)

func recipientRows(n int) string {
	var b strings.Builder
	b.WriteString("openid,name\n")
	for i := range n {
		fmt.Fprintf(&b, "o%05d,n%d\n", i, i)
	}
	return b.String()
}

const startNovember = "campaign start november --file @people.csv --template @packet.json"

func TestACampaignFromFileToStatus(t *testing.T) {
	t.Parallel()
	s := clitest.NewFiles(t)
	s.Write("people.csv", recipientRows(600)+"o00003,again\n")

	dry := s.Kefu(startNovember + " --dry-run -o json")
	s.Equal(cli.ExitDone, dry.Code, dry.Err)
	s.Contains(dry.Out, `"recipients": 600`)
	s.Zero(s.Messages())
	s.Equal(cli.ExitNothing, s.Kefu("campaign status november").Code)

	started := s.Kefu(startNovember + " --source crm --expires-in 6h -o json")
	s.Equal(cli.ExitDone, started.Code, started.Err)
	var result campaign.Result
	s.NoError(json.Unmarshal([]byte(started.Out), &result))
	s.Equal([]int{601, 601, 600, 0, 1},
		[]int{result.Rows, result.Next, result.Published, result.Duplicates, result.Repeated})
	s.Equal(600, s.Messages())
	entries := s.Audits()
	s.Len(entries, 1)
	s.Equal([]any{"campaign", "wx1", 600, "started"},
		[]any{entries[0].Verb, entries[0].AppID, entries[0].Count, entries[0].Detail})
	s.Contains(entries[0].Filter, "campaign=november file_sha256=")

	again := s.Kefu(startNovember)
	s.Equal(cli.ExitDone, again.Code)
	s.Contains(again.Err, "nothing was published now")
	s.Equal(600, s.Messages())
	s.Len(s.Audits(), 1)

	status := s.Kefu("campaign status november -o json")
	s.Equal(cli.ExitDone, status.Code, status.Err)
	s.Contains(status.Out, `"queued": 600`)
	s.Contains(status.Out, `"open": 600`)
	s.Contains(s.Kefu("campaign status november").Out, "601 of 601")
	s.NotContains(started.Out+started.Err+status.Out+status.Err, "o00003",
		"no recipient is printed")
	s.NotContains(status.Out, "outcomes_since")

	receipts, err := s.Conn.JS.Stream(t.Context(), schema.StreamReceipt)
	s.NoError(err)
	s.NoError(s.Conn.JS.DeleteStream(t.Context(), schema.StreamReceipt))
	// It holds nothing of before.
	_, err = s.Conn.JS.CreateStream(t.Context(), receipts.CachedInfo().Config)
	s.NoError(err)
	s.Contains(s.Kefu("campaign status november -o json").Out, `"outcomes_since": "2`)
	s.Regexp(`open or ended +600: what ended before .* has no receipt any more`,
		s.Kefu("campaign status november").Out)
}

func TestBadRowsStopACampaignOrAreLeftOut(t *testing.T) {
	t.Parallel()
	s := clitest.NewFiles(t)
	s.Write("people.csv", recipientRows(3)+"o 4,SECRET\n")
	stopped := s.Kefu(startNovember)
	s.Equal(cli.ExitFailed, stopped.Code)
	s.Contains(stopped.Err, "people.csv:5: touser: ")
	s.Contains(stopped.Err, "1 of 4 rows cannot be sent: nothing was published")
	s.NotContains(stopped.Err, "SECRET")
	s.Zero(s.Messages())

	left := s.Kefu(startNovember + " --skip-invalid")
	s.Equal(cli.ExitPartly, left.Code)
	s.Contains(left.Err, "left out: 1 bad row")
	s.Equal(3, s.Messages())
	s.Equal(cli.ExitPartly, s.Kefu(startNovember+" --skip-invalid --dry-run").Code)
}

func TestACampaignThatIsHeldForADurationGoesOnUnderTheSameCommand(t *testing.T) {
	t.Parallel()
	s := clitest.NewFiles(t)
	s.Write("people.csv", recipientRows(3))
	var times []time.Time
	for range 2 {
		r := s.Kefu(startNovember + " --send-at 2h -o json")
		s.Equal(cli.ExitDone, r.Code, r.Err)
		var result campaign.Result
		s.NoError(json.Unmarshal([]byte(r.Out), &result))
		times = append(times, result.SendAt)
	}
	s.WithinDuration(time.Now().Add(2*time.Hour), times[0], time.Minute)
	s.Equal(times[0], times[1])
	s.Equal(3, s.Messages())
}

func TestALargeCampaignAsksFirst(t *testing.T) {
	t.Parallel()
	s := clitest.NewFiles(t)
	s.Write("people.csv", recipientRows(1001))
	refused := s.Kefu(startNovember)
	s.Equal(cli.ExitUsage, refused.Code)
	s.Contains(refused.Err,
		"Publish 1,001 messages to users of 旗舰店? There is no terminal to ask on")
	no := s.Kefu(startNovember, func(c *clitest.Try) { c.Width, c.Stdin = 80, "n\n" })
	s.Equal(cli.ExitFailed, no.Code)
	s.Zero(s.Messages())
	s.Empty(s.Audits())
	s.Equal(cli.ExitDone, s.Kefu(startNovember+" --yes").Code)
	s.Equal(1001, s.Messages())
}

func TestAnInterruptedCampaignSaysHowToGoOn(t *testing.T) {
	t.Parallel()
	s := clitest.NewFiles(t)
	s.Write("people.csv", recipientRows(40))
	// An earlier run came as far as row 20 and was interrupted.
	source, err := campaign.File(filepath.Join(s.Dir, "people.csv"))
	s.NoError(err)
	template, err := campaign.ParseTemplate([]byte(clitest.CampaignTemplate))
	s.NoError(err)
	p, err := publisher.New(s.Conn.JS)
	s.NoError(err)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	job := campaign.Job{AppID: "wx1", Campaign: "november", Source: source, Template: template}
	_, err = job.Start(ctx, campaign.Options{
		Conn: s.Conn, Queue: campaign.PublisherQueue{Publisher: p}, Batch: 20,
		Progress: func(done, _ int, _ string) {
			if done == 20 {
				cancel()
			}
		},
	})
	s.ErrorIs(err, context.Canceled)

	s.Equal(20, s.Messages())

	other := s.Kefu(strings.ReplaceAll(startNovember, "--template", "--source erp --template"))
	s.Equal(cli.ExitFailed, other.Code)
	s.Contains(other.Err, "with another source")
	on := s.Kefu(startNovember)
	s.Equal(cli.ExitDone, on.Code, on.Err)
	s.Contains(on.Err, "20 of 40 rows done")
	s.Equal(40, s.Messages())
	entries := s.Audits()
	s.Equal("continued behind row 20 of 40", entries[len(entries)-1].Detail)
}

func TestACampaignThatMayDoubleAsksFirst(t *testing.T) {
	t.Parallel()
	for what, c := range map[string]struct {
		config, died string
		flags        string
		code         int
		says         string
	}{
		"the ledger remembers": {"", "1h", "", cli.ExitDone, "20 of 40 rows done"},
		"the ledger has forgotten": {"", "73h", "", cli.ExitUsage,
			"Go on to publish 40 messages to users of 旗舰店, up to 7 of them for the second time? There is no terminal"},
		"and the user agrees": {"", "73h", " --yes", cli.ExitDone,
			"are recognised for 72h only, so 7 users may get the message twice"},
		"there is no ledger": {"worker: {ledger: {mode: off}}\n", "11m", "", cli.ExitUsage,
			"are recognised for 10m only"},
		"no ledger, but the window": {"worker: {ledger: {mode: off}}\n", "8m", "", cli.ExitDone,
			"20 of 40 rows done"},
		"the ledger remembers longer": {"worker: {ledger: {keep: 100h}}\n", "73h", "", cli.ExitDone,
			"20 of 40 rows done"},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			s := clitest.NewFiles(t)
			s.Config += c.config
			s.Write("people.csv", recipientRows(40))
			dieAt(s, 20, 7, c.died)
			got := s.Kefu(startNovember + c.flags)
			s.Equal(c.code, got.Code, got.Err)
			s.Contains(got.Err, c.says)
			if c.code != cli.ExitDone {
				s.Zero(s.Messages())
				return
			}
			s.Equal(20, s.Messages())
			entries := s.Audits()
			s.Equal(c.flags != "",
				strings.Contains(entries[len(entries)-1].Detail, "7 may get it twice"))
		})
	}
}

// dieAt leaves the record of a run of people.csv that was killed behind a row, some time ago.
func dieAt(s *clitest.Files, next, inDoubt int, ago string) {
	s.T.Helper()
	source, err := campaign.File(filepath.Join(s.Dir, "people.csv"))
	s.NoError(err)
	defer func() { s.NoError(source.Close()) }()
	template, err := campaign.ParseTemplate([]byte(clitest.CampaignTemplate))
	s.NoError(err)
	summary, err := campaign.Job{AppID: "wx1", Campaign: "november", Source: source,
		Template: template}.Check(s.T.Context())
	s.NoError(err)
	d, err := time.ParseDuration(ago)
	s.NoError(err)
	died := time.Now().Add(-d)
	m := nats.NewMsg(wire.JobKeys + "campaign.wx1.november")
	m.Data, err = json.Marshal(campaign.Record{
		AppID: "wx1", Campaign: "november", File: summary.File, Template: summary.Template,
		Rows: summary.Rows, Run: "dead",
		Next: next, Published: next, InDoubt: inDoubt, DoubtSince: died, StartedAt: died,
		UpdatedAt: died, By: "ann@desk",
	})
	s.NoError(err)
	_, err = s.Conn.Outbox.PublishWait(s.T.Context(), m)
	s.NoError(err)
}

func TestBadUsageOfCampaignIsExitCodeTwo(t *testing.T) {
	t.Parallel()
	s := clitest.NewFiles(t)
	s.Write("people.csv", recipientRows(1))
	for line, says := range map[string]string{
		"campaign start":                                   "NAME is missing",
		"campaign start a.b --file @people.csv":            "NAME: must be",
		"campaign start a":                                 "give --file",
		"campaign start a --file @none.csv":                "--file: ",
		"campaign start a --file @people.csv":              "needs a --template",
		"campaign status a.b":                              "NAME: must be",
		startNovember + " --source a\u00e9":                "--source: ",
		startNovember + " --expires-in soon":               `--expires-in "soon" is not a duration`,
		"campaign start a --file @people.csv --template x": "--template: ",
	} {
		r := s.Kefu(line)
		s.Equal(cli.ExitUsage, r.Code, line)
		s.Contains(r.Err, says, line)
	}
}
