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
	"github.com/kefuhq/kefu/internal/wire"
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
		Long: `Shows every dead letter of an id: reason, WeChat's answer, every attempt, the headers
and the packet. What is said and to whom is masked; --reveal shows it and is written to the audit.
A letter that a replay sent with changes (--set) is shown as it was before. Exit code 3 when there
is no letter.`,
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
	if len(items) == 0 {
		return d.originals(ctx, conn, box, id)
	}
	if d.reveal {
		viewer := deadletter.Viewer{Actor: d.settings.Actor(), Command: "dead show"}
		err := box.AuditReveal(ctx, viewer, d.settings.AppID, "id="+id, len(items))
		if err != nil {
			return err
		}
	}
	mask := cli.Mask{Reveal: d.reveal}
	letters := make([]Letter, len(items))
	for i, item := range items {
		letters[i] = newLetter(item, mask)
	}
	return cli.Each(d.streams, letters, d.print)
}

// Letter is a letter as JSON: the stored one, masked, with its place in the box.
type Letter struct {
	schema.Letter
	Masked bool   `json:"masked,omitempty"` // what is said and to whom is taken out
	Seq    uint64 `json:"seq"`

	packet string // as people are shown it
}

func newLetter(i deadletter.Item, m cli.Mask) Letter {
	l, packet := i.Letter, m.Packet(i.Letter.Packet())
	if m.Reveal {
		return Letter{l, false, i.Seq, packet}
	}
	openid := l.OpenID
	l.OpenID = m.OpenID(openid)
	l.Subject = m.Subject(l.Subject, openid)
	l.Detail, l.Errmsg = m.Within(l.Detail, openid), m.Within(l.Errmsg, openid)
	l.Headers = make(map[string][]string)
	for name, values := range i.Letter.Headers {
		for _, value := range values {
			l.Headers[name] = append(l.Headers[name], m.Within(value, openid))
		}
	}
	l.HeadersBase64 = nil
	wire.SetPacket(&l, []byte(packet))
	return Letter{l, true, i.Seq, packet}
}

func (d *show) print(l Letter) error {
	if err := cli.Record(d.streams, nil, fields(l)); err != nil {
		return err
	}
	if len(l.Attempts) > 0 {
		if err := d.streams.Printf("\n"); err != nil {
			return err
		}
		if err := cli.List(d.streams, l.Attempts, attemptColumns()); err != nil {
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
	for line := range strings.Lines(l.packet) {
		fmt.Fprintf(&rest, "  %s\n", cleanIndented(strings.TrimRight(line, "\n")))
	}
	return d.streams.Printf("%s", rest.String())
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

func fields(l Letter) []cli.Field {
	http := ""
	if l.HTTPStatus > 0 {
		http = strconv.Itoa(l.HTTPStatus)
	}
	answer := strings.TrimSpace(cli.Errcode(l.Errcode) + " " + l.Errmsg)
	duplicate := ""
	if l.PossibleDuplicate {
		duplicate = "yes: it may have been sent"
	}
	return []cli.Field{
		{Name: "id", Value: l.ID, Style: cli.Bold},
		{Name: "app", Value: l.AppID},
		{Name: "reason", Value: string(l.Reason), Style: reasonStyle(l.Reason)},
		{Name: "detail", Value: l.Detail},
		{Name: "answer", Value: answer},
		{Name: "http status", Value: http},
		{Name: "rid", Value: l.RID},
		{Name: "possible duplicate", Value: duplicate, Style: cli.Yellow},
		{Name: "generation", Value: strconv.Itoa(l.Generation)},
		{Name: "lane", Value: string(l.Lane)},
		{Name: "campaign", Value: l.Campaign},
		{Name: "recipient", Value: l.OpenID},
		{Name: "source", Value: l.Source},
		{Name: "published", Value: cli.Moment(l.PublishedAt)},
		{Name: "first attempt", Value: cli.Moment(l.FirstAt)},
		{Name: "last attempt", Value: cli.Moment(l.LastAt)},
		{Name: "died", Value: cli.Moment(l.DiedAt)},
		{Name: "worker", Value: l.Worker},
		{Name: "subject", Value: l.Subject},
		{Name: "sequence", Value: place(l), Style: cli.Faint},
	}
}

func attemptColumns() []cli.Column[schema.Attempt] {
	return []cli.Column[schema.Attempt]{
		{Title: "ATTEMPT", Right: true,
			Cell: func(a schema.Attempt) string { return strconv.Itoa(a.Number) }},
		{Title: "AT", Cell: func(a schema.Attempt) string { return cli.Moment(a.At) }},
		{Title: "TOOK", Right: true, Cell: func(a schema.Attempt) string {
			return cli.Took(time.Duration(a.DurationMS * float64(time.Millisecond)))
		}},
		{Title: "OUTCOME", Cell: func(a schema.Attempt) string { return a.Outcome }},
		{Title: "ERRCODE", Right: true,
			Cell: func(a schema.Attempt) string { return cli.Errcode(a.Errcode) }},
		{Title: "ERRMSG", Cell: func(a schema.Attempt) string { return a.Errmsg }, Wraps: true},
		{Title: "RID", Cell: func(a schema.Attempt) string { return a.RID }},
		{Title: "WORKER", Cell: func(a schema.Attempt) string { return a.Worker }},
	}
}
