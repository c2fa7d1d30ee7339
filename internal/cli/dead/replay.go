package dead

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/kefuhq/kefu/internal/apps"
	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/cli"
	"github.com/kefuhq/kefu/internal/deadletter"
)

// replay is `kefu dead replay`.
type replay struct {
	streams  *cli.Streams
	settings *cli.Settings
	broker   *cli.Broker

	choice    choice
	all       bool
	dryRun    bool
	rate      float64
	limit     int
	expiresIn time.Duration
	newIDs    bool
}

func newReplay(env *cli.Env) *cobra.Command {
	d := &replay{streams: env.Streams, settings: env.Settings, broker: env.Broker}
	cmd := &cobra.Command{
		Use:   "replay [ID…]",
		Short: "Send dead letters again",
		Long: `Publishes the chosen letters to their lane again, byte for byte, as the next
generation of their id, and takes each out of the box once the queue has it. It can be interrupted
and run again: nothing is sent twice by that. What a replay that was killed may have sent longer ago
than repeats are recognised (worker.ledger.keep, or duplicate_window without a ledger) is asked
about.

It first says what would become of them, and asks. Left in the box are letters that cannot be
published, and those whose deadline has passed unless --expires-in gives a new one. A letter of
reason id-reuse has the id of another message, and the id of any letter may have gone on without it,
when its producer published it again: --new-ids sends these under ids of their own.

Exit codes: 1 nothing was replayed, 3 when no letter matches, 4 when some were left in the box or it
was stopped in the middle.`,
		Example: `  kefu dead replay order-4711
  kefu dead replay --reason exhausted --since 2h --dry-run
  kefu dead replay --reason unknown --campaign double-11 --rate 20 --yes
  kefu dead replay --reason expired --since 2026-11-24 --expires-in 6h`,
		Args: cli.Args(0, -1, "ID"),
		RunE: func(cmd *cobra.Command, args []string) error { return d.run(cmd.Context(), args) },
	}
	d.choice.addFlags(cmd)
	flags := cmd.Flags()
	flags.BoolVar(&d.all, "all", false, "all letters; needed when nothing else chooses")
	flags.BoolVar(&d.dryRun, "dry-run", false, "only say what would become of them")
	flags.Float64Var(&d.rate, "rate", 50,
		"letters per `second`; 0 for as fast as the queues take them")
	flags.IntVar(&d.limit, "limit", 0, "at most the oldest `n` letters; 0 for all")
	cli.DurationVar(flags, &d.expiresIn, "expires-in", 0,
		"give each a new deadline, this long after it is published")
	flags.BoolVar(&d.newIDs, "new-ids", false,
		"send letters whose id is, or has become, another's under ids of their own")
	return cmd
}

func (d *replay) run(ctx context.Context, ids []string) error {
	now := time.Now()
	filter, err := d.filter(ids, now)
	if err != nil {
		return err
	}
	conn, box, err := openBox(ctx, d.broker)
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
		return cli.Nothingf("no dead letter matches")
	}
	if d.dryRun {
		return d.printPlan(plan)
	}
	if plan.Replayable == 0 {
		d.explain(plan)
		return fmt.Errorf("none of %s can be replayed as it is", cli.Counted(plan.Total, "letter"))
	}
	if !d.streams.Yes {
		d.explain(plan)
	}
	if plan.MayDouble > 0 {
		d.streams.Warn(fmt.Sprintf("a replay was killed that may have sent %s of these, "+
			"and repeats are recognised for %s only: they may be sent twice",
			cli.Grouped(int64(plan.MayDouble)), cli.About(options.Remembered)))
	}
	if err := d.streams.Confirm(ctx, d.question(plan)); err != nil {
		return err
	}
	options.AllowDoubles = plan.MayDouble > 0
	bar := d.streams.Progress(plan.Replayable, "replaying", "")
	options.Through = plan.Through
	options.Progress = func(p deadletter.Progress) { bar.Show(p.Replayed, p.Waiting) }
	result, err := box.Replay(ctx, filter, options)
	bar.End()
	return d.report(result, err)
}

func (d *replay) filter(ids []string, now time.Time) (deadletter.Filter, error) {
	filter, err := d.choice.filter(d.settings.AppID, ids, now)
	switch {
	case err != nil:
		return filter, err
	case d.rate < 0 || d.limit < 0:
		return filter, cli.Usagef("--rate and --limit cannot be below 0")
	}
	return filter, checkAll(filter, d.all, d.settings.AppID)
}

// options returns those of the flags, with what is known of the apps.
func (d *replay) options(ctx context.Context, conn *broker.Conn) (deadletter.Options, error) {
	o := deadletter.Options{
		Rate: d.rate, Limit: d.limit, ExpiresIn: d.expiresIn, NewIDs: d.newIDs,
		By: d.settings.Actor(),
	}
	cfg, err := d.settings.Config()
	if err != nil {
		return o, err
	}
	known, err := d.broker.Apps(ctx, conn)
	if err != nil {
		return o, err
	}
	return apps.SetupReplay(ctx, conn, cfg, known, o)
}

func (d *replay) question(p deadletter.Plan) string {
	pace := "as fast as the queues take them"
	if d.rate > 0 {
		pace = fmt.Sprintf("at %g a second, about %s", d.rate, cli.About(p.Takes))
	}
	twice := ""
	if p.MayDouble > 0 {
		twice = fmt.Sprintf(", %s of them perhaps for the second time",
			cli.Grouped(int64(p.MayDouble)))
	}
	return fmt.Sprintf("Replay %s of %s, %s%s?", cli.Counted(p.Replayable, "letter"),
		cli.Counted(len(p.Apps), "app"), pace, twice)
}

// Result is a result as JSON.
type Result struct {
	deadletter.Result
	TookSeconds float64 `json:"took_seconds"`
}

// report prints what was done and returns how it ended.
func (d *replay) report(r deadletter.Result, err error) error {
	if perr := cli.Record(d.streams, Result{r, r.Took.Seconds()}, d.resultFields(r)); perr != nil {
		return perr
	}
	left := r.Skipped + r.Failed
	switch {
	case err != nil && r.Replayed == 0:
		return err
	case errors.Is(err, context.Canceled):
		stopped := errors.New("interrupted: the rest is still in the box; run it again to go on")
		return cli.Partlyf("%w", errors.Join(stopped, cli.BesidesInterrupt(err)))
	case err != nil:
		return cli.Partlyf("stopped: %w; run it again to go on", err)
	case r.Stopped != "" && r.Replayed == 0:
		return fmt.Errorf("nothing was replayed: %s", r.Stopped)
	case left > 0 && r.Replayed == 0:
		return fmt.Errorf("nothing was replayed: %s left in the box", lettersWere(left))
	case r.Stopped != "":
		return cli.Partlyf("stopped: %s; run it again to go on", r.Stopped)
	case left > 0:
		return cli.Partlyf("%s left in the box", lettersWere(left))
	case r.Kept > 0:
		return cli.Partlyf("%s replayed but could not be taken out of the box: run it again",
			lettersWere(r.Kept))
	}
	return nil
}

func lettersWere(n int) string {
	if n == 1 {
		return "1 letter was"
	}
	return cli.Counted(n, "letter") + " were"
}

func (d *replay) resultFields(r deadletter.Result) []cli.Field {
	fields := []cli.Field{{Name: "replayed",
		Value: fmt.Sprintf("%s in %s", cli.Counted(r.Replayed, "letter"), cli.About(r.Took)),
		Style: cli.Green}}
	if r.Duplicates > 0 {
		fields = append(fields,
			cli.Field{Name: "", Value: fmt.Sprintf("%s of them by a run before",
				cli.Grouped(int64(r.Duplicates)))})
	}
	if n := r.Skipped + r.Failed; n > 0 {
		fields = append(fields,
			cli.Field{Name: "left in the box", Value: cli.Counted(n, "letter"), Style: cli.Yellow})
	}
	return append(fields, noteFields(r.Notes)...)
}
