// Package setup is `kefu setup`: the JetStream objects that kefu needs.
package setup

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/cli"
	"github.com/kefuhq/kefu/internal/wiring"
)

// setup is the command.
type setup struct {
	streams  *cli.Streams
	settings *cli.Settings
	broker   *cli.Broker
	dryRun   bool
}

// New returns the command.
func New(env *cli.Env) *cobra.Command {
	s := &setup{streams: env.Streams, settings: env.Settings, broker: env.Broker}
	cmd := &cobra.Command{
		Use:     "setup",
		Short:   "Create or upgrade the JetStream objects that kefu needs",
		GroupID: cli.GroupSetup,
		Long: `Compares the broker's JetStream objects with what this version and configuration
need, prints the differences, and creates or changes what can be changed. It asks only when
something stored would be lost. Workers do the harmless part of this at start by themselves, unless
worker.provision is off.

Exit code 4 when something was left as it is.`,
		Example: `  kefu setup --dry-run
  kefu setup --config /etc/kefu/kefu.yaml`,
		Args: cli.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return s.run(cmd.Context()) },
	}
	cmd.Flags().BoolVar(&s.dryRun, "dry-run", false, "print the differences and change nothing")
	return cmd
}

func (s *setup) run(ctx context.Context) error {
	cfg, err := s.settings.Config()
	if err != nil {
		return err
	}
	conn, err := s.broker.Connect(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	plan, err := broker.NewPlan(ctx, conn.JS, wiring.BrokerSpec(cfg))
	if err != nil {
		return err
	}
	if err := s.print(plan); err != nil || s.dryRun || len(plan.Changes) == 0 {
		return err
	}
	lossy := plan.Kinds(broker.Lossy)
	if lossy > 0 {
		question := fmt.Sprintf("Drop what no longer fits in %s?", cli.CountOrNo(lossy, "object"))
		if err := s.streams.Confirm(ctx, question); err != nil {
			return err
		}
	}
	left, err := plan.Apply(ctx, conn.JS, lossy > 0)
	if err != nil {
		return err
	}
	// Here and not by the first who needs their key: operators may not write it.
	if _, err := conn.Pseudonyms(ctx); err != nil {
		return err
	}
	entry := broker.AuditEntry{Verb: "setup", Count: len(plan.Changes) - len(left),
		Detail: cli.CountOrNo(len(left), "difference") + " left"}
	if err := s.broker.Audit(ctx, conn, entry); err != nil {
		return err
	}
	if len(left) > 0 {
		return cli.Partlyf("%s left: they cannot be changed in place",
			cli.CountOrNo(len(left), "difference"))
	}
	s.streams.Notef("done")
	return nil
}

func (s *setup) print(plan *broker.Plan) error {
	if len(plan.Changes) == 0 && !s.streams.AsJSON() {
		return s.streams.Printf("nothing to do: everything is as it should be\n")
	}
	if err := s.table(plan.Changes); err != nil {
		return err
	}
	for _, c := range plan.Changes {
		if c.Why != "" {
			s.streams.Notef("%s: %s", c.Stream, c.Why)
		}
	}
	return nil
}

func (s *setup) table(changes []broker.Change) error {
	return cli.List(s.streams, changes, []cli.Column[broker.Change]{
		{Title: "OBJECT", Cell: func(c broker.Change) string { return c.Stream }},
		{Title: "WHAT", Cell: func(c broker.Change) string { return c.Field }},
		{Title: "IS", Cell: func(c broker.Change) string { return c.Have }, Wraps: true},
		{Title: "SHOULD BE", Cell: func(c broker.Change) string { return c.Want }, Wraps: true},
		{Title: "CHANGE", Cell: func(c broker.Change) string { return string(c.Kind) },
			Style: func(c broker.Change) cli.Style {
				if c.Kind == broker.Lossy || c.Kind == broker.Refused {
					return cli.Yellow
				}
				return cli.Green
			}},
	})
}
