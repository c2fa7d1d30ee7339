package main

import (
	"context"
	"fmt"
	"slices"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/kefuhq/kefu/internal/wechat"
)

func newKFAccountCmd(c *cli) *cobra.Command {
	return newGroupCmd(&cobra.Command{
		Use:     "kfaccount",
		Short:   "Manage an app's customer-service accounts (客服帐号)",
		GroupID: groupApp,
		Long: `A kfaccount is one of the faces under which an app answers its users: a nickname and a picture. A message names the kfaccount it
comes from as prefix@wechatid, where the wechat id is the app's. These commands call the API themselves, with the app's secret,
and need neither worker nor broker; what they change is written to the audit if there is a broker.`,
		Example: `  kefu kfaccount list
  kefu kfaccount add test1@test --nickname 客服1
  kefu kfaccount avatar test1@test face.jpg
  kefu kfaccount delete test1@test`,
	},
		newKFAccountListCmd(c), newKFAccountOnlineCmd(c), newKFAccountAddCmd(c), newKFAccountUpdateCmd(c), newKFAccountDeleteCmd(c),
		newKFAccountAvatarCmd(c))
}

func newKFAccountListCmd(c *cli) *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "List an app's kfaccounts",
		Example: `  kefu kfaccount list
  kefu kfaccount list -o json`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error { return c.kfAccountList(cmd.Context()) },
	}
}

func (c *cli) kfAccountList(ctx context.Context) error {
	d, err := c.api("")
	if err != nil {
		return err
	}
	defer d.close()
	accounts, err := d.client.KFAccounts(ctx)
	if err != nil {
		return d.unread(err)
	}
	if err := list(c, accounts, []column[wechat.KFAccount]{
		{title: "KFACCOUNT", cell: func(k wechat.KFAccount) string { return k.Account }},
		{title: "NICKNAME", cell: func(k wechat.KFAccount) string { return k.Nick }},
		{title: "ID", right: true, cell: func(k wechat.KFAccount) string { return k.ID }},
		{title: "AGENT", cell: agent, wraps: true},
		{title: "AVATAR", cell: func(k wechat.KFAccount) string { return k.HeadImg }, wraps: true},
	}); err != nil {
		return err
	}
	if len(accounts) == 0 {
		return nothingf("%s has no kfaccounts", d.app.Label())
	}
	return nil
}

// agent is the WeChat user behind an account of the new customer service.
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
		says += " until " + moment(k.InviteExpires)
	}
	return says
}

func newKFAccountOnlineCmd(c *cli) *cobra.Command {
	return &cobra.Command{
		Use:   "online",
		Short: "List the kfaccounts whose agents are online",
		Example: `  kefu kfaccount online
  kefu kfaccount online -o json`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error { return c.kfAccountOnline(cmd.Context()) },
	}
}

func (c *cli) kfAccountOnline(ctx context.Context) error {
	d, err := c.api("")
	if err != nil {
		return err
	}
	defer d.close()
	accounts, err := d.client.OnlineKFAccounts(ctx)
	if err != nil {
		return d.unread(err)
	}
	if err := list(c, accounts, []column[wechat.OnlineKFAccount]{
		{title: "KFACCOUNT", cell: func(k wechat.OnlineKFAccount) string { return k.Account }},
		{title: "ID", right: true, cell: func(k wechat.OnlineKFAccount) string { return k.ID }},
		{title: "ONLINE", cell: func(k wechat.OnlineKFAccount) string { return onlineBy(k.Status) }},
		{title: "SESSIONS", right: true, cell: func(k wechat.OnlineKFAccount) string { return grouped(k.Accepted) }},
	}); err != nil {
		return err
	}
	if len(accounts) == 0 {
		return nothingf("no kfaccount of %s is online", d.app.Label())
	}
	return nil
}

// onlineBy says how an agent is logged in.
func onlineBy(status int64) string {
	if status == 1 {
		return "on the web"
	}
	return "status " + strconv.FormatInt(status, 10)
}

// kfAccount is the account of that name among the app's.
func (d *apiDoor) kfAccount(ctx context.Context, account string) (all []wechat.KFAccount, found *wechat.KFAccount, err error) {
	all, err = d.client.KFAccounts(ctx)
	if err != nil {
		return nil, nil, fmt.Errorf("look at the kfaccounts there are: %w", err)
	}
	if i := slices.IndexFunc(all, func(k wechat.KFAccount) bool { return k.Account == account }); i >= 0 {
		found = &all[i]
	}
	return all, found, nil
}
