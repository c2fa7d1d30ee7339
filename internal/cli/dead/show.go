package dead

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/kefuhq/kefu/internal/cli"
	"github.com/kefuhq/kefu/internal/deadletter"
	"github.com/kefuhq/kefu/internal/letter"
	"github.com/kefuhq/kefu/schema"
)

// show is `kefu dead show`.
type show struct {
	streams  *cli.Streams
	settings *cli.Settings
	broker   *cli.Broker

	reveal bool
}

func newShow(env *cli.Env) *cobra.Command {
	d := &show{streams: env.Streams, settings: env.Settings, broker: env.Broker}
	cmd := &cobra.Command{
		Use:   "show ID",
		Short: "Show all there is about a dead letter",
		Long: `Shows every dead letter of an id: why it died, what that means and what can be done, with the
commands for it; then every attempt, the headers and the packet. What is said and to whom is masked;
--reveal shows it and is written to the audit. The explanation is in the language of LANG, in
English and Chinese without one. A letter that a replay sent with changes (--set) is shown as it was
before, below the one that it became if that died too. Exit code 3 when there is no letter.`,
		Example: `  kefu dead show order-4711
  kefu dead show order-4711 --reveal -o json`,
		Args: cli.Args(1, 1, "ID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return d.run(cmd.Context(), args[0])
		},
	}
	cmd.Flags().BoolVar(&d.reveal, "reveal", false,
		"show the message and its recipient; this is written to the audit")
	return cmd
}

func (d *show) run(ctx context.Context, id string) error {
	conn, box, err := openBox(ctx, d.broker)
	if err != nil {
		return err
	}
	defer conn.Close()
	items, err := box.Get(ctx, d.settings.AppID, id)
	if err != nil {
		return err
	}
	letters, err := d.letters(ctx, conn, items, id)
	if err != nil {
		return err
	}
	if len(letters) == 0 {
		return noMatch(ctx, box, deadletter.Filter{AppID: d.settings.AppID, IDs: []string{id}})
	}
	if d.reveal {
		viewer := deadletter.Viewer{Actor: d.settings.Actor(), Command: "dead show"}
		err := box.AuditReveal(ctx, viewer, d.settings.AppID, "id="+id, len(letters))
		if err != nil {
			return err
		}
	}
	return cli.Each(d.streams, letters, d.print)
}

func (d *show) print(l letter.Letter) error {
	if l.Changed != nil {
		if err := d.streams.Printf("%s\n\n", changedBy(*l.Changed)); err != nil {
			return err
		}
	}
	if err := cli.Record(d.streams, nil, d.why(l)); err != nil {
		return err
	}
	if err := d.streams.Printf("\n%s\n", commandLines(l)); err != nil {
		return err
	}
	if err := cli.Record(d.streams, nil, facts(l)); err != nil {
		return err
	}
	if len(l.Attempts) > 0 {
		if err := d.streams.Printf("\nattempts\n"); err != nil {
			return err
		}
		if err := cli.List(d.streams, l.Attempts, attemptColumns(l)); err != nil {
			return err
		}
	}
	var rest strings.Builder
	writeHeaders(&rest, l.Headers)
	title := "packet"
	if l.Masked {
		title = "packet (masked; --reveal shows it)"
	}
	fmt.Fprintf(&rest, "\n%s\n", title)
	for line := range strings.Lines(l.Shown) {
		fmt.Fprintf(&rest, "  %s\n", cleanIndented(strings.TrimRight(line, "\n")))
	}
	return d.streams.Printf("%s", rest.String())
}

// commandLines are not broken at the terminal's width: they are copied.
func commandLines(l letter.Letter) string {
	var out strings.Builder
	out.WriteString("commands\n")
	for _, line := range append(l.Commands, "kefu dead list --group "+l.Group+
		"   # what died of the same") {
		fmt.Fprintf(&out, "  %s\n", cli.Clean(line))
	}
	return out.String()
}

func writeHeaders(out *strings.Builder, headers map[string][]string) {
	if len(headers) == 0 {
		return
	}
	out.WriteString("\nheaders\n")
	for _, name := range slices.Sorted(maps.Keys(headers)) {
		for _, value := range headers[name] {
			fmt.Fprintf(out, "  %s: %s\n", cli.Clean(name), cli.Clean(value))
		}
	}
}

// cleanIndented is cli.Clean for a line whose leading blanks matter.
func cleanIndented(line string) string {
	text := strings.TrimLeft(line, " ")
	return line[:len(line)-len(text)] + cli.Clean(text)
}

// why says what it died of, what that means, and what can be done.
func (d *show) why(l letter.Letter) []cli.Field {
	died := "before its first attempt"
	if n := deadletter.AttemptsOf(&l.Letter); n > 0 {
		died = "after " + cli.Counted(n, "attempt")
	}
	duplicate := ""
	if l.PossibleDuplicate {
		duplicate = "yes: it may have been sent"
	}
	fields := []cli.Field{
		{Name: "id", Value: l.ID, Style: cli.Bold},
		{Name: "app", Value: l.AppID},
		{Name: "died", Value: strings.TrimSpace(cli.Moment(l.DiedAt) + " " + died)},
		{Name: "reason", Value: string(l.Reason), Style: reasonStyle(l.Reason)},
		{Name: "answer", Value: strings.TrimSpace(cli.Errcode(l.Errcode) + " " + l.Errmsg)},
		{Name: "possible duplicate", Value: duplicate, Style: cli.Yellow},
	}
	if l.Errcode == nil {
		fields = append(fields, cli.Field{Name: "detail", Value: l.Detail})
	}
	language := d.settings.Language()
	if language != cli.Chinese {
		fields = append(fields, cli.Field{Name: "means", Value: l.Means},
			cli.Field{Name: "you can", Value: l.Advice})
	}
	if language != cli.English {
		fields = append(fields, cli.Field{Name: "含义", Value: l.MeansZh},
			cli.Field{Name: "建议", Value: l.AdviceZh})
	}
	return fields
}

// facts are the rest.
func facts(l letter.Letter) []cli.Field {
	http, detail := "", ""
	if l.HTTPStatus > 0 {
		http = strconv.Itoa(l.HTTPStatus)
	}
	if l.Errcode != nil { // else why has it
		detail = l.Detail
	}
	return []cli.Field{
		{Name: "detail", Value: detail},
		{Name: "http status", Value: http},
		{Name: "rid", Value: l.RID},
		{Name: "generation", Value: strconv.Itoa(l.Generation)},
		{Name: "lane", Value: string(l.Lane)},
		{Name: "campaign", Value: l.Campaign},
		{Name: "recipient", Value: l.OpenID},
		{Name: "source", Value: l.Source},
		{Name: "published", Value: cli.Moment(l.PublishedAt)},
		{Name: "first attempt", Value: cli.Moment(l.FirstAt)},
		{Name: "last attempt", Value: cli.Moment(l.LastAt)},
		{Name: "worker", Value: l.Worker},
		{Name: "subject", Value: l.Subject},
		{Name: "sequence", Value: place(l), Style: cli.Faint},
	}
}

// attemptColumns leave out what every attempt has in common with the letter: its day, where that is
// the same, and the worker.
func attemptColumns(l letter.Letter) []cli.Column[schema.Attempt] {
	type attempt = schema.Attempt
	at := func(a attempt) string { return a.At.Local().Format("15:04:05.000") }
	if slices.ContainsFunc(l.Attempts, func(a attempt) bool { return !sameDay(a.At, l.DiedAt) }) {
		at = func(a attempt) string { return a.At.Local().Format("01-02 15:04:05") }
	}
	columns := []cli.Column[attempt]{
		{Title: "#", Right: true,
			Cell: func(a attempt) string { return strconv.Itoa(a.Number) }},
		{Title: "AT", Cell: at},
		{Title: "TOOK", Right: true, Cell: func(a attempt) string {
			return cli.Took(time.Duration(a.DurationMS * float64(time.Millisecond)))
		}},
		{Title: "OUTCOME", Cell: func(a attempt) string { return a.Outcome }},
		{Title: "ERRCODE", Right: true,
			Cell: func(a attempt) string { return cli.Errcode(a.Errcode) }},
		{Title: "ERRMSG", Cell: answered, Wraps: true},
	}
	if slices.ContainsFunc(l.Attempts, func(a attempt) bool { return a.Worker != l.Worker }) {
		columns = append(columns, cli.Column[attempt]{Title: "WORKER",
			Cell: func(a attempt) string { return a.Worker }})
	}
	return columns
}

func sameDay(a, b time.Time) bool {
	return a.Local().Format(time.DateOnly) == b.Local().Format(time.DateOnly)
}

// answered is what the API said, with the rid if that is not in its words, or the HTTP status of an
// answer without any.
func answered(a schema.Attempt) string {
	says := a.Errmsg
	if a.RID != "" && !strings.Contains(says, a.RID) {
		says = strings.TrimSpace(says + " rid: " + a.RID)
	}
	if says == "" && a.HTTPStatus > 0 {
		says = "http " + strconv.Itoa(a.HTTPStatus)
	}
	return says
}
