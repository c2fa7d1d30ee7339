package main

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/deadletter"
	"github.com/kefuhq/kefu/internal/ledger"
	"github.com/kefuhq/kefu/internal/wire"
	"github.com/kefuhq/kefu/schema"
)

// findCmd is `kefu find`.
type findCmd struct {
	cli    *cli
	openID string
}

func newFindCmd(c *cli) *cobra.Command {
	f := &findCmd{cli: c}
	cmd := &cobra.Command{
		Use:     "find ID",
		Short:   "Find an intent: where it is, what happened, why",
		GroupID: groupIntent,
		Long: `Looks for an intent by its id in the ledger, the queue, among what waits, the receipts and the dead letters, and says where it
stands and what happened to it. With --openid it lists what is queued, waiting or dead of one person instead.

As JSON it is a list: an id may be known to several apps. Exit code 3 when nothing is known: it was never accepted, or all
traces of it have expired.`,
		Example: `  kefu find order-4711-shipped
  kefu find order-4711-shipped --app wx0000000000000001 -o json
  kefu find --openid oUser1`,
		Args: arguments(0, 1, "ID"),
		RunE: func(cmd *cobra.Command, args []string) error { return f.run(cmd.Context(), args) },
	}
	cmd.Flags().StringVar(&f.openID, "openid", "", "list what is queued, waiting or dead of this `openid`")
	return cmd
}

func (f *findCmd) run(ctx context.Context, args []string) error {
	if (len(args) == 1) == (f.openID != "") {
		return usagef("give the ID of an intent, or --openid")
	}
	conn, err := f.cli.broker(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	apps, err := f.cli.knownApps(ctx, conn)
	if err != nil {
		return err
	}
	if f.openID != "" {
		return f.person(ctx, conn, apps)
	}
	found, err := locate(ctx, conn, apps, args[0])
	if err != nil {
		return err
	}
	if f.cli.format != formatTable {
		if err := list(f.cli, found, nil); err != nil {
			return err
		}
	} else if err := f.print(found); err != nil {
		return err
	}
	if len(found) == 0 {
		return unknownIntent(args[0])
	}
	return nil
}

func unknownIntent(id string) error {
	return nothingf("nothing is known of %q: it was never accepted, or all traces of it have expired", id)
}

// locate finds an intent in every app that knows it. The ledger and the dead letters are read once for all of them.
func locate(ctx context.Context, conn *broker.Conn, apps []knownApp, id string) ([]whereabouts, error) {
	keys := make([]ledger.Key, len(apps))
	for i, app := range apps {
		keys[i] = ledger.KeyOf(app.AppID, id)
	}
	histories, err := ledger.Histories(ctx, conn, keys...)
	if err != nil {
		return nil, err
	}
	letters := make(map[string][]deadletter.Item)
	filter := deadletter.Filter{IDs: []string{id}}
	if len(apps) == 1 {
		filter.AppID = apps[0].AppID
	}
	err = deadletter.Open(conn).List(ctx, filter, func(i deadletter.Item) error {
		letters[i.Letter.AppID] = append(letters[i.Letter.AppID], i)
		return nil
	})
	if err != nil {
		return nil, err
	}
	var found []whereabouts
	for i, app := range apps {
		t := &trace{appID: app.AppID, id: id, alive: make(map[string]bool)}
		t.story, t.letters = ledger.Tell(histories[keys[i]]), letters[app.AppID]
		err := t.gather(ctx, conn, app)
		if err != nil {
			return nil, err
		}
		if t.found() {
			found = append(found, t.judge())
		}
	}
	return found, nil
}

func (f *findCmd) print(found []whereabouts) error {
	for i, w := range found {
		if i > 0 {
			if err := f.cli.printf("\n"); err != nil {
				return err
			}
		}
		if err := record(f.cli, nil, w.fields()); err != nil {
			return err
		}
		if err := f.cli.printf("\n"); err != nil {
			return err
		}
		if err := list(f.cli, w.Events, w.columns()); err != nil {
			return err
		}
	}
	return nil
}

func (w whereabouts) fields() []field {
	state := string(w.State)
	if w.Reason != "" {
		state += ", " + string(w.Reason)
	}
	place := ""
	if w.Stream != "" {
		place = fmt.Sprintf("%s, sequence %d", w.Stream, w.Sequence)
	}
	fields := []field{
		{name: "id", value: w.ID, style: bold},
		{name: "app", value: w.AppID},
		{name: "state", value: state, style: stateStyle(w.State)},
	}
	if w.Withdrawn {
		fields = append(fields, field{name: "withdrawn", value: "by " + w.WithdrawnBy + ": it will not be sent", style: yellow})
	}
	duplicate := ""
	if w.PossibleDuplicate {
		duplicate = "yes: an attempt had an unknown outcome, so it may have arrived once more"
	}
	return append(fields,
		field{name: "why", value: w.Detail},
		field{name: "answer", value: strings.TrimSpace(errcodeText(w.Errcode) + " " + w.Errmsg)},
		field{name: "rid", value: w.RID},
		field{name: "possible duplicate", value: duplicate, style: yellow},
		field{name: "until", value: moment(w.Until)},
		field{name: "worker", value: w.Worker},
		field{name: "attempts", value: strconv.Itoa(w.Attempts)},
		field{name: "generation", value: strconv.Itoa(w.Generation)},
		field{name: "lane", value: string(w.Lane)},
		field{name: "campaign", value: w.Campaign},
		field{name: "source", value: w.Source},
		field{name: "stored", value: place, style: faint},
	)
}

func stateStyle(s schema.State) style {
	switch s {
	case schema.StateSent:
		return green
	case schema.StateDead:
		return red
	case schema.StateCancelled:
		return yellow
	default:
		return ""
	}
}

// columns are those of the events; of an intent with one life its number says nothing.
func (w whereabouts) columns() []column[happening] {
	columns := []column[happening]{
		{title: "WHEN", cell: func(h happening) string { return h.At.Local().Format("2006-01-02 15:04:05.000") }},
		{title: "WHAT", cell: func(h happening) string { return h.What }, wraps: true},
	}
	if slices.ContainsFunc(w.Events, func(h happening) bool { return h.Generation > 1 }) {
		columns = append(columns, column[happening]{title: "GENERATION", right: true, cell: func(h happening) string { return strconv.Itoa(h.Generation) }})
	}
	return append(columns, column[happening]{title: "WORKER", cell: func(h happening) string { return h.Worker }})
}

// ofPerson is an intent of one person that is queued, waiting or dead.
type ofPerson struct {
	AppID string       `json:"appid"`
	ID    string       `json:"id"`
	State schema.State `json:"state"`
	Lane  schema.Lane  `json:"lane"`
	Why   string       `json:"why,omitempty"`
	At    time.Time    `json:"at"` // since when
	Until time.Time    `json:"until,omitzero"`
}

func (f *findCmd) person(ctx context.Context, conn *broker.Conn, apps []knownApp) error {
	if err := schema.CheckToken("--openid", f.openID); err != nil {
		return usagef("%w", err)
	}
	var rows []ofPerson
	for _, app := range apps {
		for _, look := range []func(context.Context, *broker.Conn, knownApp, string) ([]ofPerson, error){queuedFor, waitingFor, deadFor} {
			more, err := look(ctx, conn, app, f.openID)
			if err != nil {
				return err
			}
			rows = append(rows, more...)
		}
	}
	err := list(f.cli, rows, []column[ofPerson]{
		{title: "APP", cell: func(r ofPerson) string { return r.AppID }},
		{title: "ID", cell: func(r ofPerson) string { return r.ID }, wraps: true},
		{title: "STATE", cell: func(r ofPerson) string { return string(r.State) }, style: func(r ofPerson) style { return stateStyle(r.State) }},
		{title: "LANE", cell: func(r ofPerson) string { return string(r.Lane) }},
		{title: "WHY", cell: func(r ofPerson) string { return r.Why }},
		{title: "SINCE", cell: func(r ofPerson) string { return moment(r.At) }},
		{title: "UNTIL", cell: func(r ofPerson) string { return moment(r.Until) }},
	})
	if err == nil && len(rows) == 0 {
		err = nothingf("nothing is queued, waiting or dead of this person")
	}
	return err
}

// queuedFor lists a person's queued intents: live ones by their subject, bulk ones by their packet.
func queuedFor(ctx context.Context, conn *broker.Conn, app knownApp, openID string) (rows []ofPerson, err error) {
	if !app.queue {
		return nil, nil
	}
	name := schema.SendStream(app.AppID)
	stream, err := conn.JS.Stream(ctx, name)
	if err != nil {
		return nil, fmt.Errorf("the queue of %s: %w", app.AppID, err)
	}
	created := stream.CachedInfo().Created
	add := func(s broker.Stored) {
		p, id := readQueued(name, s, created)
		rows = append(rows, ofPerson{AppID: app.AppID, ID: id, State: schema.StateQueued, Lane: p.subject.Lane, At: p.stored})
	}
	err = conn.Scan(ctx, name, broker.ScanOptions{Subject: "kefu.*." + app.AppID + ".live.*." + openID}, func(s broker.Stored) error {
		add(s)
		return nil
	})
	if err != nil {
		return nil, err
	}
	err = conn.Scan(ctx, name, broker.ScanOptions{Subject: "kefu.*." + app.AppID + ".bulk.*"}, func(s broker.Stored) error {
		if schema.PeekToUser(s.Data) == openID {
			add(s)
		}
		return nil
	})
	return rows, err
}

func waitingFor(ctx context.Context, conn *broker.Conn, app knownApp, openID string) (rows []ofPerson, err error) {
	err = conn.Scan(ctx, wire.StreamLater, broker.ScanOptions{Subject: "kefu.later.wait." + app.AppID + ".*"}, func(s broker.Stored) error {
		if schema.PeekToUser(s.Data) == openID {
			p, id := readLater(s)
			rows = append(rows, ofPerson{AppID: app.AppID, ID: id, State: schema.StateWaiting, Lane: p.subject.Lane, At: p.stored, Until: p.until})
		}
		return nil
	})
	return rows, err
}

func deadFor(ctx context.Context, conn *broker.Conn, app knownApp, openID string) (rows []ofPerson, err error) {
	filter := deadletter.Filter{AppID: app.AppID, OpenID: openID}
	err = deadletter.Open(conn).List(ctx, filter, func(i deadletter.Item) error {
		l := i.Letter
		rows = append(rows, ofPerson{AppID: app.AppID, ID: l.ID, State: schema.StateDead, Lane: l.Lane, Why: string(l.Reason), At: l.DiedAt})
		return nil
	})
	return rows, err
}
