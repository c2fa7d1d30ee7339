package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/kefuhq/kefu/internal/broker"
)

// setupCmd is `kefu setup`.
type setupCmd struct {
	cli    *cli
	dryRun bool
}

func newSetupCmd(c *cli) *cobra.Command {
	s := &setupCmd{cli: c}
	cmd := &cobra.Command{
		Use:     "setup",
		Short:   "Create or upgrade the JetStream objects that kefu needs",
		GroupID: groupSetup,
		Long: `Compares the broker's JetStream objects with what this version and configuration need, prints the differences, and creates
or changes what can be changed. It asks only when something stored would be lost. Workers do the harmless part of this at
start by themselves, unless worker.provision is off.

Exit code 4 when something was left as it is.`,
		Example: `  kefu setup --dry-run
  kefu setup --config /etc/kefu/kefu.yaml`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error { return s.run(cmd.Context()) },
	}
	cmd.Flags().BoolVar(&s.dryRun, "dry-run", false, "print the differences and change nothing")
	return cmd
}

func (s *setupCmd) run(ctx context.Context) error {
	cfg, err := s.cli.config()
	if err != nil {
		return err
	}
	conn, err := s.cli.broker(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	plan, err := broker.NewPlan(ctx, conn.JS, brokerSpec(cfg))
	if err != nil {
		return err
	}
	if err := s.print(plan); err != nil || s.dryRun || len(plan.Changes) == 0 {
		return err
	}
	lossy := plan.Kinds(broker.Lossy)
	if lossy > 0 {
		if err := s.cli.confirm(ctx, fmt.Sprintf("Drop what no longer fits in %s?", count(lossy, "object"))); err != nil {
			return err
		}
	}
	left, err := plan.Apply(ctx, conn.JS, lossy > 0)
	if err != nil {
		return err
	}
	entry := broker.AuditEntry{Verb: "setup", Count: len(plan.Changes) - len(left), Detail: count(len(left), "difference") + " left"}
	if err := s.cli.audit(ctx, conn, entry); err != nil {
		return err
	}
	if len(left) > 0 {
		return partlyf("%s left: they cannot be changed in place", count(len(left), "difference"))
	}
	s.cli.notef("done")
	return nil
}

func (s *setupCmd) print(plan *broker.Plan) error {
	if len(plan.Changes) == 0 && s.cli.format == formatTable {
		return s.cli.printf("nothing to do: everything is as it should be\n")
	}
	if err := s.table(plan.Changes); err != nil {
		return err
	}
	for _, c := range plan.Changes {
		if c.Why != "" {
			s.cli.notef("%s: %s", c.Stream, c.Why)
		}
	}
	return nil
}

func (s *setupCmd) table(changes []broker.Change) error {
	return list(s.cli, changes, []column[broker.Change]{
		{title: "OBJECT", cell: func(c broker.Change) string { return c.Stream }},
		{title: "WHAT", cell: func(c broker.Change) string { return c.Field }},
		{title: "IS", cell: func(c broker.Change) string { return c.Have }, wraps: true},
		{title: "SHOULD BE", cell: func(c broker.Change) string { return c.Want }, wraps: true},
		{title: "CHANGE", cell: func(c broker.Change) string { return string(c.Kind) }, style: func(c broker.Change) style {
			if c.Kind == broker.Lossy || c.Kind == broker.Refused {
				return yellow
			}
			return green
		}},
	})
}
