package dead

import (
	"fmt"
	"strings"

	"github.com/kefuhq/kefu/internal/cli"
	"github.com/kefuhq/kefu/internal/job"
	"github.com/kefuhq/kefu/internal/replay"
)

// ending is the error with which a command ends that has followed a replay: nil when all that was
// chosen was replayed. One that goes on was followed until the user interrupted. So many letters
// more were chosen and are of no job.
func ending(s replay.Status, apart int) error {
	left := s.Left + apart
	switch {
	case s.State == job.StatePlanned:
		return cli.Partlyf("interrupted: only the watching has ended, replay %s is stored; "+
			"kefu dead replays watch %[1]s comes back to it", s.Job)
	case goesOn(s):
		return cli.Partlyf("interrupted: only the watching has ended, replay %s goes on; "+
			"kefu dead replays watch %[1]s comes back to it", s.Job)
	case s.State == job.StatePaused:
		return cli.Partlyf("an operator has paused replay %s: kefu dead replays resume %[1]s lets "+
			"it go on", s.Job)
	case s.State == job.StateHalted:
		return cli.Partlyf("replay %s has halted: %s; kefu dead replays resume %[1]s lets it go "+
			"on, kefu dead replays abort %[1]s ends it", s.Job, cli.Clean(s.Halted))
	case s.Published == 0 && s.State == job.StateAborted:
		return fmt.Errorf("nothing was replayed: replay %s was aborted", s.Job)
	case s.State == job.StateAborted:
		return cli.Partlyf("replay %s was aborted: %s left in the box", s.Job, lettersWere(left))
	case s.Published == 0 && left == 0 && s.Gone > 0:
		return fmt.Errorf("nothing was replayed: somebody else took %s out of the box meanwhile",
			cli.Counted(s.Gone, "letter"))
	case s.Published == 0:
		return fmt.Errorf("nothing was replayed: %s left in the box", lettersWere(left))
	case left > 0:
		return cli.Partlyf("%s left in the box", lettersWere(left))
	}
	return nil
}

func lettersWere(n int) string {
	if n == 1 {
		return "1 letter was"
	}
	return cli.Counted(n, "letter") + " were"
}

// advice says what an operator can do about a replay; "" for nothing.
func advice(s replay.Status) string {
	command := func(verb string) string { return "kefu dead replays " + verb + " " + s.Job }
	switch s.State {
	case job.StatePlanned:
		return "wait until a worker begins it (kefu pool shows those there are); " +
			command("abort") + " takes the order back"
	case job.StateRunning:
		return command("watch") + " follows it; pause and abort stop it"
	case job.StatePaused:
		return command("resume") + " lets it go on; " + command("abort") + " ends it"
	case job.StateHalted:
		return "see what they died of (kefu dead groups --since 1h); when that is put right, " +
			command("resume") + " lets it go on, without halting for it again; " +
			command("abort") + " ends it"
	}
	if s.Left > 0 {
		return "what was left is in the box: kefu dead replay sends it when that makes sense"
	}
	return ""
}

// endFields are the fields of a replay whose end was waited for. So many letters more were chosen
// and are of no job.
func endFields(s replay.Status, apart int) []cli.Field {
	value := cli.Counted(s.Published, "letter")
	if s.State == job.StateDone && !s.FinishedAt.IsZero() {
		value += " in " + cli.About(max(s.FinishedAt.Sub(s.StartedAt), 0))
	}
	fields := []cli.Field{{Name: "replayed", Value: value, Style: cli.Green}}
	return append(fields, countFields(s, apart)...)
}

// countFields are what became of the letters, beside how many were replayed.
func countFields(s replay.Status, apart int) []cli.Field {
	letters := func(n int, what string) string {
		if n == 0 {
			return ""
		}
		return cli.Counted(n, "letter") + what
	}
	var fields []cli.Field
	if s.Sent != nil && s.Dead != nil && s.Cancelled != nil {
		fields = append(fields,
			cli.Field{Name: "sent", Value: cli.Grouped(int64(*s.Sent)), Style: cli.Green},
			cli.Field{Name: "dead again", Value: someOf(*s.Dead, ": kefu dead groups says of what"),
				Style: cli.Red},
			cli.Field{Name: "cancelled", Value: someOf(*s.Cancelled, "")})
		if n := onTheirWay(s); n > 0 {
			fields = append(fields, cli.Field{Name: "on their way", Style: cli.Yellow,
				Value: cli.Grouped(int64(n)) + " still: they wait in the queue or for a retry"})
		}
	}
	fields = append(fields,
		cli.Field{Name: "left in the box", Value: letters(s.Left+apart, ""), Style: cli.Yellow},
		cli.Field{Name: "gone", Value: letters(s.Gone, " taken out by somebody else meanwhile")})
	return append(fields, noteFields(s.Notes)...)
}

// someOf is a number and what is to be said of it; "" for 0.
func someOf(n int, what string) string {
	if n == 0 {
		return ""
	}
	return cli.Grouped(int64(n)) + what
}

// statusFields are all there is about a replay.
func statusFields(s replay.Status) []cli.Field {
	rate := "as fast as the queues take them"
	if s.Rate > 0 {
		rate = fmt.Sprintf("%g a second", s.Rate)
	}
	fields := []cli.Field{
		{Name: "job", Value: s.Job, Style: cli.Bold},
		{Name: "state", Value: string(s.State), Style: stateStyle(s.State)},
		{Name: "halted", Value: s.Halted, Style: cli.Red},
		{Name: "app", Value: strings.Join(s.Apps, ", ")},
		{Name: "filter", Value: s.About},
		{Name: "ordered", Value: cli.Moment(s.OrderedAt) + " by " + s.By},
		{Name: "started", Value: cli.Moment(s.StartedAt)},
		{Name: "finished", Value: cli.Moment(s.FinishedAt)},
		{Name: "rate", Value: rate},
		{Name: "options", Value: s.Options},
		{Name: "chosen", Value: cli.Counted(s.Chosen, "letter")},
		{Name: "replayed", Value: cli.Counted(s.Published, "letter"), Style: cli.Green},
	}
	fields = append(fields, countFields(s, 0)...)
	return append(fields, cli.Field{Name: "you can", Value: advice(s)})
}

// stateStyle sets apart what waits for a person.
func stateStyle(s job.State) cli.Style {
	switch s {
	case job.StateDone:
		return cli.Green
	case job.StateHalted:
		return cli.Red
	case job.StatePaused, job.StateAborted:
		return cli.Yellow
	default:
		return ""
	}
}
