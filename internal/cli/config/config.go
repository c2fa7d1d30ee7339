// Package config is `kefu config`: the configuration, checked, printed and explained.
package config

import (
	"errors"
	"strings"

	"github.com/spf13/cobra"

	"github.com/kefuhq/kefu/internal/cli"
	"github.com/kefuhq/kefu/internal/config"
)

// New returns the command and its verbs.
func New(env *cli.Env) *cobra.Command {
	return cli.Group(&cobra.Command{
		Use:     "config",
		Short:   "Check, print and explain the configuration",
		GroupID: cli.GroupSetup,
		Example: `  kefu config check
  kefu config print --origins
  kefu config reference --example > kefu.yaml`,
	}, newCheck(env), newPrint(env), newReference(env))
}

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
		Long: `Loads the configuration as every command does and names everything that is wrong, with file and line.
Files it names (secrets, certificates) are looked at but may be missing: that is a warning.
Exit code 0 when it can be used, 2 when not.`,
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
			return cli.Usagef("the configuration has %s", cli.Count(len(found.Problems), "problem"))
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
	return c.streams.Printf("%s: ok, %s, %s\n", cli.Clean(file), cli.Count(found.Apps, "app"),
		cli.Count(len(found.Warnings), "warning"))
}

// print is `kefu config print`.
type print struct {
	streams  *cli.Streams
	settings *cli.Settings
	origins  bool
}

func newPrint(env *cli.Env) *cobra.Command {
	p := &print{streams: env.Streams, settings: env.Settings}
	cmd := &cobra.Command{
		Use:   "print",
		Short: "Print the configuration in effect",
		Long: `Prints the configuration in effect as YAML that can be loaded again: file, environment and defaults together.
Of each app it shows what differs from defaults; with --app, all settings of that app. Secrets are not part of it, and
credentials in URLs are hidden.`,
		Example: `  kefu config print
  kefu config print --origins
  kefu config print --app wx0000000000000001`,
		Args: cli.NoArgs,
		RunE: func(*cobra.Command, []string) error { return p.run() },
	}
	cmd.Flags().BoolVar(&p.origins, "origins", false, "say behind each value where it was set")
	return cmd
}

func (p *print) run() error {
	cfg, err := p.settings.Config()
	if err != nil {
		return err
	}
	appid := p.settings.AppID
	if appid != "" {
		if _, err := p.settings.App(""); err != nil {
			return err
		}
	}
	if p.streams.AsJSON() {
		tree, err := cfg.Tree()
		if appid != "" {
			tree, err = cfg.AppTree(appid)
		}
		if err != nil {
			return err
		}
		return p.streams.Value(tree)
	}
	if appid != "" {
		_, err = cfg.PrintApp(p.streams.Out, appid, p.origins)
		return err
	}
	return cfg.Print(p.streams.Out, p.origins)
}

// reference is `kefu config reference`.
type reference struct {
	streams *cli.Streams
	example bool
}

func newReference(env *cli.Env) *cobra.Command {
	r := &reference{streams: env.Streams}
	cmd := &cobra.Command{
		Use:   "reference [KEY]",
		Short: "List every configuration key with its default, what is allowed and what it means",
		Long: `Lists every configuration key with its default, what is allowed and what it means; with KEY, those whose name holds it.
Every key of defaults may also be set per app. The variable of a key is KEFU_ and its path in capitals: KEFU_NATS_URL.`,
		Example: `  kefu config reference
  kefu config reference rate
  kefu config reference -o json
  kefu config reference --example > kefu.yaml`,
		Args: cli.Args(0, 1, "KEY"),
		RunE: func(_ *cobra.Command, args []string) error { return r.run(args) },
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			var names []string
			for _, k := range config.Keys() {
				names = append(names, k.Path+"\t"+k.Doc)
			}
			return names, cobra.ShellCompDirectiveNoFileComp
		},
	}
	cmd.Flags().BoolVar(&r.example, "example", false,
		"write a complete, commented configuration file instead")
	return cmd
}

func (r *reference) run(args []string) error {
	if r.example {
		if len(args) > 0 {
			return cli.Usagef("--example is the whole file: it goes without a key")
		}
		return config.WriteExample(r.streams.Out)
	}
	var keys []config.Key
	for _, k := range config.Keys() {
		switch {
		case len(args) > 0 && !strings.Contains(k.Path, args[0]):
		case len(args) == 0 && !r.streams.AsJSON() && k.OfEachApp():
			// For people the long text says once that apps have the keys of defaults.
		default:
			keys = append(keys, k)
		}
	}
	if len(keys) == 0 {
		if err := cli.List(r.streams, keys, nil); err != nil {
			return err
		}
		return cli.Nothingf("no key's name holds %q", args[0])
	}
	return cli.List(r.streams, keys, []cli.Column[config.Key]{
		{Title: "KEY", Cell: func(k config.Key) string { return k.Path }},
		{Title: "DEFAULT", Cell: func(k config.Key) string { return k.Default }, Wraps: true},
		{Title: "ALLOWED", Cell: func(k config.Key) string {
			return strings.TrimSpace(k.Allowed +
				" " + k.Unit)
		}, Wraps: true},
		{Title: "MEANING", Cell: func(k config.Key) string { return k.Doc }, Wraps: true},
	})
}
