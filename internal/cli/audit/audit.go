// Package audit is `kefu audit`: what operators did.
package audit

import (
	"context"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/cli"
	"github.com/kefuhq/kefu/internal/wire"
)

// audit is `kefu audit`.
type audit struct {
	streams  *cli.Streams
	settings *cli.Settings
	broker   *cli.Broker

	since, until cli.When
	verbs        []string
	actor        string
	limit        cli.Limit
}

// New returns the command.
func New(env *cli.Env) *cobra.Command {
	a := &audit{streams: env.Streams, settings: env.Settings, broker: env.Broker}
	cmd := &cobra.Command{
		Use:     "audit",
		Short:   "Show what operators did, the newest last",
		GroupID: cli.GroupApp,
		Long: `Shows who did what, when, to which app, to how many messages, and what was chosen.
The entries name no recipient: where one was chosen, #… is a keyed hash of the openid. An entry that
cannot be read is shown as such, whatever --actor and --app say. Exit code 3 when no entry matches.`,
		Example: `  kefu audit --since 2h
  kefu audit --verb replay,cancel --actor li --since 7d
  kefu audit --app wx0000000000000001 --verb pause --verb resume
  kefu audit --since 2026-11-01 --until 2026-12-01 -o ndjson`,
		Args: cli.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := a.limit.Check(cmd); err != nil {
				return err
			}
			return a.run(cmd.Context())
		},
	}
	flags := cmd.Flags()
	cli.PastVar(flags, &a.since, "since",
		"done at this `time` or later: 2h, 7d, 2026-11-24T08:15:00+08:00 or \"2026-11-24 08:15\"")
	cli.PastVar(flags, &a.until, "until", "done before this `time`")
	flags.StringSliceVar(&a.verbs, "verb", nil,
		"what was done, such as replay, reveal, cancel, pause: `verbs`, separated by commas")
	flags.StringVar(&a.actor, "actor", "", "who did it: a `user`, or user@host")
	a.limit.AddFlag(cmd, "entries")
	cli.Complete(cmd, "verb", broker.AuditVerbs)
	return cmd
}

func (a *audit) run(ctx context.Context) error {
	filter, err := a.filter(time.Now())
	if err != nil {
		return err
	}
	limit := a.limit.Rows(a.streams)
	conn, err := a.broker.Connect(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	print := a.printNewest
	if limit == 0 && a.streams.AsJSON() {
		print = a.printAll
	}
	found, err := print(ctx, conn, filter, limit)
	switch {
	case err != nil:
		return err
	case found == 0:
		return cli.Nothingf("no entry of the audit matches")
	}
	a.limit.Note(a.streams, found, cli.Grouped(int64(found))+" entries")
	return nil
}

// filter returns what the flags choose.
func (a *audit) filter(now time.Time) (broker.AuditFilter, error) {
	f := broker.AuditFilter{
		Since: a.since.At(now), Until: a.until.At(now), Actor: a.actor, AppID: a.settings.AppID,
	}
	for _, verb := range a.verbs {
		verb = strings.TrimSpace(verb)
		if wire.AuditSubject(verb) == "" {
			return f, cli.Usagef("--verb %q is no verb such as replay or pause", verb)
		}
		f.Verbs = append(f.Verbs, verb)
	}
	if !f.Since.IsZero() && !f.Until.IsZero() && !f.Since.Before(f.Until) {
		return f, cli.Usagef("--since is not before --until: no time is left")
	}
	return f, nil
}

// printAll prints each entry as it is read, since a million need not be held here, and returns how
// many there are.
func (a *audit) printAll(
	ctx context.Context, conn *broker.Conn, filter broker.AuditFilter, _ int,
) (found int, err error) {
	rows := cli.Rows[broker.AuditRecord]{Streams: a.streams}
	err = conn.ReadAudit(ctx, filter, func(r broker.AuditRecord) error {
		found++
		return rows.Add(r)
	})
	if err != nil {
		return found, err
	}
	return found, rows.End()
}

// printNewest prints the newest entries, all for a limit of 0, and returns how many there are.
func (a *audit) printNewest(
	ctx context.Context, conn *broker.Conn, filter broker.AuditFilter, limit int,
) (found int, err error) {
	newest := cli.Newest[broker.AuditRecord]{Most: limit}
	err = conn.ReadAudit(ctx, filter, func(r broker.AuditRecord) error {
		newest.Add(r)
		return nil
	})
	if err != nil {
		return newest.Count, err
	}
	return newest.Count, cli.List(a.streams, newest.Rows(), columns())
}

func columns() []cli.Column[broker.AuditRecord] {
	type record = broker.AuditRecord
	return []cli.Column[record]{
		{Title: "WHEN", Cell: func(r record) string { return cli.Moment(r.Time) }},
		{Title: "WHO", Cell: func(r record) string { return r.Actor }, Cuts: true},
		{Title: "VERB", Cell: func(r record) string { return r.Verb }},
		{Title: "APP", Cell: func(r record) string { return r.AppID }, Spare: 1},
		{Title: "COUNT", Right: true, Cell: count},
		{Title: "FILTER, DETAIL", Cell: what, Cuts: true, Style: func(r record) cli.Style {
			if r.Unreadable != "" {
				return cli.Red
			}
			return ""
		}},
	}
}

// count is how many intents an action touched.
func count(r broker.AuditRecord) string {
	if r.Unreadable != "" {
		return ""
	}
	return cli.Grouped(int64(r.Count))
}

// what returns filter and detail in one: many entries have one of them only, and a narrow terminal
// has no space for two columns.
func what(r broker.AuditRecord) string {
	switch {
	case r.Unreadable != "":
		return "this entry cannot be read: " + r.Unreadable
	case r.Filter == "" || r.Detail == "":
		return r.Filter + r.Detail
	}
	return r.Filter + ": " + r.Detail
}
