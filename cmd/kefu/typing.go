package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/schema"
)

// typingCmd is `kefu typing`.
type typingCmd struct {
	cli    *cli
	to     string
	cancel bool
}

func newTypingCmd(c *cli) *cobra.Command {
	t := &typingCmd{cli: c}
	cmd := &cobra.Command{
		Use:     "typing",
		Short:   "Show a user that an answer is being written",
		GroupID: groupApp,
		Long: `Shows the user that an answer is being written, for 15 seconds or until a message is sent. WeChat wants a message to or from the
user within the last 30 seconds. It calls the API itself and needs neither worker nor broker.`,
		Example: `  kefu typing --to oUser1
  kefu typing --to oUser1 --cancel`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error { return t.run(cmd.Context()) },
	}
	cmd.Flags().StringVar(&t.to, "to", "", "`openid` of the user")
	cmd.Flags().BoolVar(&t.cancel, "cancel", false, "take the sign away before its time")
	return cmd
}

// typed is the answer as JSON.
type typed struct {
	AppID   string `json:"appid"`
	OpenID  string `json:"openid"` // masked
	Command string `json:"command"`
}

func (t *typingCmd) run(ctx context.Context) error {
	if schema.CheckToken("openid", t.to) != nil {
		return usagef("--to is not an openid: 1 to 128 of the characters A-Z a-z 0-9 _ -")
	}
	d, err := t.cli.api("")
	if err != nil {
		return err
	}
	defer d.close()
	done := typed{AppID: d.app.AppID, OpenID: maskOpenID(t.to), Command: "Typing"}
	call, says := d.client.Typing, "typing is shown to %s, for up to 15 seconds\n"
	if t.cancel {
		done.Command = "CancelTyping"
		call, says = d.client.CancelTyping, "typing is no longer shown to %s\n"
	}
	err = d.change(ctx, broker.AuditEntry{Verb: "typing", Filter: done.Command}, func() error { return call(ctx, t.to) })
	if err != nil {
		return d.refusedWhile(showing, err)
	}
	if d.format != formatTable {
		return d.value(done)
	}
	return d.printf(says, done.OpenID)
}
