package dead

import (
	"context"
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"github.com/kefuhq/kefu/internal/cli"
	"github.com/kefuhq/kefu/internal/job"
	"github.com/kefuhq/kefu/internal/replay"
)

// order is a command that a replay obeys, as operators see it.
type order struct {
	command job.Command
	short   string
	long    string
	already []job.State // those in which it changes nothing
	idle    string      // what is said then
	said    string      // what is said when it is done
}

var (
	pausing = order{
		command: job.Pause, short: "Have a replay stop for a while",
		long: `Has a replay stop until it is resumed. What a worker has just in hand is published and
counted.`,
		already: []job.State{job.StatePaused}, idle: "is paused already",
		said: "is paused: kefu dead replays resume %s lets it go on",
	}
	resuming = order{
		command: job.Resume, short: "Let a replay go on that is paused or has halted",
		long: `Lets a replay go on behind what it has replayed. One that has halted because its first letters
died again does not halt for that again.`,
		already: []job.State{job.StatePlanned, job.StateRunning}, idle: "is not paused",
		said: "goes on: kefu dead replays watch %s follows it",
	}
	aborting = order{
		command: job.Abort, short: "End a replay; what it has not replayed stays in the box",
		long: `Ends a replay for good. What it has published stays published, and what a worker has just in
hand is counted; all other letters stay in the box, where another replay can choose them. It asks
first.`,
		already: []job.State{job.StateAborted}, idle: "was aborted already",
		said: "is aborted: kefu dead replays show %s says what it has replayed",
	}
)

// newTell is `kefu dead replays pause`, `resume` or `abort`.
func newTell(d *replays, o order) *cobra.Command {
	verb := string(o.command)
	return &cobra.Command{
		Use:   verb + " ID",
		Short: o.short,
		Long: o.long + ` It is written to the audit.

Exit codes: 1 when it has ended, 3 when there is no replay of this id.`,
		Example:           "  kefu dead replays " + verb + " k3vq7a2m",
		Args:              cli.Args(1, 1, "ID"),
		ValidArgsFunction: d.ids,
		RunE: func(cmd *cobra.Command, args []string) error {
			return d.tell(cmd.Context(), args[0], o)
		},
	}
}

func (d *replays) tell(ctx context.Context, id string, o order) error {
	conn, err := d.broker.Connect(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	s, err := readReplay(ctx, conn, id)
	if err != nil {
		return err
	}
	switch {
	case slices.Contains(o.already, s.State):
		return d.streams.Answer(s, "replay %s %s: nothing was changed\n", id, o.idle)
	case s.State.Final():
		return hasEnded(s)
	}
	if o.command == job.Abort {
		if err := d.streams.Confirm(ctx, abortQuestion(s)); err != nil {
			return err
		}
	}
	told, err := replay.Tell(ctx, conn, id, o.command, d.settings.Actor())
	if err != nil {
		return err
	}
	if s, err = readReplay(ctx, conn, id); err != nil {
		return err
	}
	s.State = told.State() // a node of the broker may not have it yet
	return d.streams.Answer(s, "replay %s "+o.said+"\n", id, id)
}

// hasEnded says that a replay obeys nothing any more.
func hasEnded(s replay.Status) error {
	how := "ended"
	if s.State == job.StateAborted {
		how = "was aborted"
	}
	if !s.FinishedAt.IsZero() { // else a worker still counts what it had in hand
		how += " " + cli.Moment(s.FinishedAt)
	}
	return fmt.Errorf("replay %s %s: nothing of it can be changed any more", s.Job, how)
}

func abortQuestion(s replay.Status) string {
	return fmt.Sprintf("Abort replay %s? %s of %s are replayed; the others stay in the box.", s.Job,
		cli.Grouped(int64(s.Published)), cli.Counted(s.Chosen, "letter"))
}
