package campaign_test

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/broker/brokertest"
	"github.com/kefuhq/kefu/internal/campaign"
	"github.com/kefuhq/kefu/internal/cli"
	"github.com/kefuhq/kefu/internal/cli/clitest"
	"github.com/kefuhq/kefu/internal/deadletter"
	"github.com/kefuhq/kefu/internal/recipients"
	"github.com/kefuhq/kefu/internal/wire"
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

const startNovember = "campaign start november @people.csv --template @packet.json"

// statusOf reads a campaign as a script does, and sees that it adds up.
func statusOf(s *clitest.Files, name string) campaign.Status {
	s.T.Helper()
	r := s.Kefu("campaign status " + name + " -o json")
	s.Equal(cli.ExitDone, r.Code, r.Err)
	var status campaign.Status
	s.NoError(json.Unmarshal([]byte(r.Out), &status))
	sum := status.Invalid + status.Repeated + status.Queued + status.Open + status.Sent +
		status.Cancelled
	for _, n := range status.Dead {
		sum += n
	}
	s.Equal(status.Rows, sum)
	return status
}

func TestACampaignFromFileToOrder(t *testing.T) {
	t.Parallel()
	s := clitest.NewFiles(t)
	s.Write("people.csv", recipientRows(600)+"o00003,again\n")

	dry := s.Kefu(startNovember + " --dry-run -o json")
	s.Equal(cli.ExitDone, dry.Code, dry.Err)
	s.Contains(dry.Out, `"recipients": 600`)
	s.Contains(dry.Out, `"format": "csv"`)
	s.Contains(dry.Err, "people.csv: CSV with commas in UTF-8, 2 columns")
	s.Equal(cli.ExitNothing, s.Kefu("campaign status november").Code)
	s.Equal(cli.ExitNothing, s.Kefu("campaign list").Code)

	started := s.Kefu(startNovember + " --source crm --expires-in 6h -o json")
	s.Equal(cli.ExitDone, started.Code, started.Err)
	s.Contains(started.Err, "kefu campaign watch november follows it")
	s.Contains(started.Err, "warning: no worker that carries out campaigns of wx1 is running")
	status := statusOf(s, "november")
	s.Equal([]any{campaign.StatePlanned, 601, 600, 1},
		[]any{status.State, status.Rows, status.Queued, status.Repeated})
	s.Zero(s.Messages(), "the workers feed it")
	entries := s.Audits()
	s.Len(entries, 1)
	s.Equal([]any{"campaign", "wx1", 600}, []any{entries[0].Verb, entries[0].AppID, entries[0].Count})
	s.Contains(entries[0].Filter, "campaign=november file_sha256=")

	again := s.Kefu(startNovember)
	s.Equal(cli.ExitDone, again.Code, again.Err)
	s.Contains(again.Err, "nothing was ordered now")
	s.Len(s.Audits(), 1)
	list := s.Kefu("campaign list")
	s.Regexp(`november +planned +601 +0 +0 +600`, list.Out)
	s.NotContains(started.Out+started.Err+list.Out, "o00003", "no recipient is printed")

	s.Write("others.csv", recipientRows(3))
	for line, says := range map[string]string{
		strings.Replace(startNovember, "people", "others", 1): "was started with another file",
		startNovember + " --source erp":                       "with another source",
		startNovember + " --expires-in 7h":                    "with another time to expire",
	} {
		other := s.Kefu(line)
		s.Equal(cli.ExitFailed, other.Code, line)
		s.Contains(other.Err, says)
	}
}

func TestADryRunShowsTheFirstMessages(t *testing.T) {
	t.Parallel()
	s := clitest.NewFiles(t)
	s.Write("people.csv", "openid,name\n"+clitest.Recipient+",小明\n"+clitest.Recipient+"1,小红\n")
	s.Config = "apps:\n  - {appid: wx1, name: 旗舰店, secret_env: S}\n" // it needs no broker
	dry := s.Kefu(startNovember + " --dry-run --rate 1 --expires-in 1s --quiet-hours 22:00-08:00")
	s.Equal(cli.ExitDone, dry.Code, dry.Err)
	s.Contains(dry.Out, `line 2      {"touser":"oABC…Z0","msgtype":"text","text":{"content":"小明，您好"}}`)
	s.Contains(dry.Out, `"小红，您好"`)
	s.NotContains(dry.Out, clitest.Recipient)
	s.Contains(dry.Out, "at most 1 a second and 500,000 a day, none from 22:00 to 08:00 Beijing time")
	s.Regexp(`warning: [12] of 2 messages cannot be sent by `, dry.Err)
}

func TestBadRowsStopACampaignOrAreLeftOut(t *testing.T) {
	t.Parallel()
	s := clitest.NewFiles(t)
	s.Write("people.csv", recipientRows(3)+"o 4,SECRET\n")
	stopped := s.Kefu(startNovember + " --rejects @bad.csv")
	s.Equal(cli.ExitFailed, stopped.Code)
	s.Contains(stopped.Err, "people.csv:5: touser: ")
	s.Contains(stopped.Err, "1 of 4 rows cannot be sent: nothing was ordered")
	s.Contains(stopped.Err, "1 bad row was written to bad.csv")
	s.NotContains(stopped.Err, "SECRET")
	rejects, err := os.ReadFile(filepath.Join(s.Dir, "bad.csv"))
	s.NoError(err)
	s.Contains(string(rejects), "SECRET")
	s.Equal(cli.ExitNothing, s.Kefu("campaign list").Code, "it has left nothing")

	left := s.Kefu(startNovember + " --skip-invalid --rejects @bad.csv")
	s.Equal(cli.ExitPartly, left.Code)
	s.Contains(left.Err, "left out: 1 bad row")
	s.Equal(3, statusOf(s, "november").Queued)
	s.Equal(cli.ExitPartly,
		s.Kefu(startNovember+" --skip-invalid --dry-run --rejects @bad.csv").Code)
	over := s.Kefu(startNovember + " --rejects @people.csv")
	s.Equal(cli.ExitUsage, over.Code)
	s.Contains(over.Err, "bad rows would be written over this file")
}

func TestCorrectedBadRowsAreAFileOfRecipients(t *testing.T) {
	t.Parallel()
	s := clitest.NewFiles(t)
	s.Write("people.csv", "openid;name\no1;a\no 2;小, 明\no3\n")
	stopped := s.Kefu(startNovember + " --rejects @bad.csv")
	s.Equal(cli.ExitFailed, stopped.Code)
	s.Contains(stopped.Err, "2 bad rows were written to bad.csv")
	bad, err := os.ReadFile(filepath.Join(s.Dir, "bad.csv"))
	s.NoError(err)
	s.Contains(string(bad), "\ufeffline,reason,openid,name\n3,")
	s.Write("good.csv", strings.NewReplacer("o 2", "o2", ",o3", ",o3,小红").Replace(string(bad)))
	good := s.Kefu("campaign start rest @good.csv --template @packet.json")
	s.Equal(cli.ExitDone, good.Code, good.Err)
	s.Equal(2, statusOf(s, "rest").Queued)
}

func TestAFileThatIsNoneSaysWhereItsBadRowsAre(t *testing.T) {
	t.Parallel()
	s := clitest.NewFiles(t)
	s.Write("people.csv", recipientRows(3))
	named := s.Kefu(startNovember + " --format ndjson --rejects @bad.csv")
	s.Equal(cli.ExitFailed, named.Code)
	s.Contains(named.Err, "people.csv:1: row: ")
	s.Contains(named.Err, "4 bad rows were written to bad.csv")
	s.Contains(named.Err, "4 of 4 rows cannot be sent")
	s.Write("people.csv", "openid,name\no 1,a\no2,\"b\n")
	broken := s.Kefu(startNovember + " --rejects @bad.csv")
	s.Equal(cli.ExitFailed, broken.Code)
	s.Contains(broken.Err, "1 bad row was written to bad.csv")
	s.Contains(broken.Err, "line 3: a quote is opened and never closed")
}

func TestACampaignThatWaitsForADurationIsTheSameLater(t *testing.T) {
	t.Parallel()
	s := clitest.NewFiles(t)
	s.Write("people.csv", recipientRows(1001))
	// A start that was given up fixes nothing.
	s.Equal(cli.ExitUsage, s.Kefu(startNovember+" --send-at 2h").Code)
	var times []time.Time
	for range 2 {
		r := s.Kefu(startNovember + " --send-at 2h --yes")
		s.Equal(cli.ExitDone, r.Code, r.Err)
		times = append(times, statusOf(s, "november").SendAt)
	}
	s.WithinDuration(time.Now().Add(2*time.Hour), times[0], time.Minute)
	s.Equal(times[0], times[1])
}

func TestALargeCampaignAsksFirst(t *testing.T) {
	t.Parallel()
	s := clitest.NewFiles(t)
	s.Write("people.csv", recipientRows(1001))
	refused := s.Kefu(startNovember)
	s.Equal(cli.ExitUsage, refused.Code)
	s.Contains(refused.Err, "Send 1,001 messages to users of 旗舰店, 10s or longer, "+
		"at most 100 a second and 500,000 a day? There is no terminal to ask on")
	no := s.Kefu(startNovember, func(c *clitest.Try) { c.Width, c.Stdin = 80, "n\n" })
	s.Equal(cli.ExitFailed, no.Code)
	s.Empty(s.Audits())
	s.Equal(cli.ExitNothing, s.Kefu("campaign list").Code, "it has left nothing")
	s.Equal(cli.ExitDone, s.Kefu(startNovember+" --yes").Code)
	s.Equal(1001, statusOf(s, "november").Queued)
}

func TestRecipientsMayComeFromStandardInput(t *testing.T) {
	t.Parallel()
	s := clitest.NewFiles(t)
	list := func(c *clitest.Try) { c.Stdin = "alice\nbob\n" }
	s.Write("hi.json", `{"msgtype":"text","text":{"content":"hi"}}`)
	got := s.Kefu("campaign start news - --format list --template @hi.json", list)
	s.Equal(cli.ExitDone, got.Code, got.Err)
	s.Contains(got.Err, "standard input: one openid on each line in UTF-8")
	s.Equal(2, statusOf(s, "news").Queued)
}

func TestRecipientsWithAClosedWindowAreLeftOut(t *testing.T) {
	t.Parallel()
	s := clitest.NewFiles(t)
	s.Write("people.csv", recipientRows(4))
	for i, died := range []time.Duration{time.Hour, 49 * time.Hour} {
		l := clitest.DeadLetter(fmt.Sprint("late-", i),
			clitest.DiedOf(schema.ReasonRecipient, 45015, "out of time"))
		l.OpenID, l.DiedAt = fmt.Sprintf("o%05d", i), time.Now().Add(-died).UTC()
		m, err := deadletter.Message(l)
		s.NoError(err)
		_, err = s.Conn.Outbox.PublishWait(t.Context(), m)
		s.NoError(err)
	}
	got := s.Kefu(startNovember + " --skip-closed")
	s.Equal(cli.ExitDone, got.Code, got.Err)
	s.Contains(got.Err, "window closed  1 left out")
	s.Contains(got.Out, "1, all of them left out by --skip-closed")
	status := statusOf(s, "november")
	s.Equal([]int{3, 1}, []int{status.Queued, status.Cancelled})
}

func TestATesterGetsTheFirstMessageBeforeTheRest(t *testing.T) {
	t.Parallel()
	for what, c := range map[string]struct {
		state  schema.State
		flags  string
		answer string
		code   int
		says   string
	}{
		"it is sent, and the user agrees": {schema.StateSent, "", "y", cli.ExitDone,
			"the test message to oABC…Z0 was sent"},
		"it is sent, and the user does not": {schema.StateSent, "", "n", cli.ExitFailed,
			"nothing was changed"},
		"it is sent, and nobody is asked": {schema.StateSent, " --yes", "", cli.ExitDone,
			"is ordered"},
		"it dies": {schema.StateDead, " --yes", "", cli.ExitFailed,
			"is dead, so nothing was ordered: rejected"},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			s := clitest.NewFiles(t)
			s.Write("people.csv", recipientRows(2))
			told := make(chan struct{})
			go func() { defer close(told); answerTest(s, c.state) }()
			got := s.Kefu(startNovember+" --test-to "+clitest.Recipient+c.flags,
				clitest.Answering(c.answer))
			<-told
			s.Equal(c.code, got.Code, got.Err)
			s.Contains(got.Err, c.says)
			s.NotContains(got.Err, clitest.Recipient)
			s.Equal(c.code == cli.ExitDone, s.Kefu("campaign status november").Code == cli.ExitDone)
		})
	}
	s := clitest.NewFiles(t)
	s.Write("people.csv", recipientRows(2))
	s.Contains(s.Kefu(startNovember+" --test-to o1").Err, "there is no terminal to ask on")
}

// answerTest ends the test message as a worker would.
func answerTest(s *clitest.Files, state schema.State) {
	var test broker.Stored
	s.Eventually(func() bool {
		found := false
		_ = s.Conn.Scan(s.T.Context(), schema.SendStream("wx1"), broker.ScanOptions{},
			func(m broker.Stored) error { test, found = m, true; return nil })
		return found
	}, brokertest.Patience, 5*time.Millisecond)
	s.Contains(string(test.Data), `"content":"n0，您好"`)
	id := test.Header.Get(schema.HeaderMsgID)
	r := schema.Receipt{ID: id, AppID: "wx1", Generation: 1, State: state, Lane: schema.LaneLive,
		PublishedAt: time.Now().UTC(), SettledAt: time.Now().UTC()}
	if state == schema.StateDead {
		r.Reason = schema.ReasonRejected
	}
	body, err := json.Marshal(r)
	s.NoError(err)
	m := nats.NewMsg(schema.ReceiptSubject("wx1", state))
	m.Data = body
	m.Header.Set(schema.HeaderMsgID, wire.ReceiptMsgID("wx1", id, 1))
	_, err = s.Conn.Outbox.PublishWait(s.T.Context(), m)
	s.NoError(err)
}

func TestACampaignOfAnEarlierVersionGoesOn(t *testing.T) {
	t.Parallel()
	for what, c := range map[string]struct {
		config, died string
		flags        string
		code         int
		says         string
	}{
		"the ledger remembers": {"", "1h", "", cli.ExitDone, "is ordered"},
		"the ledger has forgotten": {"", "73h", "", cli.ExitUsage,
			"up to 7 of them for the second time? There is no terminal"},
		"and the user agrees":   {"", "73h", " --yes", cli.ExitDone, "is ordered"},
		"there is no ledger":    {"worker: {ledger: {mode: off}}\n", "11m", "", cli.ExitUsage, "up to 7"},
		"no ledger, in time":    {"worker: {ledger: {mode: off}}\n", "8m", "", cli.ExitDone, "is ordered"},
		"it remembers longer":   {"worker: {ledger: {keep: 100h}}\n", "73h", "", cli.ExitDone, "is ordered"},
		"it has another source": {"", "1h", " --source erp", cli.ExitFailed, "with another source"},
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
			if c.code == cli.ExitDone {
				s.Equal(20, statusOf(s, "november").Stored)
				entries := s.Audits()
				s.Contains(entries[len(entries)-1].Detail, "continued behind row 20 of 40")
			}
		})
	}
}

// dieAt leaves the record of a run of people.csv by an earlier version that was killed behind a row,
// some time ago.
func dieAt(s *clitest.Files, next, inDoubt int, ago string) {
	s.T.Helper()
	file, err := os.ReadFile(filepath.Join(s.Dir, "people.csv"))
	s.NoError(err)
	sum := sha256.Sum256(file)
	template, err := recipients.ParseTemplate([]byte(clitest.CampaignTemplate))
	s.NoError(err)
	d, err := time.ParseDuration(ago)
	s.NoError(err)
	died := time.Now().Add(-d)
	m := nats.NewMsg(wire.JobKeys + "campaign.wx1.november")
	m.Data, err = json.Marshal(campaign.Record{
		AppID: "wx1", Campaign: "november", File: hex.EncodeToString(sum[:]),
		Template: template.Digest(), Rows: 40, Run: "dead",
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
		"campaign start a":                                 "FILE is missing; - is standard input",
		"campaign start a --file @none.csv":                "no such file",
		"campaign start a @people.csv":                     "needs a template: give --template",
		"campaign start a @people.csv --file @b.csv":       "two files are named",
		"campaign status a.b":                              "NAME: must be",
		"campaign cancel":                                  "NAME is missing",
		startNovember + " --source a\u00e9":                "--source: ",
		startNovember + " --expires-in soon":               `--expires-in "soon" is not a duration`,
		startNovember + " --expires-in 1h --expires-at 2h": "which one is meant?",
		startNovember + " --expires-at 2020-01-01":         "--expires-at has passed",
		startNovember + " --expires-at 1h --send-at 2h":    "--expires-at is not behind --send-at",
		startNovember + " --send-at 2020-01-01":            "--send-at has passed",
		startNovember + " --dry-run --send-at 2020-01-01":  "--send-at has passed",
		startNovember + " --quiet-hours 8":                 "must be two times of the day",
		startNovember + " --quiet-hours 22:00-22:00":       `"22:00-22:00" ends when it begins`,
		startNovember + " --max-errors few":                "is not a share",
		startNovember + " --rate -1":                       "--rate cannot be below 0",
		startNovember + " --format xml":                    `--format "xml" is not one of csv, tsv`,
		startNovember + " --dry-run --watch":               "--dry-run sends nothing",
		"campaign start a --file @people.csv --template x": "--template: ",
	} {
		r := s.Kefu(line)
		s.Equal(cli.ExitUsage, r.Code, "%s: %s", line, r.Err)
		s.Contains(r.Err, says, line)
	}
	s.Equal(cli.ExitNothing, s.Kefu("campaign list").Code)
}
