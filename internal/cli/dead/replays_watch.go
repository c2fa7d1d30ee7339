package dead

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/kefuhq/kefu/internal/cli"
)

// newReplaysWatch is `kefu dead replays watch`.
func newReplaysWatch(d *replays) *cobra.Command {
	return &cobra.Command{
		Use:   "watch ID",
		Short: "Follow a replay until it does not go on",
		Long: `Follows a replay as kefu dead replay does, and ends when it is done, aborted, paused or has halted.
Ctrl-C stops watching; the replay goes on.

Exit codes: 1 nothing was replayed, 3 when there is no replay of this id, 4 when some were left in
the box, or the replay goes on without being watched, is paused, has halted or was aborted.`,
		Example:           `  kefu dead replays watch k3vq7a2m`,
		Args:              cli.Args(1, 1, "ID"),
		ValidArgsFunction: d.ids,
		RunE: func(cmd *cobra.Command, args []string) error {
			return d.watch(cmd.Context(), args[0])
		},
	}
}

func (d *replays) watch(ctx context.Context, id string) error {
	conn, err := d.broker.Connect(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	w := newWatching(d.streams, conn, id)
	s, err := w.follow(ctx, id)
	if err != nil {
		return err
	}
	if err := cli.Record(d.streams, s, endFields(s, 0)); err != nil {
		return err
	}
	return ending(s, 0)
}
