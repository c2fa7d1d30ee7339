package campaign

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"github.com/kefuhq/kefu/internal/campaign"
	"github.com/kefuhq/kefu/internal/cli"
	"github.com/kefuhq/kefu/internal/job"
)

// order is a command that a campaign obeys, as operators see it.
type order struct {
	command job.Command
	short   string
	long    string
	already []campaign.State // those in which it changes nothing
	idle    string           // what is said then
	said    string           // what is said when it is done
}

var (
	pausing = order{
		command: job.Pause, short: "Have a campaign stop for a while",
		long: `Has a campaign stop until it is resumed. What the queue holds of it just then, about a
second's worth, is still sent.`,
		already: []campaign.State{campaign.StatePaused}, idle: "is paused already",
		said: "is paused: kefu campaign resume %s lets it go on",
	}
	resuming = order{
		command: job.Resume, short: "Let a campaign go on that is paused or has halted",
		long: `Lets a campaign go on behind what it has fed. One that has halted because too many of its
messages died does not halt for that again.`,
		already: []campaign.State{campaign.StatePlanned, campaign.StateFeeding,
			campaign.StatePublished},
		idle: "is not paused",
		said: "goes on: kefu campaign watch %s follows it",
	}
)

// newTell is `kefu campaign pause` or `resume`.
func newTell(v *verbs, o order) *cobra.Command {
	verb := string(o.command)
	return &cobra.Command{
		Use:   verb + " NAME",
		Short: o.short,
		Long: o.long + ` It is written to the audit.

Exit codes: 1 when it has ended or nobody feeds it, 3 when there is no campaign of this name.`,
		Example:           "  kefu campaign " + verb + " double-11",
		Args:              cli.Args(1, 1, "NAME"),
		ValidArgsFunction: v.names,
		RunE: func(cmd *cobra.Command, args []string) error {
			return v.tell(cmd.Context(), args[0], o)
		},
	}
}

func (v *verbs) tell(ctx context.Context, name string, o order) error {
	conn, app, err := v.open(ctx, name)
	if err != nil {
		return err
	}
	defer conn.Close()
	s, err := read(ctx, conn, app.AppID, name)
	if err != nil {
		return err
	}
	switch {
	case s.State == campaign.StateDone || s.State == campaign.StateCancelled:
		return hasEnded(s)
	case s.OrderedAt.IsZero():
		return notFed(s)
	case slices.Contains(o.already, s.State):
		return v.streams.Answer(s, "campaign %s %s: nothing was changed\n", name, o.idle)
	case o.command == job.Pause && s.State == campaign.StatePublished:
		return fmt.Errorf("campaign %s is fed to its end: nothing is left to pause; "+
			"kefu campaign cancel %[1]s ends what is queued", name)
	}
	err = campaign.Tell(ctx, conn, app.AppID, name, o.command, v.settings.Actor())
	switch {
	case errors.Is(err, job.ErrFinal):
		if s, err = read(ctx, conn, app.AppID, name); err != nil {
			return err
		}
		return hasEnded(s)
	case errors.Is(err, campaign.ErrNotFed):
		return notFed(s)
	case err != nil:
		return err
	}
	if s, err = read(ctx, conn, app.AppID, name); err != nil {
		return err
	}
	return v.streams.Answer(s, "campaign %s "+o.said+"\n", name, name)
}

// hasEnded says that a campaign obeys nothing any more.
func hasEnded(s campaign.Status) error {
	how := "has ended"
	if s.State == campaign.StateCancelled {
		how = "was cancelled"
	} else if !s.FinishedAt.IsZero() {
		how = "ended " + cli.Moment(s.FinishedAt)
	}
	return fmt.Errorf("campaign %s %s: nothing of it can be changed any more", s.Campaign, how)
}

// notFed says that a campaign cannot be paused, since nobody feeds it.
func notFed(s campaign.Status) error {
	if s.State == campaign.StateUploading {
		return fmt.Errorf("the file of campaign %s is being stored, or that was interrupted: "+
			"nothing of it is sent that could be paused", s.Campaign)
	}
	return fmt.Errorf("campaign %s was published straight to the queue: it can be cancelled "+
		"(kefu campaign cancel %[1]s), not paused", s.Campaign)
}
