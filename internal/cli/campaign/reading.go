package campaign

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/campaign"
	"github.com/kefuhq/kefu/internal/cli"
	"github.com/kefuhq/kefu/internal/deadletter"
	"github.com/kefuhq/kefu/internal/mask"
	"github.com/kefuhq/kefu/internal/recipients"
)

// shownRows is how many rendered messages a dry run shows.
const shownRows = 3

// sample is a row as it will be sent.
type sample struct {
	line   int
	openID string
	packet []byte
}

// reading is what a start learns from the rows of a file.
type reading struct {
	summary recipients.Summary
	shape   recipients.Shape
	samples []sample // the first that are sent
	closed  int      // left out: their reply window was closed lately
	rejects *recipients.Rejects
	label   string // of the file
}

// readAll reads all rows, stores those that are to be sent in an upload, unless that is nil, and
// writes the bad ones to the file of rejects.
func (s *start) readAll(
	ctx context.Context, src *source, into *campaign.Upload, o campaign.Filling,
) (r *reading, err error) {
	r = &reading{label: src.label, rejects: recipients.NewRejects(s.rejects, src.Shape())}
	o.Row = func(row recipients.Row) error {
		switch {
		case row.Problem != nil:
			if err := r.rejects.Write(row); err != nil {
				return fmt.Errorf("the file of bad rows: %w; --rejects names another one", err)
			}
		case !row.Repeated && row.Number >= o.Skip && len(r.samples) < shownRows:
			if o.Closed == nil || !o.Closed(row.OpenID) {
				r.samples = append(r.samples, sample{row.Line, row.OpenID, bytes.Clone(row.Packet)})
			}
		}
		return nil
	}
	r.closed, err = campaign.Fill(ctx, src, into, o)
	src.bar.End()
	r.summary, r.shape = src.Summary(), src.Shape()
	if closeErr := r.rejects.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		s.tellRejects(r)
		return r, fmt.Errorf("%s: %w", src.label, err)
	}
	return r, nil
}

// tellRejects says where the bad rows are.
func (s *start) tellRejects(r *reading) {
	if r.rejects.Made() {
		s.streams.Notef("%s written to %s, with line and reason",
			rowsWere(r.summary.Invalid, "bad row"), s.rejects)
	}
}

// sent is how many messages the file makes.
func (r *reading) sent() int { return r.summary.Recipients - r.closed }

// describe says what was found out about the file.
func (s *start) describe(r *reading) {
	s.streams.Notef("%s: %s", r.label, r.shape)
}

// judge shows what is wrong with the file, and ends the command when that is too much.
func (s *start) judge(r *reading) error {
	const most = 20
	summary := r.summary
	shown := summary.Problems[:min(most, len(summary.Problems))]
	if !s.streams.Quiet {
		for _, p := range shown {
			s.streams.Hintf("%s",
				cli.Clean(fmt.Sprintf("%s:%d: %s: %s", r.label, p.Line, p.Field, p.Rule)))
		}
		if more := summary.Invalid - len(shown); more > 0 {
			s.streams.Hintf("and %s more", cli.Grouped(int64(more)))
		}
	}
	s.tellRejects(r)
	switch {
	case summary.Invalid > 0 && !s.skipInvalid:
		return fmt.Errorf("%s of %s cannot be sent: nothing was ordered; "+
			"correct them, or leave them out with --skip-invalid",
			cli.Grouped(int64(summary.Invalid)), cli.Counted(summary.Rows, "row"))
	case summary.Recipients == 0:
		return fmt.Errorf("%s: nobody to send to", r.label)
	case r.sent() == 0:
		return fmt.Errorf("%s: nobody is left to send to: the reply windows of all of them were "+
			"closed lately", r.label)
	}
	return nil
}

func rowsWere(n int, noun string) string {
	if n == 1 {
		return "1 " + noun + " was"
	}
	return cli.Counted(n, noun) + " were"
}

// Checked is what a dry run says of a file, as JSON.
type Checked struct {
	recipients.Summary
	SkippedClosed int               `json:"skipped_closed,omitempty"`
	Shape         recipients.Shape  `json:"shape"`
	Takes         float64           `json:"takes_seconds"` // at least; 0: nothing bounds it
	Samples       []json.RawMessage `json:"samples"`       // the first packets; openids are masked
}

// dry shows what a start would send.
func (s *start) dry(r *reading, t campaign.Terms, v campaign.Speed, now time.Time) error {
	out := Checked{
		Summary: r.summary, SkippedClosed: r.closed, Shape: r.shape,
		Takes: v.Takes(r.sent(), begins(t, now)).Seconds(),
	}
	fields := append(readingFields(r), cli.Field{Name: "takes", Value: takes(r.sent(), t, v, now)})
	for _, sample := range r.samples {
		packet := mask.Mask{}.Recipient(sample.packet, sample.openID)
		out.Samples = append(out.Samples, json.RawMessage(packet))
		fields = append(fields, cli.Field{Name: fmt.Sprintf("line %d", sample.line), Value: packet})
	}
	return s.report(out, fields, r.summary.Invalid)
}

// readingFields are what is known of a file, for people.
func readingFields(r *reading) []cli.Field {
	s := r.summary
	var types []string
	for t, n := range s.MsgTypes {
		types = append(types, fmt.Sprintf("%s %s", cli.Grouped(int64(n)), t))
	}
	slices.Sort(types)
	return []cli.Field{
		{Name: "rows", Value: cli.Grouped(int64(s.Rows))},
		{Name: "recipients", Value: cli.Grouped(int64(s.Recipients)), Style: cli.Green},
		{Name: "repeated", Value: someRows(s.Repeated)},
		{Name: "invalid", Value: someRows(s.Invalid), Style: cli.Yellow},
		{Name: "window closed", Value: leftOut(r.closed), Style: cli.Yellow},
		{Name: "msgtypes", Value: strings.Join(types, ", ")},
	}
}

// leftOut says how many recipients are left out because their reply window was closed.
func leftOut(n int) string {
	if n == 0 {
		return ""
	}
	return cli.Grouped(int64(n)) + " left out: they have a dead letter with errcode 45015 from " +
		"the last 48 hours"
}

// windowClosed is the errcode that says that the reply window is closed.
const windowClosed = 45015

// windowLasts is for how long a user's message keeps the reply window open.
const windowLasts = 48 * time.Hour

// closedLately returns whether a recipient of an app has a letter that died of a closed window in
// the last 48 hours. Of each 16 bytes of a hash are kept.
func closedLately(
	ctx context.Context, conn *broker.Conn, appID string, now time.Time,
) (func(openID string) bool, error) {
	closed := make(map[[16]byte]struct{})
	key := func(openID string) [16]byte {
		sum := sha256.Sum256([]byte(openID))
		return [16]byte(sum[:16])
	}
	filter := deadletter.Filter{
		AppID: appID, Errcodes: []int{windowClosed}, Since: now.Add(-windowLasts),
	}
	err := deadletter.Open(conn).List(ctx, filter, func(i deadletter.Item) error {
		closed[key(i.Letter.OpenID)] = struct{}{}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("whose window was closed lately: %w", err)
	}
	return func(openID string) bool {
		_, ok := closed[key(openID)]
		return ok
	}, nil
}
