package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/config"
	"github.com/kefuhq/kefu/internal/deadletter"
	"github.com/kefuhq/kefu/internal/gate"
	"github.com/kefuhq/kefu/internal/ledger"
)

// deadReplay is `kefu dead replay`.
type deadReplay struct {
	cli       *cli
	choice    choice
	all       bool
	dryRun    bool
	rate      float64
	limit     int
	expiresIn longDuration
	newIDs    bool
}

func newDeadReplayCmd(c *cli) *cobra.Command {
	d := &deadReplay{cli: c}
	cmd := &cobra.Command{
		Use:   "replay [ID…]",
		Short: "Send dead letters again",
		Long: `Publishes the chosen letters to their lane again, byte for byte, as the next generation of their id, and takes each out of
the box once the queue has it. It can be interrupted and run again: nothing is sent twice by that. What a replay that was killed
may have sent longer ago than repeats are recognised (worker.ledger.keep, or duplicate_window without a ledger) is asked about.

It first says what would become of them, and asks. Left in the box are letters that cannot be published, and those whose
deadline has passed unless --expires-in gives a new one. A letter of reason id-reuse has the id of another message, and the id of
any letter may have gone on without it, when its producer published it again: --new-ids sends these under ids of their own.

Exit codes: 1 nothing was replayed, 3 when no letter matches, 4 when some were left in the box or it was stopped in the middle.`,
		Example: `  kefu dead replay order-4711
  kefu dead replay --reason exhausted --since 2h --dry-run
  kefu dead replay --reason unknown --campaign double-11 --rate 20 --yes
  kefu dead replay --reason expired --since 2026-11-24 --expires-in 6h`,
		Args: arguments(0, -1, "ID"),
		RunE: func(cmd *cobra.Command, args []string) error { return d.run(cmd.Context(), args) },
	}
	d.choice.addFlags(c, cmd)
	flags := cmd.Flags()
	flags.BoolVar(&d.all, "all", false, "all letters; needed when nothing else chooses")
	flags.BoolVar(&d.dryRun, "dry-run", false, "only say what would become of them")
	flags.Float64Var(&d.rate, "rate", 50, "letters per `second`; 0 for as fast as the queues take them")
	flags.IntVar(&d.limit, "limit", 0, "at most the oldest `n` letters; 0 for all")
	flags.Var(&d.expiresIn, "expires-in", "give each a new deadline, this long after it is published")
	flags.BoolVar(&d.newIDs, "new-ids", false, "send letters whose id is, or has become, another's under ids of their own")
	return cmd
}

func (d *deadReplay) run(ctx context.Context, ids []string) error {
	now := time.Now()
	filter, err := d.filter(ids, now)
	if err != nil {
		return err
	}
	conn, box, err := d.cli.box(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	options, err := d.options(ctx, conn)
	if err != nil {
		return err
	}
	plan, err := box.Plan(ctx, filter, options, now)
	if err != nil {
		return err
	}
	if plan.Total == 0 {
		return nothingf("no dead letter matches")
	}
	if d.dryRun {
		return d.printPlan(plan)
	}
	if plan.Replayable == 0 {
		d.explain(plan)
		return fmt.Errorf("none of %s can be replayed as it is", counted(plan.Total, "letter"))
	}
	if !d.cli.yes {
		d.explain(plan)
	}
	if plan.MayDouble > 0 {
		d.cli.warn(fmt.Sprintf("a replay was killed that may have sent %s of these, and repeats are recognised for %s only: they may be sent twice",
			grouped(int64(plan.MayDouble)), about(options.Remembered)))
	}
	if err := d.cli.confirm(ctx, d.question(plan)); err != nil {
		return err
	}
	options.AllowDoubles = plan.MayDouble > 0
	bar := d.cli.progress(plan.Replayable, "replaying", "")
	options.Through = plan.Through
	options.Progress = func(p deadletter.Progress) { bar.show(p.Replayed, p.Waiting) }
	result, err := box.Replay(ctx, filter, options)
	bar.end()
	return d.report(result, err)
}

func (d *deadReplay) filter(ids []string, now time.Time) (deadletter.Filter, error) {
	filter, err := d.choice.filter(d.cli, ids, now)
	switch {
	case err != nil:
		return filter, err
	case d.rate < 0 || d.limit < 0:
		return filter, usagef("--rate and --limit cannot be below 0")
	case filter.IsZero() && !d.all:
		return filter, usagef("which letters? Name ids or flags that choose them, or --all")
	case !filter.IsZero() && d.all && d.cli.appID == "":
		return filter, usagef("--all and something that chooses: which one is meant?")
	}
	return filter, nil
}

// options are those of the flags, with what is known of the apps.
func (d *deadReplay) options(ctx context.Context, conn *broker.Conn) (deadletter.Options, error) {
	o := deadletter.Options{
		Rate: d.rate, Limit: d.limit, ExpiresIn: time.Duration(d.expiresIn), NewIDs: d.newIDs, By: d.cli.actor(),
		Apps: make(map[string]deadletter.App), Ledger: letterLedger{ledger.NewLookup(conn)},
	}
	apps, err := d.cli.knownApps(ctx, conn)
	if err != nil {
		return o, err
	}
	holds, err := gate.Holds(ctx, conn)
	if err != nil {
		return o, err
	}
	for _, app := range apps {
		o.Apps[app.AppID] = replayedApp(app.App, holds[app.AppID])
		remembered, err := d.cli.remembered(app.App)
		if err != nil {
			return o, err
		}
		if o.Remembered == 0 || remembered < o.Remembered {
			o.Remembered = remembered
		}
	}
	return o, nil
}

// letterLedger is the ledger as a replay sees it.
type letterLedger struct{ *ledger.Lookup }

// Life tells what is remembered of an id; nothing while its message has only been handed out.
func (l letterLedger) Life(appID, id string, packet []byte) (deadletter.Life, bool) {
	e, ok := l.Get(appID, id)
	if !ok || e.Kind == 0 {
		return deadletter.Life{}, false
	}
	_, dying := e.Kind.Dying()
	return deadletter.Life{
		Generation: max(int(e.Generation), 1), Ended: e.Kind.Terminal() || dying, Same: e.Body == ledger.BodyOf(packet),
	}, true
}

func replayedApp(app config.App, holds []gate.Hold) deadletter.App {
	out := deadletter.App{ExpireAfter: app.ExpireAfter, Limits: app.Limits}
	if len(holds) > 0 {
		out.Held = fmt.Sprintf("%s is held (%s): %s", app.Label(), holds[0].Kind, holds[0].Reason)
	}
	return out
}

func (d *deadReplay) question(p deadletter.Plan) string {
	pace := "as fast as the queues take them"
	if d.rate > 0 {
		pace = fmt.Sprintf("at %g a second, about %s", d.rate, about(p.Takes))
	}
	twice := ""
	if p.MayDouble > 0 {
		twice = fmt.Sprintf(", %s of them perhaps for the second time", grouped(int64(p.MayDouble)))
	}
	return fmt.Sprintf("Replay %s of %d %s, %s%s?", counted(p.Replayable, "letter"), len(p.Apps), plural(len(p.Apps), "app"), pace, twice)
}

func plural(n int, noun string) string {
	if n == 1 {
		return noun
	}
	return noun + "s"
}

// printedPlan is a plan as JSON.
type printedPlan struct {
	deadletter.Plan
	TakesSeconds float64 `json:"takes_seconds"`
}

// planRow is one line of a plan.
type planRow struct {
	count int
	fate  deadletter.Fate
	why   string
	ids   []string
}

func planRows(p deadletter.Plan) []planRow {
	var rows []planRow
	for _, fate := range deadletter.Fates() {
		rest := p.Fates[fate]
		for _, note := range p.Notes {
			if note.Fate == fate {
				rows = append(rows, planRow{note.Count, fate, note.Text, note.IDs})
				rest -= note.Count
			}
		}
		if rest > 0 {
			rows = append(rows, planRow{rest, fate, "", nil})
		}
	}
	return rows
}

func planColumns() []column[planRow] {
	return []column[planRow]{
		{title: "LETTERS", right: true, cell: func(r planRow) string { return grouped(int64(r.count)) }},
		{title: "WHAT WILL PROBABLY HAPPEN", cell: func(r planRow) string { return string(r.fate) }, style: func(r planRow) style { return fateStyle(r.fate) }},
		{title: "WHY", cell: func(r planRow) string { return r.why }, wraps: true},
		{title: "SUCH AS", cell: func(r planRow) string { return strings.Join(r.ids[:min(2, len(r.ids))], ", ") }, wraps: true},
	}
}

func fateStyle(f deadletter.Fate) style {
	switch f {
	case deadletter.WillBeSent, deadletter.WasSent:
		return green
	case deadletter.WillWait, deadletter.SameAgain:
		return yellow
	default:
		return red
	}
}

// printPlan is the answer of a dry run.
func (d *deadReplay) printPlan(p deadletter.Plan) error {
	if d.cli.format != formatTable {
		return d.cli.value(printedPlan{p, p.Takes.Seconds()})
	}
	if err := list(d.cli, planRows(p), planColumns()); err != nil {
		return err
	}
	for _, line := range planLines(p) {
		if err := d.cli.printf("%s\n", clean(line)); err != nil {
			return err
		}
	}
	if d.rate > 0 && p.Replayable > 0 {
		return d.cli.printf("At %g a second it takes about %s. Nothing was changed.\n", d.rate, about(p.Takes))
	}
	return d.cli.printf("Nothing was changed.\n")
}

// explain is what the user should know before the answer.
func (d *deadReplay) explain(p deadletter.Plan) {
	if d.cli.quiet {
		return
	}
	aside := *d.cli // it is no result, so it goes where the question goes
	aside.out, aside.tty.out, aside.format = d.cli.err, d.cli.tty.err, formatTable
	_ = list(&aside, planRows(p), planColumns()) // if it cannot be shown, neither can the question
	for _, line := range planLines(p) {
		d.cli.notef("%s", clean(line))
	}
}

// planLines are what a table does not hold.
func planLines(p deadletter.Plan) []string {
	var reasons []string
	for _, r := range slices.Sorted(maps.Keys(p.Reasons)) {
		reasons = append(reasons, fmt.Sprintf("%s %s", grouped(int64(p.Reasons[r])), r))
	}
	lines := []string{fmt.Sprintf("%s, died %s to %s: %s.", counted(p.Total, "letter"), moment(p.Oldest), moment(p.Newest), strings.Join(reasons, ", "))}
	if p.PossibleDuplicates > 0 {
		lines = append(lines, fmt.Sprintf("%s may have been sent already: the outcome was never known.", grouped(int64(p.PossibleDuplicates))))
	}
	return lines
}

// printedResult is a result as JSON.
type printedResult struct {
	deadletter.Result
	TookSeconds float64 `json:"took_seconds"`
}

// report prints what was done and returns how it ended.
func (d *deadReplay) report(r deadletter.Result, err error) error {
	if perr := record(d.cli, printedResult{r, r.Took.Seconds()}, d.resultFields(r)); perr != nil {
		return perr
	}
	left := r.Skipped + r.Failed
	switch {
	case err != nil && r.Replayed == 0:
		return err
	case errors.Is(err, context.Canceled):
		return partlyf("%w", errors.Join(errors.New("interrupted: the rest is still in the box; run it again to go on"), besidesCanceled(err)))
	case err != nil:
		return partlyf("stopped: %w; run it again to go on", err)
	case r.Stopped != "" && r.Replayed == 0:
		return fmt.Errorf("nothing was replayed: %s", r.Stopped)
	case left > 0 && r.Replayed == 0:
		return fmt.Errorf("nothing was replayed: %s left in the box", wereLeft(left))
	case r.Stopped != "":
		return partlyf("stopped: %s; run it again to go on", r.Stopped)
	case left > 0:
		return partlyf("%s left in the box", wereLeft(left))
	case r.Kept > 0:
		return partlyf("%s replayed but could not be taken out of the box: run it again", wereLeft(r.Kept))
	}
	return nil
}

func wereLeft(n int) string {
	if n == 1 {
		return "1 letter was"
	}
	return counted(n, "letter") + " were"
}

func (d *deadReplay) resultFields(r deadletter.Result) []field {
	fields := []field{{name: "replayed", value: fmt.Sprintf("%s in %s", counted(r.Replayed, "letter"), about(r.Took)), style: green}}
	if r.Duplicates > 0 {
		fields = append(fields, field{name: "", value: fmt.Sprintf("%s of them by a run before", grouped(int64(r.Duplicates)))})
	}
	if n := r.Skipped + r.Failed; n > 0 {
		fields = append(fields, field{name: "left in the box", value: counted(n, "letter"), style: yellow})
	}
	for _, note := range r.Notes {
		ids := strings.Join(note.IDs, ", ")
		if note.Count > len(note.IDs) {
			ids += ", …"
		}
		fields = append(fields, field{name: grouped(int64(note.Count)), value: note.Text + " (" + ids + ")"})
	}
	return fields
}
