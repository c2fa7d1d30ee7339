package dead

import (
	"context"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/kefuhq/kefu/internal/cli"
	"github.com/kefuhq/kefu/internal/deadletter"
	"github.com/kefuhq/kefu/schema"
)

// list is `kefu dead list`.
type list struct {
	streams  *cli.Streams
	settings *cli.Settings
	broker   *cli.Broker

	choice choice
	limit  cli.Limit
	reveal bool
}

func newList(env *cli.Env) *cobra.Command {
	d := &list{streams: env.Streams, settings: env.Settings, broker: env.Broker}
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List dead letters, the newest last",
		Long: `Lists dead letters in the order in which they died. Recipients are masked; --reveal
shows them and is written to the audit. Exit code 3 when no letter matches.`,
		Example: `  kefu dead list --since 2h
  kefu dead list --reason recipient --errcode 45015,45047 --limit 20
  kefu dead list --campaign double-11 -o ndjson | jq -r .id`,
		Args: cli.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := d.limit.Check(cmd); err != nil {
				return err
			}
			return d.run(cmd.Context())
		},
	}
	d.choice.addFlags(cmd)
	d.limit.AddFlag(cmd, "letters")
	cmd.Flags().BoolVar(&d.reveal, "reveal", false,
		"show recipients in full; this is written to the audit")
	return cmd
}

// Row is a letter in a list: what is said and the attempts are for `dead show`.
type Row struct {
	ID                string        `json:"id"`
	AppID             string        `json:"appid"`
	Reason            schema.Reason `json:"reason"`
	Errcode           *int          `json:"errcode,omitempty"`
	Errmsg            string        `json:"errmsg,omitempty"`
	Detail            string        `json:"detail,omitempty"`
	Lane              schema.Lane   `json:"lane"`
	Campaign          string        `json:"campaign,omitempty"`
	OpenID            string        `json:"openid,omitempty"`
	Source            string        `json:"source,omitempty"`
	Generation        int           `json:"generation"`
	Attempts          int           `json:"attempts"`
	PossibleDuplicate bool          `json:"possible_duplicate,omitempty"`
	PublishedAt       time.Time     `json:"published_at,omitzero"`
	DiedAt            time.Time     `json:"died_at"`
	Seq               uint64        `json:"seq"` // in KEFU_DEAD
}

func newRow(i deadletter.Item, m cli.Mask) Row {
	l := i.Letter
	return Row{
		ID: l.ID, AppID: l.AppID, Reason: l.Reason, Errcode: l.Errcode, Errmsg: l.Errmsg,
		Detail: l.Detail, Lane: l.Lane,
		Campaign: l.Campaign, OpenID: m.OpenID(l.OpenID), Source: l.Source,
		Generation: l.Generation, Attempts: len(l.Attempts),
		PossibleDuplicate: l.PossibleDuplicate, PublishedAt: l.PublishedAt, DiedAt: l.DiedAt,
		Seq: i.Seq,
	}
}

func (d *list) run(ctx context.Context) error {
	filter, err := d.choice.filter(d.settings.AppID, nil, time.Now())
	if err != nil {
		return err
	}
	limit := d.limit.Rows(d.streams)
	conn, box, err := openBox(ctx, d.broker)
	if err != nil {
		return err
	}
	defer conn.Close()
	print := d.printNewest
	if limit == 0 && d.streams.AsJSON() {
		print = d.printAll
	}
	found, err := print(ctx, box, filter, limit)
	if err != nil {
		return err
	}
	d.forewarn(ctx, box)
	if found == 0 {
		return noMatch(ctx, box, filter)
	}
	d.limit.Note(d.streams, found, cli.Counted(found, "letter"))
	return nil
}

// printAll prints each letter as it is read, since a million need not be held here, and returns how
// many there are.
func (d *list) printAll(
	ctx context.Context, box *deadletter.Box, filter deadletter.Filter, _ int,
) (found int, err error) {
	rows := cli.Rows[Row]{Streams: d.streams}
	mask := cli.Mask{Reveal: d.reveal}
	show := func(i deadletter.Item) error {
		found++
		return rows.Add(newRow(i, mask))
	}
	if d.reveal {
		err = box.ListRevealed(ctx, d.viewer(), filter, show)
	} else {
		err = box.List(ctx, filter, show)
	}
	if err != nil {
		return found, err
	}
	return found, rows.End()
}

// printNewest prints the newest letters, all for a limit of 0, and returns how many there are.
func (d *list) printNewest(
	ctx context.Context, box *deadletter.Box, filter deadletter.Filter, limit int,
) (found int, err error) {
	newest := cli.Newest[Row]{Most: limit}
	mask := cli.Mask{Reveal: d.reveal}
	err = box.List(ctx, filter, func(i deadletter.Item) error {
		newest.Add(newRow(i, mask))
		return nil
	})
	if err == nil && d.reveal {
		err = box.AuditRevealOf(ctx, d.viewer(), filter, newest.Kept())
	}
	if err != nil {
		return newest.Count, err
	}
	return newest.Count, cli.List(d.streams, newest.Rows(), columns())
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

func columns() []cli.Column[Row] {
	return []cli.Column[Row]{
		{Title: "ID", Cell: func(r Row) string { return r.ID }}, // whole: dead show takes it
		{Title: "APP", Cell: func(r Row) string { return r.AppID }, Spare: 2},
		{Title: "REASON", Cell: func(r Row) string { return string(r.Reason) },
			Style: func(r Row) cli.Style { return reasonStyle(r.Reason) }},
		{Title: "ERRCODE", Right: true, Cell: func(r Row) string { return cli.Errcode(r.Errcode) }},
		{Title: "LANE", Cell: func(r Row) string { return string(r.Lane) }, Spare: 6},
		{Title: "CAMPAIGN", Cell: func(r Row) string { return r.Campaign }, Cuts: true, Spare: 3},
		{Title: "RECIPIENT", Cell: func(r Row) string { return r.OpenID }, Spare: 4},
		{Title: "SOURCE", Cell: func(r Row) string { return r.Source }, Cuts: true, Spare: 5},
		{Title: "ATTEMPTS", Right: true,
			Cell: func(r Row) string { return strconv.Itoa(r.Attempts) }, Spare: 7},
		{Title: "DIED", Cell: func(r Row) string { return cli.Moment(r.DiedAt) }, Spare: 1},
		{Title: "DETAIL", Cell: func(r Row) string { return r.Detail }, Cuts: true},
	}
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
