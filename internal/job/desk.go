package job

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/kefuhq/kefu/internal/broker"
)

// desk holds the steps under way of all jobs of an app. The worker that it names
// carries them out, and is the only one that writes it.
type desk struct {
	Worker string          `json:"worker"`
	Steps  map[string]Step `json:"steps,omitempty"` // by job

	revision uint64
}

// free says whether a worker may take the desk over: nobody else may still be at
// work there.
func (d desk) free(self string, alive func(worker string) bool) bool {
	return d.Worker == self || len(d.Steps) == 0 || !alive(d.Worker)
}

// errTaken says that another worker is still at work at the desk.
var errTaken = errors.New("another worker is at work")

// seat is this worker's place at the desk of an app, shared by all jobs of the app.
// One step is chosen at a time, so that no two jobs choose the same item.
type seat struct {
	conn  *broker.Conn
	appID string
	self  string
	alive func(worker string) bool

	mu    sync.Mutex
	taken bool
	desk  desk // as it was written last
}

// take takes the desk over, once.
func (s *seat) take(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.taken {
		return nil
	}
	var d desk
	revision, err := get(ctx, s.conn, deskKey(s.appID), &d)
	if err != nil {
		return err
	}
	d.revision = revision
	if !d.free(s.self, s.alive) {
		return fmt.Errorf("%w: %s", errTaken, d.Worker)
	}
	d.Worker = s.self
	return s.write(ctx, d)
}

// write stores the desk, and leaves it when that fails: what is stored then must be
// read. s.mu is held.
func (s *seat) write(ctx context.Context, d desk) (err error) {
	if d.revision, err = put(ctx, s.conn, deskKey(s.appID), d, d.revision, 0); err != nil {
		s.taken = false
		return err
	}
	s.desk, s.taken = d, true
	return nil
}

// step is the step of a job that is under way; nil if there is none.
func (s *seat) step(job string) *Step {
	s.mu.Lock()
	defer s.mu.Unlock()
	step, ok := s.desk.Steps[job]
	if !ok {
		return nil
	}
	return &step
}

// open chooses the next step of a job and writes it down. choose is given the steps
// of the other jobs; when it chooses none, nothing is written.
func (s *seat) open(
	ctx context.Context, job string, n int, choose func(others []Step) (Choice, error),
) (Choice, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.taken {
		return Choice{}, broker.ErrOvertaken
	}
	steps := maps.Clone(s.desk.Steps)
	delete(steps, job)
	c, err := choose(slices.Collect(maps.Values(steps)))
	if err != nil || c.Step == nil {
		return c, err
	}
	d := s.desk
	d.Steps = steps
	if d.Steps == nil {
		d.Steps = make(map[string]Step)
	}
	d.Steps[job] = Step{N: n, Body: c.Step}
	return c, s.write(ctx, d)
}

// close drops the step of a job.
func (s *seat) close(ctx context.Context, job string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.taken {
		return broker.ErrOvertaken
	}
	d := s.desk
	d.Steps = maps.Clone(d.Steps)
	delete(d.Steps, job)
	return s.write(ctx, d)
}
