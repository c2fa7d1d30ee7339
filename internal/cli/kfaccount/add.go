package kfaccount

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/kefuhq/kefu/internal/cli"
	"github.com/kefuhq/kefu/internal/kfaccount"
	"github.com/kefuhq/kefu/internal/wechat"
)

// add is `kefu kfaccount add`.
type add struct{ profile }

func newAdd(env *cli.Env) *cobra.Command {
	a := &add{profile{access: access{env.Streams, env.API}}}
	cmd := &cobra.Command{
		Use:   "add KFACCOUNT",
		Short: "Add a kfaccount",
		Long: `Adds a kfaccount, named prefix@wechatid: a prefix of up to 10 letters, digits and
underscores, and the app's WeChat id. One that is there already under that nickname is left as it
is.`,
		Example: `  kefu kfaccount add test1@test --nickname 客服1`,
		Args:    cli.Args(1, 1, "KFACCOUNT"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.run(cmd.Context(), args[0])
		},
	}
	a.addFlags(cmd)
	return cmd
}

func (a *add) run(ctx context.Context, account string) error {
	if a.nickname == "" {
		return cli.Usagef("--nickname is missing")
	}
	wanted, err := a.wanted(account)
	if err != nil {
		return err
	}
	api, err := a.api("")
	if err != nil {
		return err
	}
	defer api.Close()
	if err := wanted.Check(wechat.NicknameRule(api.App.KFAccounts.Nickname)); err != nil {
		return api.Explain(cli.Changing, err)
	}
	all, found, err := kfaccount.Find(ctx, api.Client, account)
	switch {
	case err != nil:
		return api.Explain(cli.Reading, err)
	case found != nil && found.Nick == wanted.Nickname && wanted.Password.Empty():
		return a.answer(api, change{action: "add", account: account, done: "there already"}, false)
	case found != nil:
		return fmt.Errorf("%s is there already, as %s: kefu kfaccount update changes it", account,
			found.Nick)
	case len(all) >= api.App.KFAccounts.Most:
		return fmt.Errorf("%s has %s, and limits.kfaccounts is %d: delete one that is "+
			"no longer used, or raise the limit",
			api.App.Label(), cli.Counted(len(all), "kfaccount"), api.App.KFAccounts.Most)
	}
	return a.do(ctx, api, change{
		action: "add", account: account, done: "added",
		make: func(ctx context.Context) (kfaccount.Outcome, error) {
			return kfaccount.Add(ctx, api.Client, wanted)
		},
	})
}
