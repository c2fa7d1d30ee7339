package kfaccount

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/kefuhq/kefu/internal/cli"
	"github.com/kefuhq/kefu/internal/kfaccount"
	"github.com/kefuhq/kefu/internal/wechat"
)

// remove is `kefu kfaccount delete`.
type remove struct{ access }

func newDelete(env *cli.Env) *cobra.Command {
	d := &remove{access{env.Streams, env.API}}
	return &cobra.Command{
		Use:   "delete KFACCOUNT",
		Short: "Delete a kfaccount",
		Long: `Deletes a kfaccount, and looks afterwards whether it is gone: WeChat answers ok at
times and keeps it. Messages that name it are refused from then on (65401).`,
		Example: `  kefu kfaccount delete test1@test`,
		Args:    cli.Args(1, 1, "KFACCOUNT"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return d.run(cmd.Context(), args[0])
		},
	}
}

func (d *remove) run(ctx context.Context, account string) error {
	api, err := d.api("")
	if err != nil {
		return err
	}
	defer api.Close()
	if err := wechat.CheckKFAccount(account); err != nil {
		return api.Explain(cli.Changing, err)
	}
	_, found, err := kfaccount.Find(ctx, api.Client, account)
	if err != nil {
		return api.Explain(cli.Reading, err)
	}
	if found == nil {
		return notFound(api.App, account)
	}
	question := fmt.Sprintf("Delete the kfaccount %s (%s) of %s?", account, found.Nick,
		api.App.Label())
	if err := d.streams.Confirm(ctx, question); err != nil {
		return err
	}
	return d.do(ctx, api, change{
		action: "delete", account: account, done: "deleted",
		make: func(ctx context.Context) (kfaccount.Outcome, error) {
			return kfaccount.Delete(ctx, api.Client, account)
		},
	})
}
