package dead

import (
	"context"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/kefuhq/kefu/internal/broker"
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
	limit  int
	reveal bool
}

func newList(env *cli.Env) *cobra.Command {
	d := &list{streams: env.Streams, settings: env.Settings, broker: env.Broker}
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List dead letters, the newest last",
		Long: `Lists dead letters in the order in which they died. Recipients are masked; --reveal shows them and is written to the
audit. Exit code 3 when no letter matches.`,
		Example: `  kefu dead list --since 2h
  kefu dead list --reason recipient --errcode 45015,45047 --limit 20
  kefu dead list --campaign double-11 -o ndjson | jq -r .id`,
		Args: cli.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if cmd.Flags().Changed("limit") && d.limit < 0 {
				return cli.Usagef("--limit cannot be below 0, which is for all")
			}
			return d.run(cmd.Context())
		},
	}
	d.choice.addFlags(cmd)
	cmd.Flags().IntVar(&d.limit, "limit", -1,
		"at most the newest `n` letters; 0 for all (default 100 in a table, all as JSON)")
	cmd.Flags().Lookup("limit").DefValue = "0" // the help shows no default beside that
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

const tableLimit = 100

func (d *list) run(ctx context.Context) error {
	filter, err := d.choice.filter(d.settings.AppID, nil, time.Now())
	if err != nil {
		return err
	}
	limit := d.limit
	if limit < 0 {
		limit = 0
		if !d.streams.AsJSON() {
			limit = tableLimit
		}
	}
	conn, box, err := openBox(ctx, d.broker)
	if err != nil {
		return err
	}
	defer conn.Close()
	found := newest[Row]{most: limit}
	mask := cli.Mask{Reveal: d.reveal}
	if limit == 0 && d.streams.AsJSON() { // a million letters need not be held here
		rows := cli.Rows[Row]{Streams: d.streams}
		err = d.stream(ctx, conn, box, filter, func(i deadletter.Item) error {
			found.count++
			return rows.Add(newRow(i, mask))
		})
		if err == nil {
			err = rows.End()
		}
	} else {
		err = box.List(ctx, filter, func(i deadletter.Item) error {
			found.add(newRow(i, mask))
			return nil
		})
		if err == nil {
			err = d.audit(ctx, conn, filter, len(found.ring))
		}
		if err == nil {
			err = cli.List(d.streams, found.rows(), d.columns())
		}
	}
	if err != nil {
		return err
	}
	d.forewarn(ctx, box)
	switch {
	case found.count == 0:
		return cli.Nothingf("no dead letter matches")
	case limit > 0 && found.count > limit:
		d.streams.Notef("the newest %s of %s; --limit shows more, 0 all", cli.Grouped(int64(limit)),
			cli.Counted(found.count, "letter"))
	}
	return nil
}

// forewarn says when letters are about to be lost, or there is hardly room for more.
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

// audit writes down how many letters are about to be shown with their recipients.
func (d *list) audit(
	ctx context.Context, conn *broker.Conn, filter deadletter.Filter, shown int,
) error {
	if !d.reveal || shown == 0 {
		return nil
	}
	pseudonyms, err := conn.Pseudonyms(ctx)
	if err != nil {
		return err
	}
	what := "dead list " + filter.Words(pseudonyms)
	return d.broker.AuditReveal(ctx, conn, what, shown)
}

// stream shows each letter as it is read. The audit comes before the first: with --reveal they are
// counted first, and no more than were written down are shown.
func (d *list) stream(
	ctx context.Context, conn *broker.Conn, box *deadletter.Box, filter deadletter.Filter,
	show func(deadletter.Item) error,
) error {
	if !d.reveal {
		return box.List(ctx, filter, show)
	}
	left := 0
	if err := box.List(ctx, filter, func(deadletter.Item) error { left++; return nil }); err != nil {
		return err
	}
	if err := d.audit(ctx, conn, filter, left); err != nil {
		return err
	}
	return box.List(ctx, filter, func(i deadletter.Item) error {
		if left == 0 {
			return broker.ErrStopScan
		}
		left--
		return show(i)
	})
}

func (d *list) columns() []cli.Column[Row] {
	columns := []cli.Column[Row]{
		{Title: "ID", Cell: func(r Row) string { return r.ID }},
		{Title: "APP", Cell: func(r Row) string { return r.AppID }},
		{Title: "REASON", Cell: func(r Row) string { return string(r.Reason) },
			Style: func(r Row) cli.Style { return reasonStyle(r.Reason) }},
		{Title: "ERRCODE", Right: true, Cell: func(r Row) string { return cli.Errcode(r.Errcode) }},
		{Title: "LANE", Cell: func(r Row) string { return string(r.Lane) }},
		{Title: "CAMPAIGN", Cell: func(r Row) string { return r.Campaign }},
		{Title: "RECIPIENT", Cell: func(r Row) string { return r.OpenID }},
		{Title: "SOURCE", Cell: func(r Row) string { return r.Source }},
		{Title: "ATTEMPTS", Right: true,
			Cell: func(r Row) string { return strconv.Itoa(r.Attempts) }},
		{Title: "DIED", Cell: func(r Row) string { return cli.Moment(r.DiedAt) }},
		{Title: "DETAIL", Cell: func(r Row) string { return r.Detail }, Wraps: true},
	}
	return columns
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

// newest keeps the last rows of many.
type newest[T any] struct {
	most  int // 0 for all
	count int
	ring  []T
}

func (n *newest[T]) add(row T) {
	if n.most > 0 && len(n.ring) == n.most {
		n.ring[n.count%n.most] = row
	} else {
		n.ring = append(n.ring, row)
	}
	n.count++
}

// rows are those kept, in the order in which they came.
func (n *newest[T]) rows() []T {
	if n.most == 0 || n.count <= n.most {
		return n.ring
	}
	first := n.count % n.most
	return append(append([]T(nil), n.ring[first:]...), n.ring[:first]...)
}
