package campaign

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/kefuhq/kefu/internal/apps"
	"github.com/kefuhq/kefu/internal/campaign"
	"github.com/kefuhq/kefu/internal/cli"
	"github.com/kefuhq/kefu/internal/config"
	"github.com/kefuhq/kefu/publisher"
	"github.com/kefuhq/kefu/schema"
)

// start is `kefu campaign start`.
type start struct {
	streams  *cli.Streams
	settings *cli.Settings
	broker   *cli.Broker

	file        string
	template    string
	dryRun      bool
	skipInvalid bool
	source      string
	sendAt      cli.When
	expiresIn   time.Duration
}

// asksFrom is from how many recipients on a start asks first.
const asksFrom = 1000

func newStart(env *cli.Env) *cobra.Command {
	s := &start{streams: env.Streams, settings: env.Settings, broker: env.Broker}
	cmd := &cobra.Command{
		Use:   "start NAME",
		Short: "Publish a message for each recipient in a file",
		Long: `The file is CSV in UTF-8 with a header row and a column openid (or touser), or NDJSON
with an object on each line. The template is a packet as the API takes it, with {{column}} inside
its strings:

  {"msgtype":"text","text":{"content":"{{name}}，您的订单 {{order}} 已发货"}}

Without a template each line of the NDJSON file is a whole packet. The whole file is checked before
anything is published; bad rows stop the start unless --skip-invalid leaves them out. A recipient
who is in the file twice gets the first message only.

What is sent is what was checked: a file that changes meanwhile ends the start before a changed row
is sent.

It can be interrupted and run again with the same name, file and template: it goes on behind what
the queue has acknowledged, and nobody gets it twice. A full queue is waited for. More than 1,000
recipients are asked about first, and so are users who may get the message twice: a run was killed
before it could store how far it had come, or the broker's answers never came, and repeats of the
last rows that it published are no longer recognised (after worker.ledger.keep, or duplicate_window
without a ledger).

Exit codes: 0 all published, 1 failed or interrupted, 4 when rows were left out.`,
		Example: `  kefu campaign start double-11 --file users.csv --template packet.json --dry-run
  kefu campaign start double-11 --file users.csv --template packet.json --expires-in 6h --yes
  kefu campaign start notice-7 --file packets.ndjson --skip-invalid --source crm`,
		Args: cli.Args(1, 1, "NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return s.run(cmd.Context(), args[0])
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&s.file, "file", "", "`file` of recipients, CSV or NDJSON")
	flags.StringVar(&s.template, "template", "",
		"`file` with the packet as JSON, with {{column}} in its strings")
	flags.BoolVar(&s.dryRun, "dry-run", false, "check the file and say what would be published")
	flags.BoolVar(&s.skipInvalid, "skip-invalid", false, "leave bad rows out")
	flags.StringVar(&s.source, "source", "", "`name` of the service it comes from (Kefu-Source)")
	cli.FutureVar(flags, &s.sendAt, "send-at",
		"hold it until this `time`: 2h, 2026-11-24T08:15:00+08:00 or \"2026-11-24 08:15\"")
	cli.DurationVar(flags, &s.expiresIn, "expires-in", 0,
		"send nothing later than this after the start, or after --send-at")
	_ = cmd.MarkFlagFilename("file", "csv", "ndjson", "jsonl") // the flag was added above
	_ = cmd.MarkFlagFilename("template", "json")               // likewise
	return cmd
}

func (s *start) run(ctx context.Context, name string) error {
	options, err := s.options(name, time.Now())
	if err != nil {
		return err
	}
	source, err := campaign.File(s.file)
	if err != nil {
		return cli.Usagef("--file: %w", err)
	}
	defer source.Close() //nolint:errcheck // it is only read
	packet, err := s.packet(source.Format)
	if err != nil {
		return err
	}
	job := campaign.Job{Campaign: name, Source: source, Template: packet}
	if s.dryRun {
		app, err := s.offline()
		if err != nil {
			return err
		}
		job.AppID, job.Limits = app.AppID, app.Limits
		summary, err := s.check(ctx, job)
		if err != nil {
			return err
		}
		return s.report(summary, summaryFields(summary), summary.Invalid)
	}
	conn, app, err := s.broker.ConnectApp(ctx, "")
	if err != nil {
		return err
	}
	defer conn.Close()
	job.AppID, job.Limits = app.AppID, app.Limits
	summary, err := s.check(ctx, job)
	if err != nil {
		return err
	}
	options.Conn, options.Summary = conn, &summary
	return s.publish(ctx, app.App, job, options)
}

// offline returns the app for a check without a broker: where none is configured, as with kefu dev,
// any will do.
func (s *start) offline() (config.App, error) {
	cfg, err := s.settings.Config()
	if err != nil {
		return config.App{}, err
	}
	if len(cfg.Apps) == 0 && s.settings.AppID == "" {
		return config.App{AppID: apps.DevAppID, Settings: cfg.Defaults}, nil
	}
	return s.settings.App("")
}

// check reads the file as a whole. It ends the command when it is not fit to be published.
func (s *start) check(ctx context.Context, job campaign.Job) (campaign.Summary, error) {
	summary, err := job.Check(ctx)
	if err != nil {
		return summary, fmt.Errorf("%s: %w", s.file, err)
	}
	return summary, s.judge(summary)
}

// options returns the options that need no file and no broker.
func (s *start) options(name string, now time.Time) (campaign.Options, error) {
	o := campaign.Options{SkipInvalid: s.skipInvalid, Source: s.source,
		ExpiresIn: s.expiresIn,
		SendAt:    s.sendAt.At(now)}
	if err := schema.CheckToken("NAME", name); err != nil {
		return o, cli.Usagef("%w", err)
	}
	if s.file == "" {
		return o, cli.Usagef("whom to send to? give --file")
	}
	if err := (schema.Envelope{Source: s.source}).Check(); err != nil {
		return o, cli.Usagef("--source: %w", err)
	}
	return o, nil
}

// packet reads the template; nil when the rows of the file are packets.
func (s *start) packet(rows campaign.Format) (*campaign.Template, error) {
	if s.template == "" {
		if rows == campaign.CSV {
			return nil, cli.Usagef("a CSV file needs a --template")
		}
		return nil, nil //nolint:nilnil // as the job takes it
	}
	f, err := os.Open(s.template)
	if err != nil {
		return nil, cli.Usagef("--template: %w", err)
	}
	defer f.Close() //nolint:errcheck // nothing was written
	raw, err := io.ReadAll(io.LimitReader(f, 4*schema.MaxPacket))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", s.template, err)
	}
	return campaign.ParseTemplate(raw)
}

// judge shows what is wrong with the file, and ends the command when that is too much.
func (s *start) judge(summary campaign.Summary) error {
	const most = 20
	shown := summary.Problems[:min(most, len(summary.Problems))]
	if !s.streams.Quiet {
		for _, p := range shown {
			s.streams.Hintf("%s",
				cli.Clean(fmt.Sprintf("%s:%d: %s: %s", s.file, p.Line, p.Field, p.Rule)))
		}
		if more := summary.Invalid - len(shown); more > 0 {
			s.streams.Hintf("and %s more", cli.Grouped(int64(more)))
		}
	}
	switch {
	case summary.Invalid > 0 && !s.skipInvalid:
		return fmt.Errorf("%s of %s cannot be sent: nothing was published; "+
			"correct them, or leave them out with --skip-invalid",
			cli.Grouped(int64(summary.Invalid)), cli.Counted(summary.Rows, "row"))
	case summary.Recipients == 0:
		return fmt.Errorf("%s: nobody to send to", s.file)
	}
	return nil
}

// publish asks, writes down what is done, and does it.
func (s *start) publish(
	ctx context.Context, app config.App, job campaign.Job, o campaign.Options,
) error {
	p, err := publisher.New(o.Conn.JS, publisher.WithLimits(app.Limits))
	if err != nil {
		return err
	}
	defer func() { _ = p.Close() }() // the connection ends with the command
	o.Queue, o.By = campaign.PublisherQueue{Publisher: p}, s.settings.Actor()
	cfg, err := s.settings.Config()
	if err != nil {
		return err
	}
	o.Remembered = cfg.Remembered(app)
	if err := s.ask(ctx, app, job, &o); err != nil {
		return err
	}
	bar := s.streams.Progress(o.Summary.Rows, job.Campaign, "rows")
	begun := false
	o.Progress = func(done, _ int, waiting string) {
		if !begun {
			begun = true
			bar.Continue(done)
		}
		bar.Show(done, waiting)
	}
	result, err := job.Start(ctx, o)
	bar.End()
	return s.finish(result, err)
}

// ask has the user confirm what is large and what may reach somebody twice, and has it written
// down. A finished campaign needs neither.
func (s *start) ask(
	ctx context.Context, app config.App, job campaign.Job, o *campaign.Options,
) error {
	p, err := job.Foresee(ctx, *o)
	if err != nil {
		return err
	}
	if p.Begun && s.sendAt.Relative() {
		o.SendAt = time.Time{} // the first start has fixed it: "2h" means another time now
	}
	if p.Record.Finished() {
		return nil
	}
	if p.Begun {
		s.streams.Notef("%s was begun %s by %s: %s of %s done", job.Campaign,
			cli.Moment(p.Record.StartedAt), cli.Clean(p.Record.By),
			cli.Grouped(int64(p.Record.Next)), cli.Counted(p.Record.Rows, "row"))
	}
	for _, f := range summaryFields(*o.Summary) {
		if f.Value != "" {
			s.streams.Notef("%-12s %s", f.Name, f.Value)
		}
	}
	if p.Twice > 0 {
		s.streams.Warn(fmt.Sprintf("how far a run came is not known: repeats of what it may have "+
			"published since %s are recognised for %s only, so %s may get the message twice",
			cli.Moment(p.Record.DoubtSince), cli.About(o.Remembered), cli.Counted(p.Twice, "user")))
	}
	if p.Twice > 0 || p.Recipients > asksFrom {
		if err := s.streams.Confirm(ctx, question(p, app)); err != nil {
			return err
		}
	}
	o.AllowDoubles = p.Twice > 0
	return p.Audit(ctx, job, *o)
}

func question(p campaign.Prospect, app config.App) string {
	verb := "Publish"
	if p.Begun {
		verb = "Go on to publish"
	}
	twice := ""
	if p.Twice > 0 {
		twice = fmt.Sprintf(", up to %s of them for the second time", cli.Grouped(int64(p.Twice)))
	}
	return fmt.Sprintf("%s %s to users of %s%s?", verb, cli.Counted(p.Recipients, "message"),
		app.Label(), twice)
}

// finish prints what was done and says how it ended.
func (s *start) finish(r campaign.Result, err error) error {
	if err != nil && r.StartedAt.IsZero() {
		return err
	}
	fields := resultFields(r)
	if err == nil {
		if r.AlreadyFinished {
			s.streams.Notef("%s was finished %s: nothing was published now", r.Campaign,
				cli.Moment(r.FinishedAt))
		}
		return s.report(r, fields, r.Invalid)
	}
	if perr := cli.Record(s.streams, r, fields); perr != nil {
		return perr
	}
	if hint := nextStep(r, err); hint != "" {
		s.streams.Hintf("%s", hint)
	}
	return err
}

// nextStep returns what to do after a start that failed; "" where the error itself says it.
func nextStep(r campaign.Result, err error) string {
	stopped := fmt.Sprintf("Stopped at row %s of %s.", cli.Grouped(int64(r.Next)),
		cli.Grouped(int64(r.Rows)))
	switch {
	case errors.Is(err, campaign.ErrTakenOver), errors.Is(err, campaign.ErrTooLate):
		return ""
	case errors.Is(err, campaign.ErrCheckpoint):
		return stopped + " That is not on record: the same command goes on from an earlier row. " +
			"Run it soon, while repeats are recognised."
	case errors.Is(err, campaign.ErrMayDouble):
		return stopped + " The same command says how many users may get the message twice, and " +
			"asks before it goes on from there."
	case errors.Is(err, campaign.ErrChanged):
		return stopped + " Nothing of the changed file was published. With the file as it was, " +
			"the same command goes on from there."
	}
	return stopped + " The same command goes on from there."
}

// report prints a result, and is exit code 4 when rows were left out.
func (s *start) report(v any, fields []cli.Field, invalid int) error {
	if err := cli.Record(s.streams, v, fields); err != nil {
		return err
	}
	switch {
	case invalid == 0:
		return nil
	case s.dryRun:
		return cli.Partlyf("%s would be left out", cli.Counted(invalid, "bad row"))
	default:
		return cli.Partlyf("left out: %s", cli.Counted(invalid, "bad row"))
	}
}
