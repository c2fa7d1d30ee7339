package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/spf13/cobra"
	"github.com/stretchr/testify/require"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/broker/brokertest"
	"github.com/kefuhq/kefu/internal/campaign"
	"github.com/kefuhq/kefu/internal/wire"
	"github.com/kefuhq/kefu/publisher"
	"github.com/kefuhq/kefu/schema"
)

// campaignStage is a broker with one app's queue, and files.
type campaignStage struct {
	*require.Assertions
	t      *testing.T
	conn   *broker.Conn
	config string
	dir    string
}

const campaignTemplate = `{"msgtype":"text","text":{"content":"{{name}}，您好"}}`

func newCampaignStage(t *testing.T) *campaignStage {
	t.Helper()
	b := brokertest.Start(t, "wx1")
	s := &campaignStage{Assertions: require.New(t), t: t, conn: b.Connect(), dir: t.TempDir()}
	s.config = fmt.Sprintf("nats: {url: %q}\napps:\n  - {appid: wx1, name: 旗舰店, secret_env: S}\n", b.URL())
	s.write("packet.json", campaignTemplate)
	return s
}

func (s *campaignStage) write(name, text string) {
	s.t.Helper()
	s.NoError(os.WriteFile(filepath.Join(s.dir, name), []byte(text), 0o600))
}

// kefu runs a command line in which @name is a file of the stage.
func (s *campaignStage) kefu(line string, change ...func(*try)) result {
	s.t.Helper()
	c := try{args: args(strings.ReplaceAll(line, "@", s.dir+"/")), file: s.config}
	for _, f := range change {
		f(&c)
	}
	r := kefu(s.t, c)
	r.out, r.err = strings.ReplaceAll(r.out, s.dir+"/", ""), strings.ReplaceAll(r.err, s.dir+"/", "")
	return r
}

// messages is how many intents the app's queue holds.
func (s *campaignStage) messages() (n int) {
	s.t.Helper()
	s.NoError(s.conn.Scan(s.t.Context(), schema.SendStream("wx1"), broker.ScanOptions{}, func(broker.Stored) error { n++; return nil }))
	return n
}

func (s *campaignStage) audits() (entries []broker.AuditEntry) {
	s.t.Helper()
	s.NoError(s.conn.Scan(s.t.Context(), wire.StreamAudit, broker.ScanOptions{}, func(m broker.Stored) error {
		entries = append(entries, broker.AuditEntry{})
		return json.Unmarshal(m.Data, &entries[len(entries)-1])
	}))
	return entries
}

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
	s := newCampaignStage(t)
	s.write("people.csv", recipientRows(600)+"o00003,again\n")

	dry := s.kefu(startNovember + " --dry-run -o json")
	s.Equal(exitDone, dry.code, dry.err)
	s.Contains(dry.out, `"recipients": 600`)
	s.Zero(s.messages())
	s.Equal(exitNothing, s.kefu("campaign status november").code)

	started := s.kefu(startNovember + " --source crm --expires-in 6h -o json")
	s.Equal(exitDone, started.code, started.err)
	var result campaign.Result
	s.NoError(json.Unmarshal([]byte(started.out), &result))
	s.Equal([]int{601, 601, 600, 0, 1}, []int{result.Rows, result.Next, result.Published, result.Duplicates, result.Repeated})
	s.Equal(600, s.messages())
	entries := s.audits()
	s.Len(entries, 1)
	s.Equal([]any{"campaign", "wx1", 600, "started"}, []any{entries[0].Verb, entries[0].AppID, entries[0].Count, entries[0].Detail})
	s.Contains(entries[0].Filter, "campaign=november file_sha256=")

	again := s.kefu(startNovember)
	s.Equal(exitDone, again.code)
	s.Contains(again.err, "nothing was published now")
	s.Equal(600, s.messages())
	s.Len(s.audits(), 1)

	status := s.kefu("campaign status november -o json")
	s.Equal(exitDone, status.code, status.err)
	s.Contains(status.out, `"queued": 600`)
	s.Contains(status.out, `"open": 600`)
	s.Contains(s.kefu("campaign status november").out, "601 of 601")
	s.NotContains(started.out+started.err+status.out+status.err, "o00003", "no recipient is printed")
	s.NotContains(status.out, "outcomes_since")

	receipts, err := s.conn.JS.Stream(t.Context(), schema.StreamReceipt)
	s.NoError(err)
	s.NoError(s.conn.JS.DeleteStream(t.Context(), schema.StreamReceipt))
	_, err = s.conn.JS.CreateStream(t.Context(), receipts.CachedInfo().Config) // without what it held before
	s.NoError(err)
	s.Contains(s.kefu("campaign status november -o json").out, `"outcomes_since": "2`)
	s.Regexp(`open or ended +600: what ended before .* has no receipt any more`, s.kefu("campaign status november").out)
}

func TestBadRowsStopACampaignOrAreLeftOut(t *testing.T) {
	t.Parallel()
	s := newCampaignStage(t)
	s.write("people.csv", recipientRows(3)+"o 4,SECRET\n")
	stopped := s.kefu(startNovember)
	s.Equal(exitFailed, stopped.code)
	s.Contains(stopped.err, "people.csv:5: touser: ")
	s.Contains(stopped.err, "1 of 4 rows cannot be sent: nothing was published")
	s.NotContains(stopped.err, "SECRET")
	s.Zero(s.messages())

	left := s.kefu(startNovember + " --skip-invalid")
	s.Equal(exitPartly, left.code)
	s.Contains(left.err, "left out: 1 bad row")
	s.Equal(3, s.messages())
	s.Equal(exitPartly, s.kefu(startNovember+" --skip-invalid --dry-run").code)
}

func TestALargeCampaignAsksFirst(t *testing.T) {
	t.Parallel()
	s := newCampaignStage(t)
	s.write("people.csv", recipientRows(1001))
	refused := s.kefu(startNovember)
	s.Equal(exitUsage, refused.code)
	s.Contains(refused.err, "Publish 1,001 messages to users of 旗舰店? There is no terminal to ask on")
	no := s.kefu(startNovember, func(c *try) { c.width, c.stdin = 80, "n\n" })
	s.Equal(exitFailed, no.code)
	s.Zero(s.messages())
	s.Empty(s.audits())
	s.Equal(exitDone, s.kefu(startNovember+" --yes").code)
	s.Equal(1001, s.messages())
}

func TestAnInterruptedCampaignSaysHowToGoOn(t *testing.T) {
	t.Parallel()
	s := newCampaignStage(t)
	s.write("people.csv", recipientRows(40))
	// An earlier run came as far as row 20 and was interrupted.
	source, err := campaign.File(filepath.Join(s.dir, "people.csv"))
	s.NoError(err)
	template, err := campaign.ParseTemplate([]byte(campaignTemplate))
	s.NoError(err)
	p, err := publisher.New(s.conn.JS)
	s.NoError(err)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	job := campaign.Job{AppID: "wx1", Campaign: "november", Source: source, Template: template}
	interrupted, err := job.Start(ctx, campaign.Options{Conn: s.conn, Queue: campaignQueue{p}, Batch: 20, Progress: func(done, _ int, _ string) {
		if done == 20 {
			cancel()
		}
	}})
	s.ErrorIs(err, context.Canceled)

	var out, hints strings.Builder
	c := &campaignStart{cli: newCLI(nil, nil, &out, &hints)}
	s.ErrorIs(c.finish(interrupted, err), context.Canceled)
	s.Contains(hints.String(), "Stopped at row 20 of 40. The same command goes on from there.")
	s.Equal(20, s.messages())

	other := s.kefu(strings.ReplaceAll(startNovember, "--template", "--source erp --template"))
	s.Equal(exitFailed, other.code)
	s.Contains(other.err, "with another source")
	on := s.kefu(startNovember)
	s.Equal(exitDone, on.code, on.err)
	s.Contains(on.err, "20 of 40 rows done")
	s.Equal(40, s.messages())
	entries := s.audits()
	s.Equal("continued behind row 20 of 40", entries[len(entries)-1].Detail)
}

func TestACheckpointThatIsNotStoredIsNotHiddenBehindAnInterrupt(t *testing.T) {
	t.Parallel()
	cause := fmt.Errorf("%w: %w", campaign.ErrCheckpoint, context.DeadlineExceeded)
	stopped := campaign.Result{Record: campaign.Record{Campaign: "november", Rows: 40, Next: 20, StartedAt: time.Now()}}
	for what, c := range map[string]struct {
		err  error
		says []string
		not  string
	}{
		"a plain interrupt": {context.Canceled, []string{"Stopped at row 20 of 40. The same command goes on from there.", "kefu: interrupted\n"}, "stored"},
		"and no checkpoint": {errors.Join(context.Canceled, cause), []string{
			"Stopped at row 20 of 40. That is not on record: the same command goes on from an earlier row.",
			"kefu: interrupted\n", "kefu: how far the campaign has come could not be stored: context deadline exceeded\n",
		}, "from there"},
		"an error that the interrupt has caused": {fmt.Errorf("%w: %w", campaign.ErrAway, context.Canceled), []string{"kefu: interrupted\n"}, "away"},
		"what may be doubled": {campaign.ErrMayDouble, []string{
			"Stopped at row 20 of 40. The same command says how many users may get the message twice, and asks before it goes on from there.",
			"kefu: some rows may have been published before, longer ago than repeats are recognised\n",
		}, "The same command goes on"},
		"a file that changed": {campaign.ErrChanged, []string{"Nothing of the changed file was published.", "kefu: the file was changed after it was checked\n"}, ""},
	} {
		var out, said strings.Builder
		cli := newCLI(nil, nil, &out, &said)
		cli.started = true
		require.Equal(t, exitFailed, cli.exit(&cobra.Command{}, (&campaignStart{cli: cli}).finish(stopped, c.err)), what)
		for _, says := range c.says {
			require.Contains(t, said.String(), says, what)
		}
		if c.not != "" {
			require.NotContains(t, said.String(), c.not, what)
		}
	}
}

func TestACampaignThatMayDoubleAsksFirst(t *testing.T) {
	t.Parallel()
	for what, c := range map[string]struct {
		config, died string
		flags        string
		code         int
		says         string
	}{
		"the ledger remembers":        {"", "1h", "", exitDone, "20 of 40 rows done"},
		"the ledger has forgotten":    {"", "73h", "", exitUsage, "Go on to publish 40 messages to users of 旗舰店, up to 7 of them for the second time? There is no terminal"},
		"and the user agrees":         {"", "73h", " --yes", exitDone, "are recognised for 72h only, so 7 users may get the message twice"},
		"there is no ledger":          {"worker: {ledger: {mode: off}}\n", "11m", "", exitUsage, "are recognised for 10m only"},
		"no ledger, but the window":   {"worker: {ledger: {mode: off}}\n", "8m", "", exitDone, "20 of 40 rows done"},
		"the ledger remembers longer": {"worker: {ledger: {keep: 100h}}\n", "73h", "", exitDone, "20 of 40 rows done"},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			s := newCampaignStage(t)
			s.config += c.config
			s.write("people.csv", recipientRows(40))
			s.dieAt(20, 7, c.died)
			got := s.kefu(startNovember + c.flags)
			s.Equal(c.code, got.code, got.err)
			s.Contains(got.err, c.says)
			if c.code != exitDone {
				s.Zero(s.messages())
				return
			}
			s.Equal(20, s.messages())
			entries := s.audits()
			s.Equal(c.flags != "", strings.Contains(entries[len(entries)-1].Detail, "7 may get it twice"))
		})
	}
}

// dieAt leaves the record of a run of people.csv that was killed behind a row, some time ago.
func (s *campaignStage) dieAt(next, inDoubt int, ago string) {
	s.t.Helper()
	source, err := campaign.File(filepath.Join(s.dir, "people.csv"))
	s.NoError(err)
	defer func() { s.NoError(source.Close()) }()
	template, err := campaign.ParseTemplate([]byte(campaignTemplate))
	s.NoError(err)
	summary, err := campaign.Job{AppID: "wx1", Campaign: "november", Source: source, Template: template}.Check(s.t.Context())
	s.NoError(err)
	d, err := time.ParseDuration(ago)
	s.NoError(err)
	died := time.Now().Add(-d)
	m := nats.NewMsg("$KV." + wire.BucketJob + ".campaign.wx1.november")
	m.Data, err = json.Marshal(campaign.Record{
		AppID: "wx1", Campaign: "november", File: summary.File, Template: summary.Template, Rows: summary.Rows, Run: "dead",
		Next: next, Published: next, InDoubt: inDoubt, DoubtSince: died, StartedAt: died, UpdatedAt: died, By: "ann@desk",
	})
	s.NoError(err)
	_, err = s.conn.Outbox.PublishWait(s.t.Context(), m)
	s.NoError(err)
}

func TestBadUsageOfCampaignIsExitCodeTwo(t *testing.T) {
	t.Parallel()
	s := newCampaignStage(t)
	s.write("people.csv", recipientRows(1))
	for line, says := range map[string]string{
		"campaign start":                                   "NAME is missing",
		"campaign start a.b --file @people.csv":            "NAME: must be",
		"campaign start a":                                 "give --file",
		"campaign start a --file @none.csv":                "--file: ",
		"campaign start a --file @people.csv":              "needs a --template",
		"campaign status a.b":                              "NAME: must be",
		startNovember + " --send-at 2h":                    "--send-at is a time",
		startNovember + " --source a\u00e9":                "--source: ",
		startNovember + " --expires-in soon":               "want a duration",
		"campaign start a --file @people.csv --template x": "--template: ",
	} {
		r := s.kefu(line)
		s.Equal(exitUsage, r.code, line)
		s.Contains(r.err, says, line)
	}
}

func TestAFullQueueReachesTheCampaignAsSuch(t *testing.T) {
	t.Parallel()
	conn := brokertest.Bare(t).Connect()
	spec := brokertest.Spec("wx1")
	spec.Apps[0].QueueMessages = 3
	brokertest.Provision(t, conn, spec)
	p, err := publisher.New(conn.JS)
	require.NoError(t, err)
	var intents []campaign.Intent
	for i := range 5 {
		packet := fmt.Appendf(nil, `{"touser":"o%d","msgtype":"text","text":{"content":"a"}}`, i)
		intents = append(intents, campaign.Intent{ID: fmt.Sprintf("id%d", i), JSON: packet})
	}
	accepted, err := campaignQueue{p}.PublishBulk(t.Context(), "wx1", campaign.Terms{Campaign: "c"}, intents)
	require.NoError(t, err)
	full := 0
	for _, a := range accepted {
		if a.Err != nil {
			require.ErrorIs(t, a.Err, campaign.ErrQueueFull)
			full++
		}
	}
	require.Equal(t, 2, full)
}

func TestAnOpenOutcomeIsNotTakenForAFullQueue(t *testing.T) {
	t.Parallel()
	for what, c := range map[string]struct{ said, want, not error }{
		"the queue is full":             {publisher.ErrQueueFull, campaign.ErrQueueFull, campaign.ErrAway},
		"nobody answers":                {publisher.ErrOutcomeOpen, campaign.ErrAway, campaign.ErrQueueFull},
		"the broker is away":            {publisher.ErrNotQueued, campaign.ErrAway, campaign.ErrQueueFull},
		"it became full, and was asked": {errors.Join(publisher.ErrOutcomeOpen, publisher.ErrQueueFull), campaign.ErrAway, campaign.ErrQueueFull},
	} {
		a := acceptedAs(publisher.Result{Err: c.said})
		require.ErrorIs(t, a.Err, c.want, what)
		require.NotErrorIs(t, a.Err, c.not, what)
	}
	require.Equal(t, campaign.Accepted{Duplicate: true}, acceptedAs(publisher.Result{Accepted: publisher.Accepted{Duplicate: true}}))
}
