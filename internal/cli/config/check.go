package config

import (
	"errors"

	"github.com/spf13/cobra"

	"github.com/kefuhq/kefu/internal/cli"
	"github.com/kefuhq/kefu/internal/config"
)

// check is `kefu config check`.
type check struct {
	streams  *cli.Streams
	settings *cli.Settings
}

func newCheck(env *cli.Env) *cobra.Command {
	c := &check{env.Streams, env.Settings}
	return &cobra.Command{
		Use:   "check",
		Short: "Check the configuration and name everything that is wrong with it",
		Long: `Loads the configuration as every command does and names everything that is wrong,
with file and line. Files it names (secrets, certificates) are looked at but may be missing: that is
a warning. Exit code 0 when it can be used, 2 when not.`,
		Example: `  kefu config check
  kefu config check --config deploy/kefu.yaml -o json`,
		Args: cli.NoArgs,
		RunE: func(*cobra.Command, []string) error { return c.run() },
	}
}

// report is what `config check` prints as JSON.
type report struct {
	OK       bool             `json:"ok"`
	File     string           `json:"file,omitempty"`
	Apps     int              `json:"apps"`
	Problems []config.Problem `json:"problems"`
	Warnings []config.Warning `json:"warnings"`
}

func (c *check) run() error {
	src, err := c.settings.Source()
	if err != nil {
		return err
	}
	cfg, warnings, err := config.Load(src)
	found := report{OK: err == nil, Problems: []config.Problem{},
		Warnings: append([]config.Warning{}, warnings...)}
	var invalid *config.Error
	switch {
	case err == nil:
		found.File, found.Apps = cfg.File(), len(cfg.Apps)
		if err := cfg.RequireApps(); errors.As(err, &invalid) {
			found.Warnings = append(found.Warnings, config.Warning{Problem: invalid.Problems[0]})
		}
	case errors.As(err, &invalid):
		found.Problems = invalid.Problems
	default:
		return err
	}
	if c.streams.AsJSON() {
		if err := c.streams.Value(found); err != nil {
			return err
		}
		if !found.OK {
			problems := cli.CountOrNo(len(found.Problems), "problem")
			return cli.Usagef("the configuration has %s", problems)
		}
		return nil
	}
	for _, w := range found.Warnings {
		c.streams.Warn(w.String())
	}
	if err != nil {
		return err
	}
	file := found.File
	if file == "" {
		file = "no file, defaults only"
	}
	return c.streams.Printf("%s: ok, %s, %s\n", cli.Clean(file), cli.CountOrNo(found.Apps, "app"),
		cli.CountOrNo(len(found.Warnings), "warning"))
}
