package job

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// at is when things happen in these tests.
var at = time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)

func TestHowAJobStands(t *testing.T) {
	t.Parallel()
	begun := Part{AppID: "wx1", Started: at}
	done := Part{AppID: "wx1", Started: at, Done: true}
	halted := Part{AppID: "wx1", Started: at, Halted: "the first hundred died again"}
	for _, row := range []struct {
		when    string
		want    Want
		resumes int
		parts   []Part
		state   State
	}{
		{"ordered", WantRun, 0, nil, StatePlanned},
		{"paused before it was begun", WantPause, 0, nil, StatePaused},
		{"aborted before it was begun", WantAbort, 0, nil, StateAborted},
		{"begun", WantRun, 0, []Part{begun}, StateRunning},
		{"paused", WantPause, 0, []Part{begun}, StatePaused},
		{"aborted", WantAbort, 0, []Part{begun}, StateAborted},
		{"halted", WantRun, 0, []Part{halted}, StateHalted},
		{"halted, then paused", WantPause, 0, []Part{halted}, StatePaused},
		{"halted, then resumed", WantRun, 1, []Part{halted}, StateRunning},
		{"all is done", WantRun, 0, []Part{done}, StateDone},
		{"all was done when somebody paused it", WantPause, 0, []Part{done}, StateDone},
		{"all was done when somebody aborted it", WantAbort, 0, []Part{done}, StateDone},
	} {
		j := Job{Order: Order{Apps: map[string]int{"wx1": 9}, Want: row.want, Resumes: row.resumes},
			Parts: row.parts}
		require.Equal(t, row.state, j.State(), row.when)
	}
}

func TestAJobOfTwoAppsIsDoneWhenBothAre(t *testing.T) {
	t.Parallel()
	j := Job{Order: Order{Apps: map[string]int{"wx1": 1, "wx2": 1}, Want: WantRun},
		Parts: []Part{{AppID: "wx1", Done: true}}}
	require.Equal(t, StateRunning, j.State())
	j.Parts = append(j.Parts, Part{AppID: "wx2", Done: true})
	require.Equal(t, StateDone, j.State())
}

func TestWhatACommandDoesInEachState(t *testing.T) {
	t.Parallel()
	planned := Job{Order: Order{ID: "j", Apps: map[string]int{"wx1": 9}, Want: WantRun}}
	with := func(j Job, want Want, parts ...Part) Job {
		j.Want, j.Parts = want, parts
		return j
	}
	begun := Part{AppID: "wx1"}
	jobs := map[State]Job{
		StatePlanned: planned,
		StateRunning: with(planned, WantRun, begun),
		StatePaused:  with(planned, WantPause, begun),
		StateHalted:  with(planned, WantRun, Part{AppID: "wx1", Halted: "why"}),
		StateDone:    with(planned, WantRun, Part{AppID: "wx1", Done: true}),
		StateAborted: with(planned, WantAbort, begun),
	}
	for _, row := range []struct {
		in      State
		told    Command
		becomes State // "" for a refusal
	}{
		{StatePlanned, Pause, StatePaused},
		{StatePlanned, Resume, StatePlanned},
		{StatePlanned, Abort, StateAborted},
		{StateRunning, Pause, StatePaused},
		{StateRunning, Resume, StateRunning},
		{StateRunning, Abort, StateAborted},
		{StatePaused, Pause, StatePaused},
		{StatePaused, Resume, StateRunning},
		{StatePaused, Abort, StateAborted},
		{StateHalted, Pause, StatePaused},
		{StateHalted, Resume, StateRunning},
		{StateHalted, Abort, StateAborted},
		{StateDone, Pause, ""},
		{StateDone, Resume, ""},
		{StateDone, Abort, ""},
		{StateAborted, Pause, ""},
		{StateAborted, Resume, ""},
		{StateAborted, Abort, StateAborted},
	} {
		j := jobs[row.in]
		require.Equal(t, row.in, j.State())
		o, err := j.obey(row.told)
		if row.becomes == "" {
			require.ErrorIs(t, err, ErrFinal, "%s in %s", row.told, row.in)
			continue
		}
		require.NoError(t, err)
		j.Order = o
		require.Equal(t, row.becomes, j.State(), "%s in %s", row.told, row.in)
	}
}

func TestAJobThatHaltedWhilePausedGoesOnWhenItIsResumed(t *testing.T) {
	t.Parallel()
	j := Job{Order: Order{Apps: map[string]int{"wx1": 9}, Want: WantPause},
		Parts: []Part{{AppID: "wx1", Halted: "why"}}}
	var err error
	j.Order, err = j.obey(Resume)
	require.NoError(t, err)
	require.Equal(t, StateRunning, j.State())
}

func TestWhatComesNextInAPart(t *testing.T) {
	t.Parallel()
	order := func(want Want) Order { return Order{Apps: map[string]int{"wx1": 9}, Want: want} }
	open := &Step{N: 4}
	for _, row := range []struct {
		when string
		want Want
		part Part
		open *Step
		next turn
	}{
		{"it runs", WantRun, Part{Steps: 3}, nil, choose},
		{"a step is open", WantRun, Part{Steps: 3}, open, carry},
		{"a step is open that was counted", WantRun, Part{Steps: 4}, open, choose},
		{"it is paused", WantPause, Part{Steps: 3}, nil, idle},
		{"it is paused in a step", WantPause, Part{Steps: 3}, open, carry},
		{"it has halted", WantRun, Part{Steps: 3, Halted: "why"}, nil, idle},
		{"it has halted, and a step is open", WantRun, Part{Steps: 3, Halted: "why"}, open, carry},
		{"it is aborted", WantAbort, Part{Steps: 3}, nil, end},
		{"it is aborted in a step", WantAbort, Part{Steps: 3}, open, carry},
		{"nothing is left to do", WantRun, Part{Steps: 3, Done: true}, nil, end},
		{"nothing is left to do, and it is paused", WantPause, Part{Done: true}, nil, end},
		{"it has ended", WantRun, Part{Done: true, Ended: at}, nil, idle},
	} {
		row.part.AppID = "wx1"
		j := Job{Order: order(row.want), Parts: []Part{row.part}}
		require.Equal(t, row.next, j.turn(row.part, row.open), row.when)
	}
}

func TestWhoMayTakeADeskOver(t *testing.T) {
	t.Parallel()
	alive := func(worker string) bool { return worker != "lost" }
	steps := map[string]Step{"j": {N: 1}}
	for _, row := range []struct {
		when string
		desk desk
		free bool
	}{
		{"nobody was there", desk{}, true},
		{"this worker is at it", desk{Worker: "self", Steps: steps}, true},
		{"another is at it", desk{Worker: "other"}, true},
		{"another is in a step", desk{Worker: "other", Steps: steps}, false},
		{"another was lost in a step", desk{Worker: "lost", Steps: steps}, true},
	} {
		require.Equal(t, row.free, row.desk.free("self", alive), row.when)
	}
}

func TestThePartsOfAJobTakeAsLongAsEachOther(t *testing.T) {
	t.Parallel()
	o := Order{Apps: map[string]int{"wx1": 300, "wx2": 100}, Rate: 40}
	require.InDelta(t, 30, o.Share("wx1"), 0)
	require.InDelta(t, 10, o.Share("wx2"), 0)
	o.Rate = 0
	require.Zero(t, o.Share("wx1"))
}
