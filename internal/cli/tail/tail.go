// Package tail is `kefu tail`: what is being settled, as it happens.
package tail

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/rivo/uniseg"
	"github.com/spf13/cobra"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/cli"
	"github.com/kefuhq/kefu/internal/config"
	"github.com/kefuhq/kefu/internal/pool"
	"github.com/kefuhq/kefu/internal/receipt"
	"github.com/kefuhq/kefu/schema"
)

// tail is `kefu tail`.
type tail struct {
	streams  *cli.Streams
	settings *cli.Settings
	broker   *cli.Broker

	choice choice
	filter receipt.Filter
	since  cli.When

	backlog *backlog
	past    uint64 // sequence of the last receipt that was stored when reading began

	matched, unreadable int // the follower's, until it has ended
	shown               atomic.Int64
}

// New returns the command.
func New(env *cli.Env) *cobra.Command {
	t := &tail{streams: env.Streams, settings: env.Settings, broker: env.Broker}
	cmd := &cobra.Command{
		Use:     "tail",
		Short:   "Follow what is being settled",
		GroupID: cli.GroupIntent,
		Long: `Shows a line for each intent as it ends: when, which app, id, how (sent, dead,
cancelled; +dup? for a possible duplicate), why, lane, campaign, source, attempts, and how long
after its publishing. It reads the receipts that workers publish, which are kept for 3 days and name
no recipient, and warns when the workers do not publish all. It goes on when the broker was away,
and misses none. Ctrl-C ends it, with exit code 0. A narrow terminal shows fewer columns.

What comes faster than the terminal or the pipe takes it is counted and not shown; what was settled
before the command began is never left out. -o json prints one array, which ends with Ctrl-C;
scripts read -o ndjson.`,
		Example: `  kefu tail
  kefu tail --state dead --since 1h
  kefu tail --campaign double-11 --errcode 45015,45047
  kefu tail --source shop -o ndjson | jq -r 'select(.possible_duplicate) | .id'`,
		Args: cli.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return t.run(cmd.Context()) },
	}
	t.choice.addFlags(cmd)
	cli.PastVar(cmd.Flags(), &t.since, "since",
		"begin with what was settled at this `time`: 10m, 2h or 2026-11-24T08:15:00+08:00 "+
			"(default now)")
	return cmd
}

func (t *tail) run(ctx context.Context) error {
	t.choice.appID = t.settings.AppID
	if err := t.choice.check(); err != nil {
		return err
	}
	t.filter = t.choice.filter()
	cfg, err := t.settings.Config()
	if err != nil {
		return err
	}
	conn, err := t.broker.Connect(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	t.warn(t.receipts(ctx, conn, cfg))

	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	t.backlog = newBacklog()
	ended := make(chan error, 1)
	go func() {
		err := t.print(cfg)
		cancel(err)
		ended <- err
	}()
	err = t.follow(ctx, conn)
	if ctx.Err() != nil {
		err = nil // an interrupt is how it ends, and print has errors of its own
	}
	t.backlog.close()
	select {
	case printing := <-ended:
		err = errors.Join(err, printing)
	case <-time.After(outputTimeout):
	}
	t.streams.Notef("%s of %s shown", cli.Grouped(t.shown.Load()),
		cli.Counted(t.matched, "matching receipt"))
	if t.unreadable > 0 {
		t.streams.Warn(cli.Counted(t.unreadable, "receipt") + " could not be read")
	}
	return err
}

// outputTimeout is how long the end waits for a terminal or a pipe that takes nothing.
const outputTimeout = time.Second

// receipts returns which receipts the workers write, and whether they say so themselves; else it is
// what workers of this configuration would.
func (t *tail) receipts(
	ctx context.Context, conn *broker.Conn, cfg *config.Config,
) (which pool.Receipts, said bool) {
	ctx, cancel := context.WithTimeout(ctx, cli.AsideWait)
	defer cancel()
	configured := pool.Receipts(cfg.Worker.Receipts)
	workers, err := pool.Workers(ctx, conn)
	if err != nil {
		return configured, false
	}
	switch which := pool.ReceiptsOf(workers, t.choice.appID); which {
	case pool.ReceiptsNobody, pool.ReceiptsUnknown:
		return configured, false
	default:
		return which, true
	}
}

// warn says that there are ends of which workers leave no receipt to read.
func (t *tail) warn(which pool.Receipts, said bool) {
	lack := map[pool.Receipts]string{
		pool.ReceiptsOff:      "publish no receipts: nothing of theirs is shown",
		pool.ReceiptsFailures: "publish no receipt of what is sent",
		pool.ReceiptsMixed:    "do not all publish all receipts: some of what ends is not shown",
	}[which]
	switch {
	case lack == "":
	case which == pool.ReceiptsMixed:
		t.streams.Warn("worker.receipts is not the same everywhere: the workers " + lack)
	case said:
		t.streams.Warn("worker.receipts is " + string(which) + ": the workers " + lack)
	default:
		t.streams.Warn("worker.receipts is " + string(which) +
			" in this configuration: workers that have it " + lack)
	}
}

// follow reads receipts until ctx ends.
func (t *tail) follow(ctx context.Context, conn *broker.Conn) error {
	since := t.since.At(time.Now())
	w, err := conn.Follow(ctx, schema.StreamReceipt, broker.FollowOptions{
		Subject: t.filter.Subject(), New: since.IsZero(), Since: since,
		Begun: func(_ time.Time, last uint64) { t.past = last },
	}, func(s broker.Stored) { t.receive(ctx, s) })
	if err != nil {
		return err
	}
	<-ctx.Done()
	w.Stop()
	return nil
}

// receive takes a message of KEFU_RECEIPT. What was there when reading began waits for its turn to
// be printed; what comes later waits for nobody.
func (t *tail) receive(ctx context.Context, s broker.Stored) {
	var r schema.Receipt
	if json.Unmarshal(s.Data, &r) != nil || r.ID == "" {
		t.unreadable++
		return
	}
	if !t.filter.Match(r) {
		return
	}
	t.matched++
	if s.Seq <= t.past {
		t.backlog.addWhenFree(ctx, r)
	} else {
		t.backlog.add(r)
	}
}

// print prints what the backlog holds, until its end.
func (t *tail) print(cfg *config.Config) error {
	streams := *t.streams
	out := bufio.NewWriter(t.streams.Out)
	streams.Out = out
	live := cli.NewLive(&streams, t.columns(cfg, time.Now()))
	for {
		receipts, skipped, ok := t.backlog.take()
		if !ok {
			return errors.Join(live.End(), out.Flush())
		}
		for _, r := range receipts {
			if err := live.Add(r); err != nil {
				return err
			}
		}
		if skipped > 0 {
			if err := live.Skipped(skipped); err != nil {
				return err
			}
		}
		if err := out.Flush(); err != nil {
			return err
		}
		t.shown.Add(int64(len(receipts)))
	}
}

func (t *tail) columns(cfg *config.Config, now time.Time) []cli.Column[schema.Receipt] {
	type row = schema.Receipt
	const app = "APP"
	clock := "15:04:05"
	midnight := time.Date(now.Year(), now.Month(), now.Day(), 0, 0, 0, 0, now.Location())
	if since := t.since.At(now); !since.IsZero() && since.Before(midnight) {
		clock = "01-02 15:04:05"
	}
	columns := []cli.Column[row]{
		{Title: "TIME", Width: len(clock),
			Cell: func(r row) string { return r.SettledAt.Local().Format(clock) }},
		{Title: app, Width: labelWidth(cfg), Cuts: true, Spare: 1,
			Cell: func(r row) string { return label(cfg, r.AppID) }},
		{Title: "ID", Width: len("0f8fad5b-d9cb-469f-a165-70867728950e"), Cuts: true,
			Cell: func(r row) string { return r.ID }},
		{Title: "STATE", Width: len("cancelled"), Cell: state, Style: style},
		{Title: "WHY", Width: len("recipient 45015"), Cuts: true, Cell: why},
		{Title: "LANE", Width: len("live"), Spare: 3,
			Cell: func(r row) string { return string(r.Lane) }},
		{Title: "CAMPAIGN", Width: 24, Cuts: true, Spare: 2,
			Cell: func(r row) string { return r.Campaign }},
		{Title: "SOURCE", Width: 12, Cuts: true, Spare: 5,
			Cell: func(r row) string { return r.Source }},
		{Title: "ATTEMPTS", Right: true, Spare: 4,
			Cell: func(r row) string { return strconv.Itoa(r.Attempts) }},
		{Title: "TOOK", Right: true, Width: len("59m59s"), Cell: took},
	}
	if t.choice.appID != "" { // it would be the same in every line
		columns = slices.DeleteFunc(columns,
			func(c cli.Column[row]) bool { return c.Title == app })
	}
	return columns
}

// labelWidth is how wide the apps' labels are.
func labelWidth(cfg *config.Config) (width int) {
	if len(cfg.Apps) == 0 {
		return len("wx0000000000000001")
	}
	for _, app := range cfg.Apps {
		width = max(width, uniseg.StringWidth(app.Label()))
	}
	return width
}

// label is the name of an app, or its appid when the configuration does not name it.
func label(cfg *config.Config, appID string) string {
	if app, ok := cfg.App(appID); ok {
		return app.Label()
	}
	return appID
}

func state(r schema.Receipt) string {
	if r.PossibleDuplicate {
		return string(r.State) + "+dup?"
	}
	return string(r.State)
}

func style(r schema.Receipt) cli.Style {
	switch {
	case r.State == schema.StateDead:
		return cli.Red
	case r.State == schema.StateCancelled, r.PossibleDuplicate:
		return cli.Yellow
	default:
		return cli.Green
	}
}

// why returns the reason and WeChat's code, or how many intents of a campaign were cancelled with it.
func why(r schema.Receipt) string {
	if r.Count > 0 {
		return cli.Counted(r.Count, "intent")
	}
	code := cli.Errcode(r.Errcode)
	if r.State == schema.StateSent || code == "" || r.Reason == "" {
		return string(r.Reason)
	}
	return string(r.Reason) + " " + code
}

// took returns the time between publishing and end.
func took(r schema.Receipt) string {
	if r.PublishedAt.IsZero() || r.SettledAt.Before(r.PublishedAt) {
		return ""
	}
	return cli.About(r.SettledAt.Sub(r.PublishedAt))
}
