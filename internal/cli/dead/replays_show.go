package dead

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/kefuhq/kefu/internal/cli"
)

// newReplaysShow is `kefu dead replays show`.
func newReplaysShow(d *replays) *cobra.Command {
	return &cobra.Command{
		Use:   "show ID",
		Short: "Show all there is about a replay",
		Long: `Shows what was chosen and by whom, how far the replay has come, why letters were left in the box,
and what can be done about it. Exit code 3 when there is no replay of this id.`,
		Example: `  kefu dead replays show k3vq7a2m
  kefu dead replays show k3vq7a2m -o json`,
		Args:              cli.Args(1, 1, "ID"),
		ValidArgsFunction: d.ids,
		RunE: func(cmd *cobra.Command, args []string) error {
			return d.show(cmd.Context(), args[0])
		},
	}
}

func (d *replays) show(ctx context.Context, id string) error {
	conn, err := d.broker.Connect(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	s, err := readReplay(ctx, conn, id)
	if err != nil {
		return err
	}
	return cli.Record(d.streams, s, statusFields(s))
}
