package campaign

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/kefuhq/kefu/internal/apps"
	"github.com/kefuhq/kefu/internal/campaign"
	"github.com/kefuhq/kefu/internal/cli"
	"github.com/kefuhq/kefu/internal/config"
)

// start is `kefu campaign start`.
type start struct {
	streams  *cli.Streams
	settings *cli.Settings
	broker   *cli.Broker

	file     string
	format   string
	encoding string
	template string
	rejects  string

	dryRun      bool
	skipInvalid bool
	skipClosed  bool
	testTo      string
	watch       bool

	source    string
	rate      float64
	sendAt    cli.When
	expiresAt cli.When
	expiresIn time.Duration
	quiet     string
	maxErrors string
}

// asksFrom is from how many recipients on a start asks first.
const asksFrom = 1000

func newStart(env *cli.Env) *cobra.Command {
	s := &start{streams: env.Streams, settings: env.Settings, broker: env.Broker}
	cmd := &cobra.Command{
		Use:   "start NAME FILE",
		Short: "Send a message to each recipient in a file",
		Long: `Reads the file, - for standard input, stores it at the broker, and orders the campaign. The
workers feed it to the queue, about as fast as it is sent; the command is not needed for that. Run
again with the same name and file it changes nothing and shows the status. An interrupted start has
sent nothing: run it again.

The file is CSV or TSV with a header row that names the column openid, NDJSON, or one openid on each
line; plain, gzip or zstd; in UTF-8, UTF-16 or GB18030. That is found out, and said. The template is
a packet as the API takes it, with {{column}} inside its strings:

  {"msgtype":"text","text":{"content":"{{name}}，您的订单 {{order}} 已发货"}}

Without a template each line of an NDJSON file is a whole packet. Nothing is sent before the whole
file is valid. Bad rows stop the start unless --skip-invalid leaves them out; one with more or fewer
columns than the header is bad, and lines that are blank are none. They are written to a file
(--rejects) with line, reason and the columns of FILE: corrected, it can be sent as it is, under
another name when the others are sent. A recipient who is in FILE twice gets the first message only.

--expires-in and --expires-at are one deadline for the whole campaign, counted from now or from
--send-at: what is not sent by then is not sent any more. It warns when the app's rate and day's
budget do not allow all by then. Without them each message expires expire_after (48 h, if not
configured) after it was fed, and the campaign takes as long as it needs.

--skip-closed leaves out recipients who have a dead letter with errcode 45015 (the reply window is
closed) from the last 48 hours. It knows the letters in the box: those of this app that nobody has
discarded or replayed.

--test-to sends the first message of the file to a tester and waits for it, then asks. A campaign
halts by itself when more than --max-errors of its first 200 messages die. What the queue holds of
it then, about a second's worth, is still sent.

Exit codes: 0 ordered, 1 failed or interrupted, 4 when bad rows were left out (those of
--skip-closed are no bad rows); with --watch also those of kefu campaign watch.`,
		Example: `  kefu campaign start double-11 users.csv --template packet.json --dry-run
  kefu campaign start double-11 users.csv --template packet.json --expires-in 6h --yes
  kefu campaign start double-11 users.csv --template packet.json --test-to oTester1 --watch
  kefu campaign start notice-7 packets.ndjson --skip-invalid --rejects bad.csv --source crm
  zcat users.csv.gz | kefu campaign start news-3 - --template packet.json --yes`,
		Args: cli.Args(1, 2, "NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := s.check(args); err != nil {
				return err
			}
			return s.run(cmd.Context(), args[0])
		},
		ValidArgsFunction: func(
			_ *cobra.Command, args []string, _ string,
		) ([]string, cobra.ShellCompDirective) {
			if len(args) == 1 {
				return nil, cobra.ShellCompDirectiveDefault // a file
			}
			return nil, cobra.ShellCompDirectiveNoFileComp
		},
	}
	s.addFileFlags(cmd)
	s.addFlags(cmd)
	return cmd
}

// addFileFlags adds the flags that are about the file.
func (s *start) addFileFlags(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&s.file, "file", "", "`file` of recipients, in place of the argument")
	flags.StringVar(&s.format, "format", "", "`format` of the file: csv, tsv, ndjson or list "+
		"(default: found out)")
	flags.StringVar(&s.encoding, "encoding", "", "`encoding` of the file: utf-8, utf-16, "+
		"utf-16le, utf-16be or gb18030 (default: found out)")
	flags.StringVar(&s.template, "template", "",
		"`file` with the packet as JSON, with {{column}} in its strings")
	flags.StringVar(&s.rejects, "rejects", "",
		"`file` that bad rows are written to, if there are any (default NAME.rejects.csv)")
	flags.BoolVar(&s.skipInvalid, "skip-invalid", false, "leave bad rows out")
	flags.BoolVar(&s.skipClosed, "skip-closed", false,
		"leave out whose reply window was closed in the last 48 hours")
	cli.Complete(cmd, "format", func() []string { return formats })
	cli.Complete(cmd, "encoding", func() []string { return encodings })
	_ = cmd.MarkFlagFilename("template", "json") // the flag was added above
}

// addFlags adds the flags that are about the sending.
func (s *start) addFlags(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.BoolVar(&s.dryRun, "dry-run", false,
		"check the file, and show what would be sent and how long that takes; needs no broker")
	flags.StringVar(&s.testTo, "test-to", "",
		"send the first message to this `openid`, wait for it, and ask before the rest")
	flags.BoolVar(&s.watch, "watch", false, "follow the campaign afterwards")
	flags.StringVar(&s.source, "source", "", "`name` of the service it comes from (Kefu-Source)")
	flags.Float64Var(&s.rate, "rate", 0,
		"messages a second at most, as a `number`; 0 for the app's rate")
	cli.FutureVar(flags, &s.sendAt, "send-at",
		"feed nothing before this `time`: 2h, 2026-11-24T08:15:00+08:00 or \"2026-11-24 08:15\"")
	cli.DurationVar(flags, &s.expiresIn, "expires-in", 0,
		"send nothing later than this after the start, or after --send-at")
	cli.FutureVar(flags, &s.expiresAt, "expires-at", "send nothing after this `time`")
	flags.StringVar(&s.quiet, "quiet-hours", "",
		"feed nothing in these `hours` of each day, Beijing time, such as 22:00-08:00")
	flags.StringVar(&s.maxErrors, "max-errors", "50%",
		"halt when more than this `share` of the first 200 messages die, or at a number of deaths "+
			"in all; 0 for never")
}

var (
	formats   = []string{"csv", "tsv", "ndjson", "list"}
	encodings = []string{"utf-8", "utf-16", "utf-16le", "utf-16be", "gb18030"}
)

// check checks what the flags say together.
func (s *start) check(args []string) error {
	if len(args) > 1 {
		if s.file != "" {
			return cli.Usagef("two files are named, %s and --file %s: which one?", args[1], s.file)
		}
		s.file = args[1]
	}
	if s.rejects == "" {
		s.rejects = args[0] + ".rejects.csv"
	}
	switch {
	case s.file == "":
		return cli.Usagef("whom to send to? FILE is missing; - is standard input")
	case s.dryRun && (s.testTo != "" || s.watch):
		return cli.Usagef("--dry-run sends nothing: it goes without --test-to and --watch")
	case s.testTo != "" && !s.streams.CanAsk():
		return cli.Usagef("--test-to asks before the rest, and there is no terminal to ask on: " +
			"add --yes to go on when the test message was sent")
	}
	if err := oneOf("format", s.format, formats); err != nil {
		return err
	}
	return oneOf("encoding", s.encoding, encodings)
}

func (s *start) run(ctx context.Context, name string) error {
	now := time.Now()
	terms, err := s.terms(name, now)
	if err != nil {
		return err
	}
	if s.dryRun {
		if err := checkBegin(terms, now); err != nil {
			return err
		}
	}
	if s.dryRun && !s.skipClosed {
		app, err := s.offline()
		if err != nil {
			return err
		}
		return s.try(ctx, app, terms, campaign.Filling{}, now)
	}
	conn, known, err := s.broker.ConnectApp(ctx, "")
	if err != nil {
		return err
	}
	defer conn.Close()
	terms.AppID = known.AppID
	var filling campaign.Filling
	if s.skipClosed {
		filling.Closed, err = closedLately(ctx, conn, terms.AppID, now)
		if err != nil {
			return err
		}
	}
	if s.dryRun {
		return s.try(ctx, known.App, terms, filling, now)
	}
	o := &ordering{start: s, conn: conn, app: known.App, terms: terms, now: now}
	return o.run(ctx, filling)
}

// try checks the file and sends nothing.
func (s *start) try(
	ctx context.Context, app config.App, t campaign.Terms, filling campaign.Filling, now time.Time,
) error {
	src, err := s.open(ctx, app.Limits)
	if err != nil {
		return err
	}
	defer src.Close()
	r, err := s.readAll(ctx, src, nil, filling)
	if err != nil {
		return err
	}
	s.describe(r)
	if err := s.judge(r); err != nil {
		return err
	}
	s.warnLate(r.sent(), t, speed(app, t), now)
	return s.dry(r, t, speed(app, t), now)
}

// warnLate warns when not all can be sent before the deadline.
func (s *start) warnLate(n int, t campaign.Terms, v campaign.Speed, now time.Time) {
	missed := late(n, t, v, now)
	if missed == 0 {
		return
	}
	s.streams.Warn(fmt.Sprintf("%s of %s cannot be sent by %s: it takes %s",
		cli.Grouped(int64(missed)), cli.Counted(n, "message"), cli.Moment(deadline(t, now)),
		takes(n, t, v, now)))
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
		return leftOutRows(invalid)
	}
}

func leftOutRows(n int) error { return cli.Partlyf("left out: %s", cli.Counted(n, "bad row")) }

// oneOf checks a flag that takes one of some words.
func oneOf(flag, value string, words []string) error {
	if value == "" || slices.Contains(words, value) {
		return nil
	}
	return cli.Usagef("--%s %q is not one of %s", flag, value, strings.Join(words, ", "))
}
