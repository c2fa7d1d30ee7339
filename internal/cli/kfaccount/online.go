package kfaccount

import (
	"context"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/kefuhq/kefu/internal/cli"
	"github.com/kefuhq/kefu/internal/wechat"
)

// online is `kefu kfaccount online`.
type online struct{ access }

func newOnline(env *cli.Env) *cobra.Command {
	o := &online{access{env.Streams, env.API}}
	return &cobra.Command{
		Use:   "online",
		Short: "List the kfaccounts whose agents are online",
		Example: `  kefu kfaccount online
  kefu kfaccount online -o json`,
		Args: cli.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return o.run(cmd.Context()) },
	}
}

func (o *online) run(ctx context.Context) error {
	api, err := o.api("")
	if err != nil {
		return err
	}
	defer api.Close()
	accounts, err := api.Client.OnlineKFAccounts(ctx)
	if err != nil {
		return api.Explain(cli.Reading, err)
	}
	if err := cli.List(o.streams, accounts, []cli.Column[wechat.OnlineKFAccount]{
		{Title: "KFACCOUNT", Cell: func(k wechat.OnlineKFAccount) string { return k.Account }},
		{Title: "ID", Right: true, Cell: func(k wechat.OnlineKFAccount) string { return k.ID }},
		{Title: "ONLINE",
			Cell: func(k wechat.OnlineKFAccount) string { return onlineBy(k.Status) }},
		{Title: "SESSIONS", Right: true,
			Cell: func(k wechat.OnlineKFAccount) string { return cli.Grouped(k.Accepted) }},
	}); err != nil {
		return err
	}
	if len(accounts) == 0 {
		return cli.Nothingf("no kfaccount of %s is online", api.App.Label())
	}
	return nil
}

// onlineBy returns how an agent is logged in.
func onlineBy(status int64) string {
	if status == 1 {
		return "on the web"
	}
	return "status " + strconv.FormatInt(status, 10)
}
