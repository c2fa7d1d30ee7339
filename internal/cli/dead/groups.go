package dead

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/kefuhq/kefu/internal/cli"
	"github.com/kefuhq/kefu/internal/deadletter"
)

// groups is `kefu dead groups`.
type groups struct {
	streams  *cli.Streams
	settings *cli.Settings
	broker   *cli.Broker

	choice choice
	sort   string
	limit  int
}

// groupOrders are the values of --sort: what comes first.
var groupOrders = []struct {
	name    string
	compare func(a, b deadletter.Group) int
}{
	{"count", func(a, b deadletter.Group) int { return b.Count - a.Count }},
	{byNewest, func(a, b deadletter.Group) int { return b.Last.Compare(a.Last) }},
	{byOldest, func(a, b deadletter.Group) int { return a.First.Compare(b.First) }},
}

func groupOrderNames() (names []string) {
	for _, o := range groupOrders {
		names = append(names, o.name)
	}
	return names
}

func newGroups(env *cli.Env) *cobra.Command {
	d := &groups{streams: env.Streams, settings: env.Settings, broker: env.Broker}
	cmd := &cobra.Command{
		Use:   "groups",
		Short: "Group dead letters by what they died of",
		Long: `Groups dead letters by app, reason, errcode and errmsg, without the ids and numbers in it: one
cause is one group, however many messages died of it. LAST HOUR counts those that died in the last
hour; the arrow says whether they are more or fewer than in the hour before. What kefu advises is
printed below the table. --group chooses the letters of a group in every other subcommand. A group
with a ✓ was acknowledged (kefu dead ack), and nothing died of it since.

The largest group comes first; --sort newest puts first what messages die of now, and --sort oldest
what they have died of for the longest time. Exit code 3 when no letter matches.`,
		Example: `  kefu dead groups
  kefu dead groups --since 2h --app wx0000000000000001
  kefu dead groups --sort newest --limit 5
  kefu dead list --group 7fb47d95`,
		Args: cli.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := d.check(); err != nil {
				return err
			}
			return d.run(cmd.Context())
		},
	}
	d.choice.addFlags(cmd)
	flags := cmd.Flags()
	flags.StringVar(&d.sort, "sort", groupOrders[0].name,
		"`order`: "+strings.Join(groupOrderNames(), ", ")+" first")
	flags.IntVar(&d.limit, "limit", 0, "at most the first `n` groups; 0 for all")
	cli.Complete(cmd, "sort", groupOrderNames)
	return cmd
}

func (d *groups) check() error {
	switch {
	case !slices.Contains(groupOrderNames(), d.sort):
		return cli.Usagef("--sort %q is not one of %s", d.sort,
			strings.Join(groupOrderNames(), ", "))
	case d.limit < 0:
		return cli.Usagef("--limit cannot be below 0")
	}
	return nil
}

// Group is a group as JSON, with what kefu advises.
type Group struct {
	deadletter.Group
	Advice   string `json:"advice"`
	AdviceZh string `json:"advice_zh"`
}

func (d *groups) run(ctx context.Context) error {
	now := time.Now()
	filter, err := d.choice.filter(d.settings.AppID, nil, now)
	if err != nil {
		return err
	}
	conn, box, err := openBox(ctx, d.broker)
	if err != nil {
		return err
	}
	defer conn.Close()
	found, err := box.Groups(ctx, filter, now)
	if err != nil {
		return err
	}
	first := d.first(found)
	rows := make([]Group, len(first))
	for i, g := range first {
		advice := deadletter.AdviceOn(g.Reason, g.Errcode)
		rows[i] = Group{g, advice.DoEn, advice.DoZh}
	}
	if err := cli.List(d.streams, rows, groupColumns()); err != nil {
		return err
	}
	switch {
	case len(found) == 0:
		return noMatch(ctx, box, filter)
	case d.streams.AsJSON():
		return nil
	}
	if err := d.streams.Printf("\n"); err != nil {
		return err
	}
	if err := cli.Record(d.streams, nil, d.advice(rows)); err != nil {
		return err
	}
	if len(first) < len(found) {
		d.streams.Notef("the first %s of %s; --limit shows more, 0 all",
			cli.Grouped(int64(len(first))), cli.Counted(len(found), "group"))
	}
	return nil
}

// first sorts groups and returns those that are shown.
func (d *groups) first(found []deadletter.Group) []deadletter.Group {
	for _, o := range groupOrders {
		if o.name == d.sort {
			slices.SortStableFunc(found, o.compare)
		}
	}
	if d.limit > 0 {
		return found[:min(d.limit, len(found))]
	}
	return found
}

func groupColumns() []cli.Column[Group] {
	return []cli.Column[Group]{
		{Title: "GROUP", Cell: groupName, Style: func(g Group) cli.Style {
			if g.Acknowledged != nil {
				return cli.Faint
			}
			return ""
		}},
		{Title: "COUNT", Right: true, Cell: func(g Group) string { return cli.Grouped(int64(g.Count)) }},
		{Title: "LAST HOUR", Right: true, Cell: trend},
		{Title: "APP", Cell: func(g Group) string { return g.AppID }, Spare: 2},
		{Title: "REASON", Cell: func(g Group) string { return string(g.Reason) },
			Style: func(g Group) cli.Style { return reasonStyle(g.Reason) }},
		{Title: "ERRCODE", Right: true, Cell: func(g Group) string { return cli.Errcode(g.Errcode) }},
		{Title: "NEWEST", Cell: func(g Group) string { return cli.Moment(g.Last) }, Spare: 3},
		{Title: "EXAMPLE", Cell: func(g Group) string { return g.Example }, Spare: 1},
		{Title: "ERRMSG", Cell: func(g Group) string { return g.Errmsg }, Cuts: true},
	}
}

// groupName marks a group that somebody looks after.
func groupName(g Group) string {
	if g.Acknowledged != nil {
		return g.ID + " ✓"
	}
	return g.ID
}

// trend is how many died in the last hour, and whether that is more than in the hour
// before.
func trend(g Group) string {
	n := cli.Grouped(int64(g.LastHour))
	switch {
	case g.LastHour > g.HourBefore:
		return n + " ↑"
	case g.LastHour < g.HourBefore:
		return n + " ↓"
	}
	return n + "  "
}

// advice says once for each errcode, or reason without one, what it means and what to
// do.
func (d *groups) advice(rows []Group) []cli.Field {
	var fields []cli.Field
	said := make(map[string]bool)
	for _, g := range rows {
		name := cli.Errcode(g.Errcode)
		if name == "" {
			name = string(g.Reason)
		}
		if said[name] {
			continue
		}
		said[name] = true
		advice := deadletter.AdviceOn(g.Reason, g.Errcode)
		if language := d.settings.Language(); language != cli.Chinese {
			fields = append(fields, cli.Field{Name: name, Value: advice.MeansEn + ". " + advice.DoEn})
			name = " "
			if language == cli.English {
				continue
			}
		}
		fields = append(fields, cli.Field{Name: name, Value: advice.MeansZh + "。" + advice.DoZh})
	}
	return fields
}
