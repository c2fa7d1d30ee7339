package dead

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/kefuhq/kefu/internal/cli"
	"github.com/kefuhq/kefu/internal/deadletter"
	"github.com/kefuhq/kefu/internal/notes"
	"github.com/kefuhq/kefu/internal/replay"
)

// discard is `kefu dead discard`.
type discard struct {
	streams  *cli.Streams
	settings *cli.Settings
	broker   *cli.Broker

	choice choice
	all    bool
	dryRun bool
	limit  int
}

func newDiscard(env *cli.Env) *cobra.Command {
	d := &discard{streams: env.Streams, settings: env.Settings, broker: env.Broker}
	cmd := &cobra.Command{
		Use:   "discard [ID…]",
		Short: "Take dead letters out of the box for good",
		Long: `Takes the chosen letters out of the box. Nothing brings them back but an export that was made
before: kefu dead export. It first says how many there are, by app and reason, and asks; what was
done is written to the audit. What dies meanwhile is not touched. Letters that a replay has in hand
are left: they may be in their queue already. It can be interrupted and run again.

Exit codes: 1 nothing was discarded, 3 when no letter matches, 4 when some were left in the box or
it was stopped in the middle.`,
		Example: `  kefu dead discard order-4711
  kefu dead discard --reason recipient --until 7d --dry-run
  kefu dead discard --campaign double-11 --reason expired --yes
  kefu dead discard --all --limit 10000`,
		Args: cli.Args(0, -1, "ID"),
		RunE: func(cmd *cobra.Command, args []string) error { return d.run(cmd.Context(), args) },
	}
	d.choice.addFlags(cmd)
	flags := cmd.Flags()
	flags.BoolVar(&d.all, "all", false, "all letters; needed when nothing else chooses")
	flags.BoolVar(&d.dryRun, "dry-run", false, "only say what would be discarded")
	flags.IntVar(&d.limit, "limit", 0, "at most the oldest `n` letters; 0 for all")
	return cmd
}

func (d *discard) run(ctx context.Context, ids []string) error {
	if d.limit < 0 {
		return cli.Usagef("--limit cannot be below 0")
	}
	filter, err := d.choice.filter(d.settings.AppID, ids, time.Now())
	if err != nil {
		return err
	}
	if err := checkAll(filter, d.all, d.settings.AppID); err != nil {
		return err
	}
	conn, box, err := openBox(ctx, d.broker)
	if err != nil {
		return err
	}
	defer conn.Close()
	options := deadletter.DiscardOptions{
		Limit: d.limit, By: d.settings.Actor(),
		InHand: func(ctx context.Context, made time.Time) (map[uint64]bool, error) {
			return replay.InHand(ctx, conn, made)
		},
	}
	plan, err := box.PlanDiscard(ctx, filter, options)
	if err != nil {
		return err
	}
	switch {
	case plan.Total+plan.Left == 0:
		return noMatch(ctx, box, filter)
	case d.dryRun:
		return d.printPlan(plan)
	case plan.Total == 0:
		return fmt.Errorf("nothing can be discarded: %s", inHand(plan.Left))
	}
	d.explain(plan)
	question := fmt.Sprintf("Discard %s of %s for good?", cli.Counted(plan.Total, "letter"),
		cli.Counted(plan.Apps(), "app"))
	if err := d.streams.Confirm(ctx, question); err != nil {
		return err
	}
	bar := d.streams.Progress(plan.Total, "discarding", "letters")
	options.Through, options.Progress = plan.Through, bar.Show
	result, err := box.Discard(ctx, filter, options)
	bar.End()
	return d.report(result, err)
}

// inHand says why letters are left.
func inHand(n int) string {
	return fmt.Sprintf("a replay has %s in hand, or was killed and may have published them; "+
		"kefu dead replays shows those that go on", cli.Counted(n, "letter"))
}

// explain prints what the user should know before the answer.
func (d *discard) explain(p deadletter.DiscardPlan) {
	if d.streams.Quiet || d.streams.Yes {
		return
	}
	// If it cannot be shown, neither can the question.
	_ = cli.List(d.streams.Aside(), p.Shares, shareColumns())
	for _, line := range discardLines(p) {
		d.streams.Notef("%s", line)
	}
}

// printPlan prints the answer of a dry run.
func (d *discard) printPlan(p deadletter.DiscardPlan) error {
	if d.streams.AsJSON() {
		return d.streams.Value(p)
	}
	if p.Total > 0 {
		if err := cli.List(d.streams, p.Shares, shareColumns()); err != nil {
			return err
		}
	}
	for _, line := range append(discardLines(p), "Nothing was changed.") {
		if err := d.streams.Printf("%s\n", line); err != nil {
			return err
		}
	}
	return nil
}

// discardLines returns what the table of a plan does not hold.
func discardLines(p deadletter.DiscardPlan) (lines []string) {
	if p.Total > 0 {
		lines = append(lines, tallyLine(p.Tally))
	}
	if p.Left > 0 {
		lines = append(lines, fmt.Sprintf("%s more will be left: %s.", cli.Grouped(int64(p.Left)),
			inHand(p.Left)))
	}
	return lines
}

// tallyLine sums letters up.
func tallyLine(t deadletter.Tally) string {
	return fmt.Sprintf("%s, died %s to %s.", cli.Counted(t.Total, "letter"), cli.Moment(t.Oldest),
		cli.Moment(t.Newest))
}

func shareColumns() []cli.Column[deadletter.Share] {
	return []cli.Column[deadletter.Share]{
		{Title: "LETTERS", Right: true,
			Cell: func(s deadletter.Share) string { return cli.Grouped(int64(s.Count)) }},
		{Title: "APP", Cell: func(s deadletter.Share) string { return s.AppID }},
		{Title: "REASON", Cell: func(s deadletter.Share) string { return string(s.Reason) },
			Style: func(s deadletter.Share) cli.Style { return reasonStyle(s.Reason) }},
	}
}

// DiscardResult is a result as JSON.
type DiscardResult struct {
	deadletter.DiscardResult
	TookSeconds float64 `json:"took_seconds"`
}

// report prints what was done and returns how it ended.
func (d *discard) report(r deadletter.DiscardResult, err error) error {
	if err != nil && r.Discarded+r.Left == 0 && !d.streams.AsJSON() {
		return err
	}
	fields := []cli.Field{{Name: "discarded", Style: cli.Green,
		Value: fmt.Sprintf("%s in %s", cli.Counted(r.Discarded, "letter"), cli.About(r.Took))}}
	if r.Left > 0 {
		fields = append(fields, cli.Field{Name: "left in the box", Style: cli.Yellow,
			Value: cli.Counted(r.Left, "letter")})
	}
	fields = append(fields, noteFields(r.Notes)...)
	perr := cli.Record(d.streams, DiscardResult{r, r.Took.Seconds()}, fields)
	switch {
	case perr != nil:
		return perr
	case err != nil && r.Discarded == 0:
		return err
	case errors.Is(err, context.Canceled):
		stopped := errors.New("interrupted: the rest is still in the box; run it again to go on")
		return cli.Partlyf("%w", errors.Join(stopped, cli.BesidesInterrupt(err)))
	case err != nil:
		return cli.Partlyf("stopped: %w; run it again to go on", err)
	case r.Left > 0 && r.Discarded == 0:
		return fmt.Errorf("nothing was discarded: %s left in the box", lettersWere(r.Left))
	case r.Left > 0:
		return cli.Partlyf("%s left in the box", lettersWere(r.Left))
	}
	return nil
}

// noteFields returns a line for each note.
func noteFields(list notes.List) (fields []cli.Field) {
	for _, note := range list {
		text := note.Text
		if len(note.IDs) > 0 {
			ids := strings.Join(note.IDs, ", ")
			if note.Count > len(note.IDs) {
				ids += ", …"
			}
			text += " (" + ids + ")"
		}
		fields = append(fields, cli.Field{Name: cli.Grouped(int64(note.Count)), Value: text})
	}
	return fields
}
