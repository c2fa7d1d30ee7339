// Package overview is `kefu overview`: the first screen in a terminal.
package overview

import (
	"bytes"
	"context"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/kefuhq/kefu/internal/cli"
	"github.com/kefuhq/kefu/internal/config"
	"github.com/kefuhq/kefu/internal/overview"
)

// command is `kefu overview`.
type command struct {
	streams  *cli.Streams
	settings *cli.Settings
	broker   *cli.Broker
	watch    bool
}

// New returns the command.
func New(env *cli.Env) *cobra.Command {
	c := &command{streams: env.Streams, settings: env.Settings, broker: env.Broker}
	cmd := &cobra.Command{
		Use:     "overview",
		Aliases: []string{"status"},
		Short:   "See whether kefu is sending, what is wrong and what to do about it",
		GroupID: cli.GroupApp,
		Long: `Tells at one look whether messages are sent, which apps are held and why, what is
late, what will expire while it waits, what died in the last 24 hours, whether today's budget lasts,
and what to do next, with the command for it. It is what the first page of kefu console shows, in
the language of LANG.

SENT, DEAD and P99 are of the last hour, as the workers saw it by their clocks; the line at the end
of an app's row is what it sent in each five minutes of that hour. P99 is how long the slowest
hundredth took from publication to its end. With --app only what is about that app is shown.`,
		Example: `  kefu overview
  kefu overview --watch
  kefu overview -o json | jq -r '.problems[].says.en'`,
		Args: cli.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return c.run(cmd.Context()) },
	}
	cmd.Flags().BoolVarP(&c.watch, "watch", "w", false,
		"show it until Ctrl-C, always fresh; with -o json or ndjson a line every 2 s")
	return cmd
}

func (c *command) run(ctx context.Context) error {
	panel := c.streams.Panel()
	if c.watch && !c.streams.AsJSON() && !panel.Shows() {
		return cli.Usagef("--watch needs a terminal; -o ndjson prints a line every 2 s anywhere")
	}
	conn, _, err := c.broker.ConnectApps(ctx) // an --app that is not known is an error
	if err != nil {
		return err
	}
	defer conn.Close()
	cfg, err := c.settings.Config()
	if err != nil {
		return err
	}
	if !c.watch {
		o, err := overview.Read(ctx, conn, cfg)
		if err != nil {
			return err
		}
		return c.print(c.streams, o)
	}
	keeper := overview.NewKeeper(conn, func() *config.Config { return cfg })
	defer keeper.Close()
	return c.follow(ctx, keeper, panel)
}

// followEvery is between two looks.
const followEvery = 2 * time.Second

// follow shows the overview until ctx ends. While the broker is away, what was seen last stays.
func (c *command) follow(ctx context.Context, keeper *overview.Keeper, panel *cli.Panel) error {
	tick := time.NewTicker(followEvery)
	defer tick.Stop()
	for first := true; ; first = false {
		o, err := keeper.Look(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil && first:
			return err
		case err == nil && c.streams.AsJSON():
			if err := c.streams.Line(c.of(o)); err != nil {
				return err
			}
		case err == nil:
			if err := c.draw(panel, o); err != nil {
				return err
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// draw draws as much as the terminal has lines for.
func (c *command) draw(panel *cli.Panel, o overview.Overview) error {
	var out bytes.Buffer
	page := *c.streams
	page.Out, page.Terminal.Out, page.Terminal.Width = &out, false, panel.Width()-1
	if err := c.print(&page, o); err != nil {
		return err
	}
	lines := strings.Split(strings.TrimRight(out.String(), "\n"), "\n")
	if most := panel.Height() - 2; most > 0 && len(lines) > most {
		lines = append(lines[:most], "…")
	}
	panel.Draw(lines...)
	return nil
}
