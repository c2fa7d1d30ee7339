package dead

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"

	"github.com/spf13/cobra"

	"github.com/kefuhq/kefu/internal/cli"
	"github.com/kefuhq/kefu/internal/deadletter"
)

// importing is `kefu dead import`.
type importing struct {
	streams  *cli.Streams
	settings *cli.Settings
	broker   *cli.Broker

	dryRun      bool
	skipInvalid bool
}

func newImport(env *cli.Env) *cobra.Command {
	d := &importing{streams: env.Streams, settings: env.Settings, broker: env.Broker}
	cmd := &cobra.Command{
		Use:   "import FILE",
		Short: "Bring exported dead letters back into the box",
		Long: `Puts the letters of a file that kefu dead export wrote into the box again, where find, show and
replay know them. The file may be compressed; - is stdin. A letter that is in the box already is not
stored twice, so an import can be interrupted and run again.

Every line is checked first, and nothing is imported unless all are letters; --skip-invalid imports
those that are. With --app, the letters of other apps are invalid. When a letter died stays as it
was; it is kept for as long as one that died at the moment of the import.

Exit codes: 1 nothing was imported, 3 when the file holds no letter, 4 when some were refused or it
was stopped in the middle.`,
		Example: `  kefu dead import letters.ndjson.gz --dry-run
  kefu dead import letters.ndjson.gz
  ssh old-broker kefu dead export --app wx0000000000000001 | kefu dead import -`,
		Args: cli.Args(1, 1, "FILE"),
		RunE: func(cmd *cobra.Command, args []string) error { return d.run(cmd.Context(), args[0]) },
	}
	flags := cmd.Flags()
	flags.BoolVar(&d.dryRun, "dry-run", false, "only check the file")
	flags.BoolVar(&d.skipInvalid, "skip-invalid", false, "import the letters among lines that are none")
	return cmd
}

// ImportResult is a result as JSON.
type ImportResult struct {
	deadletter.ImportResult
	TookSeconds float64 `json:"took_seconds"`
}

func (d *importing) run(ctx context.Context, name string) error {
	file, err := openTwice(ctx, name, d.streams.In)
	if err != nil {
		return err
	}
	defer file.close()
	if name == "-" {
		name = "stdin"
	}
	plan, err := deadletter.CheckImport(ctx, file.read(), d.settings.AppID)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	for _, bad := range plan.Bad {
		d.streams.Warn(fmt.Sprintf("%s, line %d: %s", name, bad.Line, bad.Rule))
	}
	if more := plan.Invalid - len(plan.Bad); more > 0 {
		d.streams.Warn(fmt.Sprintf("and %s more", cli.Counted(more, "line")))
	}
	if d.dryRun && (plan.Total > 0 || d.streams.AsJSON()) {
		if err := d.printPlan(plan); err != nil {
			return err
		}
	}
	invalid := fmt.Sprintf("lines that cannot be imported: %s of %s",
		cli.Grouped(int64(plan.Invalid)), cli.Grouped(int64(plan.Total+plan.Invalid)))
	switch {
	case plan.Total+plan.Invalid == 0:
		return cli.Nothingf("%s holds no letter", name)
	case plan.Total == 0:
		return fmt.Errorf("%s. Nothing was imported", invalid)
	case plan.Invalid > 0 && !d.skipInvalid:
		return fmt.Errorf("%s. Nothing was imported; --skip-invalid imports the others", invalid)
	case d.dryRun && plan.Invalid > 0:
		return cli.Partlyf("%s", invalid)
	case d.dryRun:
		return nil
	}
	conn, box, err := openBox(ctx, d.broker)
	if err != nil {
		return err
	}
	defer conn.Close()
	bar := d.streams.Progress(plan.Total, "importing", "letters")
	options := deadletter.ImportOptions{
		AppID: d.settings.AppID, By: d.settings.Actor(),
		Progress: func(done int) { bar.Show(done, "") },
	}
	result, err := box.Import(ctx, file.read(), plan, options)
	bar.End()
	return d.report(result, err)
}

// printPlan prints the answer of a dry run.
func (d *importing) printPlan(p deadletter.ImportPlan) error {
	if d.streams.AsJSON() {
		return d.streams.Value(p)
	}
	if err := cli.List(d.streams, p.Shares, shareColumns()); err != nil {
		return err
	}
	return d.streams.Printf("%s\nNothing was changed.\n", tallyLine(p.Tally))
}

// report prints what was done and returns how it ended.
func (d *importing) report(r deadletter.ImportResult, err error) error {
	if err != nil && r.Imported+r.Present+r.Refused == 0 && !d.streams.AsJSON() {
		return err
	}
	fields := []cli.Field{{Name: "imported", Style: cli.Green,
		Value: fmt.Sprintf("%s in %s", cli.Counted(r.Imported, "letter"), cli.About(r.Took))}}
	if r.Present > 0 {
		fields = append(fields, cli.Field{Name: "already there",
			Value: cli.Counted(r.Present, "letter")})
	}
	if r.Refused > 0 {
		fields = append(fields, cli.Field{Name: "refused", Style: cli.Yellow,
			Value: cli.Counted(r.Refused, "line")})
	}
	fields = append(fields, noteFields(r.Notes)...)
	if perr := cli.Record(d.streams, ImportResult{r, r.Took.Seconds()}, fields); perr != nil {
		return perr
	}
	if r.Aged > 0 {
		d.streams.Notef("%s died longer ago than letters are kept: they are kept from now on, "+
			"as if they had died today", cli.Counted(r.Aged, "letter"))
	}
	switch {
	case err != nil && r.Imported == 0:
		return err
	case errors.Is(err, context.Canceled):
		stopped := errors.New("interrupted: run it again to import the rest")
		return cli.Partlyf("%w", errors.Join(stopped, cli.BesidesInterrupt(err)))
	case err != nil:
		return cli.Partlyf("stopped: %w; run it again to import the rest", err)
	case r.Refused > 0 && r.Imported+r.Present == 0:
		return errors.New("nothing was imported")
	case r.Refused > 0:
		return cli.Partlyf("refused: %s", cli.Counted(r.Refused, "line"))
	}
	return nil
}

// twice is a file that is read twice, to check and to import.
type twice struct {
	file *os.File
	temp bool
}

// openTwice opens a file. What can be read only once is copied to a file that nobody but its owner
// may read.
func openTwice(ctx context.Context, name string, stdin io.Reader) (*twice, error) {
	in := stdin
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return nil, err
		}
		info, err := f.Stat()
		switch {
		case err == nil && info.Mode().IsRegular():
			return &twice{file: f}, nil
		case err == nil && info.IsDir():
			err = cli.Usagef("%s is a folder", name)
		}
		if err != nil {
			_ = f.Close() // nothing was written
			return nil, err
		}
		in = f
	}
	f, err := os.CreateTemp("", "kefu-import-*")
	if err != nil {
		return nil, err
	}
	t := &twice{file: f, temp: true}
	copied := make(chan error, 1)
	go func() { // a read that waits for input cannot be called off
		_, err := io.Copy(f, in)
		if pipe, ok := in.(*os.File); ok && name != "-" {
			_ = pipe.Close() // nothing was written
		}
		copied <- err
	}()
	select {
	case err = <-copied:
	case <-ctx.Done():
		err = ctx.Err()
	}
	if err != nil {
		t.close()
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	return t, nil
}

// read returns a reader from the start of the file.
func (t *twice) read() io.Reader { return io.NewSectionReader(t.file, 0, math.MaxInt64) }

func (t *twice) close() {
	_ = t.file.Close()
	if t.temp {
		_ = os.Remove(t.file.Name()) // nobody else can read it
	}
}
