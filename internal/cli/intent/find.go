package intent

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/kefuhq/kefu/internal/apps"
	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/cli"
	"github.com/kefuhq/kefu/internal/intent"
	"github.com/kefuhq/kefu/schema"
)

// find is `kefu find`.
type find struct {
	streams *cli.Streams
	broker  *cli.Broker
	openID  string
}

// NewFind returns `kefu find`.
func NewFind(env *cli.Env) *cobra.Command {
	f := &find{streams: env.Streams, broker: env.Broker}
	cmd := &cobra.Command{
		Use:     "find ID",
		Short:   "Find an intent: where it is, what happened, why",
		GroupID: cli.GroupIntent,
		Long: `Looks for an intent by its id in the ledger, the queue, among what waits, the
receipts and the dead letters, and says where it stands and what happened to it. With --openid it
lists what is queued, waiting or dead of one person instead, and what campaigns sent them; what was
sent in conversation is found by its id only, since nothing that is kept of it says to whom.

As JSON it is a list: an id may be known to several apps. Exit code 3 when nothing is known: it was
never accepted, or all traces of it have expired.`,
		Example: `  kefu find order-4711-shipped
  kefu find order-4711-shipped --app wx0000000000000001 -o json
  kefu find --openid oUser1`,
		Args: cli.Args(0, 1, "ID"),
		RunE: func(cmd *cobra.Command, args []string) error { return f.run(cmd.Context(), args) },
	}
	cmd.Flags().StringVar(&f.openID, "openid", "",
		"list what is queued, waiting or dead of this `openid`, and sent to it by campaigns")
	return cmd
}

func (f *find) run(ctx context.Context, args []string) error {
	if (len(args) == 1) == (f.openID != "") {
		return cli.Usagef("give the ID of an intent, or --openid")
	}
	conn, known, err := f.broker.ConnectApps(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	if f.openID != "" {
		return f.recipient(ctx, conn, known)
	}
	found, err := intent.Find(ctx, conn, apps.Places(known), args[0])
	if err != nil {
		return err
	}
	if err := cli.Each(f.streams, found, f.print); err != nil {
		return err
	}
	if len(found) == 0 {
		return unknownIntent(args[0])
	}
	return nil
}

func unknownIntent(id string) error {
	return cli.Nothingf("nothing is known of %q: it was never accepted, "+
		"or all traces of it have expired", id)
}

func (f *find) print(w intent.Whereabouts) error {
	if err := cli.Record(f.streams, nil, fields(w)); err != nil {
		return err
	}
	if err := f.streams.Printf("\n"); err != nil {
		return err
	}
	return cli.List(f.streams, w.Events, eventColumns(w))
}

func fields(w intent.Whereabouts) []cli.Field {
	state := string(w.State)
	if w.Reason != "" {
		state += ", " + string(w.Reason)
	}
	place := ""
	if w.Stream != "" {
		place = fmt.Sprintf("%s, sequence %d", w.Stream, w.Sequence)
	}
	fields := []cli.Field{
		{Name: "id", Value: w.ID, Style: cli.Bold},
		{Name: "app", Value: w.AppID},
		{Name: "state", Value: state, Style: stateStyle(w.State)},
	}
	if w.Withdrawn {
		fields = append(fields,
			cli.Field{Name: "withdrawn", Value: "by " + w.WithdrawnBy + ": it will not be sent",
				Style: cli.Yellow})
	}
	duplicate := ""
	if w.PossibleDuplicate {
		duplicate = "yes: an attempt had an unknown outcome, so it may have arrived once more"
	}
	return append(fields,
		cli.Field{Name: "why", Value: w.Detail},
		cli.Field{Name: "answer",
			Value: strings.TrimSpace(cli.Errcode(w.Errcode) + " " + w.Errmsg)},
		cli.Field{Name: "rid", Value: w.RID},
		cli.Field{Name: "possible duplicate", Value: duplicate, Style: cli.Yellow},
		cli.Field{Name: "until", Value: cli.Moment(w.Until)},
		cli.Field{Name: "worker", Value: w.Worker},
		cli.Field{Name: "attempts", Value: strconv.Itoa(w.Attempts)},
		cli.Field{Name: "generation", Value: strconv.Itoa(w.Generation)},
		cli.Field{Name: "lane", Value: string(w.Lane)},
		cli.Field{Name: "campaign", Value: w.Campaign},
		cli.Field{Name: "source", Value: w.Source},
		cli.Field{Name: "stored", Value: place, Style: cli.Faint},
	)
}

func stateStyle(s schema.State) cli.Style {
	switch s {
	case schema.StateSent:
		return cli.Green
	case schema.StateDead:
		return cli.Red
	case schema.StateCancelled:
		return cli.Yellow
	default:
		return ""
	}
}

// columns are those of the events; of an intent with one life its number says nothing.
func eventColumns(w intent.Whereabouts) []cli.Column[intent.Event] {
	columns := []cli.Column[intent.Event]{
		{Title: "WHEN", Cell: func(h intent.Event) string { return cli.MomentMS(h.At) }},
		{Title: "WHAT", Cell: func(h intent.Event) string { return h.What }, Wraps: true},
	}
	if slices.ContainsFunc(w.Events, func(h intent.Event) bool { return h.Generation > 1 }) {
		columns = append(columns,
			cli.Column[intent.Event]{Title: "GENERATION", Right: true,
				Cell: func(h intent.Event) string { return strconv.Itoa(h.Generation) }})
	}
	return append(columns,
		cli.Column[intent.Event]{Title: "WORKER",
			Cell: func(h intent.Event) string { return h.Worker }})
}

func (f *find) recipient(ctx context.Context, conn *broker.Conn, known []apps.App) error {
	if err := schema.CheckToken("--openid", f.openID); err != nil {
		return cli.Usagef("%w", err)
	}
	rows, err := apps.OfRecipient(ctx, conn, known, f.openID)
	if err != nil {
		return err
	}
	err = cli.List(f.streams, rows, []cli.Column[intent.Pending]{
		{Title: "APP", Cell: func(r intent.Pending) string { return r.AppID }},
		{Title: "ID", Cell: func(r intent.Pending) string { return r.ID }, Wraps: true},
		{Title: "STATE", Cell: func(r intent.Pending) string { return string(r.State) },
			Style: func(r intent.Pending) cli.Style { return stateStyle(r.State) }},
		{Title: "LANE", Cell: func(r intent.Pending) string { return string(r.Lane) }},
		{Title: "WHY", Cell: func(r intent.Pending) string { return r.Why }},
		{Title: "SINCE", Cell: func(r intent.Pending) string { return cli.Moment(r.At) }},
		{Title: "UNTIL", Cell: func(r intent.Pending) string { return cli.Moment(r.Until) }},
	})
	if err == nil && len(rows) == 0 {
		err = cli.Nothingf("nothing is queued, waiting or dead of this person, " +
			"and no campaign sent them anything")
	}
	return err
}
