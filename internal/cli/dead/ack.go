package dead

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"github.com/kefuhq/kefu/internal/cli"
	"github.com/kefuhq/kefu/internal/deadletter"
)

// ack is `kefu dead ack`.
type ack struct {
	streams  *cli.Streams
	settings *cli.Settings
	broker   *cli.Broker
	note     string
	reopen   bool
}

func newAck(env *cli.Env) *cobra.Command {
	d := &ack{streams: env.Streams, settings: env.Settings, broker: env.Broker}
	cmd := &cobra.Command{
		Use:   "ack GROUP",
		Short: "Say that somebody looks after a group of dead letters",
		Long: `Acknowledges a group that kefu dead groups shows: its ✓ tells others that somebody looks after
it. Its letters stay as they are. With the next letter that dies of the same the group is open
again. --reopen takes the acknowledgement back; exit code 3 when there is none.`,
		Example: `  kefu dead ack 7fb47d95 --note 'fixed in release 41; replayed tomorrow'
  kefu dead ack 7fb47d95 --reopen`,
		Args: cli.Args(1, 1, "GROUP"),
		RunE: func(cmd *cobra.Command, args []string) error { return d.run(cmd.Context(), args[0]) },
	}
	cmd.Flags().StringVar(&d.note, "note", "", "`what` is done about it, for the others")
	cmd.Flags().BoolVar(&d.reopen, "reopen", false, "take the acknowledgement back")
	return cmd
}

// Acked is the answer as JSON.
type Acked struct {
	Group string `json:"group"`
	deadletter.Acknowledgement
}

func (d *ack) run(ctx context.Context, group string) error {
	if !deadletter.IsGroup(group) {
		return cli.Usagef("%q is no group such as 7fb47d95: see kefu dead groups", group)
	}
	conn, box, err := openBox(ctx, d.broker)
	if err != nil {
		return err
	}
	defer conn.Close()
	if d.reopen {
		found, err := box.Reopen(ctx, group, d.settings.Actor())
		switch {
		case err != nil:
			return err
		case !found:
			return cli.Nothingf("group %s is not acknowledged", group)
		}
		return d.streams.Answer(Acked{Group: group}, "group %s is open again\n", group)
	}
	a := deadletter.Acknowledgement{By: d.settings.Actor(), At: time.Now().UTC(), Note: d.note}
	if err := box.Acknowledge(ctx, group, a); err != nil {
		return err
	}
	return d.streams.Answer(Acked{group, a},
		"group %s is acknowledged until another letter dies of the same\n", group)
}
