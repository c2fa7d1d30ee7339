package main

import (
	"fmt"
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
		return slog.New(slog.NewJSONHandler(c.err, &slog.HandlerOptions{
			Level: level,
			ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
				if a.Value.Kind() == slog.KindDuration { // nanoseconds without a unit tell nobody anything
					a.Value = slog.StringValue(a.Value.Duration().String())
				}
				return a
			},
		}))
	}
	return slog.New(tint.NewTextHandler(c.err, &tint.Options{
		Level:       level,
		TimeFormat:  time.TimeOnly,
		NoColor:     !c.colours(true),
		ReplaceAttr: harmless,
	}))
}

// harmless takes out of a log line for a terminal what could play with that: tint passes escape sequences on. An errmsg of WeChat's
// or a line of the broker's log is text from outside.
func harmless(_ []string, a slog.Attr) slog.Attr {
	value := a.Value.Resolve()
	switch value.Kind() {
	case slog.KindString:
		a.Value = slog.StringValue(clean(value.String()))
	case slog.KindAny:
		if _, isLevel := value.Any().(slog.Level); isLevel {
			return a // tint shows it in its own way
		}
		a.Value = slog.StringValue(clean(fmt.Sprint(value.Any())))
	}
	return a
}
