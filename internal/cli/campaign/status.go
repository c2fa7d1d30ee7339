package campaign

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"github.com/kefuhq/kefu/internal/cli"
)

// newStatus is `kefu campaign status`.
func newStatus(v *verbs) *cobra.Command {
	return &cobra.Command{
		Use:   "status NAME",
		Short: "Show how far a campaign has come",
		Long: `Shows what became of each row of a campaign's file. The workers count that where an intent
ends; it shows here within about a second. queued are those that are stored to be fed, and those in
the queue; open are those that wait for a retry or are in flight. At any moment

  rows = invalid + repeated + queued + open + sent + dead + cancelled

The states: uploading (or the upload was interrupted), planned, feeding, published (all is fed, and
not all has ended), done; paused by an operator, halted by itself, cancelled.

A campaign that began before all workers counted, or while one kept no ledger, is read from its
receipts: they are kept for 3 days, and worker.receipts may have switched them off. Of what began
before the oldest of them (outcomes_since in JSON), some that is open may have ended.

Exit code 3 when no campaign of this name was started.`,
		Example: `  kefu campaign status double-11
  kefu campaign status double-11 -o json`,
		Args:              cli.Args(1, 1, "NAME"),
		ValidArgsFunction: v.names,
		RunE: func(cmd *cobra.Command, args []string) error {
			return v.status(cmd.Context(), args[0])
		},
	}
}

func (v *verbs) status(ctx context.Context, name string) error {
	conn, app, err := v.open(ctx, name)
	if err != nil {
		return err
	}
	defer conn.Close()
	s, err := read(ctx, conn, app.AppID, name)
	if err != nil {
		return err
	}
	return cli.Record(v.streams, s, statusFields(s, time.Now()))
}
