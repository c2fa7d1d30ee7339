// Package doctor is `kefu doctor`: what is wrong with an installation, and what to do about it.
package doctor

import (
	"context"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/kefuhq/kefu/internal/apps"
	"github.com/kefuhq/kefu/internal/cli"
	"github.com/kefuhq/kefu/internal/config"
	"github.com/kefuhq/kefu/internal/doctor"
)

// examination is the command.
type examination struct {
	streams  *cli.Streams
	settings *cli.Settings

	monitor []string
	role    string
	// root is the folder that holds proc and sys, for tests.
	root string
}

// New returns the command.
func New(env *cli.Env) *cobra.Command {
	e := &examination{streams: env.Streams, settings: env.Settings}
	cmd := &cobra.Command{
		Use:     "doctor",
		Short:   "Check the whole installation and say how to mend what is wrong",
		GroupID: cli.GroupSetup,
		Long: `Checks the broker and its objects, the rights of its user, whether anybody sends,
secrets, the way to WeChat's API, each app's token and quota, and this machine. Each finding stands
on a line of its own, with what to do about it below. Nothing is changed, and no message is sent.
Run it where the workers run, with their configuration.

` + checkList() + `

Each app's token is the one that its workers have; asking for the quota and the kfaccounts costs one
call of each. What this user may not ask the broker, and what no client can see, is skipped and says
so. --monitor has nats-server's monitoring (http_port) tell the rest.

With -o json it is a list of objects with check, app, state (ok, warning, error or skipped), finding
and fix.

Exit code 0 when there is no error, whatever the warnings; 1 when there is one.`,
		Example: `  kefu doctor
  kefu doctor --app wx0000000000000001
  kefu doctor --monitor http://nats-1:8222 --monitor http://nats-2:8222
  kefu doctor -o json | jq '.[] | select(.state == "error")'`,
		Args: cli.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return e.run(cmd.Context()) },
	}
	flags := cmd.Flags()
	flags.StringArrayVar(&e.monitor, "monitor", nil,
		"`address` of a nats-server's monitoring, such as http://127.0.0.1:8222; may be repeated")
	flags.StringVar(&e.role, "role", "",
		"the `role` that the broker's user has (default: the closest)")
	cli.Complete(cmd, "role", doctor.Roles)
	return cmd
}

// checkList lists the checks, for the help.
func checkList() string {
	names, about := doctor.Names()
	lines := make([]string, len(names))
	for i, name := range names {
		lines[i] = fmt.Sprintf("  %-11s %s", name, about[i])
	}
	return strings.Join(lines, "\n")
}

func (e *examination) run(ctx context.Context) error {
	cfg, err := e.settings.Config()
	if err != nil {
		return err
	}
	if e.role != "" && !slices.Contains(doctor.Roles(), e.role) {
		return cli.Usagef("--role %s is none of %s", e.role, strings.Join(doctor.Roles(), ", "))
	}
	for _, address := range e.monitor {
		if u, err := url.Parse(address); err != nil || u.Host == "" ||
			u.Scheme != "http" && u.Scheme != "https" {
			return cli.Usagef("--monitor %s is not the address of a nats-server's monitoring, "+
				"such as http://127.0.0.1:8222", address)
		}
	}
	looked := cfg.Apps
	if e.settings.AppID != "" {
		app, err := e.settings.App("")
		if err != nil {
			return err
		}
		looked = []config.App{app}
	}
	findings := doctor.Examine(ctx, doctor.Options{
		Config: cfg, Apps: looked, Getenv: e.settings.Getenv, Monitor: e.monitor, Role: e.role,
		Advice: apps.Advice, Root: e.root,
	})
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := e.print(findings); err != nil {
		return err
	}
	return e.sum(findings)
}

// sum tells how it stands, and with which exit code.
func (e *examination) sum(findings []doctor.Finding) error {
	wrong, risky, skipped := doctor.Count(findings)
	more := cli.CountOrNo(risky, "warning")
	if skipped > 0 {
		more += fmt.Sprintf(", %d skipped", skipped)
	}
	if wrong > 0 {
		return fmt.Errorf("%s, %s", cli.Counted(wrong, "error"), more)
	}
	e.streams.Notef("no error, %s", more)
	return nil
}

// line is a line of the table.
type line struct {
	state doctor.State
	check string
	text  string
	style cli.Style // of the text
}

func (e *examination) print(findings []doctor.Finding) error {
	if e.streams.AsJSON() {
		return cli.List[doctor.Finding](e.streams, findings, nil)
	}
	return cli.List(e.streams, lines(findings), []cli.Column[line]{
		{Title: "STATE", Cell: func(l line) string { return string(l.state) }, Style: stateStyle},
		{Title: "CHECK", Cell: func(l line) string { return l.check }},
		{Title: "FINDING", Cell: func(l line) string { return l.text }, Wraps: true,
			Style: func(l line) cli.Style { return l.style }},
	})
}

func stateStyle(l line) cli.Style {
	switch l.state {
	case doctor.OK:
		return cli.Green
	case doctor.Warning:
		return cli.Yellow
	case doctor.Error:
		return cli.Red
	case doctor.Skipped:
	}
	return cli.Faint
}

// lines lays findings out: a fix stands below what it mends, and what can be told on one line is.
func lines(findings []doctor.Finding) (out []line) {
	for len(findings) > 0 {
		l, n := nextLine(findings)
		out = append(out, l)
		if fix := findings[0].Fix; fix != "" {
			out = append(out, line{text: "→ " + fix})
		}
		findings = findings[n:]
	}
	return out
}

// nextLine returns the line of the first finding, and how many it tells of: all apps that are well,
// and all checks that are skipped for the same reason.
func nextLine(findings []doctor.Finding) (line, int) {
	f := findings[0]
	l := line{state: f.State, check: f.Check, text: f.Text}
	if f.App != "" {
		l.text = f.App + ": " + f.Text
	}
	n, checks := 1, []string{f.Check}
	for ; n < len(findings) && alike(f, findings[n]); n++ {
		if name := findings[n].Check; name != checks[len(checks)-1] {
			checks = append(checks, name)
		}
	}
	switch {
	case f.State == doctor.Skipped:
		l.style = cli.Faint
		if n > 1 {
			l.text = f.Text
		}
		if len(checks) > 1 {
			l.check = cli.Counted(len(checks), "check")
			l.text += ": " + strings.Join(checks, ", ")
		}
	case n > 1:
		l.text = cli.Counted(n, "app")
	}
	return l, n
}

// alike says whether two findings are told on one line.
func alike(a, b doctor.Finding) bool {
	if a.State == doctor.Skipped {
		return a.State == b.State && a.Text == b.Text
	}
	return a.State == doctor.OK && b.State == doctor.OK && a.Check == b.Check && a.App != ""
}
