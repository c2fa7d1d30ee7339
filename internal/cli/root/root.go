// Package root puts the commands together. It alone knows all of them.
package root

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/kefuhq/kefu/internal/cli"
	"github.com/kefuhq/kefu/internal/cli/app"
	"github.com/kefuhq/kefu/internal/cli/audit"
	"github.com/kefuhq/kefu/internal/cli/bench"
	"github.com/kefuhq/kefu/internal/cli/campaign"
	"github.com/kefuhq/kefu/internal/cli/config"
	"github.com/kefuhq/kefu/internal/cli/console"
	"github.com/kefuhq/kefu/internal/cli/dead"
	"github.com/kefuhq/kefu/internal/cli/dev"
	"github.com/kefuhq/kefu/internal/cli/doctor"
	"github.com/kefuhq/kefu/internal/cli/errcode"
	"github.com/kefuhq/kefu/internal/cli/forget"
	"github.com/kefuhq/kefu/internal/cli/intent"
	"github.com/kefuhq/kefu/internal/cli/kfaccount"
	"github.com/kefuhq/kefu/internal/cli/overview"
	"github.com/kefuhq/kefu/internal/cli/pool"
	"github.com/kefuhq/kefu/internal/cli/sandbox"
	"github.com/kefuhq/kefu/internal/cli/setup"
	"github.com/kefuhq/kefu/internal/cli/tail"
	"github.com/kefuhq/kefu/internal/cli/typing"
	"github.com/kefuhq/kefu/internal/cli/worker"
)

// Run runs a command line and returns the exit code.
func Run(ctx context.Context, args []string, p cli.Process) int {
	env := cli.New(p)
	cmd := New(env)
	return env.Execute(ctx, cmd, errcode.NegativeCodesLast(cmd, args))
}

// New returns `kefu` with all its commands.
func New(env *cli.Env) *cobra.Command {
	root := &cobra.Command{
		Use:   "kefu",
		Short: "Deliver WeChat customer-service messages from NATS JetStream",
		Long: `kefu takes send-intents from NATS JetStream and delivers them through WeChat's
customer-service API: in order per user, within each account's rate, once, and with a clear end for
every message.

Configuration: --config FILE, else KEFU_CONFIG, else ./kefu.yaml, else /etc/kefu/kefu.yaml; KEFU_
variables win over the file (KEFU_NATS_URL for nats.url), --set wins over both.

Exit codes: 0 done, 1 failed, 2 bad usage or configuration, 3 nothing matched, 4 partly done.`,
		Example: `  kefu dev                            everything in one process, to try it out
  kefu errcode 45015                  what a code means and what to do
  kefu validate packets.ndjson        check messages before publishing them
  kefu sandbox                        a fake WeChat API to develop against
  kefu config reference --example     a configuration file to start from`,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.AddGroup(
		&cobra.Group{ID: cli.GroupRun, Title: "Run:"},
		&cobra.Group{ID: cli.GroupIntent, Title: "Messages:"},
		&cobra.Group{ID: cli.GroupApp, Title: "Apps and operation:"},
		&cobra.Group{ID: cli.GroupSetup, Title: "Set up:"},
		&cobra.Group{ID: cli.GroupTool, Title: "Tools:"},
	)
	root.SetHelpCommandGroupID(cli.GroupTool)
	root.SetCompletionCommandGroupID(cli.GroupTool)
	root.AddCommand(
		app.New(env),
		audit.New(env),
		bench.New(env),
		campaign.New(env),
		config.New(env),
		console.New(env),
		dead.New(env),
		dev.New(env),
		doctor.New(env),
		errcode.New(env),
		forget.New(env),
		intent.NewCancel(env),
		intent.NewFind(env),
		intent.NewSend(env),
		intent.NewValidate(env),
		kfaccount.New(env),
		overview.New(env),
		pool.New(env),
		sandbox.New(env),
		setup.New(env),
		tail.New(env),
		typing.New(env),
		newVersion(env),
		worker.New(env),
	)
	env.Frame(root)
	return root
}
