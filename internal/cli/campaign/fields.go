package campaign

import (
	"fmt"
	"strings"
	"time"

	"github.com/kefuhq/kefu/internal/campaign"
	"github.com/kefuhq/kefu/internal/cli"
	"github.com/kefuhq/kefu/schema"
)

// someRows returns a number of rows; "" for 0, which is not worth a line.
func someRows(n int) string {
	if n == 0 {
		return ""
	}
	return cli.Grouped(int64(n))
}

// statusFields are all that is known of a campaign, for people.
func statusFields(s campaign.Status, now time.Time) []cli.Field {
	started := cli.Moment(s.StartedAt)
	if s.By != "" {
		started += " by " + s.By
	}
	fields := []cli.Field{
		{Name: "campaign", Value: s.Campaign},
		{Name: "app", Value: s.AppID},
		{Name: "state", Value: stateText(s, now), Style: stateStyle(s.State)},
		{Name: "started", Value: started},
		{Name: "rows", Value: cli.Grouped(int64(s.Rows))},
		{Name: "repeated", Value: someRows(s.Repeated)},
		{Name: "left out", Value: someRows(s.Invalid), Style: cli.Yellow},
	}
	fields = append(fields, countFields(s)...)
	fields = append(fields,
		cli.Field{Name: "maybe twice", Value: someRows(s.PossibleDuplicates), Style: cli.Yellow},
		cli.Field{Name: "rate", Value: rateText(s)},
		cli.Field{Name: "time left", Value: leftText(s, now)},
		cli.Field{Name: "at most", Value: perSecond(s.PerSecond)},
		cli.Field{Name: "send at", Value: cli.Moment(s.SendAt)},
		cli.Field{Name: "expires at", Value: cli.Moment(s.ExpiresAt)},
		cli.Field{Name: "quiet hours", Value: quietText(s.Quiet)},
		cli.Field{Name: "finished", Value: cli.Moment(s.FinishedAt)},
	)
	for _, n := range s.Unsaid() {
		fields = append(fields, cli.Field{Name: "note", Style: cli.Yellow,
			Value: cli.Counted(n.Count, "row") + ": " + n.Text})
	}
	name := "you can"
	for _, line := range advice(s, now) {
		fields = append(fields, cli.Field{Name: name, Value: line})
		name = ""
	}
	return fields
}

// countFields are what became of the rows.
func countFields(s campaign.Status) []cli.Field {
	open := cli.Field{Name: "open", Value: cli.Grouped(int64(s.Open))}
	if !s.OutcomesSince.IsZero() {
		open = cli.Field{
			Name: "open or ended", Style: cli.Yellow,
			Value: cli.Grouped(int64(s.Open)) + ": what ended before " +
				cli.Moment(s.OutcomesSince) + " has no receipt any more",
		}
	}
	fields := []cli.Field{
		{Name: "queued", Value: cli.Grouped(int64(s.Queued))},
		open,
		{Name: "sent", Value: cli.Grouped(int64(s.Sent)), Style: cli.Green},
	}
	for _, reason := range schema.Reasons() {
		value := someRows(s.Dead[reason])
		if reason == schema.ReasonRecipient && s.Closed > 0 {
			value += ", of them " + closedText(s)
		}
		if n := s.ExpiredUnfed(); reason == schema.ReasonExpired && n > 0 {
			value += ", " + part(n, s.Dead[reason]) + " before they were fed, without a letter"
		}
		fields = append(fields,
			cli.Field{Name: "dead " + string(reason), Value: value, Style: cli.Red})
	}
	cancelled := someRows(s.Cancelled)
	if s.SkipClosed > 0 {
		cancelled += ", " + part(s.SkipClosed, s.Cancelled) + " left out by --skip-closed"
	}
	return append(fields, cli.Field{Name: "cancelled", Value: cancelled})
}

// part is how many of a number are meant.
func part(n, of int) string {
	if n >= of {
		return "all of them"
	}
	return "of them " + cli.Grouped(int64(n))
}

// closedText is how many met a closed reply window, and their share.
func closedText(s campaign.Status) string {
	text := cli.Grouped(int64(s.Closed)) + " window closed (45015"
	if ended := s.Sent + deadOf(s); ended > 0 {
		text += fmt.Sprintf(", %s %% of what ended", share(s.Closed, ended))
	}
	return text + ")"
}

// share is how much of a total is, in percent.
func share(part, total int) string {
	percent := 100 * float64(part) / float64(total)
	if percent < 1 && part > 0 {
		return "below 1"
	}
	return fmt.Sprintf("%.0f", percent)
}

// deadOf is how many are dead, of any reason.
func deadOf(s campaign.Status) (n int) {
	for _, dead := range s.Dead {
		n += dead
	}
	return n
}

// endedOf is how many have an end.
func endedOf(s campaign.Status) int { return s.Sent + deadOf(s) + s.Cancelled }

// leftOf is how many have none yet.
func leftOf(s campaign.Status) int { return s.Queued + s.Open }

// stateText is the state, and why it is that.
func stateText(s campaign.Status, now time.Time) string {
	text := string(s.State)
	quiet := s.Quiet.Ends(now)
	switch {
	case s.State == campaign.StateHalted && s.Halted != "":
		return text + ": " + s.Halted
	case s.State == campaign.StatePlanned && s.SendAt.After(now):
		return text + ": nothing is fed before " + cli.Moment(s.SendAt)
	case s.State == campaign.StatePlanned, s.State == campaign.StateFeeding:
		if quiet.After(now) {
			return text + ": quiet until " + quiet.Format("2006-01-02 15:04") + ", Beijing time"
		}
	case s.State == campaign.StateUploading:
		return text + ": its file is being stored, or that was interrupted"
	case s.State == campaign.StatePublished:
		return text + ": all of it is fed, and not all has ended"
	}
	return text
}

// stateStyle sets apart what waits for a person.
func stateStyle(s campaign.State) cli.Style {
	switch s {
	case campaign.StateHalted:
		return cli.Red
	case campaign.StatePaused, campaign.StateCancelled, campaign.StateUploading:
		return cli.Yellow
	default:
		return cli.Green
	}
}

// goesOn says whether more of a campaign is sent as it stands.
func goesOn(s campaign.State) bool {
	switch s {
	case campaign.StatePlanned, campaign.StateFeeding, campaign.StatePublished:
		return true
	}
	return false
}

// rateText is how many end in a second; "" where nothing moves.
func rateText(s campaign.Status) string {
	if s.Rate <= 0 || leftOf(s) == 0 || !goesOn(s.State) {
		return ""
	}
	return perSecond(s.Rate)
}

func perSecond(rate float64) string {
	switch {
	case rate <= 0:
		return ""
	case rate < 10:
		return fmt.Sprintf("%.1f/s", rate)
	}
	return cli.Grouped(int64(rate+0.5)) + "/s"
}

// leftText is how long the rest takes; "" when nobody knows.
func leftText(s campaign.Status, now time.Time) string {
	if s.ETA.IsZero() || leftOf(s) == 0 || !goesOn(s.State) {
		return ""
	}
	return cli.About(max(s.ETA.Sub(now), time.Second).Truncate(time.Second))
}

func quietText(q campaign.Quiet) string {
	if q.IsZero() {
		return ""
	}
	return strings.Replace(q.String(), "-", " to ", 1) + ", Beijing time"
}

// advice says what an operator can do about a campaign, a thing on each line.
func advice(s campaign.Status, now time.Time) []string {
	command := func(verb, does string) string {
		return "kefu campaign " + verb + " " + s.Campaign + does
	}
	deaths := "kefu dead groups --campaign " + s.Campaign + " shows what they died of"
	cancels := command("cancel", " ends it")
	switch s.State {
	case campaign.StateUploading:
		return []string{"if it was interrupted, the same kefu campaign start begins anew"}
	case campaign.StatePlanned:
		return []string{awaited(s, now), cancels}
	case campaign.StateFeeding:
		return []string{command("watch", " follows it; pause and cancel stop it")}
	case campaign.StatePaused:
		return []string{command("resume", " lets it go on"), cancels}
	case campaign.StateHalted:
		if s.Upload == "" {
			return []string{"an earlier version was interrupted: the same start goes on", cancels}
		}
		lines := []string{command("resume", " lets it go on, not to halt again"), cancels}
		if lettersOf(s) > 0 {
			return append([]string{deaths}, lines...)
		}
		return lines
	}
	if lettersOf(s) > 0 && !goesOn(s.State) {
		return []string{deaths}
	}
	return nil
}

// awaited is what a planned campaign waits for.
func awaited(s campaign.Status, now time.Time) string {
	switch {
	case s.SendAt.After(now):
		return "wait: it begins at the time of send at"
	case s.Quiet.Ends(now).After(now):
		return "wait: it begins when the quiet hours end"
	}
	return "wait: a worker begins it; kefu pool shows whether one is there"
}

// lettersOf is how many of the dead have a letter.
func lettersOf(s campaign.Status) int { return deadOf(s) - s.ExpiredUnfed() }
