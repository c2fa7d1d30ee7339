// Package forget is `kefu forget`: take a person out of what is stored.
package forget

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/kefuhq/kefu/internal/apps"
	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/cli"
	"github.com/kefuhq/kefu/internal/config"
	"github.com/kefuhq/kefu/internal/forget"
	"github.com/kefuhq/kefu/internal/mask"
	"github.com/kefuhq/kefu/schema"
)

// command is `kefu forget`.
type command struct {
	streams  *cli.Streams
	settings *cli.Settings
	broker   *cli.Broker

	openID string
	dryRun bool
}

// New returns the command.
func New(env *cli.Env) *cobra.Command {
	c := &command{streams: env.Streams, settings: env.Settings, broker: env.Broker}
	cmd := &cobra.Command{
		Use:     "forget --openid OPENID",
		Short:   "Remove a person: what is queued for them, their dead letters, their receipts",
		GroupID: cli.GroupIntent,
		Long: `Removes what is stored of a person: what is queued and what waits, their dead letters,
their rows in the files of campaigns that are stored to be fed, and the receipts of which it is
known that they are theirs. What is removed from the queue ends as cancelled, and its receipt says
so. Workers send nothing more of what was published before, nor of a campaign that has begun. What
is published from now on is sent: whoever writes to the account again gets an answer.

It first says how much there is, and asks; what was done is written to the audit, with a hash in
the place of the openid. At the end it lists what remains, and until when. A call that is under way
cannot be recalled. It can be interrupted and run again at any time.

Exit codes: 1 failed, 3 when nothing was stored (workers obey all the same), 4 when calls were
still under way, a worker of an earlier version does not know the order, or it was stopped in the
middle.`,
		Example: `  kefu forget --openid oUser1 --dry-run
  kefu forget --openid oUser1 --app wx0000000000000001
  kefu forget --openid oUser1 --yes -o json`,
		Args: cli.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return c.run(cmd.Context()) },
	}
	flags := cmd.Flags()
	flags.StringVar(&c.openID, "openid", "", "who is to be forgotten: an `openid`")
	flags.BoolVar(&c.dryRun, "dry-run", false, "only say what would be removed")
	return cmd
}

func (c *command) run(ctx context.Context) error {
	if c.openID == "" {
		return cli.Usagef("say who is to be forgotten: --openid")
	}
	if err := schema.CheckToken("--openid", c.openID); err != nil {
		return cli.Usagef("%w", err)
	}
	conn, known, err := c.broker.ConnectApps(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	person := forget.Person{OpenID: c.openID, Apps: apps.Places(known)}
	if c.dryRun || !c.streams.Yes { // else nobody sees it, and queues may be long
		plan, err := forget.Look(ctx, conn, person)
		switch {
		case err != nil:
			return err
		case c.dryRun:
			return c.printPlan(plan)
		}
		for _, line := range planLines(plan) {
			c.streams.Notef("%s", line)
		}
		if err := c.streams.Confirm(ctx, c.question(plan)); err != nil {
			return err
		}
	}
	return c.forget(ctx, conn, person, known)
}

func (c *command) forget(
	ctx context.Context, conn *broker.Conn, person forget.Person, known []apps.App,
) error {
	cfg, err := c.settings.Config()
	if err != nil {
		return err
	}
	options := forget.Options{
		By: c.settings.Actor(), Receipts: cfg.Worker.Receipts != config.ReceiptsOff,
		Progress: func(doing string) { c.streams.Notef("%s", doing) },
	}
	for _, app := range known {
		options.ExpireAfter = max(options.ExpireAfter, app.ExpireAfter)
	}
	result, err := forget.Forget(ctx, conn, person, options)
	return c.report(result, err)
}

// planLines say what is stored and what will come of campaigns.
func planLines(p forget.Plan) (lines []string) {
	lines = append(lines, "Stored: "+p.String()+".")
	if len(p.Campaigns) > 0 {
		lines = append(lines, "Under way, and not sent to this person any more: "+
			strings.Join(p.Campaigns, ", ")+".")
	}
	return lines
}

func (c *command) question(p forget.Plan) string {
	who := mask.Mask{}.OpenID(c.openID)
	if p.Total() == 0 {
		return fmt.Sprintf("Nothing is stored of %s. Have workers send them nothing of what was "+
			"published before now?", who)
	}
	return fmt.Sprintf("Forget %s for good?", who)
}

// printPlan prints the answer of a dry run.
func (c *command) printPlan(p forget.Plan) error {
	if c.streams.AsJSON() {
		if err := c.streams.Value(p); err != nil {
			return err
		}
	} else {
		for _, line := range append(planLines(p), "Nothing was changed.") {
			if err := c.streams.Printf("%s\n", cli.Clean(line)); err != nil {
				return err
			}
		}
	}
	if p.Total() == 0 {
		return cli.Nothingf("nothing is stored of this person")
	}
	return nil
}

// report prints what was done and returns how it ended.
func (c *command) report(r forget.Result, err error) error {
	if len(r.Orders) == 0 {
		return err // nothing was done
	}
	if perr := c.print(r); perr != nil {
		return perr
	}
	switch {
	case err != nil && r.Removed.Total() == 0:
		return err
	case errors.Is(err, context.Canceled):
		stopped := errors.New("interrupted: the rest is still stored; run it again to go on")
		return cli.Partlyf("%w", errors.Join(stopped, cli.BesidesInterrupt(err)))
	case err != nil:
		return cli.Partlyf("stopped: %w; run it again to go on", err)
	case r.Left > 0:
		return cli.Partlyf("%s under way and could not be recalled; run it again in a minute",
			cli.Counted(r.Left, "call")+isOrAre(r.Left))
	case r.Deaf > 0:
		return cli.Partlyf("%s of an earlier version, and may send this person what a campaign "+
			"publishes: run it again when all are of this one",
			cli.Counted(r.Deaf, "worker")+isOrAre(r.Deaf))
	case r.Removed.Total() == 0:
		return cli.Nothingf("nothing was stored of this person")
	}
	return nil
}

func isOrAre(n int) string {
	if n == 1 {
		return " is"
	}
	return " are"
}

// print prints the result.
func (c *command) print(r forget.Result) error {
	if c.streams.AsJSON() {
		return c.streams.Value(r)
	}
	fields := []cli.Field{
		{Name: "forgotten", Value: mask.Mask{}.OpenID(c.openID) + ", in logs and audit #" + r.Person},
		{Name: "removed", Value: r.Removed.String(), Style: cli.Green},
	}
	if r.Left > 0 {
		fields = append(fields, cli.Field{Name: "under way", Style: cli.Yellow,
			Value: cli.Counted(r.Left, "call") + ", which cannot be recalled"})
	}
	for _, o := range r.Orders {
		fields = append(fields, cli.Field{Name: "not sent", Value: notSent(o)})
	}
	if err := cli.Record(c.streams, nil, fields); err != nil || len(r.Remains) == 0 {
		return err
	}
	if err := c.streams.Printf("\nWhat remains:\n"); err != nil {
		return err
	}
	return cli.List(c.streams, r.Remains, []cli.Column[forget.Remnant]{
		{Title: "WHERE", Cell: func(r forget.Remnant) string { return r.Where }},
		{Title: "UNTIL", Cell: func(r forget.Remnant) string { return until(r.Until) }},
		{Title: "WHAT", Cell: func(r forget.Remnant) string { return r.What }, Wraps: true},
	})
}

// notSent says what workers do not send from now on.
func notSent(o forget.Order) string {
	s := fmt.Sprintf("in %s what was published before %s", o.AppID, cli.Moment(o.At))
	if len(o.Campaigns) > 0 {
		s += "; of " + strings.Join(o.Campaigns, ", ") + " nothing"
	}
	return s
}

func until(t time.Time) string {
	if t.IsZero() {
		return "not known"
	}
	return t.Local().Format("2006-01-02")
}
