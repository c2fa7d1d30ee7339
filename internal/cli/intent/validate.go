package intent

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/kefuhq/kefu/internal/cli"
	"github.com/kefuhq/kefu/internal/packets"
	"github.com/kefuhq/kefu/schema"
)

// validate is `kefu validate`.
type validate struct {
	streams  *cli.Streams
	settings *cli.Settings

	invalid bool
	limits  schema.Limits
}

// NewValidate returns `kefu validate`.
func NewValidate(env *cli.Env) *cobra.Command {
	v := &validate{streams: env.Streams, settings: env.Settings}
	cmd := &cobra.Command{
		Use:     "validate FILE…",
		Short:   "Check messages before publishing them, offline",
		GroupID: cli.GroupIntent,
		Long: `Checks message packets, as the API takes them, by the same rules as the worker:
nothing is sent or published. A file holds one packet as JSON, a JSON list of packets, or one packet
per line (NDJSON); - is standard input. The limits are the API's, or those of an app with --app.
Exit code 1 when any packet is invalid. A warning says what WeChat will show otherwise than the
packet says it, or may refuse; it does not count against the packet.`,
		Example: `  kefu validate packet.json
  kefu validate --invalid campaign.ndjson
  jq -c '.[]' packets.json | kefu validate - -o ndjson`,
		Args: cli.Args(1, -1, "FILE"),
		RunE: func(cmd *cobra.Command, args []string) error { return v.run(cmd.Context(), args) },
	}
	cmd.Flags().BoolVar(&v.invalid, "invalid", false, "list invalid packets only")
	return cmd
}

func (v *validate) run(ctx context.Context, files []string) error {
	if err := v.setLimits(); err != nil {
		return err
	}
	var valid, invalid, doubtful int
	rows := &verdicts{stream: cli.Rows[packets.Verdict]{Streams: v.streams}}
	tell := func(row packets.Verdict) error {
		switch {
		case !row.Valid:
			invalid++
		case len(row.Warnings) > 0:
			doubtful++
			valid++
		default:
			valid++
		}
		if row.Valid && v.invalid {
			return nil
		}
		return rows.add(row)
	}
	for _, file := range files {
		if err := v.file(ctx, file, tell); err != nil {
			return err
		}
	}
	if err := rows.end(); err != nil {
		return err
	}
	warned := ""
	if doubtful > 0 {
		warned = fmt.Sprintf(" (%d with warnings)", doubtful)
	}
	switch {
	case invalid > 0:
		return fmt.Errorf("%s: %d valid%s, %d invalid", cli.CountOrNo(valid+invalid, "packet"),
			valid, warned, invalid)
	case valid == 0:
		return cli.Nothingf("no packet found")
	}
	v.streams.Notef("%s, all valid%s", cli.CountOrNo(valid, "packet"), warned)
	return nil
}

// setLimits takes the limits of the app that was named, if any: the command works without a
// configuration.
func (v *validate) setLimits() error {
	if v.settings.AppID == "" {
		return nil
	}
	app, err := v.settings.App("")
	v.limits = app.Limits
	return err
}

// file tells the verdict on each packet of a file. A file that cannot be read is a verdict too: the
// others are still checked.
func (v *validate) file(ctx context.Context, name string, tell func(packets.Verdict) error) error {
	unreadable := func(err error) error {
		return tell(packets.Verdict{File: name, Field: "file",
			Rule: strings.TrimPrefix(err.Error(), "open "+name+": ")})
	}
	in := v.streams.In
	if name == "-" {
		name = "stdin"
	} else {
		f, err := os.Open(name)
		if err != nil {
			return unreadable(err)
		}
		defer f.Close() //nolint:errcheck // nothing was written
		in = f
	}
	file := packets.NewReader(name, in)
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		line, raw, err := file.Next()
		if err == io.EOF { //nolint:errorlint // Next returns it bare
			return nil
		}
		if err != nil {
			return unreadable(err)
		}
		row := packets.Check(raw, v.limits)
		row.File, row.Line = name, line
		if file.Unread() && !row.Valid {
			row.Rule += "; what follows was not checked"
		}
		if err := tell(row); err != nil {
			return err
		}
	}
}

// verdicts prints rows: as JSON each one as it comes, since a file may be longer than memory, and
// as a table in the end.
type verdicts struct {
	stream cli.Rows[packets.Verdict]
	rows   []packets.Verdict // of the table
}

func (v *verdicts) add(row packets.Verdict) error {
	if v.stream.Streams.AsJSON() {
		return v.stream.Add(row)
	}
	v.rows = append(v.rows, row)
	return nil
}

func (v *verdicts) end() error {
	if v.stream.Streams.AsJSON() {
		return v.stream.End()
	}
	return cli.List(v.stream.Streams, v.rows, []cli.Column[packets.Verdict]{
		{Title: "PACKET", Cell: place},
		{Title: "MSGTYPE", Cell: func(r packets.Verdict) string { return r.MsgType }},
		{Title: "VERDICT", Cell: verdict, Wraps: true, Style: func(r packets.Verdict) cli.Style {
			switch {
			case !r.Valid:
				return cli.Red
			case len(r.Warnings) > 0:
				return cli.Yellow
			}
			return cli.Green
		}},
	})
}

func place(r packets.Verdict) string {
	if r.Line == 0 {
		return r.File
	}
	return fmt.Sprintf("%s:%d", r.File, r.Line)
}

func verdict(r packets.Verdict) string {
	switch {
	case r.Valid:
		return "ok" + warnings(r)
	case r.Field == "":
		return r.Rule
	default:
		return r.Field + ": " + r.Rule
	}
}

// warnings returns the first warnings of a packet, to stand after the verdict.
func warnings(r packets.Verdict) string {
	const most = 3
	var b strings.Builder
	for i, w := range r.Warnings {
		if i == most {
			fmt.Fprintf(&b, "; and %s more", cli.Grouped(int64(len(r.Warnings)-most)))
			break
		}
		fmt.Fprintf(&b, "; warning: %s: %s", w.Field, w.Text)
	}
	return b.String()
}
