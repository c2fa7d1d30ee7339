// Package dead is `kefu dead`: the operators' way to what was not sent.
package dead

import (
	"context"
	"strings"

	"github.com/spf13/cobra"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/cli"
	"github.com/kefuhq/kefu/internal/deadletter"
)

// New returns the command and its verbs.
func New(env *cli.Env) *cobra.Command {
	return cli.Group(&cobra.Command{
		Use:     "dead",
		Short:   "Look at dead letters, send them again, or discard them",
		GroupID: cli.GroupIntent,
		Long: `An intent that will not be sent becomes a dead letter with a reason, kept for 30
days: ` + reasonNames() + `.
The same flags choose letters for every subcommand; all that are given must hold. When no letter
matches, the exit code is 3, and it is said which flag excluded most.`,
		Example: `  kefu dead groups
  kefu dead list --since 2h
  kefu dead show order-4711
  kefu dead replay --reason exhausted --since 2h --dry-run`,
	}, newGroups(env), newList(env), newShow(env), newReplay(env), newReplays(env),
		newDiscard(env), newAck(env), newExport(env), newImport(env))
}

func reasonNames() string { return strings.Join(cli.Reasons(), ", ") }

// openBox connects to the broker and opens the dead letters. The caller closes the connection.
func openBox(ctx context.Context, b *cli.Broker) (*broker.Conn, *deadletter.Box, error) {
	conn, err := b.Connect(ctx)
	if err != nil {
		return nil, nil, err
	}
	return conn, deadletter.Open(conn), nil
}
