// Package config is `kefu config`: the configuration, checked, printed and explained.
package config

import (
	"github.com/spf13/cobra"

	"github.com/kefuhq/kefu/internal/cli"
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
