// Package typing is `kefu typing`: the sign that an answer is being written.
package typing

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/cli"
	"github.com/kefuhq/kefu/internal/mask"
	"github.com/kefuhq/kefu/schema"
)

// typing is the command.
type typing struct {
	streams *cli.Streams
	api     func(appID string) (*cli.API, error)
	openID  string
	cancel  bool
}

// New returns the command.
func New(env *cli.Env) *cobra.Command {
	t := &typing{streams: env.Streams, api: env.API}
	cmd := &cobra.Command{
		Use:     "typing",
		Short:   "Show a user that an answer is being written",
		GroupID: cli.GroupApp,
		Long: `Shows the user that an answer is being written, for 15 seconds or until a message is
sent. WeChat wants a message to or from the user within the last 30 seconds. It calls the API itself
and needs neither worker nor broker.`,
		Example: `  kefu typing --openid oUser1
  kefu typing --openid oUser1 --cancel`,
		Args: cli.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return t.run(cmd.Context()) },
	}
	cmd.Flags().StringVar(&t.openID, "openid", "", "`openid` of the user")
	cmd.Flags().BoolVar(&t.cancel, "cancel", false, "take the sign away before its time")
	cli.FormerNames(cmd.Flags(), map[string]string{"to": "openid"})
	return cmd
}

// Shown is the answer as JSON.
type Shown struct {
	AppID   string `json:"appid"`
	OpenID  string `json:"openid"` // masked
	Command string `json:"command"`
}

func (t *typing) run(ctx context.Context) error {
	if schema.CheckToken("openid", t.openID) != nil {
		return cli.Usagef("--openid is not an openid: 1 to 128 of the characters A-Z a-z 0-9 _ -")
	}
	api, err := t.api("")
	if err != nil {
		return err
	}
	defer api.Close()
	done := Shown{AppID: api.App.AppID, OpenID: mask.Mask{}.OpenID(t.openID), Command: "Typing"}
	call, says := api.Client.Typing, "typing is shown to %s, for up to 15 seconds\n"
	if t.cancel {
		done.Command = "CancelTyping"
		call, says = api.Client.CancelTyping, "typing is no longer shown to %s\n"
	}
	entry := broker.AuditEntry{Verb: "typing", Filter: done.Command}
	err = api.Change(ctx, entry, func() error { return call(ctx, t.openID) })
	if err != nil {
		return api.Explain(cli.Showing, err)
	}
	return t.streams.Answer(done, says, done.OpenID)
}
