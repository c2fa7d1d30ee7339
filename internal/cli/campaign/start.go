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
	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/campaign"
	"github.com/kefuhq/kefu/internal/cli"
	"github.com/kefuhq/kefu/internal/config"
	"github.com/kefuhq/kefu/internal/recipients"
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
	rate        float64
	sendAt      cli.When
	expiresIn   time.Duration
}

// asksFrom is from how many recipients on a start asks first.
const asksFrom = 1000

func newStart(env *cli.Env) *cobra.Command {
	s := &start{streams: env.Streams, settings: env.Settings, broker: env.Broker}
	cmd := &cobra.Command{
		Use:   "start NAME [FILE]",
		Short: "Send a message to each recipient in a file",
		Long: `The file is stored at the broker and fed to the queue by the workers: the command may end as
soon as it says so. The template is a packet as the API takes it, with {{column}} inside its
strings:

  {"msgtype":"text","text":{"content":"{{name}}，您的订单 {{order}} 已发货"}}

Without a template each line of an NDJSON file is a whole packet. Nothing is sent before the whole
file is valid; bad rows stop the start unless --skip-invalid leaves them out. A recipient who is in
the file twice gets the first message only.

Exit codes: 0 ordered, 1 failed or interrupted, 4 when rows were left out.`,
		Example: `  kefu campaign start double-11 users.csv --template packet.json --dry-run
  kefu campaign start double-11 users.csv --template packet.json --expires-in 6h --yes
  kefu campaign start notice-7 packets.ndjson --skip-invalid --source crm`,
		Args: cli.Args(1, 2, "NAME [FILE]"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return s.run(cmd.Context(), args)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&s.file, "file", "", "`file` of recipients; the second argument as well")
	flags.StringVar(&s.template, "template", "",
		"`file` with the packet as JSON, with {{column}} in its strings")
	flags.BoolVar(&s.dryRun, "dry-run", false, "check the file and say what would be sent")
	flags.BoolVar(&s.skipInvalid, "skip-invalid", false, "leave bad rows out")
	flags.StringVar(&s.source, "source", "", "`name` of the service it comes from (Kefu-Source)")
	flags.Float64Var(&s.rate, "rate", 0, "messages a second, at most; 0 for the app's rate")
	cli.FutureVar(flags, &s.sendAt, "send-at",
		"hold it until this `time`: 2h, 2026-11-24T08:15:00+08:00 or \"2026-11-24 08:15\"")
	cli.DurationVar(flags, &s.expiresIn, "expires-in", 0,
		"send nothing later than this after the start, or after --send-at")
	_ = cmd.MarkFlagFilename("file", "csv", "ndjson", "jsonl") // the flag was added above
	_ = cmd.MarkFlagFilename("template", "json")               // likewise
	return cmd
}

func (s *start) run(ctx context.Context, args []string) error {
	terms, err := s.terms(args, time.Now())
	if err != nil {
		return err
	}
	var app config.App
	var conn *broker.Conn
	if s.dryRun {
		app, err = s.offline()
	} else {
		conn, app.AppID, err = s.connect(ctx, &app)
	}
	if err != nil {
		return err
	}
	if conn != nil {
		defer conn.Close()
	}
	terms.AppID = app.AppID
	file, reader, err := s.open(app.Limits)
	if err != nil {
		return err
	}
	defer file.Close() //nolint:errcheck // it is only read
	defer reader.Close()
	if s.dryRun {
		if _, err := campaign.Fill(ctx, reader, nil, campaign.Filling{}); err != nil {
			return fmt.Errorf("%s: %w", s.file, err)
		}
		summary := reader.Summary()
		if err := s.judge(summary); err != nil {
			return err
		}
		return s.report(summary, summaryFields(summary), summary.Invalid)
	}
	return s.start(ctx, conn, app, terms, reader)
}

// connect reaches the broker of the app.
func (s *start) connect(ctx context.Context, app *config.App) (*broker.Conn, string, error) {
	conn, known, err := s.broker.ConnectApp(ctx, "")
	*app = known.App
	return conn, known.AppID, err
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

// terms returns what needs no file and no broker.
func (s *start) terms(args []string, now time.Time) (campaign.Terms, error) {
	t := campaign.Terms{
		Campaign: args[0], Source: s.source, ExpiresIn: s.expiresIn, SendAt: s.sendAt.At(now),
		PerSecond: s.rate, Halt: campaign.Halt{Share: campaign.DefaultShare},
		By: s.settings.Actor(),
	}
	if err := schema.CheckToken("NAME", args[0]); err != nil {
		return t, cli.Usagef("%w", err)
	}
	if len(args) > 1 {
		s.file = args[1]
	}
	if s.file == "" {
		return t, cli.Usagef("whom to send to? give --file")
	}
	if err := (schema.Envelope{Source: s.source}).Check(); err != nil {
		return t, cli.Usagef("--source: %w", err)
	}
	return t, nil
}

// open opens the file of recipients.
func (s *start) open(limits schema.Limits) (io.Closer, *recipients.Reader, error) {
	f, err := os.Open(s.file)
	if err != nil {
		return nil, nil, cli.Usagef("--file: %w", err)
	}
	o := recipients.Options{Name: s.file, Limits: limits}
	if o.Template, err = s.packet(); err != nil {
		return nil, nil, errors.Join(err, f.Close())
	}
	reader, err := recipients.Open(f, o)
	if err != nil {
		return nil, nil, errors.Join(fmt.Errorf("%s: %w", s.file, err), f.Close())
	}
	return f, reader, nil
}

// packet reads the template; nil when the rows of the file are packets.
func (s *start) packet() (*recipients.Template, error) {
	if s.template == "" {
		return nil, nil //nolint:nilnil // as the reader takes it
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
	return recipients.ParseTemplate(raw)
}

// judge shows what is wrong with the file, and ends the command when that is too much.
func (s *start) judge(summary recipients.Summary) error {
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

// start uploads the file, asks, and has the pool send it.
func (s *start) start(
	ctx context.Context, conn *broker.Conn, app config.App, t campaign.Terms,
	reader *recipients.Reader,
) error {
	p, err := campaign.Foresee(ctx, conn, t.AppID, t.Campaign)
	if err != nil {
		return err
	}
	if p.Begun && s.sendAt.Relative() {
		t.SendAt = time.Time{} // the first start has fixed it: "2h" means another time now
	}
	upload, err := campaign.NewUpload(conn, t.AppID, t.Campaign)
	if err != nil {
		return err
	}
	ordered := false
	defer func() {
		if !ordered {
			// What is left of it is removed by the next start, or by a worker in time.
			_ = upload.Abandon(context.WithoutCancel(ctx))
		}
	}()
	into := upload
	if p.Ordered {
		into = nil // it is only compared
	} else if err := p.Announce(ctx, conn, t, upload); err != nil {
		return err
	}
	closed, err := campaign.Fill(ctx, reader, into, campaign.Filling{Skip: p.Skip()})
	if err != nil {
		return fmt.Errorf("%s: %w", s.file, err)
	}
	summary := reader.Summary()
	if err := s.judge(summary); err != nil {
		return err
	}
	if err := p.Check(t, summary.File, summary.Template, time.Now()); err != nil {
		return err
	}
	if !p.Ordered {
		if err := s.ask(ctx, app, p, summary); err != nil {
			return err
		}
		err := p.Order(ctx, conn, t, campaign.File{
			Digest: summary.File, Template: summary.Template, Rows: summary.Rows,
			Invalid: summary.Invalid, Repeated: summary.Repeated, Closed: closed,
		}, upload)
		if err != nil {
			return err
		}
		ordered = true
	}
	status, err := campaign.ReadStatus(ctx, conn, t.AppID, t.Campaign)
	if err != nil {
		return err
	}
	return s.report(status, statusFields(status), summary.Invalid)
}

// ask has the user confirm what is large and what may reach somebody twice.
func (s *start) ask(
	ctx context.Context, app config.App, p campaign.Prospect, summary recipients.Summary,
) error {
	cfg, err := s.settings.Config()
	if err != nil {
		return err
	}
	twice := p.MayDouble(time.Now(), cfg.Remembered(app))
	for _, f := range summaryFields(summary) {
		if f.Value != "" {
			s.streams.Notef("%-12s %s", f.Name, f.Value)
		}
	}
	if twice == 0 && summary.Recipients <= asksFrom {
		return nil
	}
	question := fmt.Sprintf("Send %s to users of %s", cli.Counted(summary.Recipients, "message"),
		app.Label())
	if twice > 0 {
		question += fmt.Sprintf(", up to %s of them for the second time",
			cli.Grouped(int64(twice)))
	}
	return s.streams.Confirm(ctx, question+"?")
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
