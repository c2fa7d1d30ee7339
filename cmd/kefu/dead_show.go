package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/kefuhq/kefu/internal/deadletter"
	"github.com/kefuhq/kefu/schema"
)

// deadShow is `kefu dead show`.
type deadShow struct {
	cli    *cli
	reveal bool
}

func newDeadShowCmd(c *cli) *cobra.Command {
	d := &deadShow{cli: c}
	cmd := &cobra.Command{
		Use:   "show ID",
		Short: "Show all there is about a dead letter",
		Long: `Shows every dead letter of an id: reason, WeChat's answer, every attempt, the headers and the packet. What is said and to whom
is masked; --reveal shows it and is written to the audit. Exit code 3 when there is no letter.`,
		Example: `  kefu dead show order-4711
  kefu dead show order-4711 --reveal -o json`,
		Args: arguments(1, 1, "ID"),
		RunE: func(cmd *cobra.Command, args []string) error { return d.run(cmd.Context(), args[0]) },
	}
	cmd.Flags().BoolVar(&d.reveal, "reveal", false, "show the message and its recipient; this is written to the audit")
	return cmd
}

func (d *deadShow) run(ctx context.Context, id string) error {
	conn, box, err := d.cli.box(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	items, err := box.Get(ctx, d.cli.appID, id)
	if err != nil {
		return err
	}
	if len(items) == 0 {
		return nothingf("no dead letter has the id %q: kefu find tells what became of it", id)
	}
	if d.reveal {
		if err := d.cli.auditReveal(ctx, conn, d.cli.appID, "dead show id="+id, len(items)); err != nil {
			return err
		}
	}
	mask := masker{d.reveal}
	if d.cli.format != formatTable {
		letters := make([]shownLetter, len(items))
		for i, item := range items {
			letters[i] = newShownLetter(item, mask)
		}
		return list(d.cli, letters, nil)
	}
	for i, item := range items {
		if i > 0 {
			if err := d.cli.printf("\n"); err != nil {
				return err
			}
		}
		if err := d.print(item, mask); err != nil {
			return err
		}
	}
	return nil
}

// shownLetter is a letter as JSON: the stored one, masked, with its place in the box.
type shownLetter struct {
	schema.Letter
	Masked bool   `json:"masked,omitempty"` // what is said and to whom is taken out
	Seq    uint64 `json:"seq"`
}

func newShownLetter(i deadletter.Item, m masker) shownLetter {
	l := i.Letter
	if m.reveal {
		return shownLetter{l, false, i.Seq}
	}
	openid := l.OpenID
	l.OpenID = m.openID(openid)
	l.Subject = m.subject(l.Subject, openid)
	l.Detail, l.Errmsg = m.within(l.Detail, openid), m.within(l.Errmsg, openid)
	l.Headers = make(map[string][]string)
	for name, values := range i.Letter.Headers {
		for _, value := range values {
			l.Headers[name] = append(l.Headers[name], m.within(value, openid))
		}
	}
	l.HeadersBase64 = nil
	l.SetPacket([]byte(m.packet(i.Letter.Packet())))
	return shownLetter{l, true, i.Seq}
}

func (d *deadShow) print(item deadletter.Item, mask masker) error {
	l := newShownLetter(item, mask).Letter
	if err := record(d.cli, nil, d.fields(item, l)); err != nil {
		return err
	}
	if len(l.Attempts) > 0 {
		if err := d.cli.printf("\n"); err != nil {
			return err
		}
		if err := list(d.cli, l.Attempts, attemptColumns()); err != nil {
			return err
		}
	}
	if len(l.Headers) > 0 {
		if err := d.cli.printf("\nheaders\n"); err != nil {
			return err
		}
		for _, name := range slices.Sorted(maps.Keys(l.Headers)) {
			for _, value := range l.Headers[name] {
				if err := d.cli.printf("  %s: %s\n", clean(name), clean(value)); err != nil {
					return err
				}
			}
		}
	}
	title := "packet"
	if !d.reveal {
		title = "packet (masked; --reveal shows it)"
	}
	if err := d.cli.printf("\n%s\n", title); err != nil {
		return err
	}
	for line := range strings.Lines(mask.packet(item.Letter.Packet())) {
		if err := d.cli.printf("  %s\n", cleanIndented(strings.TrimRight(line, "\n"))); err != nil {
			return err
		}
	}
	return nil
}

// cleanIndented is clean for a line whose leading blanks matter.
func cleanIndented(line string) string {
	text := strings.TrimLeft(line, " ")
	return line[:len(line)-len(text)] + clean(text)
}

func (d *deadShow) fields(item deadletter.Item, l schema.Letter) []field {
	http := ""
	if l.HTTPStatus > 0 {
		http = strconv.Itoa(l.HTTPStatus)
	}
	answer := strings.TrimSpace(errcodeText(l.Errcode) + " " + l.Errmsg)
	duplicate := ""
	if l.PossibleDuplicate {
		duplicate = "yes: it may have been sent"
	}
	return []field{
		{name: "id", value: l.ID, style: bold},
		{name: "app", value: l.AppID},
		{name: "reason", value: string(l.Reason), style: reasonStyle(l.Reason)},
		{name: "detail", value: l.Detail},
		{name: "answer", value: answer},
		{name: "http status", value: http},
		{name: "rid", value: l.RID},
		{name: "possible duplicate", value: duplicate, style: yellow},
		{name: "generation", value: strconv.Itoa(l.Generation)},
		{name: "lane", value: string(l.Lane)},
		{name: "campaign", value: l.Campaign},
		{name: "recipient", value: l.OpenID},
		{name: "source", value: l.Source},
		{name: "published", value: moment(l.PublishedAt)},
		{name: "first attempt", value: moment(l.FirstAt)},
		{name: "last attempt", value: moment(l.LastAt)},
		{name: "died", value: moment(l.DiedAt)},
		{name: "worker", value: l.Worker},
		{name: "subject", value: l.Subject},
		{name: "sequence", value: fmt.Sprintf("%d in its queue, %d in %s", l.Sequence, item.Seq, schema.StreamDead), style: faint},
	}
}

func attemptColumns() []column[schema.Attempt] {
	return []column[schema.Attempt]{
		{title: "ATTEMPT", right: true, cell: func(a schema.Attempt) string { return strconv.Itoa(a.Number) }},
		{title: "AT", cell: func(a schema.Attempt) string { return moment(a.At) }},
		{title: "TOOK", right: true, cell: func(a schema.Attempt) string {
			return time.Duration(a.DurationMS * float64(time.Millisecond)).Round(time.Millisecond).String()
		}},
		{title: "OUTCOME", cell: func(a schema.Attempt) string { return a.Outcome }},
		{title: "ERRCODE", right: true, cell: func(a schema.Attempt) string { return errcodeText(a.Errcode) }},
		{title: "ERRMSG", cell: func(a schema.Attempt) string { return a.Errmsg }, wraps: true},
		{title: "RID", cell: func(a schema.Attempt) string { return a.RID }},
		{title: "WORKER", cell: func(a schema.Attempt) string { return a.Worker }},
	}
}
