package main

import (
	"context"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/deadletter"
	"github.com/kefuhq/kefu/schema"
)

// deadList is `kefu dead list`.
type deadList struct {
	cli    *cli
	choice choice
	limit  int
	reveal bool
}

func newDeadListCmd(c *cli) *cobra.Command {
	d := &deadList{cli: c}
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List dead letters, the newest last",
		Long: `Lists dead letters in the order in which they died. Recipients are masked; --reveal shows them and is written to the
audit. Exit code 3 when no letter matches.`,
		Example: `  kefu dead list --since 2h
  kefu dead list --reason recipient --errcode 45015,45047 --limit 20
  kefu dead list --campaign double-11 -o ndjson | jq -r .id`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if cmd.Flags().Changed("limit") && d.limit < 0 {
				return usagef("--limit cannot be below 0, which is for all")
			}
			return d.run(cmd.Context())
		},
	}
	d.choice.addFlags(c, cmd)
	cmd.Flags().IntVar(&d.limit, "limit", -1, "at most the newest `n` letters; 0 for all (default 100 in a table, all as JSON)")
	cmd.Flags().BoolVar(&d.reveal, "reveal", false, "show recipients in full; this is written to the audit")
	return cmd
}

// deadRow is a letter in a list: what is said and the attempts are for `dead show`.
type deadRow struct {
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

func newDeadRow(i deadletter.Item, m masker) deadRow {
	l := i.Letter
	return deadRow{
		ID: l.ID, AppID: l.AppID, Reason: l.Reason, Errcode: l.Errcode, Errmsg: l.Errmsg, Detail: l.Detail, Lane: l.Lane,
		Campaign: l.Campaign, OpenID: m.openID(l.OpenID), Source: l.Source, Generation: l.Generation, Attempts: len(l.Attempts),
		PossibleDuplicate: l.PossibleDuplicate, PublishedAt: l.PublishedAt, DiedAt: l.DiedAt, Seq: i.Seq,
	}
}

const tableLimit = 100

func (d *deadList) run(ctx context.Context) error {
	filter, err := d.choice.filter(d.cli, nil, time.Now())
	if err != nil {
		return err
	}
	limit := d.limit
	if limit < 0 {
		limit = 0
		if d.cli.format == formatTable {
			limit = tableLimit
		}
	}
	conn, box, err := d.cli.box(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	found := newest[deadRow]{most: limit}
	mask := masker{d.reveal}
	if limit == 0 && d.cli.format != formatTable { // a million letters need not be held here
		rows := stream[deadRow]{cli: d.cli}
		err = d.stream(ctx, conn, box, filter, func(i deadletter.Item) error {
			found.count++
			return rows.add(newDeadRow(i, mask))
		})
		if err == nil {
			err = rows.end()
		}
	} else {
		err = box.List(ctx, filter, func(i deadletter.Item) error {
			found.add(newDeadRow(i, mask))
			return nil
		})
		if err == nil {
			err = d.audit(ctx, conn, filter, len(found.ring))
		}
		if err == nil {
			err = list(d.cli, found.rows(), d.columns())
		}
	}
	if err != nil {
		return err
	}
	d.forewarn(ctx, box)
	switch {
	case found.count == 0:
		return nothingf("no dead letter matches")
	case limit > 0 && found.count > limit:
		d.cli.notef("the newest %s of %s; --limit shows more, 0 all", grouped(int64(limit)), counted(found.count, "letter"))
	}
	return nil
}

// forewarn says when letters are about to be lost, or there is hardly room for more.
func (d *deadList) forewarn(ctx context.Context, box *deadletter.Box) {
	ctx, cancel := context.WithTimeout(ctx, asideWait)
	defer cancel()
	level, err := box.Level(ctx)
	if err != nil {
		return // the list was shown: to fail now would take it back
	}
	for _, warning := range level.Warnings(time.Now()) {
		d.cli.warn(warning)
	}
}

// audit writes down how many letters are about to be shown with their recipients.
func (d *deadList) audit(ctx context.Context, conn *broker.Conn, filter deadletter.Filter, shown int) error {
	if !d.reveal || shown == 0 {
		return nil
	}
	pseudonyms, err := conn.Pseudonyms(ctx)
	if err != nil {
		return err
	}
	what := "dead list " + filter.Words(pseudonyms)
	return d.cli.auditReveal(ctx, conn, d.cli.appID, what, shown)
}

// stream shows each letter as it is read. The audit comes before the first: with --reveal they are counted first, and no more than
// were written down are shown.
func (d *deadList) stream(ctx context.Context, conn *broker.Conn, box *deadletter.Box, filter deadletter.Filter, show func(deadletter.Item) error) error {
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

func (d *deadList) columns() []column[deadRow] {
	columns := []column[deadRow]{
		{title: "ID", cell: func(r deadRow) string { return r.ID }},
		{title: "APP", cell: func(r deadRow) string { return r.AppID }},
		{title: "REASON", cell: func(r deadRow) string { return string(r.Reason) }, style: func(r deadRow) style { return reasonStyle(r.Reason) }},
		{title: "ERRCODE", right: true, cell: func(r deadRow) string { return errcodeText(r.Errcode) }},
		{title: "LANE", cell: func(r deadRow) string { return string(r.Lane) }},
		{title: "CAMPAIGN", cell: func(r deadRow) string { return r.Campaign }},
		{title: "RECIPIENT", cell: func(r deadRow) string { return r.OpenID }},
		{title: "SOURCE", cell: func(r deadRow) string { return r.Source }},
		{title: "ATTEMPTS", right: true, cell: func(r deadRow) string { return strconv.Itoa(r.Attempts) }},
		{title: "DIED", cell: func(r deadRow) string { return moment(r.DiedAt) }},
		{title: "DETAIL", cell: func(r deadRow) string { return r.Detail }, wraps: true},
	}
	return columns
}

// reasonStyle sets apart what a person should look into from what happens every day.
func reasonStyle(r schema.Reason) style {
	switch r {
	case schema.ReasonInvalid, schema.ReasonIDReuse, schema.ReasonPoison:
		return red
	case schema.ReasonUnknown, schema.ReasonExhausted, schema.ReasonRejected:
		return yellow
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
