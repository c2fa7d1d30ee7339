package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/spf13/cobra"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/deadletter"
	"github.com/kefuhq/kefu/internal/ledger"
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
		Long: `Looks for an intent by its id in the queue, among what waits, in the ledger, the receipts and the dead letters, and says where
it stands and what happened to it. With --openid it lists what is queued or dead of one person instead.

Exit code 3 when nothing is known: it was never accepted, or all traces have expired.`,
		Example: `  kefu find order-4711-shipped
  kefu find order-4711-shipped -o json
  kefu find --openid oUser1`,
		Args: arguments(0, 1, "ID"),
		RunE: func(cmd *cobra.Command, args []string) error { return f.run(cmd.Context(), args) },
	}
	cmd.Flags().StringVar(&f.openID, "openid", "", "list what is queued or dead of this `openid`")
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
	found := false
	for _, app := range apps {
		w, err := locate(ctx, conn, app.AppID, args[0])
		if err != nil {
			return err
		}
		if w.State == "" {
			continue
		}
		found = true
		if err := f.print(w); err != nil {
			return err
		}
	}
	if !found {
		return nothingf("nothing is known of %s: it was never accepted, or all traces of it have expired", args[0])
	}
	return nil
}

// whereabouts is all that is known of an intent.
type whereabouts struct {
	ID         string          `json:"id"`
	AppID      string          `json:"appid"`
	State      schema.State    `json:"state"` // of the newest generation
	Generation int             `json:"generation"`
	Attempts   int             `json:"attempts"`
	Reason     schema.Reason   `json:"reason,omitempty"`
	Detail     string          `json:"detail,omitempty"`
	Subject    string          `json:"subject,omitempty"`  // where it is queued
	Sequence   uint64          `json:"sequence,omitempty"` // there
	Until      time.Time       `json:"until,omitzero"`     // what it waits for
	Withdrawn  bool            `json:"withdrawn,omitempty"`
	Receipt    *schema.Receipt `json:"receipt,omitempty"`
	Events     []happening     `json:"events"`
}

// happening is one thing that is known to have happened to it.
type happening struct {
	At     time.Time `json:"at"`
	What   string    `json:"what"`
	Worker string    `json:"worker,omitempty"`
}

// locate asks every place that may know an intent. Its State is empty when none does.
func locate(ctx context.Context, conn *broker.Conn, appID, id string) (whereabouts, error) {
	w := whereabouts{ID: id, AppID: appID}
	history, err := ledger.History(ctx, conn, ledger.KeyOf(appID, id))
	if err != nil {
		return w, err
	}
	w.fromLedger(history)
	for _, look := range []func(context.Context, *broker.Conn) error{w.inReceipts, w.inLetters, w.inQueue, w.inLater, w.inWithdrawals} {
		if err := look(ctx, conn); err != nil {
			return w, err
		}
	}
	slices.SortStableFunc(w.Events, func(a, b happening) int { return a.At.Compare(b.At) })
	return w, nil
}

func (w *whereabouts) fromLedger(history []ledger.Event) {
	for _, e := range history {
		w.Events = append(w.Events, happening{At: e.Time, What: wording(e.Mark), Worker: e.Worker})
		w.Generation = max(w.Generation, int(e.Mark.Generation), 1)
		w.Attempts, w.Sequence = int(e.Mark.Attempt), e.Mark.Seq
		switch e.Mark.Kind {
		case ledger.Start:
			w.State = schema.InFlight
		case ledger.Clear:
			w.State = schema.Queued
		case ledger.Later:
			w.State, w.Attempts = schema.Waiting, int(e.Mark.Attempt)-1
		case ledger.Sent:
			w.State = schema.Sent
		case ledger.Dead:
			w.State = schema.Dead
		case ledger.Cancelled:
			w.State = schema.Cancelled
		}
	}
}

func wording(m ledger.Mark) string {
	switch m.Kind {
	case ledger.Start:
		return fmt.Sprintf("attempt %d begun", m.Attempt)
	case ledger.Clear:
		return fmt.Sprintf("given back, %s spent", count(int(m.Attempt), "attempt"))
	case ledger.Later:
		return fmt.Sprintf("put off, attempt %d comes later", m.Attempt)
	case ledger.Suspect:
		return "handed out again without an end of the time before"
	}
	return m.Kind.String()
}

func (w *whereabouts) inReceipts(ctx context.Context, conn *broker.Conn) error {
	o := broker.ScanOptions{Subject: "kefu.receipt." + w.AppID + ".>"}
	if len(w.Events) > 0 {
		o.Since = w.Events[0].At.Add(-time.Minute)
	}
	name := []byte(`"id":"` + w.ID + `"`)
	return conn.Scan(ctx, schema.StreamReceipt, o, func(s broker.Stored) error {
		var r schema.Receipt
		if !bytes.Contains(s.Data, name) || json.Unmarshal(s.Data, &r) != nil || r.ID != w.ID {
			return nil
		}
		w.Events = append(w.Events,
			happening{At: r.PublishedAt, What: "published"},
			happening{At: r.SettledAt, What: strings.TrimSpace(string(r.State)+" "+string(r.Reason)) + ", receipt published"})
		if r.Generation >= w.Generation {
			w.Generation, w.State, w.Reason, w.Attempts, w.Receipt = r.Generation, r.State, r.Reason, r.Attempts, &r
		}
		return nil
	})
}

func (w *whereabouts) inLetters(ctx context.Context, conn *broker.Conn) error {
	items, err := deadletter.Open(conn).Get(ctx, w.AppID, w.ID)
	if err != nil {
		return err
	}
	for _, i := range items {
		w.Events = append(w.Events, happening{At: i.Letter.DiedAt, What: "dead letter: " + i.Letter.Detail, Worker: i.Letter.Worker})
		if i.Letter.Generation >= w.Generation {
			w.Generation, w.State, w.Reason, w.Detail = i.Letter.Generation, schema.Dead, i.Letter.Reason, i.Letter.Detail
			w.Attempts = len(i.Letter.Attempts)
		}
	}
	return nil
}

func (w *whereabouts) inQueue(ctx context.Context, conn *broker.Conn) error {
	if w.State.Terminal() {
		return nil
	}
	stream, err := conn.JS.Stream(ctx, schema.SendStream(w.AppID))
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("the queue of %s: %w", w.AppID, err)
	}
	created := stream.CachedInfo().Created
	return conn.Scan(ctx, schema.SendStream(w.AppID), broker.ScanOptions{}, func(s broker.Stored) error {
		if idOf(s, created) != w.ID {
			return nil
		}
		w.Subject, w.Sequence = s.Subject, s.Seq
		w.Events = append(w.Events, happening{At: s.Time, What: "queued"})
		if w.State == "" || w.State == schema.Waiting {
			w.State = schema.Queued
		}
		w.Generation = max(w.Generation, 1)
		return broker.ErrStopScan
	})
}

// idOf is the id of a queued intent.
func idOf(s broker.Stored, created time.Time) string {
	for _, name := range []string{schema.HeaderID, schema.HeaderMsgID} {
		if id := s.Header.Get(name); id != "" {
			return id
		}
	}
	return schema.DefaultID(created, s.Seq)
}

func (w *whereabouts) inLater(ctx context.Context, conn *broker.Conn) error {
	if w.State.Terminal() {
		return nil
	}
	return conn.Scan(ctx, schema.StreamLater, broker.ScanOptions{Subject: "kefu.later.wait." + w.AppID + ".*"}, func(s broker.Stored) error {
		if s.Header.Get(schema.HeaderID) != w.ID {
			return nil
		}
		w.State, w.Generation = schema.Waiting, max(w.Generation, 1)
		if at, err := time.Parse(time.RFC3339Nano, strings.TrimPrefix(s.Header.Get("Nats-Schedule"), "@at ")); err == nil {
			w.Until = at
		}
		return broker.ErrStopScan
	})
}

func (w *whereabouts) inWithdrawals(ctx context.Context, conn *broker.Conn) error {
	v, ok, err := ledger.Withdrawn(ctx, conn, w.AppID, w.ID)
	if err != nil {
		return err
	}
	if ok && !w.State.Terminal() {
		w.Withdrawn = true
		w.Events = append(w.Events, happening{At: v.At, What: "withdrawn by " + v.By})
	}
	return nil
}

func (f *findCmd) print(w whereabouts) error {
	state := string(w.State)
	if w.Reason != "" {
		state += " (" + string(w.Reason) + ")"
	}
	if w.Withdrawn {
		state += ", withdrawn: it will not be sent"
	}
	lines := []field{
		{name: "id", value: w.ID},
		{name: "app", value: w.AppID},
		{name: "state", value: state},
		{name: "why", value: w.Detail},
		{name: "attempts", value: fmt.Sprint(w.Attempts)},
	}
	if w.Generation > 1 {
		lines = append(lines, field{name: "generation", value: fmt.Sprint(w.Generation)})
	}
	if !w.Until.IsZero() {
		lines = append(lines, field{name: "until", value: moment(w.Until)})
	}
	if r := w.Receipt; r != nil && r.PossibleDuplicate {
		lines = append(lines, field{name: "note", value: "it may have arrived twice: the outcome of an attempt is unknown"})
	}
	if err := record(f.cli, w, lines); err != nil || f.cli.format != formatTable {
		return err
	}
	if err := f.cli.printf("\n"); err != nil {
		return err
	}
	return list(f.cli, w.Events, []column[happening]{
		{title: "when", cell: func(h happening) string { return moment(h.At) }},
		{title: "what", cell: func(h happening) string { return h.What }, wraps: true},
		{title: "worker", cell: func(h happening) string { return h.Worker }},
	})
}

// ofPerson is an intent of one person that is queued or dead.
type ofPerson struct {
	AppID string       `json:"appid"`
	ID    string       `json:"id"`
	State schema.State `json:"state"`
	Why   string       `json:"why,omitempty"`
	At    time.Time    `json:"at"`
}

func (f *findCmd) person(ctx context.Context, conn *broker.Conn, apps []knownApp) error {
	if err := schema.CheckToken("--openid", f.openID); err != nil {
		return usagef("%w", err)
	}
	var rows []ofPerson
	for _, app := range apps {
		queued, err := queuedFor(ctx, conn, app, f.openID)
		if err != nil {
			return err
		}
		rows = append(rows, queued...)
		err = deadletter.Open(conn).List(ctx, deadletter.Filter{AppID: app.AppID}, func(i deadletter.Item) error {
			if i.Letter.OpenID == f.openID {
				rows = append(rows, ofPerson{app.AppID, i.Letter.ID, schema.Dead, string(i.Letter.Reason), i.Letter.DiedAt})
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	if len(rows) == 0 {
		return nothingf("nothing is queued or dead of this person")
	}
	return list(f.cli, rows, []column[ofPerson]{
		{title: "app", cell: func(r ofPerson) string { return r.AppID }},
		{title: "id", cell: func(r ofPerson) string { return r.ID }, wraps: true},
		{title: "state", cell: func(r ofPerson) string { return string(r.State) }},
		{title: "why", cell: func(r ofPerson) string { return r.Why }},
		{title: "since", cell: func(r ofPerson) string { return moment(r.At) }},
	})
}

// queuedFor lists a person's queued intents: live ones by their subject, bulk ones by their packet.
func queuedFor(ctx context.Context, conn *broker.Conn, app knownApp, openID string) ([]ofPerson, error) {
	if !app.queue {
		return nil, nil
	}
	stream, err := conn.JS.Stream(ctx, schema.SendStream(app.AppID))
	if err != nil {
		return nil, fmt.Errorf("the queue of %s: %w", app.AppID, err)
	}
	created := stream.CachedInfo().Created
	var rows []ofPerson
	add := func(s broker.Stored) {
		rows = append(rows, ofPerson{app.AppID, idOf(s, created), schema.Queued, "", s.Time})
	}
	err = conn.Scan(ctx, schema.SendStream(app.AppID), broker.ScanOptions{Subject: "kefu.*." + app.AppID + ".live.*." + openID},
		func(s broker.Stored) error { add(s); return nil })
	if err != nil {
		return nil, err
	}
	err = conn.Scan(ctx, schema.SendStream(app.AppID), broker.ScanOptions{Subject: "kefu.*." + app.AppID + ".bulk.*"},
		func(s broker.Stored) error {
			if schema.PeekToUser(s.Data) == openID {
				add(s)
			}
			return nil
		})
	return rows, err
}
