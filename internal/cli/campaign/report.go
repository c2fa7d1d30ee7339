package campaign

import (
	"context"
	"encoding/csv"
	"errors"
	"io"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/kefuhq/kefu/internal/campaign"
	"github.com/kefuhq/kefu/internal/cli"
)

// report is `kefu campaign report`.
type report struct {
	*verbs

	out string
}

func newReport(v *verbs) *cobra.Command {
	r := &report{verbs: v}
	cmd := &cobra.Command{
		Use:   "report NAME",
		Short: "Write what became of each recipient to a CSV file",
		Long: `Writes a line for each recipient of a campaign, as CSV:

  line                the row of the file; bad and repeated rows are left out
  openid              the recipient
  state               queued, open (waits for a retry or is in flight), sent, dead, cancelled, or
                      unknown: nobody knows any more how it ended
  reason              why it is dead; forgotten after kefu forget, which takes the openid as well
  errcode, errmsg     of the last answer of the API, without its rid
  attempts            how many were made
  possible_duplicate  true when it may have arrived twice
  settled_at          when it ended
  id                  of the intent, for kefu find

The rows of a file are kept for 7 days after the campaign's end, receipts for 3 days, what the
ledger remembers for worker.ledger.keep, and dead letters for 30 days: report in time. Without the
rows, and of a campaign that was published straight to the queue, the lines are those of the intents
that are still known, with openids of dead and waiting ones only.

The file holds RECIPIENTS, unmasked. Nobody but its owner may read it, and the audit says that it
was written. Without --out, or with -, the lines go to stdout, which must not be a terminal. A file
whose name ends in .gz is compressed. A million recipients take about 200 MB of memory.

Exit codes: 3 when no campaign of this name was started, 4 when it was stopped in the middle.`,
		Example: `  kefu campaign report double-11 --out double-11.csv
  kefu campaign report double-11 | grep ,dead,`,
		Args: cli.Args(1, 1, "NAME"), ValidArgsFunction: v.names,
		RunE: func(cmd *cobra.Command, args []string) error {
			return r.run(cmd.Context(), args[0])
		},
	}
	cmd.Flags().StringVar(&r.out, "out", "", "the `file` to write")
	_ = cmd.MarkFlagFilename("out", "csv", "gz") // the flag was added above
	return cmd
}

// Reported is what was reported as JSON.
type Reported struct {
	campaign.Reported
	File        string  `json:"file"`
	TookSeconds float64 `json:"took_seconds"`
}

func (r *report) run(ctx context.Context, name string) error {
	if r.out == "-" {
		r.out = ""
	}
	switch {
	case r.out == "" && r.streams.Terminal.Out:
		return cli.Usagef("it names recipients, and is not for a terminal: give --out FILE, or a pipe")
	case r.out == "" && r.streams.AsJSON():
		return cli.Usagef("it is CSV: -o is about the summary, which needs --out FILE")
	}
	exists, err := cli.CanBeWritten(r.out, "kefu campaign report without --out")
	if err != nil {
		return err
	}
	conn, app, err := r.open(ctx, name)
	if err != nil {
		return err
	}
	defer conn.Close()
	begin := time.Now()
	opened, err := campaign.OpenReport(ctx, conn, app.AppID, name)
	if errors.Is(err, campaign.ErrUnknown) {
		return cli.Nothingf("no campaign %s of %s was started: kefu campaign list shows those "+
			"there are", name, app.AppID)
	}
	if err != nil {
		return err
	}
	if !opened.HasRows() {
		r.streams.Warn("the rows of its file are not stored (any more): what is known of ids follows")
	}
	if exists {
		if err := r.streams.Confirm(ctx, r.out+" exists. Overwrite it?"); err != nil {
			return err
		}
	}
	if err := opened.Audit(ctx, r.settings.Actor()); err != nil {
		return err
	}
	done, err := r.write(ctx, opened)
	if err != nil {
		if r.out == "" && done.Rows > 0 {
			return cli.Partlyf("stopped after %s: %w", lines(done.Rows), err)
		}
		return err
	}
	return r.close(Reported{done, r.out, time.Since(begin).Seconds()})
}

// write writes the lines.
func (r *report) write(
	ctx context.Context, opened *campaign.Report,
) (done campaign.Reported, err error) {
	bar := r.streams.Progress(opened.Total(), "reporting", "rows")
	defer bar.End()
	to := func(w io.Writer) (int, error) {
		out := csv.NewWriter(w)
		err := out.Write([]string{"line", "openid", "state", "reason", "errcode", "errmsg",
			"attempts", "possible_duplicate", "settled_at", "id"})
		if err != nil {
			return 0, err
		}
		done, err = opened.Write(ctx, func(n int) { bar.Show(n, "") },
			func(row campaign.ReportRow) error { return out.Write(cells(row)) })
		out.Flush()
		return done.Rows, errors.Join(err, out.Error())
	}
	if r.out == "" {
		_, err = to(r.streams.Out)
	} else {
		_, err = cli.PrivateFile(r.out, to)
	}
	return done, err
}

// cells are the columns of a row. What nobody knows is empty.
func cells(row campaign.ReportRow) []string {
	c := []string{"", row.OpenID, row.State, row.Reason, "", row.Errmsg, "", "", "", row.ID}
	if row.Line > 0 {
		c[0] = strconv.Itoa(row.Line)
	}
	if row.Errcode != nil {
		c[4] = strconv.Itoa(*row.Errcode)
	}
	if row.Attempts > 0 {
		c[6] = strconv.Itoa(row.Attempts)
	}
	if row.PossibleDuplicate {
		c[7] = "true"
	}
	if !row.SettledAt.IsZero() {
		c[8] = row.SettledAt.Format(time.RFC3339)
	}
	return c
}

// close says how much was written, and of how much nobody knows any more what became of it.
func (r *report) close(done Reported) error {
	if done.Unknown > 0 {
		r.streams.Warn("unknown: how " + cli.Counted(done.Unknown, "intent") + " ended is not kept " +
			"any more, or was not written down")
	}
	if r.out == "" {
		r.streams.Notef("%s reported", lines(done.Rows))
		return nil
	}
	return r.streams.Answer(done, "%s written to %s\n", lines(done.Rows), cli.Clean(r.out))
}

func lines(n int) string { return cli.Counted(n, "recipient") }
