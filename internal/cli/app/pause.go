package app

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/kefuhq/kefu/internal/apps"
	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/cli"
)

// pause is `kefu app pause`.
type pause struct {
	streams  *cli.Streams
	settings *cli.Settings
	broker   *cli.Broker
	reason   string
}

func newPause(env *cli.Env) *cobra.Command {
	p := &pause{streams: env.Streams, settings: env.Settings, broker: env.Broker}
	cmd := &cobra.Command{
		Use:   "pause [APPID]",
		Short: "Hold an app: nothing of it is sent until it is resumed",
		Long: `Holds an app until an operator resumes it. What is queued stays queued and spends no
attempt, though its deadline goes on; what is being sent just now ends.`,
		Example: `  kefu app pause wx0000000000000001 --reason 'wrong text in the campaign'`,
		Args:    cli.Args(0, 1, "APPID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return p.run(cmd.Context(), cli.First(args))
		},
	}
	cmd.Flags().StringVar(&p.reason, "reason", "paused by an operator",
		"`why`, for those who find it held")
	return cmd
}

func (p *pause) run(ctx context.Context, appID string) error {
	changed, err := change(ctx, p.broker, appID,
		func(conn *broker.Conn, appID string) (apps.Changed, error) {
			return apps.Pause(ctx, conn, appID, p.reason, p.settings.Actor())
		})
	if err != nil {
		return err
	}
	return p.streams.Answer(changed,
		"%s is paused: nothing more of it is sent until kefu app resume %[1]s\n", changed.AppID)
}
