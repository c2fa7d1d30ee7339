// Package app is `kefu app`: how the apps stand, and what operators do to them.
package app

import (
	"github.com/spf13/cobra"

	"github.com/kefuhq/kefu/internal/cli"
)

// New returns the command and its verbs.
func New(env *cli.Env) *cobra.Command {
	return cli.Group(&cobra.Command{
		Use:     "app",
		Short:   "See which apps are held and why, pause and resume them",
		GroupID: cli.GroupApp,
		Long: `An app is one Official Account. It is held when nothing of it can be sent for a
reason that is not a message's: its quota is used up, its configuration is wrong, nothing reaches
WeChat, or an operator paused it. What is queued then stays queued.`,
		Example: `  kefu app list
  kefu app status wx0000000000000001
  kefu app pause wx0000000000000001 --reason 'wrong text in the campaign'
  kefu app resume wx0000000000000001
  kefu app quota wx0000000000000001`,
	}, newList(env), newStatus(env), newPause(env), newResume(env), newProbe(env), newQuota(env))
}
