// Package campaign is `kefu campaign`: one message to many users.
package campaign

import (
	"context"
	"errors"

	"github.com/spf13/cobra"

	"github.com/kefuhq/kefu/internal/apps"
	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/campaign"
	"github.com/kefuhq/kefu/internal/cli"
	"github.com/kefuhq/kefu/schema"
)

// New returns the command and its verbs.
func New(env *cli.Env) *cobra.Command {
	v := &verbs{env.Streams, env.Settings, env.Broker}
	return cli.Group(&cobra.Command{
		Use:     "campaign",
		Short:   "Send one message to many users",
		GroupID: cli.GroupIntent,
		Long: `A campaign is a file of recipients that becomes intents of the bulk lane, which yields to
conversations. The file is stored at the broker, and the workers feed it to the queue as fast as it
is sent: whoever started it may go away, and anybody may watch, pause, resume or cancel it from
anywhere. Its name stands in the subject, receipts and letters: letters, digits, - and _.

What services publish straight to kefu.send.<appid>.bulk.<name> is a campaign as well: it is listed
and can be cancelled, not paused.`,
		Example: `  kefu campaign start double-11 users.csv --template packet.json --dry-run
  kefu campaign start double-11 users.csv --template packet.json --watch
  kefu campaign list
  kefu campaign cancel double-11
  kefu campaign report double-11 --out double-11.csv`,
	}, newStart(env), newList(v), newStatus(v), newWatch(v),
		newTell(v, pausing), newTell(v, resuming), newCancel(v), newReport(v))
}

// verbs is what the verbs share that name a campaign.
type verbs struct {
	streams  *cli.Streams
	settings *cli.Settings
	broker   *cli.Broker
}

// open connects to the broker of the app that a campaign is of. The caller closes the connection.
func (v *verbs) open(ctx context.Context, name string) (*broker.Conn, apps.App, error) {
	if err := schema.CheckToken("NAME", name); err != nil {
		return nil, apps.App{}, cli.Usagef("%w", err)
	}
	return v.broker.ConnectApp(ctx, "")
}

// read reads where a campaign stands; one that is not there is exit code 3.
func read(
	ctx context.Context, conn *broker.Conn, appID, name string,
) (campaign.Status, error) {
	ctx, cancel := context.WithTimeout(ctx, cli.LookWait)
	defer cancel()
	s, err := campaign.ReadStatus(ctx, conn, appID, name)
	if errors.Is(err, campaign.ErrUnknown) {
		return s, cli.Nothingf("no campaign %s of %s was started: kefu campaign list shows those "+
			"there are", name, appID)
	}
	return s, err
}

// names lets the shell complete the name of a campaign. It stays silent when the broker does not
// answer.
func (v *verbs) names(
	cmd *cobra.Command, args []string, _ string,
) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	ctx, cancel := context.WithTimeout(cmd.Context(), cli.AsideWait)
	defer cancel()
	conn, err := v.broker.ConnectWithin(ctx, cli.AsideWait)
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	defer conn.Close()
	app, err := v.broker.App(ctx, conn, "")
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	list, _ := campaign.List(ctx, conn, app.AppID)
	var choices []string
	for _, s := range list {
		choices = append(choices, s.Campaign+"\t"+string(s.State)+", "+cli.Counted(s.Rows, "row"))
	}
	return choices, cobra.ShellCompDirectiveNoFileComp
}
