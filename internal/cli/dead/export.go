package dead

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/kefuhq/kefu/internal/cli"
	"github.com/kefuhq/kefu/internal/deadletter"
	"github.com/kefuhq/kefu/schema"
)

// export is `kefu dead export`.
type export struct {
	streams  *cli.Streams
	settings *cli.Settings
	broker   *cli.Broker

	choice choice
}

func newExport(env *cli.Env) *cobra.Command {
	d := &export{streams: env.Streams, settings: env.Settings, broker: env.Broker}
	cmd := &cobra.Command{
		Use:   "export [FILE]",
		Short: "Write dead letters to a file, which kefu dead import reads",
		Long: `Writes the chosen letters to a file as NDJSON, one letter on each line, compressed when its name
ends in .gz. Without a file, or with -, they go to stdout. Nothing is taken out of the box.

The letters are whole, as they are stored: the file holds MESSAGES AND RECIPIENTS, unmasked. Nobody
but its owner may read it, and the audit says how many letters were exported. It appears under its
name when all of them are written. Exit code 3 when no letter matches.`,
		Example: `  kefu dead export letters.ndjson.gz
  kefu dead export --campaign double-11 --reason expired double-11.ndjson
  kefu dead export --since 2h | jq -r .errmsg | sort | uniq -c`,
		Args: cli.Args(0, 1, "FILE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 || args[0] == "-" {
				return d.run(cmd.Context(), "")
			}
			return d.run(cmd.Context(), args[0])
		},
	}
	d.choice.addFlags(cmd)
	return cmd
}

// Exported is what was exported as JSON.
type Exported struct {
	Exported    int     `json:"exported"`
	File        string  `json:"file"`
	TookSeconds float64 `json:"took_seconds"`
}

// run exports to a file, or to stdout when path is empty.
func (d *export) run(ctx context.Context, path string) error {
	filter, err := d.choice.filter(d.settings.AppID, nil, time.Now())
	if err != nil {
		return err
	}
	exists, err := cli.CanBeWritten(path, "kefu dead export without a file")
	if err != nil {
		return err
	}
	conn, box, err := openBox(ctx, d.broker)
	if err != nil {
		return err
	}
	defer conn.Close()
	begin := time.Now()
	plan, err := box.PlanExport(ctx, filter)
	if err != nil {
		return err
	}
	if plan.Foreign > 0 {
		d.streams.Warn(fmt.Sprintf("not exported: %s in %s that kefu did not write",
			cli.Counted(plan.Foreign, "message"), schema.StreamDead))
	}
	switch {
	case plan.Total+plan.Foreign == 0:
		return noMatch(ctx, box, filter)
	case plan.Total == 0:
		return cli.Nothingf("no dead letter matches")
	}
	if exists {
		if err := d.streams.Confirm(ctx, path+" exists. Overwrite it?"); err != nil {
			return err
		}
	}
	write := func(w io.Writer) (int, error) {
		bar := d.streams.Progress(plan.Total, "exporting", "letters")
		defer bar.End()
		viewer := deadletter.Viewer{Actor: d.settings.Actor(), Command: "dead export"}
		return box.Export(ctx, w, viewer, filter, plan, func(n int) { bar.Show(n, "") })
	}
	if path == "" {
		return d.toStdout(write, plan.Total)
	}
	exported, err := cli.PrivateFile(path, write)
	if err != nil {
		return err
	}
	return d.streams.Answer(Exported{exported, path, time.Since(begin).Seconds()},
		"%s exported to %s\n", lettersWere(exported), cli.Clean(path))
}

func (d *export) toStdout(write func(io.Writer) (int, error), total int) error {
	exported, err := write(d.streams.Out)
	switch {
	case err != nil && exported == 0:
		return err
	case errors.Is(err, context.Canceled):
		return cli.Partlyf("interrupted: %s of %s exported", cli.Grouped(int64(exported)),
			lettersWere(total))
	case err != nil:
		return cli.Partlyf("%s of %s exported: %w", cli.Grouped(int64(exported)),
			lettersWere(total), err)
	}
	d.streams.Notef("%s exported", lettersWere(exported))
	return nil
}
