// Package campaign is `kefu campaign`: one message to many users.
package campaign

import (
	"github.com/spf13/cobra"

	"github.com/kefuhq/kefu/internal/cli"
)

// New returns the command and its verbs.
func New(env *cli.Env) *cobra.Command {
	return cli.Group(&cobra.Command{
		Use:     "campaign",
		Short:   "Send one message to many users",
		GroupID: cli.GroupIntent,
		Long: `A campaign is a file of recipients that becomes intents of the bulk lane, which
yields to conversations. Its name stands in the subject, receipts and letters: letters, digits, -
and _.`,
		Example: `  kefu campaign start double-11 --file users.csv --template packet.json --dry-run
  kefu campaign start double-11 --file users.csv --template packet.json
  kefu campaign status double-11`,
	}, newStart(env), newStatus(env))
}
