// Package kfaccount is `kefu kfaccount`: the customer-service accounts of an app.
package kfaccount

import (
	"github.com/spf13/cobra"

	"github.com/kefuhq/kefu/internal/cli"
	"github.com/kefuhq/kefu/internal/config"
)

// New returns the command and its verbs.
func New(env *cli.Env) *cobra.Command {
	return cli.Group(&cobra.Command{
		Use:     "kfaccount",
		Short:   "Manage an app's customer-service accounts (客服帐号)",
		GroupID: cli.GroupApp,
		Long: `A kfaccount is one of the faces under which an app answers its users: a nickname and
a picture. A message names the kfaccount it comes from as prefix@wechatid, where the wechat id is
the app's. These commands call the API themselves, with the app's secret, and need neither worker
nor broker; what they change is written to the audit if there is a broker.`,
		Example: `  kefu kfaccount list
  kefu kfaccount add test1@test --nickname 客服1
  kefu kfaccount avatar test1@test face.jpg
  kefu kfaccount delete test1@test`,
	},
		newList(env), newOnline(env), newAdd(env), newUpdate(env), newDelete(env), newAvatar(env))
}

// access is what every verb here uses.
type access struct {
	streams *cli.Streams
	api     func(appID string) (*cli.API, error)
}

func notFound(app config.App, account string) error {
	return cli.Nothingf("%s has no kfaccount %s: kefu kfaccount list shows those it has",
		app.Label(), account)
}
