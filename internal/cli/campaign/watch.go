package campaign

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/campaign"
	"github.com/kefuhq/kefu/internal/cli"
)

const (
	// watchEvery is between two looks at a campaign.
	watchEvery = 250 * time.Millisecond

	// saidEvery is at least between two lines where there is no terminal.
	saidEvery = 3 * time.Second

	// settles is for how long nothing may change until a campaign that does not go on counts as
	// settled: what a worker has in hand is counted within that, and so is what leaves the queue.
	settles = 3 * time.Second
)

// newWatch is `kefu campaign watch`.
func newWatch(v *verbs) *cobra.Command {
	return &cobra.Command{
		Use:   "watch NAME",
		Short: "Follow a campaign until it does not go on",
		Long: `Follows a campaign, and ends when it is done or cancelled, is paused or has halted. While the
broker is away it waits. Ctrl-C stops watching; the campaign goes on. Without a terminal there is a
line when something has changed, at most every 3 seconds.

Exit codes: 1 nothing was sent, 3 when there is no campaign of this name, 4 when it goes on without
being watched, is paused, has halted or was cancelled.`,
		Example:           `  kefu campaign watch double-11`,
		Args:              cli.Args(1, 1, "NAME"),
		ValidArgsFunction: v.names,
		RunE: func(cmd *cobra.Command, args []string) error {
			conn, app, err := v.open(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			defer conn.Close()
			return newWatching(v.streams, conn, app.AppID, args[0]).run(cmd.Context())
		},
	}
}

// watching follows a campaign.
type watching struct {
	streams  *cli.Streams
	conn     *broker.Conn
	appID    string
	name     string
	carriers *cli.Carriers
	panel    *cli.Panel

	said     string // the last line
	saidAt   time.Time
	progress progress
}

func newWatching(s *cli.Streams, conn *broker.Conn, appID, name string) *watching {
	return &watching{streams: s, conn: conn, appID: appID, name: name,
		carriers: newCarriers(s, conn, name), panel: s.Panel()}
}

func newCarriers(s *cli.Streams, conn *broker.Conn, name string) *cli.Carriers {
	return &cli.Carriers{Streams: s, Conn: conn, Kind: "campaigns", Job: "campaign " + name}
}

// run follows the campaign, and prints where it stands in the end.
func (w *watching) run(ctx context.Context) error {
	s, err := w.follow(ctx)
	w.panel.Clear()
	if err != nil {
		return err
	}
	if err := cli.Record(w.streams, s, statusFields(s, time.Now())); err != nil {
		return err
	}
	return ending(s)
}

// follow shows how far the campaign has come until it goes on no more, or ctx ends.
func (w *watching) follow(ctx context.Context) (campaign.Status, error) {
	s, err := read(ctx, w.conn, w.appID, w.name)
	if err != nil {
		return s, err
	}
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	away := false
	for {
		now := time.Now()
		if w.progress.over(s, now) {
			return s, nil
		}
		if goesOn(s.State) && !away {
			w.look(ctx)
		}
		w.show(s, away, now)
		select {
		case <-tick.C:
		case <-ctx.Done():
			return s, nil
		}
		next, err := read(ctx, w.conn, w.appID, w.name)
		var exit *cli.ExitError
		switch {
		case err == nil:
			s, away = next, false
		case errors.As(err, &exit): // there is no such campaign any more
			return s, err
		case ctx.Err() == nil: // the broker is away: the campaign is not over by that
			away = true
		}
	}
}

// look tells when there is no worker that would feed the campaign.
func (w *watching) look(ctx context.Context) {
	before := len(w.carriers.Missing())
	if before == 0 {
		w.panel.Clear() // a warning may come, which is no part of it
	}
	w.carriers.Look(ctx, []string{w.appID})
}

// show shows where the campaign stands.
func (w *watching) show(s campaign.Status, away bool, now time.Time) {
	if away {
		s.Rate, s.ETA = 0, time.Time{} // nobody knows
	}
	beside := w.beside(s, away, now)
	if w.panel.Shows() {
		w.panel.Draw(frame(s, beside, w.panel.Width(), now)...)
		return
	}
	line := lineOf(s, beside, now)
	if line == w.said || now.Sub(w.saidAt) < saidEvery {
		return
	}
	w.said, w.saidAt = line, now
	w.streams.Notef("%s %s", now.Local().Format(time.TimeOnly), line)
}

// beside is why a campaign does not move.
func (w *watching) beside(s campaign.Status, away bool, now time.Time) string {
	switch missing := w.carriers.Missing(); {
	case away:
		return "the broker does not answer"
	case len(missing) > 0 && goesOn(s.State):
		return "no worker for " + strings.Join(missing, ", ")
	case s.State == campaign.StateHalted:
		return ""
	}
	_, why, _ := strings.Cut(stateText(s, now), ": ")
	if s.State == campaign.StatePublished {
		return "" // it says nothing that the numbers do not
	}
	return why
}

// frame are the lines that show a campaign on a terminal.
func frame(s campaign.Status, beside string, width int, now time.Time) []string {
	state := string(s.State)
	if beside != "" {
		state += " (" + beside + ")"
	}
	total, ended := s.Rows-s.Invalid-s.Repeated, endedOf(s)
	numbers := []string{fmt.Sprintf("%3d %%", percent(ended, total)),
		fmt.Sprintf("%s of %s", cli.Grouped(int64(ended)), cli.Grouped(int64(total)))}
	numbers = append(numbers, speedOf(s, now)...)
	text := strings.Join(numbers, "  ")
	const least, most = 12, 40 // columns of the gauge, and least of the name
	lines := []string{
		cli.Cut(s.Campaign, max(width-3-len(state), least)) + "  " + state,
		cli.Gauge(ended, total, min(max(width-3-len(text), least), most)) + "  " + text,
		strings.Join(counts(s), "  "),
	}
	if dead := deadText(s); dead != "" {
		lines = append(lines, dead)
	}
	return lines
}

// speedOf is how fast a campaign is and how long it takes still, as far as anybody knows.
func speedOf(s campaign.Status, now time.Time) (words []string) {
	if rate := rateText(s); rate != "" {
		words = append(words, rate)
	}
	if left := leftText(s, now); left != "" {
		words = append(words, left+" left")
	}
	return words
}

// percent is how much of a total is done, 100 only when all is.
func percent(done, total int) int {
	if total <= 0 || done >= total {
		return 100
	}
	return min(100*done/total, 99)
}

// counts are what became of the messages that are not dead, in words.
func counts(s campaign.Status) []string {
	words := []string{"sent " + cli.Grouped(int64(s.Sent))}
	for _, c := range []struct {
		name string
		n    int
	}{{"cancelled", s.Cancelled}, {"queued", s.Queued}, {"open", s.Open}} {
		if c.n > 0 {
			words = append(words, c.name+" "+cli.Grouped(int64(c.n)))
		}
	}
	return words
}

// deadText are the dead by reason, the most frequent first; "" when there are none.
func deadText(s campaign.Status) string {
	dead := deadOf(s)
	if dead == 0 {
		return ""
	}
	var parts []string
	for _, reason := range reasonsOf(s) {
		text := string(reason) + " " + cli.Grouped(int64(s.Dead[reason]))
		if reason == reasonOfClosed && s.Closed > 0 {
			text += " (window closed " + cli.Grouped(int64(s.Closed)) + ")"
		}
		parts = append(parts, text)
	}
	return "dead " + cli.Grouped(int64(dead)) + ": " + strings.Join(parts, ", ")
}

// lineOf shows a campaign on a line of a log.
func lineOf(s campaign.Status, beside string, now time.Time) string {
	parts := []string{
		fmt.Sprintf("%s of %s ended", cli.Grouped(int64(endedOf(s))),
			cli.Grouped(int64(s.Rows-s.Invalid-s.Repeated))),
	}
	parts = append(parts, counts(s)...)
	if dead := deadText(s); dead != "" {
		parts = append(parts, dead)
	}
	parts = append(parts, speedOf(s, now)...)
	state := string(s.State)
	if beside != "" {
		state += " (" + beside + ")"
	}
	return state + ": " + strings.Join(parts, ", ")
}
