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
	"github.com/kefuhq/kefu/internal/replay"
	"github.com/kefuhq/kefu/schema"
)

// resend is `kefu dead replay`.
type resend struct {
	streams  *cli.Streams
	settings *cli.Settings
	broker   *cli.Broker

	choice    choice
	all       bool
	dryRun    bool
	detach    bool
	rate      float64
	limit     int
	toLane    string
	set       []string
	expiresIn time.Duration
	newIDs    bool
	haltAfter int
}

// haltAfter is after how many deaths in a row a replay halts when nothing else is said.
const haltAfter = 100

func newReplay(env *cli.Env) *cobra.Command {
	d := &resend{streams: env.Streams, settings: env.Settings, broker: env.Broker}
	cmd := &cobra.Command{
		Use:   "replay [ID…]",
		Short: "Send dead letters again",
		Long: `Orders a replay of the chosen letters and follows it. The workers carry it out, whatever becomes
of this command: they publish each letter to its lane again, as the next generation of its id, and
take it out of the box once the queue has it. Ctrl-C only stops watching; kefu dead replays shows,
pauses, resumes and aborts replays from anywhere.

It first says what would become of the letters, and asks. Left in the box are letters that cannot be
published, and those whose deadline has passed unless --expires-in gives a new one. A letter of
reason id-reuse has the id of another message, and the id of any letter may have gone on without it,
when its producer published it again: --new-ids sends these under ids of their own. What a replay
that was killed may have sent longer ago than repeats are recognised (worker.ledger.keep, or
duplicate_window without a ledger) is asked about.

--set changes the packets: /path=value, or a JSON patch (RFC 6902). A change that makes one of them
invalid is refused before anything is ordered; kefu dead show shows the letters as they were.
A --set that names a key of the configuration sets that, as everywhere. --lane chooses letters;
--to-lane sends what was chosen through another lane.

A replay halts by itself when the first letters of an app all die again (--halt-after).

Exit codes: 1 nothing was replayed, 3 when no letter matches, 4 when some were left in the box, or
the replay goes on without being watched, is paused, has halted or was aborted.`,
		Example: `  kefu dead replay order-4711
  kefu dead replay --reason exhausted --since 2h --dry-run
  kefu dead replay --reason unknown --campaign double-11 --rate 20 --yes
  kefu dead replay --reason expired --since 2026-11-24 --expires-in 6h --to-lane bulk
  kefu dead replay --group 7fb47d95 --set /news/articles/0/picurl=https://example.com/a.png --yes
  kefu dead replay --all --detach --yes`,
		Args: cli.Args(0, -1, "ID"),
		RunE: func(cmd *cobra.Command, args []string) error { return d.run(cmd.Context(), args) },
	}
	d.choice.addFlags(cmd)
	d.addFlags(cmd)
	return cmd
}

func (d *resend) addFlags(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.BoolVar(&d.all, "all", false, "all letters; needed when nothing else chooses")
	flags.BoolVar(&d.dryRun, "dry-run", false, "only say what would become of them")
	flags.BoolVar(&d.detach, "detach", false, "do not watch: print the id of the job and end")
	flags.Float64Var(&d.rate, "rate", 50,
		"letters per `second`; 0 for as fast as the queues take them")
	flags.IntVar(&d.limit, "limit", 0, "at most the oldest `n` letters; 0 for all")
	flags.StringVar(&d.toLane, "to-lane", "", "send them through this `lane`, live or bulk")
	flags.StringArrayVar(&d.set, "set", nil,
		"`change` the packets: /path=value or a JSON patch; may be repeated")
	cli.DurationVar(flags, &d.expiresIn, "expires-in", 0,
		"give each a new deadline, this long after it is published")
	flags.BoolVar(&d.newIDs, "new-ids", false,
		"send letters whose id is, or has become, another's under ids of their own")
	flags.IntVar(&d.haltAfter, "halt-after", haltAfter,
		"halt when the first `n` letters of an app all die again; 0 for never")
	cli.Complete(cmd, "to-lane", cli.Lanes)
}

func (d *resend) run(ctx context.Context, ids []string) error {
	now := time.Now()
	r, err := d.request(ids, now)
	if err != nil {
		return err
	}
	conn, err := d.broker.Connect(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	plan, err := d.plan(ctx, conn, &r, now)
	if err != nil {
		return err
	}
	if d.dryRun {
		return d.printPlan(plan)
	}
	if err := d.ask(ctx, r, plan); err != nil {
		return err
	}
	id, err := replay.Submit(ctx, conn, r, plan, d.settings.Actor())
	if err != nil {
		if id != "" {
			return fmt.Errorf("%w; it may be ordered all the same: see kefu dead replays", err)
		}
		return err
	}
	w := newWatching(d.streams, conn, id)
	if d.detach {
		return w.leave(ctx, id)
	}
	d.streams.Notef("The workers carry it out as job %s; Ctrl-C only stops watching.", id)
	status, err := w.follow(ctx, id)
	if err != nil {
		return err
	}
	return d.report(status, plan.Total-status.Chosen)
}

// request is what the flags and the ids in the arguments ask for.
func (d *resend) request(ids []string, now time.Time) (replay.Request, error) {
	r := replay.Request{Rate: d.rate, Limit: d.limit, Options: replay.Options{
		ExpiresIn: d.expiresIn, NewIDs: d.newIDs, Lane: schema.Lane(d.toLane),
		HaltAfter: d.haltAfter,
	}}
	var err error
	if r.Filter, err = d.choice.filter(d.settings.AppID, ids, now); err != nil {
		return r, err
	}
	if r.Options.Set, err = replay.ParseEdit(d.settings.Override(d.set)...); err != nil {
		return r, cli.Usagef("--set %w", err)
	}
	switch r.Options.Lane {
	case "", schema.LaneLive, schema.LaneBulk:
	default:
		return r, cli.Usagef("--to-lane %q is not live or bulk", d.toLane)
	}
	switch {
	case d.rate < 0 || d.limit < 0:
		return r, cli.Usagef("--rate and --limit cannot be below 0")
	case d.haltAfter < 0:
		return r, cli.Usagef("--halt-after cannot be below 0")
	case d.dryRun && d.detach:
		return r, cli.Usagef("--dry-run orders nothing: there is nothing to --detach from")
	}
	return r, checkAll(r.Filter, d.all, d.settings.AppID)
}

// plan looks at the letters that a request chooses; there is at least one of them.
func (d *resend) plan(
	ctx context.Context, conn *broker.Conn, r *replay.Request, now time.Time,
) (replay.Plan, error) {
	cfg, err := d.settings.Config()
	if err != nil {
		return replay.Plan{}, err
	}
	configured, err := d.broker.Apps(ctx, conn)
	if err != nil {
		return replay.Plan{}, err
	}
	known, err := apps.ForReplay(ctx, conn, cfg, configured)
	if err != nil {
		return replay.Plan{}, err
	}
	plan, err := replay.NewPlan(ctx, conn, *r, known, now)
	var unfit *replay.EditError
	switch {
	case errors.As(err, &unfit):
		return plan, fmt.Errorf("%w; nothing was replayed", unfit)
	case err != nil:
		return plan, err
	case plan.Total == 0:
		return plan, noMatch(ctx, deadletter.Open(conn), r.Filter)
	}
	if plan.MayDouble > 0 {
		r.Options.AllowDoubles = true // whoever goes on from here has been told
		if !d.dryRun {
			d.streams.Warn(fmt.Sprintf("a replay was killed that may have sent %s of these, "+
				"and repeats are recognised for %s only: they may be sent twice",
				cli.Grouped(int64(plan.MayDouble)), cli.About(known.Remembered)))
		}
	}
	return plan, nil
}

// ask has the user confirm a plan.
func (d *resend) ask(ctx context.Context, r replay.Request, p replay.Plan) error {
	if p.Replayable == 0 {
		d.explain(p)
		return fmt.Errorf("none of %s can be replayed as it is", cli.Counted(p.Total, "letter"))
	}
	if !d.streams.Yes {
		d.explain(p)
	}
	return d.streams.Confirm(ctx, question(r, p))
}

func question(r replay.Request, p replay.Plan) string {
	pace := "as fast as the queues take them"
	if r.Rate > 0 {
		pace = fmt.Sprintf("at %g a second, about %s", r.Rate, cli.About(p.Takes))
	}
	more := ""
	if n := len(r.Options.Set); n > 0 {
		more += fmt.Sprintf(", with %s of the packets", cli.Counted(n, "change"))
	}
	if r.Options.Lane != "" {
		more += fmt.Sprintf(", in the %s lane", r.Options.Lane)
	}
	if p.MayDouble > 0 {
		more += fmt.Sprintf(", %s of them perhaps for the second time",
			cli.Grouped(int64(p.MayDouble)))
	}
	return fmt.Sprintf("Replay %s of %s, %s%s?", cli.Counted(p.Replayable, "letter"),
		cli.Counted(len(p.Apps), "app"), pace, more)
}

// report prints how far a replay has come and returns how it ended. So many letters of the plan
// were of apps of which nothing could be replayed.
func (d *resend) report(s replay.Status, apart int) error {
	if err := cli.Record(d.streams, s, endFields(s, apart)); err != nil {
		return err
	}
	return ending(s, apart)
}
