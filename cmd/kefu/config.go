package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/kefuhq/kefu/internal/config"
)

func newConfigCmd(c *cli) *cobra.Command {
	return newGroupCmd(&cobra.Command{
		Use:     "config",
		Short:   "Check, print and explain the configuration",
		GroupID: groupSetup,
		Example: `  kefu config check
  kefu config print --origins
  kefu config reference --example > kefu.yaml`,
	}, newConfigCheckCmd(c), newConfigPrintCmd(c), newConfigReferenceCmd(c))
}

func newConfigCheckCmd(c *cli) *cobra.Command {
	return &cobra.Command{
		Use:   "check",
		Short: "Check the configuration and name everything that is wrong with it",
		Long: `Loads the configuration as every command does and names everything that is wrong, with file and line.
Files it names (secrets, certificates) are looked at but may be missing: that is a warning.
Exit code 0 when it can be used, 2 when not.`,
		Example: `  kefu config check
  kefu config check --config deploy/kefu.yaml -o json`,
		Args: noArguments,
		RunE: func(*cobra.Command, []string) error { return c.checkConfig() },
	}
}

// configReport is what `config check` prints as JSON.
type configReport struct {
	OK       bool             `json:"ok"`
	File     string           `json:"file,omitempty"`
	Apps     int              `json:"apps"`
	Problems []config.Problem `json:"problems"`
	Warnings []config.Warning `json:"warnings"`
}

func (c *cli) checkConfig() error {
	src, err := c.source()
	if err != nil {
		return err
	}
	cfg, warnings, err := config.Load(src)
	report := configReport{OK: err == nil, Problems: []config.Problem{}, Warnings: append([]config.Warning{}, warnings...)}
	var invalid *config.Error
	switch {
	case err == nil:
		report.File, report.Apps = cfg.File(), len(cfg.Apps)
		if err := cfg.RequireApps(); errors.As(err, &invalid) {
			report.Warnings = append(report.Warnings, config.Warning{Problem: invalid.Problems[0]})
		}
	case errors.As(err, &invalid):
		report.Problems = invalid.Problems
	default:
		return err
	}
	if c.format != formatTable {
		if err := c.value(report); err != nil {
			return err
		}
		if !report.OK {
			return &exitError{exitUsage, fmt.Errorf("the configuration has %s", count(len(report.Problems), "problem"))}
		}
		return nil
	}
	for _, w := range report.Warnings {
		c.warn(w.String())
	}
	if err != nil {
		return err
	}
	file := report.File
	if file == "" {
		file = "no file, defaults only"
	}
	return c.printf("%s: ok, %s, %s\n", clean(file), count(report.Apps, "app"), count(len(report.Warnings), "warning"))
}

// count is "no apps", "1 app", "2 apps".
func count(n int, thing string) string {
	switch n {
	case 0:
		return "no " + thing + "s"
	case 1:
		return "1 " + thing
	default:
		return fmt.Sprintf("%d %ss", n, thing)
	}
}

// configPrint is `kefu config print`.
type configPrint struct {
	cli     *cli
	origins bool
}

func newConfigPrintCmd(c *cli) *cobra.Command {
	p := &configPrint{cli: c}
	cmd := &cobra.Command{
		Use:   "print",
		Short: "Print the configuration in effect",
		Long: `Prints the configuration in effect as YAML that can be loaded again: file, environment and defaults together.
Of each app it shows what differs from defaults; with --app, all settings of that app. Secrets are not part of it, and
credentials in URLs are hidden.`,
		Example: `  kefu config print
  kefu config print --origins
  kefu config print --app wx0000000000000001`,
		Args: noArguments,
		RunE: func(*cobra.Command, []string) error { return p.run() },
	}
	cmd.Flags().BoolVar(&p.origins, "origins", false, "say behind each value where it was set")
	return cmd
}

func (p *configPrint) run() error {
	cfg, err := p.cli.config()
	if err != nil {
		return err
	}
	appid := p.cli.appID
	if appid != "" {
		if _, err := p.cli.app(""); err != nil {
			return err
		}
	}
	if p.cli.format != formatTable {
		tree, err := cfg.Tree()
		if appid != "" {
			tree, err = cfg.AppTree(appid)
		}
		if err != nil {
			return err
		}
		return p.cli.value(tree)
	}
	if appid != "" {
		_, err = cfg.PrintApp(p.cli.out, appid, p.origins)
		return err
	}
	return cfg.Print(p.cli.out, p.origins)
}

// configReference is `kefu config reference`.
type configReference struct {
	cli     *cli
	example bool
}

func newConfigReferenceCmd(c *cli) *cobra.Command {
	r := &configReference{cli: c}
	cmd := &cobra.Command{
		Use:   "reference [KEY]",
		Short: "List every configuration key with its default, what is allowed and what it means",
		Long: `Lists every configuration key with its default, what is allowed and what it means; with KEY, those whose name holds it.
Every key of defaults may also be set per app. The variable of a key is KEFU_ and its path in capitals: KEFU_NATS_URL.`,
		Example: `  kefu config reference
  kefu config reference rate
  kefu config reference -o json
  kefu config reference --example > kefu.yaml`,
		Args: arguments(0, 1, "KEY"),
		RunE: func(_ *cobra.Command, args []string) error { return r.run(args) },
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			var names []string
			for _, k := range config.Keys() {
				names = append(names, k.Path+"\t"+k.Doc)
			}
			return names, cobra.ShellCompDirectiveNoFileComp
		},
	}
	cmd.Flags().BoolVar(&r.example, "example", false, "write a complete, commented configuration file instead")
	return cmd
}

func (r *configReference) run(args []string) error {
	if r.example {
		if len(args) > 0 {
			return usagef("--example is the whole file: it goes without a key")
		}
		return config.WriteExample(r.cli.out)
	}
	var keys []config.Key
	for _, k := range config.Keys() {
		switch {
		case len(args) > 0 && !strings.Contains(k.Path, args[0]):
		case len(args) == 0 && r.cli.format == formatTable && k.OfEachApp():
			// For people the long text says once that apps have the keys of defaults.
		default:
			keys = append(keys, k)
		}
	}
	if len(keys) == 0 {
		if err := list(r.cli, keys, nil); err != nil {
			return err
		}
		return nothingf("no key's name holds %q", args[0])
	}
	return list(r.cli, keys, []column[config.Key]{
		{title: "KEY", cell: func(k config.Key) string { return k.Path }},
		{title: "DEFAULT", cell: func(k config.Key) string { return k.Default }, wraps: true},
		{title: "ALLOWED", cell: func(k config.Key) string { return strings.TrimSpace(k.Allowed + " " + k.Unit) }, wraps: true},
		{title: "MEANING", cell: func(k config.Key) string { return k.Doc }, wraps: true},
	})
}
