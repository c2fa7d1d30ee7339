package dead

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/kefuhq/kefu/internal/cli"
	"github.com/kefuhq/kefu/internal/deadletter"
	"github.com/kefuhq/kefu/internal/letter"
	"github.com/kefuhq/kefu/internal/mask"
	"github.com/kefuhq/kefu/schema"
)

// list is `kefu dead list`.
type list struct {
	streams  *cli.Streams
	settings *cli.Settings
	broker   *cli.Broker

	choice choice
	limit  cli.Limit
	sort   string
	page   deadletter.Page
	reveal bool
}

func newList(env *cli.Env) *cobra.Command {
	d := &list{streams: env.Streams, settings: env.Settings, broker: env.Broker}
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List dead letters, the newest last",
		Long: `Lists dead letters in the order in which they died, and of many the newest. --sort puts others
first: ` + strings.Join(orderNames(), ", ") + `. Of those with as many attempts, or
the same errcode, the newest come first. Recipients are masked; --reveal shows them and is written
to the audit.

A long list is read in pages: seq in the JSON is where a letter lies in the box, and --after and
--before begin behind it. When there is more, the last line says with which of them it goes on.
Exit code 3 when no letter matches.`,
		Example: `  kefu dead list --since 2h
  kefu dead list --reason recipient --errcode 45015,45047 --limit 20
  kefu dead list --sort attempts --limit 10
  kefu dead list --sort oldest --limit 1000 --after 4711 -o json
  kefu dead list --campaign double-11 -o ndjson | jq -r .id`,
		Args: cli.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := d.check(cmd); err != nil {
				return err
			}
			return d.run(cmd.Context())
		},
	}
	d.choice.addFlags(cmd)
	flags := cmd.Flags()
	flags.StringVar(&d.sort, "sort", "",
		"`order`: "+strings.Join(orderNames(), ", ")+" first (default the newest last)")
	d.limit.AddFlag(cmd, "letters")
	flags.Lookup("limit").Usage = "at most `n` letters, the newest or the first of --sort; " +
		"0 for all (default 100 in a table, all as JSON)"
	flags.Uint64Var(&d.page.After, "after", 0, "only letters that lie behind this `seq` in the box")
	flags.Uint64Var(&d.page.Before, "before", 0, "only letters that lie before this `seq` in the box")
	flags.BoolVar(&d.reveal, "reveal", false,
		"show recipients in full; this is written to the audit")
	cli.Complete(cmd, "sort", orderNames)
	return cmd
}

func (d *list) check(cmd *cobra.Command) error {
	flags := cmd.Flags()
	switch {
	case d.sort != "" && !slices.Contains(orderNames(), d.sort):
		return cli.Usagef("--sort %q is not one of %s", d.sort, strings.Join(orderNames(), ", "))
	case flags.Changed("before") && d.page.Before == 0:
		return cli.Usagef("--before counts from 1")
	case flags.Changed("before") && d.page.Before <= d.page.After+1:
		return cli.Usagef("nothing lies behind --after and before --before")
	}
	return d.limit.Check(cmd)
}

func (d *list) run(ctx context.Context) error {
	filter, err := d.choice.filter(d.settings.AppID, nil, time.Now())
	if err != nil {
		return err
	}
	conn, box, err := openBox(ctx, d.broker)
	if err != nil {
		return err
	}
	defer conn.Close()
	print := d.printSome
	if d.limit.Rows(d.streams) == 0 && d.streams.AsJSON() && d.byTime() {
		print = d.printAll
	}
	found, err := print(ctx, box, filter)
	if err != nil {
		return err
	}
	d.forewarn(ctx, box)
	if found == 0 {
		return d.nothing(ctx, box, filter)
	}
	return nil
}

// nothing returns why nothing was found.
func (d *list) nothing(ctx context.Context, box *deadletter.Box, filter deadletter.Filter) error {
	if d.page.After > 0 || d.page.Before > 0 {
		return cli.Nothingf("no dead letter matches there: --after or --before end the list")
	}
	return noMatch(ctx, box, filter)
}

// printAll prints each letter as it is read, since a million need not be held here, and returns how
// many there are.
func (d *list) printAll(
	ctx context.Context, box *deadletter.Box, filter deadletter.Filter,
) (found int, err error) {
	rows := cli.Rows[letter.Row]{Streams: d.streams}
	shown := mask.Mask{Reveal: d.reveal}
	show := func(i deadletter.Item) error {
		found++
		return rows.Add(letter.NewRow(i, shown))
	}
	page := d.page
	page.NewestFirst = d.sort == byNewest
	if d.reveal {
		err = box.ListRevealed(ctx, d.viewer(), filter, page, show)
	} else {
		err = box.ListPage(ctx, filter, page, show)
	}
	if err != nil {
		return found, err
	}
	return found, rows.End()
}

// printSome prints the letters that come first, or all without a limit, and returns how many there
// are.
func (d *list) printSome(
	ctx context.Context, box *deadletter.Box, filter deadletter.Filter,
) (found int, err error) {
	choose := d.sorted
	if d.byTime() {
		choose = d.newestOrOldest
	}
	rows, more, err := choose(ctx, box, filter)
	if err == nil && d.reveal {
		err = box.AuditRevealOf(ctx, d.viewer(), filter, len(rows))
	}
	if err != nil {
		return len(rows), err
	}
	if err := cli.List(d.streams, rows, columns()); err != nil {
		return len(rows), err
	}
	if more {
		d.note(ctx, box, filter, rows)
	}
	return len(rows), nil
}

// newestOrOldest returns as many letters as are shown, and reads one more to know whether there is
// one.
func (d *list) newestOrOldest(
	ctx context.Context, box *deadletter.Box, filter deadletter.Filter,
) (rows []letter.Row, more bool, err error) {
	limit := d.limit.Rows(d.streams)
	page := d.page
	backward := d.sort == "" && limit > 0 // what is printed last is read first
	page.NewestFirst = d.sort == byNewest || backward
	if limit > 0 {
		page.Most = limit + 1
	}
	shown := mask.Mask{Reveal: d.reveal}
	err = box.ListPage(ctx, filter, page, func(i deadletter.Item) error {
		rows = append(rows, letter.NewRow(i, shown).Alone())
		return nil
	})
	if more = limit > 0 && len(rows) > limit; more {
		rows = rows[:limit]
	}
	if backward {
		slices.Reverse(rows)
	}
	return rows, more, err
}

// sorted reads all letters, and returns those that come first in an order that is not the box's.
func (d *list) sorted(
	ctx context.Context, box *deadletter.Box, filter deadletter.Filter,
) (rows []letter.Row, more bool, err error) {
	top := cli.Top[letter.Row]{Most: d.limit.Rows(d.streams), Compare: d.compare()}
	shown := mask.Mask{Reveal: d.reveal}
	err = box.ListPage(ctx, filter, d.page, func(i deadletter.Item) error {
		row := letter.NewRow(i, shown)
		if top.Most == 0 {
			row = row.Alone()
		}
		top.Add(row)
		return nil
	})
	rows = top.Rows()
	return rows, top.Count > len(rows), err
}

// note says that not all is shown, and how to go on.
func (d *list) note(
	ctx context.Context, box *deadletter.Box, filter deadletter.Filter, rows []letter.Row,
) {
	which, how := "the newest", fmt.Sprintf("--before %d goes on", rows[0].Seq)
	last := rows[len(rows)-1].Seq
	switch d.sort {
	case "":
	case byNewest:
		how = fmt.Sprintf("--before %d goes on", last)
	case byOldest:
		which, how = "the oldest", fmt.Sprintf("--after %d goes on", last)
	default:
		which, how = "the first", "--limit shows more"
	}
	d.streams.Notef("%s %s; %s, --limit 0 shows all", which, d.ofAll(ctx, box, filter, len(rows)), how)
}

// ofAll says how many of how many letters are shown, as far as the broker knows that without reading
// them.
func (d *list) ofAll(
	ctx context.Context, box *deadletter.Box, filter deadletter.Filter, shown int,
) string {
	if d.page.After == 0 && d.page.Before == 0 {
		ctx, cancel := context.WithTimeout(ctx, cli.AsideWait)
		defer cancel()
		if n, known, err := box.Count(ctx, filter); err == nil && known {
			return fmt.Sprintf("%s of %s", cli.Grouped(int64(shown)), cli.Counted(int(n), "letter"))
		}
	}
	return cli.Counted(shown, "letter") + " of more that match"
}

func (d *list) viewer() deadletter.Viewer {
	return deadletter.Viewer{Actor: d.settings.Actor(), Command: "dead list"}
}

// forewarn warns when letters are about to be lost, or there is hardly room for more.
func (d *list) forewarn(ctx context.Context, box *deadletter.Box) {
	ctx, cancel := context.WithTimeout(ctx, cli.AsideWait)
	defer cancel()
	level, err := box.Level(ctx)
	if err != nil {
		return // the list was shown: to fail now would take it back
	}
	for _, warning := range level.Warnings(time.Now()) {
		d.streams.Warn(warning)
	}
}

func columns() []cli.Column[letter.Row] {
	return []cli.Column[letter.Row]{
		{Title: "ID", Cell: func(r letter.Row) string { return r.ID }}, // whole: dead show takes it
		{Title: "APP", Cell: func(r letter.Row) string { return r.AppID }, Spare: 2},
		{Title: "REASON", Cell: func(r letter.Row) string { return string(r.Reason) },
			Style: func(r letter.Row) cli.Style { return reasonStyle(r.Reason) }},
		{Title: "ERRCODE", Right: true, Cell: func(r letter.Row) string { return cli.Errcode(r.Errcode) }},
		{Title: "LANE", Cell: func(r letter.Row) string { return string(r.Lane) }, Spare: 6},
		{Title: "CAMPAIGN", Cell: func(r letter.Row) string { return r.Campaign }, Cuts: true, Spare: 3},
		{Title: "RECIPIENT", Cell: func(r letter.Row) string { return r.OpenID }, Spare: 4},
		{Title: "SOURCE", Cell: func(r letter.Row) string { return r.Source }, Cuts: true, Spare: 5},
		{Title: "ATTEMPTS", Right: true,
			Cell: func(r letter.Row) string { return strconv.Itoa(r.Attempts) }, Spare: 7},
		{Title: "DIED", Cell: func(r letter.Row) string { return cli.Moment(r.DiedAt) }, Spare: 1},
		{Title: "DETAIL", Cell: detail, Cuts: true},
	}
}

// detail is what WeChat said, as the letter's own detail begins with what other columns show; or
// that, when there was no answer.
func detail(r letter.Row) string {
	if r.Errcode != nil && r.Errmsg != "" {
		return r.Errmsg
	}
	return r.Detail
}

// reasonStyle sets apart what a person should look into from what happens every day.
func reasonStyle(r schema.Reason) cli.Style {
	switch r {
	case schema.ReasonInvalid, schema.ReasonIDReuse, schema.ReasonPoison:
		return cli.Red
	case schema.ReasonUnknown, schema.ReasonExhausted, schema.ReasonRejected:
		return cli.Yellow
	default:
		return ""
	}
}
