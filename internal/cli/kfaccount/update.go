package kfaccount

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/kefuhq/kefu/internal/cli"
	"github.com/kefuhq/kefu/internal/kfaccount"
	"github.com/kefuhq/kefu/internal/wechat"
)

// update is `kefu kfaccount update`.
type update struct{ profile }

func newUpdate(env *cli.Env) *cobra.Command {
	u := &update{profile{access: access{env.Streams, env.API}}}
	cmd := &cobra.Command{
		Use:   "update KFACCOUNT",
		Short: "Change the nickname of a kfaccount",
		Example: `  kefu kfaccount update test1@test --nickname 小王
  kefu kfaccount update test1@test --password-file password.txt`,
		Args: cli.Args(1, 1, "KFACCOUNT"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return u.run(cmd.Context(), args[0])
		},
	}
	u.addFlags(cmd)
	return cmd
}

func (u *update) run(ctx context.Context, account string) error {
	if u.nickname == "" && u.passwordFile == "" {
		return cli.Usagef("nothing to change: --nickname or --password-file is missing")
	}
	wanted, err := u.wanted(account)
	if err != nil {
		return err
	}
	api, err := u.api("")
	if err != nil {
		return err
	}
	defer api.Close()
	if err := wechat.CheckKFAccount(account); err != nil {
		return api.Explain(cli.Changing, err)
	}
	if wanted.Nickname == "" { // the API wants it even when it does not change
		_, found, err := kfaccount.Find(ctx, api.Client, account)
		if err != nil {
			return api.Explain(cli.Reading, err)
		}
		if found == nil {
			return notFound(api.App, account)
		}
		wanted.Nickname = found.Nick
	} else if err := wanted.Check(wechat.NicknameRule(api.App.KFAccounts.Nickname)); err != nil {
		return api.Explain(cli.Changing, err)
	}
	return u.do(ctx, api, change{
		action: "update", account: account, done: "changed",
		make: func(ctx context.Context) (kfaccount.Outcome, error) {
			return kfaccount.Update(ctx, api.Client, wanted)
		},
	})
}
