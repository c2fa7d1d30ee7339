package console

import (
	"errors"
	"net/url"

	"github.com/kefuhq/kefu/internal/job"
	"github.com/kefuhq/kefu/internal/page"
	"github.com/kefuhq/kefu/internal/replay"
)

// jobsView is the page of replays.
type jobsView struct {
	Rows    []jobRow
	Command string
}

// jobRow is a replay, drawn.
type jobRow struct {
	replay.Status
	Bar   page.Stack
	Ended bool
}

func drawnJob(r *request, s replay.Status) jobRow {
	row := jobRow{Status: s, Ended: !s.FinishedAt.IsZero()}
	count := func(n *int) int {
		if n == nil {
			return 0
		}
		return *n
	}
	sent, dead, cancelled := count(s.Sent), count(s.Dead), count(s.Cancelled)
	row.Bar = page.NewStack(
		page.Part{Name: r.T("sent"), Count: sent, Level: "good"},
		page.Part{Name: r.T("died again"), Count: dead, Level: "bad"},
		page.Part{Name: r.T("cancelled"), Count: cancelled, Level: "warn"},
		page.Part{Name: r.T("queued again"), Count: max(s.Published-sent-dead-cancelled, 0), Level: "busy"},
		page.Part{Name: r.T("left in the box"), Count: s.Left, Level: "warn"},
		page.Part{Name: r.T("taken out by others"), Count: s.Gone, Level: "rest"},
		page.Part{Name: r.T("to come"), Count: max(s.Chosen-s.Published-s.Left-s.Gone, 0), Level: "rest"},
	)
	return row
}

func (c *Console) jobs(r *request) (answer, error) {
	list, err := replay.List(r.Context(), c.conn)
	if err != nil {
		return answer{}, err
	}
	v := jobsView{Command: "kefu dead replays"}
	for _, s := range list[:min(len(list), 100)] {
		v.Rows = append(v.Rows, drawnJob(r, s))
	}
	return answer{template: "jobs", title: r.T("Replays"), body: v, live: true}, nil
}

// jobView is the page of one replay.
type jobView struct {
	jobRow
	CanPause, CanResume, CanAbort string // why not; empty: it can be
	Command                       string
}

func (c *Console) job(r *request) (answer, error) {
	s, err := replay.Read(r.Context(), c.conn, r.PathValue("job"))
	if errors.Is(err, job.ErrNoJob) {
		return answer{}, r.missing("There is no such replay, or not any more.")
	}
	if err != nil {
		return answer{}, err
	}
	v := jobView{jobRow: drawnJob(r, s), Command: "kefu dead replays show " + s.Job}
	switch {
	case !r.canAct:
		sign := r.T("sign in to do this")
		v.CanPause, v.CanResume, v.CanAbort = sign, sign, sign
	case v.Ended:
		ended := r.T("it has ended")
		v.CanPause, v.CanResume, v.CanAbort = ended, ended, ended
	case s.State == job.StatePaused || s.State == job.StateHalted:
		v.CanPause = r.T("it does not go on")
	default:
		v.CanResume = r.T("it goes on")
	}
	return answer{template: "job", title: r.T("Replay %s", s.Job), body: v, live: true}, nil
}

func (c *Console) pauseJob(r *request) (answer, error) { return c.tellJob(r, job.Pause, "job-paused") }
func (c *Console) resumeJob(r *request) (answer, error) {
	return c.tellJob(r, job.Resume, "job-resumed")
}

// abortJob asks whether a replay is to be aborted, and does so when it is told.
func (c *Console) abortJob(r *request) (answer, error) {
	if r.PostFormValue("sure") != "" {
		return c.tellJob(r, job.Abort, "job-aborted")
	}
	s, err := replay.Read(r.Context(), c.conn, r.PathValue("job"))
	if errors.Is(err, job.ErrNoJob) {
		return answer{}, r.missing("There is no such replay, or not any more.")
	}
	if err != nil {
		return answer{}, err
	}
	path := "/jobs/" + url.PathEscape(s.Job)
	return answer{template: "sure", title: r.T("Abort a replay"), body: sureView{
		Question: r.T("Shall replay %s end here?", s.Job),
		Facts: []fact{
			{r.T("queued again"), page.Num(s.Published)},
			{r.T("to come"), page.Num(max(s.Chosen-s.Published-s.Left-s.Gone, 0))},
		},
		Warning: r.T("What it has queued is sent all the same; the rest stays in the box."),
		Action:  path + "/abort", Button: r.T("Abort it"), Back: path,
		Command: "kefu dead replays abort " + s.Job,
	}}, nil
}

func (c *Console) tellJob(r *request, command job.Command, notice string) (answer, error) {
	id := r.PathValue("job")
	_, err := replay.Tell(r.Context(), c.conn, id, command, r.by)
	switch {
	case errors.Is(err, job.ErrNoJob):
		return answer{}, r.missing("There is no such replay, or not any more.")
	case errors.Is(err, job.ErrFinal):
		notice = "not-changed"
	case err != nil:
		return answer{}, err
	}
	c.hub.Changed("")
	return did("/jobs/"+url.PathEscape(id), notice), nil
}
