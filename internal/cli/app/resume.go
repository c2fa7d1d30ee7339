package app

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/kefuhq/kefu/internal/apps"
	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/cli"
)

// resume is `kefu app resume`.
type resume struct {
	streams  *cli.Streams
	settings *cli.Settings
	broker   *cli.Broker
}

func newResume(env *cli.Env) *cobra.Command {
	r := &resume{env.Streams, env.Settings, env.Broker}
	return &cobra.Command{
		Use:   "resume [APPID]",
		Short: "Lift every hold of an app",
		Long: `Lifts every hold of an app: an operator's at once; after one that WeChat, the
configuration or the network drew, a single message is tried first, and the rest follow when it went
well. An app that is not held is left as it is.`,
		Example: `  kefu app resume wx0000000000000001`,
		Args:    cli.Args(0, 1, "APPID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return r.run(cmd.Context(), cli.First(args))
		},
	}
}

func (r *resume) run(ctx context.Context, appID string) error {
	changed, err := change(ctx, r.broker, appID,
		func(conn *broker.Conn, appID string) (apps.Changed, error) {
			return apps.Resume(ctx, conn, appID, r.settings.Actor())
		})
	if err != nil {
		return err
	}
	says := "%s is resumed\n"
	if !changed.Changed {
		says = "%s was not held: there is nothing to resume\n"
	}
	return r.streams.Answer(changed, says, changed.AppID)
}
