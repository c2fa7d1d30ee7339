package campaign

import (
	"fmt"
	"slices"
	"time"

	"github.com/kefuhq/kefu/internal/campaign"
	"github.com/kefuhq/kefu/internal/cli"
	"github.com/kefuhq/kefu/schema"
)

// reasonOfClosed is what a message dies of that meets a closed window.
const reasonOfClosed = schema.ReasonRecipient

// reasonsOf are the reasons that messages of a campaign died of, the most frequent first.
func reasonsOf(s campaign.Status) (reasons []schema.Reason) {
	for _, r := range schema.Reasons() {
		if s.Dead[r] > 0 {
			reasons = append(reasons, r)
		}
	}
	slices.SortStableFunc(reasons, func(a, b schema.Reason) int { return s.Dead[b] - s.Dead[a] })
	return reasons
}

// progress tells when a campaign does not move any more.
type progress struct {
	last  tally
	moved time.Time
}

// tally is what moves.
type tally struct {
	state               campaign.State
	queued, open, ended int
}

// over says whether nothing more is to be waited for, at a time: the campaign does not go on, and
// all that it has fed has ended, or nothing has moved for a while.
func (p *progress) over(s campaign.Status, now time.Time) bool {
	if t := (tally{s.State, s.Queued, s.Open, endedOf(s)}); t != p.last || p.moved.IsZero() {
		p.last, p.moved = t, now
	}
	switch {
	case goesOn(s.State):
		return false
	case s.State == campaign.StateUploading, s.State == campaign.StateDone:
		return true
	case s.State == campaign.StateCancelled && leftOf(s) == 0:
		return true
	}
	return now.Sub(p.moved) >= settles
}

// ending is the error with which a command ends that has followed a campaign: nil when it is done.
// One that goes on was followed until the user interrupted.
func ending(s campaign.Status) error {
	name := s.Campaign
	switch {
	case s.State == campaign.StatePlanned:
		return cli.Partlyf("interrupted: only the watching has ended, campaign %s is stored; "+
			"kefu campaign watch %[1]s comes back to it", name)
	case goesOn(s.State):
		return cli.Partlyf("interrupted: only the watching has ended, campaign %s goes on; "+
			"kefu campaign watch %[1]s comes back to it", name)
	case s.State == campaign.StateUploading:
		return cli.Partlyf("the file of campaign %s is being stored, or that was interrupted: "+
			"nothing of it is sent yet", name)
	case s.State == campaign.StatePaused:
		return cli.Partlyf("an operator has paused campaign %s: kefu campaign resume %[1]s lets "+
			"it go on", name)
	case s.State == campaign.StateHalted:
		return cli.Partlyf("campaign %s has halted: %s; kefu campaign resume %[1]s lets it go on, "+
			"kefu campaign cancel %[1]s ends it", name, cli.Clean(s.Halted))
	case s.State == campaign.StateCancelled && s.Sent == 0:
		return fmt.Errorf("nothing was sent: campaign %s was cancelled", name)
	case s.State == campaign.StateCancelled:
		return cli.Partlyf("campaign %s was cancelled: %s not sent", name,
			rowsWere(s.Cancelled, "message"))
	case s.Sent == 0 && endedOf(s) > 0:
		return fmt.Errorf("nothing was sent: %s", deadText(s))
	}
	return nil
}
