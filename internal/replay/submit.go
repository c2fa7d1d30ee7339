package replay

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/job"
)

// Submit orders the replay that a plan of the same request has looked at, and returns the id of its
// job. The audit comes first. The job is of the apps of which something can be replayed.
//
// After an error it may have been ordered all the same.
func Submit(
	ctx context.Context, conn *broker.Conn, r Request, p Plan, by string,
) (string, error) {
	pseudonyms, err := conn.Pseudonyms(ctx)
	if err != nil {
		return "", err
	}
	body, err := json.Marshal(spec{
		Filter: r.Filter, Box: p.made, Through: p.Through, Options: r.Options,
	})
	if err != nil {
		return "", err
	}
	about := r.Filter.Words(pseudonyms)
	if about == "" {
		about = "all"
	}
	o := job.Order{
		ID: job.NewID(), Kind: job.KindReplay, By: by, At: time.Now().UTC(), Rate: r.Rate,
		Spec: body, Apps: make(map[string]int), About: about, Options: r.words(),
	}
	chosen := 0
	for appID := range p.replayable {
		o.Apps[appID] = p.Apps[appID]
		chosen += p.Apps[appID]
	}
	detail := "begins as job " + o.ID
	if r.Rate > 0 {
		detail += fmt.Sprintf(", %g a second", r.Rate)
	}
	if o.Options != "" {
		detail += ", " + o.Options
	}
	if err := conn.Audit(ctx, entryOf(o, chosen, detail)); err != nil {
		return "", err
	}
	return o.ID, job.Submit(ctx, conn, o)
}

// words are the options in words, but for the rate: "in the bulk lane, 2 changes of the packets".
func (r Request) words() string {
	var words []string
	add := func(when bool, format string, values ...any) {
		if when {
			words = append(words, fmt.Sprintf(format, values...))
		}
	}
	o := r.Options
	add(r.Limit > 0, "%d at most", r.Limit)
	add(o.ExpiresIn > 0, "new deadline in %s", o.ExpiresIn)
	add(o.NewIDs, "new ids")
	add(o.Lane != "", "in the %s lane", o.Lane)
	add(len(o.Set) == 1, "1 change of the packets")
	add(len(o.Set) > 1, "%d changes of the packets", len(o.Set))
	return strings.Join(words, ", ")
}

// Tell has a replay paused, resumed or aborted, and writes that to the audit first.
func Tell(
	ctx context.Context, conn *broker.Conn, id string, c job.Command, by string,
) (job.Job, error) {
	j, err := job.Read(ctx, conn, id)
	if err != nil {
		return j, err
	}
	entry := entryOf(j.Order, j.Counts().Published, fmt.Sprintf("job %s: %s", id, c))
	entry.Actor = by
	if err := conn.Audit(ctx, entry); err != nil {
		return j, err
	}
	return job.Tell(ctx, conn, id, c)
}
