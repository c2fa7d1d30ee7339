package job

import (
	"errors"
	"fmt"

	"github.com/kefuhq/kefu/internal/notes"
)

// Command is what an operator tells a job to do.
type Command string

// The commands.
const (
	Pause  Command = "pause"
	Resume Command = "resume"
	Abort  Command = "abort"
)

// ErrFinal is why a command is refused: the job has ended.
var ErrFinal = errors.New("it has ended")

// obey returns the order as a command makes it. A command that asks for what is the
// case already changes nothing and is no error, so that it can be repeated.
func (j Job) obey(c Command) (Order, error) {
	o, state := j.Order, j.State()
	switch {
	case state == StateAborted && c == Abort:
		return o, nil
	case state.Final():
		return o, fmt.Errorf("job %s is %s: %w", o.ID, state, ErrFinal)
	}
	switch c {
	case Pause:
		o.Want = WantPause
	case Abort:
		o.Want = WantAbort
	case Resume:
		if o.Want != WantRun || state == StateHalted {
			o.Resumes++ // a part that has halted goes on
		}
		o.Want = WantRun
	default:
		return o, fmt.Errorf("a job cannot be told to %q", c)
	}
	return o, nil
}

// Step is a piece of work that is written down before it is begun.
type Step struct {
	N    int    `json:"n"`    // counts the part's steps from 1
	Body []byte `json:"body"` // what the kind has chosen
}

// Result is what a step has come to.
type Result struct {
	Cursor    uint64 // of the part from here on
	Published int
	Left      int
	Notes     notes.List
	Done      bool   // nothing is left to do
	Halt      string // why the job is to halt; "" to go on
}

// after is the part when a step has ended.
func (p Part) after(r Result, o Order) Part {
	p.Steps++
	return p.with(r, o)
}

// with is the part with what a result says.
func (p Part) with(r Result, o Order) Part {
	p.Cursor = max(p.Cursor, r.Cursor)
	p.Published += r.Published
	p.Left += r.Left
	p.Notes = p.Notes.With(r.Notes)
	p.Done = p.Done || r.Done
	p.Halted, p.Resumes = r.Halt, o.Resumes
	return p
}

// empty says whether a result says nothing.
func (r Result) empty() bool {
	return r.Cursor == 0 && r.Published == 0 && r.Left == 0 && len(r.Notes) == 0 && !r.Done &&
		r.Halt == ""
}

// turn is what comes next in a part.
type turn uint8

// The turns.
const (
	idle   turn = iota // nothing, until somebody changes the order
	carry              // the step that is open
	choose             // a step
	end                // the part ends
)

// turn says what comes next in the part of an app, where open is the step of it
// that is under way; nil for none.
func (j Job) turn(p Part, open *Step) turn {
	switch {
	case open != nil && open.N > p.Steps:
		return carry // whatever is wanted: what has begun is counted
	case !p.Ended.IsZero():
		return idle
	case p.Done || j.Want == WantAbort:
		return end
	case !j.goesOn():
		return idle
	}
	return choose
}
