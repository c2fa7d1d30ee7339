// Package job is stored work that the pool carries out: replays of dead letters,
// and the feeding of campaigns. Whoever orders a job may go away; anybody with the
// rights of an operator may watch, pause, resume or abort it from anywhere.
//
// A job is an [Order] and a [Part] for each app that it concerns, all of them keys
// of the bucket KEFU_JOB:
//
//	job.<job>.order         what is to be done, and whether it is to run; written by operators
//	job.<job>.part.<appid>  how far it has come, an account; written by who carries it out
//	open.<appid>            the steps under way of all jobs of an app, and the worker that began them
//
// One worker of the pool at a time carries out the jobs of an app ([Runner]). A
// step is written down before it is begun, together with the worker's name, and
// counted by one write when it has ended. Both writes are conditional, so a worker
// that others took for dead can begin nothing and count nothing any more. A step
// that was cut off is carried out once more by the next worker; a kind of job
// ([Work]) sees to it that this changes nothing.
//
//	crash before open.<appid> names the step   the step is chosen anew
//	crash before the part counts it            it is carried out again, then counted
//	crash before open.<appid> drops it         its number says that it is counted
package job

import (
	"crypto/rand"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/kefuhq/kefu/internal/notes"
)

// Kind is what sort of work a job is.
type Kind string

// The kinds of jobs.
const (
	KindReplay   Kind = "replay"   // of dead letters
	KindCampaign Kind = "campaign" // the feeding of a stored file
)

// State is how a job stands.
type State string

// The states of jobs. The last two are final.
const (
	StatePlanned State = "planned" // ordered; no worker has begun it
	StateRunning State = "running"
	StatePaused  State = "paused"  // by an operator
	StateHalted  State = "halted"  // by itself: Halted says why
	StateDone    State = "done"    // nothing of it is left to do
	StateAborted State = "aborted" // by an operator
)

// Final says whether a job in this state never changes again.
func (s State) Final() bool { return s == StateDone || s == StateAborted }

// Want is what operators want of a job.
type Want string

// What operators may want.
const (
	WantRun   Want = "run"
	WantPause Want = "pause"
	WantAbort Want = "abort"
)

// Order is what is to be done. All but the last group is fixed when it is stored.
type Order struct {
	ID    string    `json:"id"` // a subject token
	Kind  Kind      `json:"kind"`
	By    string    `json:"by"` // user@host
	At    time.Time `json:"at"`
	About string    `json:"about,omitempty"` // what it is applied to, for people and the audit

	Options string `json:"options,omitempty"` // in words, for people

	// Apps are the apps that the job concerns, each with the number of items that
	// were chosen when it was planned.
	Apps map[string]int  `json:"apps"`
	Rate float64         `json:"rate"` // items a second, of all apps together; 0 for no limit
	Spec json.RawMessage `json:"spec"` // what the kind needs to know; none once it has ended

	Want    Want      `json:"want"`
	Resumes int       `json:"resumes,omitempty"` // how often it was resumed
	Ended   time.Time `json:"ended,omitzero"`    // when its state became final

	revision uint64
}

// Part is how far a job has come in one app.
type Part struct {
	Job     string    `json:"job"`
	AppID   string    `json:"appid"`
	Started time.Time `json:"started"`
	Ended   time.Time `json:"ended,omitzero"`
	Done    bool      `json:"done,omitempty"` // nothing is left to do

	Steps  int    `json:"steps"`  // that are counted
	Cursor uint64 `json:"cursor"` // what lies at or before it is counted; its meaning is the kind's

	Published int        `json:"published"` // items that the queue has
	Left      int        `json:"left"`      // items that were looked at and left alone; Notes say why
	Notes     notes.List `json:"notes,omitempty"`

	Halted  string `json:"halted,omitempty"` // why it halted; "" when it did not
	Resumes int    `json:"resumes,omitempty"`

	revision uint64
}

// halted says why the part has halted and nobody has resumed the job since.
func (p Part) halted(o Order) string {
	if p.Resumes < o.Resumes {
		return ""
	}
	return p.Halted
}

// Job is an order and how far it has come.
type Job struct {
	Order
	Parts []Part // in the order of their appids; none of an app where it has not begun
}

// State follows from what operators want and how far the parts have come.
func (j Job) State() State {
	switch {
	case j.done():
		return StateDone
	case j.Want == WantAbort:
		return StateAborted
	case j.Want == WantPause:
		return StatePaused
	case j.Halted() != "":
		return StateHalted
	case len(j.Parts) > 0:
		return StateRunning
	}
	return StatePlanned
}

// goesOn says whether anything more of a job is to be begun.
func (j Job) goesOn() bool { return j.Want == WantRun && j.Halted() == "" }

func (j Job) done() bool {
	ended := 0
	for _, p := range j.Parts {
		if p.Done {
			ended++
		}
	}
	return ended >= len(j.Apps)
}

// Halted says why the job has halted by itself; "" when it has not.
func (j Job) Halted() string {
	for _, p := range j.Parts {
		if why := p.halted(j.Order); why != "" {
			return why
		}
	}
	return ""
}

// Counts are how many items a job has dealt with.
type Counts struct {
	Chosen    int // when it was planned
	Published int
	Left      int // looked at and left alone
}

// Counts adds up the parts.
func (j Job) Counts() (c Counts) {
	for _, n := range j.Apps {
		c.Chosen += n
	}
	for _, p := range j.Parts {
		c.Published += p.Published
		c.Left += p.Left
	}
	return c
}

// Notes are those of all parts, the most frequent first.
func (j Job) Notes() notes.List {
	var all notes.List
	for _, p := range j.Parts {
		all = all.With(p.Notes)
	}
	return all.Sorted()
}

// AppIDs lists the apps that a job concerns.
func (o Order) AppIDs() []string { return slices.Sorted(maps.Keys(o.Apps)) }

// Share is the rate at which the part of an app goes on: parts of one job take as
// long as each other.
func (o Order) Share(appID string) float64 {
	all := 0
	for _, n := range o.Apps {
		all += n
	}
	if all == 0 || o.Rate <= 0 {
		return o.Rate
	}
	return o.Rate * float64(o.Apps[appID]) / float64(all)
}

// NewID makes the id of a job: short enough to be typed.
func NewID() string { return strings.ToLower(rand.Text()[:8]) }
