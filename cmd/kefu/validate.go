package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/kefuhq/kefu/schema"
)

// validate is `kefu validate`.
type validate struct {
	cli     *cli
	invalid bool
	limits  schema.Limits
}

func newValidateCmd(c *cli) *cobra.Command {
	v := &validate{cli: c}
	cmd := &cobra.Command{
		Use:     "validate FILE…",
		Short:   "Check messages before publishing them, offline",
		GroupID: groupIntent,
		Long: `Checks message packets, as the API takes them, by the same rules as the worker: nothing is sent or published.
A file holds one packet as JSON, a JSON list of packets, or one packet per line (NDJSON); - is standard input.
The limits are the API's, or those of an app with --app. Exit code 1 when any packet is invalid. A warning says what WeChat will
show otherwise than the packet says it, or may refuse; it does not count against the packet.`,
		Example: `  kefu validate packet.json
  kefu validate --invalid campaign.ndjson
  jq -c '.[]' packets.json | kefu validate - -o ndjson`,
		Args: arguments(1, -1, "FILE"),
		RunE: func(cmd *cobra.Command, args []string) error { return v.run(cmd.Context(), args) },
	}
	cmd.Flags().BoolVar(&v.invalid, "invalid", false, "list invalid packets only")
	return cmd
}

// checked is the verdict on one packet.
type checked struct {
	File    string `json:"file"`
	Line    int    `json:"line,omitempty"` // where it starts; 0 when the file could not be read
	MsgType string `json:"msgtype,omitempty"`
	Valid   bool   `json:"valid"`
	Field   string `json:"field,omitempty"` // that breaks the rule
	Rule    string `json:"rule,omitempty"`

	Warnings []schema.Warning `json:"warnings,omitempty"` // of a valid one
}

func (v *validate) run(ctx context.Context, files []string) error {
	if err := v.setLimits(); err != nil {
		return err
	}
	var valid, invalid, doubtful int
	rows := &verdicts{stream: stream[checked]{cli: v.cli}}
	tell := func(row checked) error {
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
		return fmt.Errorf("%s: %d valid%s, %d invalid", count(valid+invalid, "packet"), valid, warned, invalid)
	case valid == 0:
		return nothingf("no packet found")
	}
	v.cli.notef("%s, all valid%s", count(valid, "packet"), warned)
	return nil
}

// setLimits takes the limits of the app that was named, if any: the command works without a configuration.
func (v *validate) setLimits() error {
	if v.cli.appID == "" {
		return nil
	}
	app, err := v.cli.app("")
	v.limits = app.Limits
	return err
}

// file tells the verdict on each packet of a file. A file that cannot be read is a verdict too: the others are still checked.
func (v *validate) file(ctx context.Context, name string, tell func(checked) error) error {
	unreadable := func(err error) error {
		return tell(checked{File: name, Field: "file", Rule: strings.TrimPrefix(err.Error(), "open "+name+": ")})
	}
	in := v.cli.in
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
	packets := newPackets(name, in)
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		line, raw, err := packets.next()
		if err == io.EOF { //nolint:errorlint // packets.next returns it bare
			return nil
		}
		if err != nil {
			return unreadable(err)
		}
		row := v.check(name, line, raw)
		if packets.unread() && !row.Valid {
			row.Rule += "; what follows was not checked"
		}
		if err := tell(row); err != nil {
			return err
		}
	}
}

func (v *validate) check(file string, line int, raw []byte) checked {
	row := checked{File: file, Line: line}
	packet, err := schema.Decode(raw, v.limits)
	if err != nil {
		row.Field, row.Rule = fieldAndRule(err)
		return row
	}
	row.Valid, row.MsgType, row.Warnings = true, packet.Body.MsgType(), packet.Warnings()
	return row
}

// verdicts prints rows: as JSON each one as it comes, since a file may be longer than memory, and as a table in the end.
type verdicts struct {
	stream stream[checked]
	rows   []checked // of the table
}

func (v *verdicts) add(row checked) error {
	if v.stream.cli.format != formatTable {
		return v.stream.add(row)
	}
	v.rows = append(v.rows, row)
	return nil
}

func (v *verdicts) end() error {
	if v.stream.cli.format != formatTable {
		return v.stream.end()
	}
	return list(v.stream.cli, v.rows, []column[checked]{
		{title: "PACKET", cell: checked.place},
		{title: "MSGTYPE", cell: func(r checked) string { return r.MsgType }},
		{title: "VERDICT", cell: checked.verdict, wraps: true, style: func(r checked) style {
			switch {
			case !r.Valid:
				return red
			case len(r.Warnings) > 0:
				return yellow
			}
			return green
		}},
	})
}

func (r checked) place() string {
	if r.Line == 0 {
		return r.File
	}
	return fmt.Sprintf("%s:%d", r.File, r.Line)
}

func (r checked) verdict() string {
	switch {
	case r.Valid:
		return "ok" + r.warnings()
	case r.Field == "":
		return r.Rule
	default:
		return r.Field + ": " + r.Rule
	}
}

// warnings are the first ones, behind the verdict.
func (r checked) warnings() string {
	const most = 3
	var b strings.Builder
	for i, w := range r.Warnings {
		if i == most {
			fmt.Fprintf(&b, "; and %s more", grouped(int64(len(r.Warnings)-most)))
			break
		}
		fmt.Fprintf(&b, "; warning: %s: %s", w.Field, w.Text)
	}
	return b.String()
}
