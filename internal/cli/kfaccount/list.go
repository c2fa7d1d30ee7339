package kfaccount

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/kefuhq/kefu/internal/cli"
	"github.com/kefuhq/kefu/internal/wechat"
)

// list is `kefu kfaccount list`.
type list struct{ access }

func newList(env *cli.Env) *cobra.Command {
	l := &list{access{env.Streams, env.API}}
	return &cobra.Command{
		Use:   "list",
		Short: "List an app's kfaccounts",
		Example: `  kefu kfaccount list
  kefu kfaccount list -o json`,
		Args: cli.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return l.run(cmd.Context()) },
	}
}

func (l *list) run(ctx context.Context) error {
	api, err := l.api("")
	if err != nil {
		return err
	}
	defer api.Close()
	accounts, err := api.Client.KFAccounts(ctx)
	if err != nil {
		return api.Explain(cli.Reading, err)
	}
	if err := cli.List(l.streams, accounts, []cli.Column[wechat.KFAccount]{
		{Title: "KFACCOUNT", Cell: func(k wechat.KFAccount) string { return k.Account }},
		{Title: "NICKNAME", Cell: func(k wechat.KFAccount) string { return k.Nick }},
		{Title: "ID", Right: true, Cell: func(k wechat.KFAccount) string { return k.ID }},
		{Title: "AGENT", Cell: agent, Wraps: true},
		{Title: "AVATAR", Cell: func(k wechat.KFAccount) string { return k.HeadImg }, Wraps: true},
	}); err != nil {
		return err
	}
	if len(accounts) == 0 {
		return cli.Nothingf("%s has no kfaccounts", api.App.Label())
	}
	return nil
}

// agent returns the WeChat user of an account of the new customer service.
func agent(k wechat.KFAccount) string {
	switch {
	case k.WeChatID != "":
		return k.WeChatID
	case k.Invited == "":
		return ""
	}
	says := "invited: " + k.Invited
	if k.InviteStatus != "" {
		says += ", " + k.InviteStatus
	}
	if !k.InviteExpires.IsZero() {
		says += " until " + cli.Moment(k.InviteExpires)
	}
	return says
}
