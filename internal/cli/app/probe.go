package app

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/kefuhq/kefu/internal/apps"
	"github.com/kefuhq/kefu/internal/cli"
	"github.com/kefuhq/kefu/internal/gate"
)

// probe is `kefu app probe`.
type probe struct {
	streams  *cli.Streams
	settings *cli.Settings
	broker   *cli.Broker
	timeout  time.Duration
}

func newProbe(env *cli.Env) *cobra.Command {
	p := &probe{streams: env.Streams, settings: env.Settings, broker: env.Broker}
	cmd := &cobra.Command{
		Use:   "probe [APPID]",
		Short: "Try at once whether a held app can send again",
		Long: `Has the workers try a held app now instead of at the next try they had planned: an
access token is fetched, then one queued message is sent; when that goes well the app is open again
and the rest follows. Waits for what comes of it.

An operator's hold is not tried but lifted, with kefu app resume. Exit code 0: open again; 1: still
held; 3: it was not held.`,
		Example: `  kefu app probe wx0000000000000001
  kefu app probe wx0000000000000001 --timeout 1m`,
		Args: cli.Args(0, 1, "APPID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return p.run(cmd.Context(), cli.First(args))
		},
	}
	cli.DurationVar(cmd.Flags(), &p.timeout, "timeout", 20*time.Second,
		"how long to wait at most for what comes of it")
	cli.FormerNames(cmd.Flags(), map[string]string{"wait": "timeout"})
	return cmd
}

func (p *probe) run(ctx context.Context, appID string) error {
	conn, app, err := p.broker.ConnectApp(ctx, appID)
	if err != nil {
		return err
	}
	defer conn.Close()
	probed, err := apps.Probe(ctx, conn, app.AppID, p.settings.Actor(), p.timeout)
	if err != nil {
		return err
	}
	return p.report(app.AppID, probed)
}

func (p *probe) report(appID string, probed apps.Probed) error {
	switch held := probed.After; {
	case probed.Hold.Kind == "":
		return cli.Nothingf("%s is not held: there is nothing to probe", appID)
	case probed.Hold.Kind == gate.Operator:
		return fmt.Errorf("%s was paused by %s: lift that with kefu app resume %[1]s", appID,
			probed.Hold.By)
	case probed.Over && held == nil:
		return p.streams.Answer(apps.Changed{AppID: appID, Changed: true, Holds: []gate.Hold{}},
			"%s is open again\n", appID)
	case probed.Over:
		return fmt.Errorf("%s is still held: %s\nnext try in %s; you can: %s", appID, held.Reason,
			cli.About(time.Until(held.Until)), apps.Advice([]gate.Hold{*held}))
	case probed.Queued == 0:
		return fmt.Errorf("%s has nothing queued to try it with: its next message will", appID)
	default:
		return fmt.Errorf("%s was not tried within %s: is a worker running for it? "+
			"kefu app status tells", appID, p.timeout)
	}
}
