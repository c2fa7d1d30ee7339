// Package kfaccount is `kefu kfaccount`: the customer-service accounts of an app.
package kfaccount

import (
	"context"
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"github.com/kefuhq/kefu/internal/cli"
	"github.com/kefuhq/kefu/internal/config"
	"github.com/kefuhq/kefu/internal/wechat"
)

// New returns the command and its verbs.
func New(env *cli.Env) *cobra.Command {
	return cli.Group(&cobra.Command{
		Use:     "kfaccount",
		Short:   "Manage an app's customer-service accounts (客服帐号)",
		GroupID: cli.GroupApp,
		Long: `A kfaccount is one of the faces under which an app answers its users: a nickname and a picture. A message names the kfaccount it
comes from as prefix@wechatid, where the wechat id is the app's. These commands call the API themselves, with the app's secret,
and need neither worker nor broker; what they change is written to the audit if there is a broker.`,
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

// find returns the kfaccounts of an app, and the one of that name among them.
func find(
	ctx context.Context, client *wechat.Client, account string,
) (all []wechat.KFAccount, found *wechat.KFAccount, err error) {
	all, err = client.KFAccounts(ctx)
	if err != nil {
		return nil, nil, fmt.Errorf("look at the kfaccounts there are: %w", err)
	}
	if i := slices.IndexFunc(all, named(account)); i >= 0 {
		found = &all[i]
	}
	return all, found, nil
}

func named(account string) func(wechat.KFAccount) bool {
	return func(k wechat.KFAccount) bool { return k.Account == account }
}

func notFound(app config.App, account string) error {
	return cli.Nothingf("%s has no kfaccount %s: kefu kfaccount list shows those it has",
		app.Label(), account)
}
