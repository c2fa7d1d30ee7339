package main

import (
	"log/slog"
	"time"

	"github.com/lmittmann/tint"
	"github.com/spf13/cobra"
)

// addLogFlags gives a daemon its --log-level. The level can be changed while it runs.
func (c *cli) addLogFlags(cmd *cobra.Command, level *slog.LevelVar) {
	cmd.Flags().TextVar(level, "log-level", &slog.LevelVar{}, "least `level` that is logged: debug, info, warn or error")
	c.complete(cmd, "log-level", func() []string { return []string{"debug", "info", "warn", "error"} })
}

// logger writes to the error stream: coloured lines for people on a terminal, JSON for machines otherwise.
func (c *cli) logger(level slog.Leveler) *slog.Logger {
	if !c.tty.err {
		return slog.New(slog.NewJSONHandler(c.err, &slog.HandlerOptions{Level: level}))
	}
	return slog.New(tint.NewTextHandler(c.err, &tint.Options{
		Level:      level,
		TimeFormat: time.TimeOnly,
		NoColor:    !c.colours(true),
		// tint quotes what is odd in values, but writes the message as it is.
		ReplaceAttr: func(groups []string, a slog.Attr) slog.Attr {
			if a.Key == slog.MessageKey && len(groups) == 0 {
				a.Value = slog.StringValue(clean(a.Value.String()))
			}
			return a
		},
	}))
}
