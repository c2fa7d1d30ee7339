package dead

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/kefuhq/kefu/internal/cli"
	"github.com/kefuhq/kefu/internal/replay"
)

// Plan is a plan as JSON.
type Plan struct {
	replay.Plan
	TakesSeconds float64 `json:"takes_seconds"`
}

// planRow is one line of a plan.
type planRow struct {
	count int
	fate  replay.Fate
	why   string
	ids   []string
}

func planRows(p replay.Plan) []planRow {
	var rows []planRow
	for _, fate := range replay.Fates() {
		rest := p.Fates[fate]
		for _, note := range p.Notes {
			if note.Fate == fate {
				rows = append(rows, planRow{note.Count, fate, note.Text, note.IDs})
				rest -= note.Count
			}
		}
		if rest > 0 {
			rows = append(rows, planRow{rest, fate, "", nil})
		}
	}
	return rows
}

func planColumns() []cli.Column[planRow] {
	return []cli.Column[planRow]{
		{Title: "LETTERS", Right: true,
			Cell: func(r planRow) string { return cli.Grouped(int64(r.count)) }},
		{Title: "WHAT WILL PROBABLY HAPPEN", Cell: func(r planRow) string { return string(r.fate) },
			Style: func(r planRow) cli.Style { return fateStyle(r.fate) }},
		{Title: "WHY", Cell: func(r planRow) string { return r.why }, Wraps: true},
		{Title: "SUCH AS", Cell: func(r planRow) string {
			return strings.Join(r.ids[:min(2,
				len(r.ids))], ", ")
		}, Wraps: true},
	}
}

func fateStyle(f replay.Fate) cli.Style {
	switch f {
	case replay.WillBeSent, replay.WasSent:
		return cli.Green
	case replay.WillWait, replay.SameAgain:
		return cli.Yellow
	default:
		return cli.Red
	}
}

// printPlan prints the answer of a dry run.
func (d *resend) printPlan(p replay.Plan) error {
	if d.streams.AsJSON() {
		return d.streams.Value(Plan{p, p.Takes.Seconds()})
	}
	if err := cli.List(d.streams, planRows(p), planColumns()); err != nil {
		return err
	}
	for _, line := range planLines(p) {
		if err := d.streams.Printf("%s\n", cli.Clean(line)); err != nil {
			return err
		}
	}
	if d.rate > 0 && p.Replayable > 0 {
		return d.streams.Printf("At %g a second it takes about %s. Nothing was changed.\n", d.rate,
			cli.About(p.Takes))
	}
	return d.streams.Printf("Nothing was changed.\n")
}

// explain prints what the user should know before the answer.
func (d *resend) explain(p replay.Plan) {
	if d.streams.Quiet {
		return
	}
	// If it cannot be shown, neither can the question.
	_ = cli.List(d.streams.Aside(), planRows(p), planColumns())
	for _, line := range planLines(p) {
		d.streams.Notef("%s", cli.Clean(line))
	}
}

// planLines returns what the table of a plan does not hold.
func planLines(p replay.Plan) []string {
	var reasons []string
	for _, r := range slices.Sorted(maps.Keys(p.Reasons)) {
		reasons = append(reasons, fmt.Sprintf("%s %s", cli.Grouped(int64(p.Reasons[r])), r))
	}
	lines := []string{fmt.Sprintf("%s, died %s to %s: %s.", cli.Counted(p.Total, "letter"),
		cli.Moment(p.Oldest), cli.Moment(p.Newest), strings.Join(reasons, ", "))}
	if p.PossibleDuplicates > 0 {
		lines = append(lines,
			fmt.Sprintf("%s may have been sent already: the outcome was never known.",
				cli.Grouped(int64(p.PossibleDuplicates))))
	}
	return lines
}
