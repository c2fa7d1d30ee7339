package replay

import (
	"context"
	"encoding/json"
	"slices"
	"time"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/job"
	"github.com/kefuhq/kefu/internal/ledger"
	"github.com/kefuhq/kefu/internal/notes"
)

// Status is how far a replay has come. When it has ended, Chosen is the sum of Published, Left and
// Gone.
type Status struct {
	Job   string    `json:"job"`
	Kind  job.Kind  `json:"kind"`
	State job.State `json:"state"`
	App   string    `json:"app"` // "" when it is of several
	Apps  []string  `json:"apps"`

	Chosen    int  `json:"chosen"`    // letters, when it was planned
	Published int  `json:"published"` // they are in their queue again, or were
	Sent      *int `json:"sent"`      // of these; nil when nobody counts
	Dead      *int `json:"dead"`      // of these, again; nil when nobody counts
	Cancelled *int `json:"cancelled"` // of these; nil when nobody counts
	Left      int  `json:"left"`      // in the box; Notes say why
	Gone      int  `json:"gone"`      // somebody else took them out of the box meanwhile

	Rate       float64    `json:"rate"` // letters a second; 0 for no limit
	By         string     `json:"by"`
	OrderedAt  time.Time  `json:"ordered_at"`
	StartedAt  time.Time  `json:"started_at"`        // zero, in JSON null: it was not begun
	FinishedAt time.Time  `json:"finished_at"`       // likewise
	About      string     `json:"about,omitempty"`   // the filter, recipients as their hashes
	Options    string     `json:"options,omitempty"` // in words, but for the rate
	Halted     string     `json:"halted,omitempty"`  // why
	Notes      notes.List `json:"notes,omitempty"`
}

// MarshalJSON has every field there, whatever has happened yet: scripts rely on it.
func (s Status) MarshalJSON() ([]byte, error) {
	type status Status
	out := struct {
		status
		StartedAt  *time.Time `json:"started_at"`
		FinishedAt *time.Time `json:"finished_at"`
	}{status: status(s)}
	if !s.StartedAt.IsZero() {
		out.StartedAt = &s.StartedAt
	}
	if !s.FinishedAt.IsZero() {
		out.FinishedAt = &s.FinishedAt
	}
	return json.Marshal(out)
}

// statusOf is the status of a job, but for what became of its messages.
func statusOf(j job.Job) Status {
	c := j.Counts()
	s := Status{
		Job: j.ID, Kind: j.Kind, State: j.State(), Apps: j.AppIDs(), Chosen: c.Chosen,
		Published: c.Published, Left: c.Left, Rate: j.Rate, By: j.By, OrderedAt: j.At,
		About: j.About, Options: j.Options, Halted: j.Halted(), Notes: j.Notes(), FinishedAt: j.Ended,
	}
	if len(s.Apps) == 1 {
		s.App = s.Apps[0]
	}
	for _, p := range j.Parts {
		if s.StartedAt.IsZero() || p.Started.Before(s.StartedAt) {
			s.StartedAt = p.Started
		}
	}
	rest := s.Chosen - s.Published - s.Left
	switch s.State {
	case job.StateDone:
		s.Gone = rest
	case job.StateAborted:
		s.Left += rest // its turn did not come
	}
	return s
}

// Read reads how far a replay has come. One that is not there is [job.ErrNoJob].
func Read(ctx context.Context, conn *broker.Conn, id string) (Status, error) {
	j, err := job.Read(ctx, conn, id)
	if err != nil {
		return Status{}, err
	}
	all, err := withEnds(ctx, conn, j)
	if err != nil {
		return Status{}, err
	}
	return all[0], nil
}

// List reads all replays, the one that was ordered last first.
func List(ctx context.Context, conn *broker.Conn) ([]Status, error) {
	jobs, err := job.List(ctx, conn, job.KindReplay)
	if err != nil {
		return nil, err
	}
	return withEnds(ctx, conn, jobs...)
}

// Running reads the replays that have not ended, the one that was ordered last first.
func Running(ctx context.Context, conn *broker.Conn) ([]Status, error) {
	jobs, err := job.List(ctx, conn, job.KindReplay)
	if err != nil {
		return nil, err
	}
	return withEnds(ctx, conn,
		slices.DeleteFunc(jobs, func(j job.Job) bool { return j.State().Final() })...)
}

// coveredLate is by how much later than a job begins the ledger may say that ends are counted:
// workers that have just started take a moment.
const coveredLate = time.Minute

// withEnds completes the statuses of jobs with what became of their messages.
func withEnds(ctx context.Context, conn *broker.Conn, jobs ...job.Job) ([]Status, error) {
	since, err := ledger.CountedSince(ctx, conn)
	if err != nil {
		return nil, err
	}
	var keys []ledger.Job
	for _, j := range jobs {
		for _, appID := range j.AppIDs() {
			keys = append(keys, ledger.JobOf(j.ID, appID))
		}
	}
	counts, err := ledger.ReadJobCounts(ctx, conn, keys...)
	if err != nil {
		return nil, err
	}
	out := make([]Status, len(jobs))
	for i, j := range jobs {
		s := statusOf(j)
		sum := ledger.JobCounts{}
		for _, appID := range s.Apps {
			c := counts[ledger.JobOf(j.ID, appID)]
			sum.Sent, sum.Dead = sum.Sent+c.Sent, sum.Dead+c.Dead
			sum.Cancelled += c.Cancelled
		}
		if !since.IsZero() && (s.StartedAt.IsZero() || since.Before(s.StartedAt.Add(coveredLate))) {
			s.Sent, s.Dead, s.Cancelled = &sum.Sent, &sum.Dead, &sum.Cancelled
		}
		out[i] = s
	}
	return out, nil
}
