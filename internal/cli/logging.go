package cli

import (
	"fmt"
	"log/slog"
	"time"

	"github.com/lmittmann/tint"
	"github.com/spf13/cobra"
)

// AddLogFlags gives a daemon its --log-level. The level can be changed while it runs.
func AddLogFlags(cmd *cobra.Command, level *slog.LevelVar) {
	cmd.Flags().TextVar(level, "log-level", &slog.LevelVar{},
		"least `level` that is logged: debug, info, warn or error")
	Complete(cmd, "log-level", func() []string {
		return []string{"debug", "info", "warn", "error"}
	})
}

// Logger writes to the error stream: coloured lines for people on a terminal, JSON for machines
// otherwise.
func (s *Streams) Logger(level slog.Leveler) *slog.Logger {
	if !s.Terminal.Err {
		return slog.New(slog.NewJSONHandler(s.Err, &slog.HandlerOptions{
			Level: level,
			ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
				// Nanoseconds without a unit tell nobody anything.
				if a.Value.Kind() == slog.KindDuration {
					a.Value = slog.StringValue(a.Value.Duration().String())
				}
				return a
			},
		}))
	}
	return slog.New(tint.NewTextHandler(s.Err, &tint.Options{
		Level:       level,
		TimeFormat:  time.TimeOnly,
		NoColor:     !s.colours(true),
		ReplaceAttr: harmless,
	}))
}

// LoggerForPeople writes readable lines even when nobody's terminal is at the other end.
func (s *Streams) LoggerForPeople(level slog.Leveler) *slog.Logger {
	if s.Terminal.Err {
		return s.Logger(level)
	}
	options := &tint.Options{Level: level, TimeFormat: time.TimeOnly, NoColor: true}
	return slog.New(tint.NewTextHandler(s.Err, options))
}

// harmless takes out of a log line for a terminal what could play with that: tint passes escape
// sequences on. An errmsg of WeChat's or a line of the broker's log is text from outside.
func harmless(_ []string, a slog.Attr) slog.Attr {
	value := a.Value.Resolve()
	switch value.Kind() {
	case slog.KindString:
		a.Value = slog.StringValue(Clean(value.String()))
	case slog.KindAny:
		if _, isLevel := value.Any().(slog.Level); isLevel {
			return a // tint shows it in its own way
		}
		a.Value = slog.StringValue(Clean(fmt.Sprint(value.Any())))
	}
	return a
}
