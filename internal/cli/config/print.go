package config

import (
	"github.com/spf13/cobra"

	"github.com/kefuhq/kefu/internal/cli"
)

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
		Long: `Prints the configuration in effect as YAML that can be loaded again: file,
environment and defaults together. Of each app it shows what differs from defaults; with --app, all
settings of that app. Secrets are not part of it, and credentials in URLs are hidden.`,
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
