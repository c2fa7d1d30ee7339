package root

import (
	"github.com/spf13/cobra"

	"github.com/kefuhq/kefu/internal/cli"
)

func newVersion(env *cli.Env) *cobra.Command {
	return &cobra.Command{
		Use:     "version",
		Short:   "Print the version of kefu",
		GroupID: cli.GroupTool,
		Example: `  kefu version
  kefu version -o json`,
		Args: cli.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			return env.Streams.Answer(env.Build, "%s\n", env.Build)
		},
	}
}
